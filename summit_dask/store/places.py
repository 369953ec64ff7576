"""Where stores lie, and whether one has changed."""

from pathlib import Path

from summit_dask.facts.errors import StoreError
from summit_dask.store.status import makers

_DONE = "partitions/fingerprint/c"


def stamp(path: Path) -> tuple[int, ...]:
    """When each part of the store was last made, 0 for a part that is absent."""
    groups = ("", *makers(), "pictures")
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


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
