"""A store that gets further images: laid out anew beside the old one, whose measured files it takes over, then swapped.

    store.zarr.append/    tables of all images; the files of measured partitions are links to the old store's
    store.zarr        ->  store.zarr.old/
    store.zarr.append ->  store.zarr
    store.zarr.old/       is deleted

Killed before the first renaming, the store is the old one; between the two there is none, and `settle` puts the old one
back; after the second it is the new one, with partitions still to be measured. What is left lying `settle` deletes.
"""

import glob
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts import schema
from summit_dask.facts.addresses import measured_arrays
from summit_dask.facts.errors import StoreError
from summit_dask.facts.location import Location
from summit_dask.store.header import Header
from summit_dask.store.lock import holding
from summit_dask.store.store import Store, Table, writing


def extend(store: Store, header: Header, tables: Mapping[str, Table]) -> Store:
    """The store with further images behind those that it has; groups that stages make of all images are left out.

    Parameters
    ----------
    header
        With the same layers, options and partition size.
    tables
        Of all images, as `Store.create` takes them; the first are the store's own, in its order.

    Raises
    ------
    StoreError
        If the store lies in a bucket.
    """
    path = _on_disk(store)
    with holding(path), writing(path):
        settle(path)
        made = Store.create(_draft(path), header, tables)
        for index in range(store.header.n_partitions):
            _take_over(store, path, _draft(path), index)
        _mark(store, made)
        if store.has("pictures"):
            shutil.copytree(path / "pictures", _draft(path) / "pictures", copy_function=_link)
        path.rename(_old(path))
        _draft(path).rename(path)
        shutil.rmtree(_old(path))
    return Store.open(path, writable=True)


def _on_disk(store: Store) -> Path:
    if isinstance(store.path, Path):
        return store.path
    raise StoreError(
        f"{store.path} lies in a bucket, where nothing can be appended. Copy it to a disk, append there, and copy it "
        "back."
    )


def settle(path: Location) -> None:
    """Put right what a killed `extend` left."""
    if not isinstance(path, Path):
        return
    if _old(path).exists() and not path.exists():
        _old(path).rename(path)
    draft = _draft(path)
    for leftover in (_old(path), draft, draft.with_name(f"{draft.name}.init")):
        shutil.rmtree(leftover, ignore_errors=True)


def is_left(path: Location) -> bool:
    """Whether a killed `extend` left anything."""
    if not isinstance(path, Path):
        return False
    return any(path.parent.glob(f"{glob.escape(path.name)}.append*")) or _old(path).exists()


def _draft(path: Path) -> Path:
    return path.with_name(f"{path.name}.append")


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def _take_over(store: Store, path: Path, made: Path, index: int) -> None:
    """The files of a partition; a partly filled one's are as long as a full one's."""
    of_images = [address for address in schema.MEASURED_OF_IMAGES if store.has(address)]
    for address in (*measured_arrays(store.layer_graph, store.header.run.config), *of_images):
        file = f"{address}/c/{index}"
        if (path / file).is_dir():
            shutil.copytree(path / file, made / file, copy_function=_link, dirs_exist_ok=True)
        elif (path / file).exists():
            _link(path / file, made / file)


def _link(source: str | Path, target: str | Path) -> None:
    """A second name of the file, or a copy where the disk has no such thing."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _mark(store: Store, made: Store) -> None:
    """Full partitions that are done stay so; the mark of a partly filled one tells how much is (see `measured`)."""
    key, new = (int(own.header.run.fingerprint or 0) for own in (store, made))
    n_full = store.header.n_images // store.header.partition_size
    for index, mark in enumerate(store.read("partitions/fingerprint").tolist()):
        made.mark_done(index, new if mark == key and index < n_full else mark)


def measured(store: Store, index: int) -> int:
    """Images of an unfinished partition that were measured before others were appended; they are its first."""
    mark = int(store.read("partitions/fingerprint", slice(index, index + 1))[0])
    n_before = store.header.run.earlier.get(f"{mark}", 0)
    return int(max(0, n_before - store.partition(index).start))


def joined(store: Store, index: int, n_before: int, values: Table) -> dict[str, NDArray[Any]]:
    """Values of a whole partition: those of its first images as they are stored, then these."""
    start = store.partition(index).start
    rows = slice(start, start + n_before)
    return {address: np.concatenate([store.read(address, rows), own]) for address, own in values.items()}
