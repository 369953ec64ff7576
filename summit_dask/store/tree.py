"""A store as an xarray tree, for whoever asks questions of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from summit_dask.facts.errors import StoreError, StoreIncompleteError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.run import Run
from summit_dask.store.counts import Read
from summit_dask.store.store import Store


def open_store(path: Path | str, chunks: Any = None) -> xr.DataTree:
    """Open a store as an xarray tree; values are read when they are used.

    Parameters
    ----------
    path
        The store's folder.
    chunks
        As in `xarray.open_datatree`: None reads NumPy arrays, ``{}`` makes Dask arrays.

    Returns
    -------
    xarray.DataTree
        One group per layer and hop; see README for the names.

    Raises
    ------
    StoreError, StoreVersionError
        If there is no store, it is broken, or of another format version.
    """
    consolidated = Store.open(path).is_consolidated  # not while a run is going on
    try:
        return xr.open_datatree(path, engine="zarr", chunks=chunks, consolidated=consolidated)
    except (ValueError, KeyError, OSError) as error:
        raise StoreError(f"{path} can't be opened as a tree: {error}. The store is damaged.") from error


def layer_graph_of(tree: xr.DataTree) -> LayerGraph:
    """The layer graph that an open store holds."""
    return LayerGraph.from_json(json.dumps(tree.attrs["layer_graph"]))


def run_of(tree: xr.DataTree) -> Run:
    """The run that an open store was made by."""
    return Run(**tree.attrs["run"])


def reader_of(tree: xr.DataTree) -> Read:
    """Read values of an open tree; what lost its files is refused, where xarray alone would give fill values.

    Raises
    ------
    StoreError, StoreIncompleteError
        On reading, if the array is damaged or the store lacks it.
    """
    store = _store_behind(tree)

    def read(address: str, rows: Any) -> NDArray[Any]:
        try:
            array = tree[address]
        except KeyError:
            raise StoreIncompleteError(
                f"The store has no {address}; run the stage that makes it, or use a store that holds per-image values."
            ) from None
        if store is not None:
            store.refuse_lost_files(address, rows)
        try:
            return np.asarray(array[rows].values)
        except (ValueError, RuntimeError) as error:
            raise StoreError(
                f"{address} of the store can't be read: {error}. Its files are damaged; restore them."
            ) from error

    return read


def _store_behind(tree: xr.DataTree) -> Store | None:
    """The store that a tree was opened from; None for a tree that was made or changed in memory."""
    source = tree.encoding.get("source")
    if source is None or not Path(source).is_dir():
        return None
    store = Store.open(source)
    return store if tree.sizes.get("image") == store.header.n_images else None
