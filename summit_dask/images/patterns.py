"""Names of several files at once: ``train-{0000..0099}.tar``, ``train-*.tar``."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from summit_dask.facts.errors import DatasetError
from summit_dask.facts.location import Location

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_WILD = re.compile(r"[*?\[]")

#: More files than any data set has.
_LIMIT = 1_000_000


def is_pattern(name: str) -> bool:
    """Whether a file's name stands for several."""
    return bool(_WILD.search(name) or _BRACES.search(name))


def matching(pattern: Location) -> list[Location]:
    """The files that a pattern names, in its order; those that braces name are not looked for.

    Raises
    ------
    DatasetError
        If there are none.
    """
    folder, found = pattern.parent, dict[str, None]()
    is_wild = _WILD.search(pattern.name)
    names = sorted(place.name for place in folder.iterdir()) if is_wild and folder.is_dir() else []
    for name in expanded(pattern.name):
        found.update(dict.fromkeys([known for known in names if fnmatchcase(known, name)] if is_wild else [name]))
    if not found:
        raise DatasetError(f"No file in {folder} is called {pattern.name}; correct --images.")
    return [folder / name for name in found]


def expanded(name: str) -> Iterator[str]:
    """A name for each choice of what stands in braces.

    Raises
    ------
    DatasetError
        If there are too many.

    Examples
    --------
    >>> list(expanded("{train,val}-{08..10}.tar"))[1:4]
    ['train-09.tar', 'train-10.tar', 'val-08.tar']
    """
    braces = _BRACES.search(name)
    if braces is None:
        yield name
        return
    for choice in _choices(braces[1]):
        for rest in expanded(name[braces.end() :]):
            yield f"{name[: braces.start()]}{choice}{rest}"


def _choices(text: str) -> Iterator[str]:
    between = _RANGE.fullmatch(text)
    if between is None:
        yield from text.split(",")
        return
    first, last = between.groups()
    if int(last) - int(first) > _LIMIT:
        raise DatasetError(f"{{{text}}} in --images stands for more than {_LIMIT:,} files; correct it.")
    yield from (f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1))
