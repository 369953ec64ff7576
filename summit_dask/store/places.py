"""Where stores lie, whether one has changed, and what room it takes."""

import os
from pathlib import Path
from typing import NamedTuple

from summit_dask.facts.errors import StoreError
from summit_dask.facts.pairs import PAIRS
from summit_dask.store.evidence import group_of
from summit_dask.store.status import makers

_DONE = "partitions/fingerprint/c"


def stamp(path: Path) -> tuple[int, ...]:
    """When each part of the store was last made, 0 for a part that is absent."""
    groups = ("", *makers(), *(pair.group for pair in PAIRS), *map(group_of, PAIRS), "pictures")
    # A partition that is done adds a file.
    return (*(_modified(path / group / "zarr.json") for group in groups), _modified(path / _DONE))


def stores_in(folder: Path) -> list[Path]:
    """The stores to choose from: the folder itself if it is one, else the stores directly in it, by name.

    Raises
    ------
    StoreError
        If there is neither.
    """
    if (folder / "zarr.json").exists() or not folder.is_dir():
        return [folder]
    found = sorted(child for child in folder.iterdir() if (child / "zarr.json").exists())
    if not found:
        raise StoreError(
            f"{folder} is no store and holds none. Give the folder that 'summit-dask run --out' made, "
            "or a folder of such stores."
        )
    return found


class Room(NamedTuple):
    """What a part of a store takes on the disk."""

    bytes: int
    files: int


def room(path: Path) -> dict[str, Room]:
    """What each outermost group of a store takes on the disk, by name; every file is looked at."""
    return {child.name: _room(child) for child in sorted(path.iterdir()) if child.is_dir()}


def _room(folder: Path) -> Room:
    sizes = [_size(Path(place, name)) for place, _, names in os.walk(folder) for name in names]
    known = [size for size in sizes if size is not None]
    return Room(sum(known), len(known))


def _size(file: Path) -> int | None:
    """Size of a file; None if it is gone by now, as happens while a stage goes on."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
