"""Names: how those of classes are compared and in which order they stand, and what can name a file."""

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

#: Bytes of a name in any usual file system, without the folders around it.
LONGEST_NAME = 255

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def composed(name: str) -> str:
    """A name in composed Unicode (NFC): one spelling of an "é" that macOS writes as two characters, others as one."""
    return unicodedata.normalize("NFC", name)


def in_order(names: Iterable[str]) -> list[str]:
    """Different names, ascending: as numbers if all are numbers (2 before 10), else as text."""
    distinct = sorted(set(names))
    if all(_NUMBER.fullmatch(name) for name in distinct):
        return sorted(distinct, key=Decimal)
    return distinct


def checked_name(value: Any) -> Any:
    """A text or path, if a file may have that name; anything else as it is.

    Raises
    ------
    ValueError
        If it can't name anything: Python's own errors for that come late, and of many kinds.
    """
    if not isinstance(value, str | Path):
        return value
    text = str(value)
    if not text.strip():
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("must not hold a zero byte")
    if text != text.encode(errors="replace").decode():
        raise ValueError("must be UTF-8; rename that file or folder")
    if any(len(part.encode()) > LONGEST_NAME for part in text.split("/")):
        raise ValueError(f"must not have a part of more than {LONGEST_NAME} bytes")
    try:
        Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError("begins with the home of a user who has none; give the whole path") from error
    return value
