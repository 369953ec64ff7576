"""What files of other programs are read and checked with; the first wrong thing ends in one message."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts.errors import FormatError

#: Files are UTF-8 in every locale; a byte order mark at the start, as Windows writes it, is no part of the text.
ENCODING = "utf-8-sig"

#: Numbers are kept as singles, which end here.
_TOO_LARGE = 2**128

#: Characters of a wrong value that a message shows.
_SHOWN = 80


def fault(where: object, expected: str, value: object) -> FormatError:
    """The error for a file that is not what it should be; long values are cut.

    Examples
    --------
    >>> print(fault("ag-1.json, mixed4a", "channel as a whole number from 0 to 507", 508))
    ag-1.json, mixed4a: expected channel as a whole number from 0 to 507, found 508. Mend the file.
    """
    text = repr(value)
    if len(text) > _SHOWN:
        text = text[: _SHOWN - 3] + "..."
    return FormatError(f"{where}: expected {expected}, found {text}. Mend the file.")


def read_text(path: Path) -> str:
    """A file's text.

    Raises
    ------
    FormatError
        If there is no such file or it is not UTF-8.
    """
    try:
        return path.read_text(encoding=ENCODING)
    except FileNotFoundError as error:
        raise FormatError(f"{path}: expected a file, found none. Restore it.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: expected UTF-8 text, found {error}. Mend the file.") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    FormatError
        If it is missing, cut off or no JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except NO_JSON as error:
        raise no_json(path, error) from error


#: What Python's reader raises: also for numbers of thousands of digits, and lists in lists in lists without end.
NO_JSON = (ValueError, RecursionError)


def no_json(path: Path, error: Exception) -> FormatError:
    """The error for a file that is cut off or no JSON."""
    if isinstance(error, json.JSONDecodeError):
        return fault(path, "JSON", f"{error.msg} at line {error.lineno}, column {error.colno}")
    return fault(path, "JSON", str(error))


def check_rows(value: Any, keys: Sequence[str], where: object) -> list[dict[str, Any]]:
    """The value, if it is a list of objects that have all the keys.

    Raises
    ------
    FormatError
        If it isn't; shows the first wrong row.
    """
    if not isinstance(value, list):
        raise fault(where, "a list", value)
    for row in value:
        if not isinstance(row, dict) or any(key not in row for key in keys):
            raise fault(where, f"objects with {', '.join(keys)}", row)
    return value


def check_unique(channels: NDArray[np.int32], where: object) -> None:
    """Refuse a channel that stands twice.

    Raises
    ------
    FormatError
        If one does; shows them all.
    """
    if len(np.unique(channels)) != len(channels):
        raise fault(where, "each channel once", sorted(channels.tolist()))


def digits(values: Iterable[Any]) -> list[Any]:
    """The numbers that texts of digits say; anything else becomes a text that `integers` refuses.

    Examples
    --------
    >>> digits(["762", 7, "x"])
    [762, '7, no text of digits', "'x', no text of digits"]
    """
    return [int(v) if isinstance(v, str) and v.isdecimal() else f"{v!r}, no text of digits" for v in values]


def integers(values: list[Any], limit: int, where: object, what: str) -> NDArray[np.int32]:
    """The values as an array, if they are whole numbers from 0 to below the limit.

    Raises
    ------
    FormatError
        If one isn't; shows the first.
    """
    for value in values:
        # Not isinstance: True is an int in Python, and a fault in a file.
        if type(value) is not int or not 0 <= value < limit:
            raise fault(where, f"{what} as a whole number from 0 to {limit - 1}", value)
    return np.array(values, np.int32)


def numbers(values: list[Any], where: object, what: str) -> NDArray[np.float64]:
    """The values as an array, if they are finite numbers.

    Raises
    ------
    FormatError
        If one isn't; shows the first.
    """
    for value in values:
        if type(value) not in (int, float) or not abs(value) < _TOO_LARGE:  # so that NaN is none either
            raise fault(where, f"{what} as a number", value)
    return np.array(values, np.float64)
