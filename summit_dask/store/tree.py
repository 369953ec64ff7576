"""A store as an xarray tree, for whoever asks questions of it."""

import json
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from summit_dask.facts.errors import StoreError, StoreIncompleteError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.run import Run
from summit_dask.store.counts import Read
from summit_dask.store.header import Header
from summit_dask.store.store import Store


def open_store(path: Path | str, chunks: Any = None, storage_options: dict[str, Any] | None = None) -> xr.DataTree:
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
    place: Any = str(path)
    if place.endswith(".zip") and Path(place).is_file():
        place = _zip_of(place)
        group = _open_elsewhere(place, None)
    elif "://" in place:
        group = _open_elsewhere(place, storage_options)
    else:
        place = str(Path(path).expanduser())
        group = Store.open(place).group
    gathered = group.metadata.consolidated_metadata is not None  # not while a run is going on
    try:
        return xr.open_datatree(
            place, engine="zarr", chunks=chunks, consolidated=gathered, storage_options=storage_options
        )
    except (ValueError, KeyError, OSError) as error:
        raise StoreError(f"{path} can't be opened as a tree: {error}. The store is damaged.") from error


def _zip_of(place: str) -> ZipStore:
    """A whole store in one file."""
    if not is_zipfile(place):
        raise StoreError(f"There is no store at {place}: it is no zip file. Give a zip of the store's folder.")
    return ZipStore(place, mode="r")


def _open_elsewhere(place: Any, storage_options: dict[str, Any] | None) -> zarr.Group:
    """Opened as any Zarr group, to be read."""
    try:
        group = zarr.open_group(place, mode="r", zarr_format=3, storage_options=storage_options)
    except Exception as error:  # file systems and their libraries raise whatever they like
        raise StoreError(
            f"There is no store at {place} that can be read ({type(error).__name__}: {error}). Check the address; some "
            "need a package of their own, as s3:// needs s3fs."
        ) from error
    Header.of(group.attrs.asdict(), Path(str(place)))
    return group


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
