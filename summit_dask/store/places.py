"""Where stores lie, whether one has changed, and what room it takes."""

from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

from summit_dask.facts.errors import StoreError
from summit_dask.facts.files import HEAD, folder
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import PAIRS
from summit_dask.store.evidence import group_of
from summit_dask.store.status import makers

#: A partition that is done adds a file.
_DONE = "partitions/fingerprint/c"


def stamp(path: Location) -> tuple[Hashable, ...]:
    """What changes when a part of the store is made anew, of each part; 0 for one that is absent."""
    groups = (*makers(), *(pair.group for pair in PAIRS), *map(group_of, PAIRS), "pictures")
    return folder(path).stamps([HEAD, *(f"{group}/{HEAD}" for group in groups), _DONE])


def stores_in(path: Location) -> list[Location]:
    """The stores to choose from: the folder itself if it is one, else the stores directly in it, by name.

    Raises
    ------
    StoreError
        If there is neither.
    """
    place = folder(path)
    if place.size(HEAD) is not None or (isinstance(path, Path) and not path.is_dir()):
        return [path]
    found = [path / name for name in place.groups()]
    if not found:
        raise StoreError(
            f"{path} is no store and holds none. Give the folder that 'summit-dask run --out' made, "
            "or a folder of such stores."
        )
    return found


class Room(NamedTuple):
    """What a part of a store takes."""

    bytes: int
    files: int


def room(path: Location) -> dict[str, Room]:
    """What each outermost group of a store takes, by name; every file is looked at."""
    taken: dict[str, Room] = {}
    for name, size in sorted(folder(path).sizes().items()):
        group, slash, _ = name.partition("/")
        if slash:
            before = taken.get(group, Room(0, 0))
            taken[group] = Room(before.bytes + size, before.files + 1)
    return taken
