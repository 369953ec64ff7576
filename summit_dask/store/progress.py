"""Progress of long work on standard error: one line that is rewritten in a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType

PLAIN_SECONDS = 10.0
TERMINAL_SECONDS = 0.2


def duration(seconds: int | float) -> str:
    """A time as people say it: ``42 s``, ``3 min 10 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: int | float) -> str:
    """A number of bytes as people say it: ``3.2 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


class Progress:
    """Counts things done of a total, with their rate and the time that remains.

    Parameters
    ----------
    what, unit
        What is going on and what is counted: "extract", "images".
    total, done
        How many there are, and how many an earlier run did; the rate leaves these out.
    """

    def __init__(self, what: str, unit: str, total: int, done: int = 0) -> None:
        self.what, self.unit, self.total = what, unit, total
        self.done = self._before = done
        self._terminal = sys.stderr.isatty()
        self._start = self._shown = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show()
        if self._terminal:
            print(file=sys.stderr)

    def add(self, count: int) -> None:
        """Count some more."""
        self.done += count
        if time.monotonic() - self._shown >= (TERMINAL_SECONDS if self._terminal else PLAIN_SECONDS):
            self._show()

    def line(self) -> str:
        """``extract: 512 of 1095 images, 12.3 images/s, 47 s left``."""
        passed = max(time.monotonic() - self._start, 1e-9)
        text = f"{self.what}: {self.done} of {self.total} {self.unit}"
        new = self.done - self._before
        if not new:
            return text
        rate = new / passed
        if self.done == self.total:
            return f"{text} in {duration(passed)}, {rate:.3g} {self.unit}/s"
        return f"{text}, {rate:.3g} {self.unit}/s, {duration((self.total - self.done) / rate)} left"

    def _show(self) -> None:
        self._shown = time.monotonic()
        if self._terminal:
            print(f"\r\x1b[K{self.line()}", end="", file=sys.stderr, flush=True)
        else:
            say(self.line())


def say(text: str) -> None:
    """One plain line on standard error."""
    print(text, file=sys.stderr, flush=True)
