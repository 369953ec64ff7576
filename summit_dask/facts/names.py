"""Names of classes: how they are compared and in which order they stand."""

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal

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
