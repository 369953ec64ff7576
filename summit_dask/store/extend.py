"""A store that gets further images: laid out anew beside the old one, whose measured files it takes over, then swapped.

    store.zarr.append/store.zarr/    tables of all images; files of measured partitions are the old store's: links on a
                                     disk, copies in a bucket that the server makes
    store.zarr.append/store.zarr  -> store.zarr                                                       (see `swap`)

Killed before the swap, the store is the old one. In the middle of it, there is none on a disk, and `settle` puts the
old one back; in a bucket readers find the new one where it was drafted (see `standing_in`), and `settle` ends the swap.
After it the store is the new one, with partitions still to be measured. What is left lying `settle` deletes.
"""

from collections.abc import Mapping

import numpy as np

from summit_dask.facts import schema
from summit_dask.facts.addresses import measured_arrays
from summit_dask.facts.files import folder
from summit_dask.facts.location import Location
from summit_dask.store.durable import flush
from summit_dask.store.header import Header
from summit_dask.store.lock import holding
from summit_dask.store.store import Store, Table, additions, writing
from summit_dask.store.swap import replace, restore


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
        If there is no room, or the place can't be written.
    """
    path = store.path
    with holding(path), writing(path):
        settle(path)
        drafts = additions(path)
        made = Store.create(drafts / path.name, header, tables)
        folder(path).share(_taken_over(store), made.path)
        _mark(store, made)
        flush(made.path)
        replace(path.parent, drafts, path.name)
        folder(drafts).remove()
    return Store.open(path, writable=True)


def settle(path: Location) -> None:
    """Put right what a killed `extend` left."""
    restore(path.parent, additions(path))
    folder(additions(path)).remove()


def is_left(path: Location) -> bool:
    """Whether a killed `extend` left anything."""
    return folder(additions(path)).is_there()


def _taken_over(store: Store) -> list[str]:
    """The files of measured partitions, a partly filled one's are as long as a full one's; and pictures of channels."""
    of_images = [address for address in schema.MEASURED_OF_IMAGES if store.has(address)]
    measured = {*measured_arrays(store.layer_graph, store.header.run.config), *of_images}
    return [
        name
        for name in folder(store.path).sizes()
        if name.startswith("pictures/") or ("/c/" in name and name.partition("/c/")[0] in measured)
    ]


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


def joined(store: Store, index: int, n_before: int, values: Table) -> Table:
    """Values of a whole partition: those of its first images as they are stored, then these."""
    if not n_before:
        return values
    start = store.partition(index).start
    rows = slice(start, start + n_before)
    return {address: np.concatenate([store.read(address, rows), own]) for address, own in values.items()}
