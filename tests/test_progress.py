"""Progress: what a line says, in a terminal and elsewhere."""

import sys
import time

import pytest

from summit_dask.store import progress
from summit_dask.store.progress import Progress, duration, size


class Clock:
    """Time that passes only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (190, "3 min 10 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (3_210_000, "3.21 MB"), (4.2e12, "4.2 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_the_rate_leaves_out_what_an_earlier_run_did(clock: Clock) -> None:
    shown = Progress("extract", "images", 1000, 600)
    assert shown.line() == "extract: 600 of 1000 images"
    clock.now += 10
    shown.add(100)
    assert shown.line() == "extract: 700 of 1000 images, 10 images/s, 30 s left"
    clock.now += 10
    shown.add(300)
    assert shown.line() == "extract: 1000 of 1000 images in 20 s, 20 images/s"


def test_no_time_at_all_divides_by_nothing(clock: Clock) -> None:
    shown = Progress("graphs", "classes", 3)
    shown.add(3)
    assert shown.line().startswith("graphs: 3 of 3 classes in 0 s")
    assert Progress("graphs", "classes", 0, 0).line() == "graphs: 0 of 0 classes"


def test_plain_lines_are_few_and_the_last_is_whole(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("extract", "images", 60) as shown:
        for _ in range(60):
            clock.now += 1
            shown.add(1)
    written = capsys.readouterr().err
    lines = written.splitlines()
    assert len(lines) == 60 // progress.PLAIN_SECONDS + 1
    assert lines[0] == "extract: 10 of 60 images, 1 images/s, 50 s left"
    assert lines[-1] == "extract: 60 of 60 images in 1 min 0 s, 1 images/s"
    assert "\r" not in written and "\x1b" not in written


def test_a_terminal_has_one_line_that_is_written_again(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("extract", "images", 4, 0) as shown:
        for _ in range(4):
            clock.now += 1
            shown.add(1)
    written = capsys.readouterr().err
    assert written.count("\n") == 1 and written.endswith("\n")
    assert written.split("\r\x1b[K")[1] == "extract: 1 of 4 images, 1 images/s, 3 s left"


def test_an_error_leaves_the_last_line_and_goes_on(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Progress("extract", "images", 4, 0) as shown:
        clock.now += 1
        shown.add(1)
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "extract: 1 of 4 images, 1 images/s, 3 s left\n"
