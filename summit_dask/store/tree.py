"""A store as an xarray tree, for whoever asks questions of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from upath import UPath
from zarr.storage import LocalStore

from summit_dask.facts.errors import StoreError, StoreIncompleteError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.location import Location
from summit_dask.facts.run import Run
from summit_dask.store.counts import Read
from summit_dask.store.store import FINGERPRINT, Store, located


def open_store(path: Location | str, chunks: Any = None, storage_options: dict[str, Any] | None = None) -> xr.DataTree:
    """Open a store as an xarray tree; values are read when they are used.

    Parameters
    ----------
    path
        The store's folder, a zip file of it, or an address that fsspec knows (``s3://bucket/store.zarr``).
    chunks
        As in `xarray.open_datatree`: None reads NumPy arrays, ``{}`` makes Dask arrays.
    storage_options
        For an address: what fsspec needs to get there.

    Returns
    -------
    xarray.DataTree
        One group per layer and hop; see README for the names.

    Raises
    ------
    StoreError, StoreVersionError
        If there is no store, it is broken, or of another format version.

    Examples
    --------
    With the path of a finished store of 90 images of three classes:

    >>> tree = open_store(path)
    >>> tree["class"].values.tolist()
    ['ant', 'bee', 'cat']
    >>> tree["activations/upper/value"].sizes["image"]
    90
    >>> int(tree["classes/n_images"].sel({"class": "bee"}))
    30
    """
    place = _with_options(path, storage_options)
    group = Store.open(place).group
    gathered = group.metadata.consolidated_metadata is not None  # not while a run is going on
    try:
        tree = xr.open_datatree(_for_xarray(group), engine="zarr", chunks=chunks, consolidated=gathered)
    except (ValueError, KeyError, OSError) as error:
        raise StoreError(f"{path} can't be opened as a tree: {error}. The store is damaged.") from error
    tree.encoding["source"] = str(place) if isinstance(place, Path) else place  # as xarray itself does for a folder
    return tree


def _with_options(path: Location | str, storage_options: dict[str, Any] | None) -> Location:
    place = located(path)
    if isinstance(place, Path):
        return place.expanduser()
    return UPath(place, **storage_options) if storage_options else place


def _for_xarray(group: zarr.Group) -> Any:
    """What xarray opens; the name of a folder, which it keeps."""
    store = group.store
    return str(store.root) if isinstance(store, LocalStore) else store


def layer_graph_of(tree: xr.DataTree) -> LayerGraph:
    """The layer graph that an open store holds."""
    return LayerGraph.from_json(json.dumps(tree.attrs["layer_graph"]))


def run_of(tree: xr.DataTree) -> Run:
    """The run that an open store was made by."""
    return Run(**tree.attrs["run"])


def made_with(tree: xr.DataTree, group: str) -> int | None:
    """As `Store.finished`."""
    try:
        key: int | None = tree[group].attrs.get(FINGERPRINT)
    except KeyError:
        return None
    return key


#: An array of an open tree, by its address, and some rows of its first dim that are going to be read.
Find = Callable[[str, Any], xr.DataArray]


def finder_of(tree: xr.DataTree) -> Find:
    """Find arrays of an open tree; what lost its files is refused, where xarray alone would give fill values.

    Raises
    ------
    StoreError, StoreIncompleteError
        On finding, if files of these rows are missing or the store lacks the array.
    """
    store = _store_behind(tree)

    def find(address: str, rows: Any) -> xr.DataArray:
        try:
            array = cast(xr.DataArray, tree[address])
        except KeyError:
            raise StoreIncompleteError(
                f"The store has no {address}; run the stage that makes it, or use a store that holds per-image values."
            ) from None
        if store is not None:
            store.refuse_lost_files(address, rows)
        return array

    return find


def reader_of(tree: xr.DataTree) -> Read:
    """Read values of an open tree; see `finder_of`.

    Raises
    ------
    StoreError, StoreIncompleteError
        On reading, if the array is damaged or the store lacks it.
    """
    find = finder_of(tree)

    def read(address: str, rows: Any) -> NDArray[Any]:
        try:
            return np.asarray(find(address, rows)[rows].values)
        except (ValueError, RuntimeError) as error:
            raise StoreError(
                f"{address} of the store can't be read: {error}. Its files are damaged; restore them."
            ) from error

    return read


def _store_behind(tree: xr.DataTree) -> Store | None:
    """The store that a tree was opened from; None for a tree that was made or changed in memory."""
    source = tree.encoding.get("source")
    if source is None or (isinstance(source, str) and not Path(source).exists()):
        return None
    store = Store.open(source)
    return store if tree.sizes.get("image") == store.header.n_images else None
