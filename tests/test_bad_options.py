"""Options of every wrong kind: accepted or refused with their name and value, never anything else."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from summit_dask.cli import configured
from summit_dask.facts.config import RunConfig, read_yaml
from summit_dask.facts.errors import ConfigError, TraceError
from summit_dask.network.export import _random_images

NEEDED = {"model": "m:f", "images": "images", "out": "out.zarr"}
#: The one option whose value is neither told nor stored.
SECRET = "storage_options"

_odd = st.sampled_from(["", " ", "\0", "s3://x", "file:///a%00b", "~nobody-here/x", "caf\udce9", "x" * 256, "10x20"])
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _odd | st.dates()
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
_names = st.sampled_from(list(RunConfig.model_fields))


@given(name=_names, value=_values)
@settings(deadline=None, derandomize=True, max_examples=400)
def test_any_value_of_any_option_is_accepted_or_refused_by_name(name: str, value: Any) -> None:
    try:
        made = RunConfig.of({**NEEDED, name: value}, "here")
    except ConfigError as error:
        for line in str(error).splitlines():
            assert name in line.replace("-", "_")
            assert name == SECRET or " in here" in line
    else:
        assert name == SECRET or RunConfig.of(made.plain()) == made


@given(name=_names, text=st.text(st.characters(codec="utf-8"), max_size=9) | st.text("0123456789,x:;=.-einf ") | _odd)
@settings(deadline=None, derandomize=True, max_examples=300)
@example("excluded", f"a:{'1' * 5000}=x")
@example("crop", "9" * 5000)
def test_any_text_on_the_command_line_is_accepted_or_refused_by_name(name: str, text: str) -> None:
    try:
        configured(None, {**NEEDED, name: text})
    except ConfigError as error:
        assert name in str(error).replace("-", "_")


@given(content=st.binary(max_size=40) | st.text("[]{}:,-!&*<?>|'\"\n 0123kabx.e~@%_", max_size=40).map(str.encode))
@settings(deadline=None, derandomize=True, max_examples=80)
@example(b"k: 2020-13-45")
@example(b"k: 0x_")
@example(b"k: !!timestamp x")
@example(b"k: " + b"1" * 5000)
@example(b"[" * 5000)
@example(b"&a [*a]")
def test_any_file_is_options_or_no_yaml(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "run.yaml"
    path.write_bytes(content)
    try:
        RunConfig.of({**NEEDED, **read_yaml(path)}, str(path))
    except ConfigError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("k", True, "'k' in here is True: a truth value is none of the values that this option takes"),
        ("mean", False, "'mean' in here is False: a truth value is none"),
        ("mean", float("nan"), "'mean.0' in here is nan: Input should be a finite number"),
        ("seed", 2**32, "'seed' in here is 4294967296: Input should be less than 4294967296"),
        ("crop", 10**9, "less than or equal to 32768"),
        ("batch_size", 1025, "less than or equal to 1024"),
        ("out", "", "'out' in here is '': must not be empty"),
        ("images", "a\0b", "must not hold a zero byte"),
        ("weights", "caf\udce9", "must be UTF-8; rename that file or folder"),
        ("classes", "x" * 256, "must not have a part of more than 255 bytes"),
        ("out", "~nobody-here/x", "begins with the home of a user who has none; give the whole path"),
    ],
)
def test_what_would_fail_late_or_mean_something_else_is_refused(option: str, value: Any, reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        RunConfig.of({**NEEDED, option: value}, "here")
    assert reason in str(error.value)


def test_a_batch_too_large_for_the_memory_is_told_with_its_size() -> None:
    with pytest.raises(TraceError, match=r"No memory for a batch of 1024 x 3 x 32768 x 32768 .*smaller --batch-size"):
        _random_images((1024, 3, 32768, 32768))
