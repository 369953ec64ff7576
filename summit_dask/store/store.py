"""The Zarr store: laid out first, filled by whole shards, opened as an `xarray.DataTree`.

The layout of every array comes from `schema`. A partition of images is exactly one shard of each
array along `image`, so workers never share a file. Chunks and shard indices end in a crc32c.
"""

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.errors import ZarrUserWarning

from summit_dask.facts import schema
from summit_dask.facts.config import fingerprint, options_of
from summit_dask.facts.errors import StoreError, StoreIncompleteError, StoreVersionError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.schema import Variable

CHUNK_BYTES = 2**18
MATRIX_SHARD_BYTES = 2**26
PICTURE_CHUNK_BYTES = 2**16
FINGERPRINT = "fingerprint"


def partition_size(n_images: int) -> int:
    """Images in one partition: 1024, halved for smaller sets until there are 16, not below 32."""
    size = 1024
    while size > 32 and ceil(n_images / size) < 16:
        size //= 2
    return size


@dataclass(frozen=True)
class Header:
    """What the root's attributes say: the layer graph, the run, and the length of every fixed dim."""

    layer_graph: LayerGraph
    run: Mapping[str, Any]
    n_images: int
    n_classes: int
    n_outputs: int
    partition_size: int

    def lengths(self) -> dict[str, int]:
        """Length of each dim that all groups share."""
        return {
            "image": self.n_images,
            "class": self.n_classes,
            "class_bound": self.n_classes + 1,
            "output": self.n_outputs,
            "prediction_rank": min(schema.N_PREDICTIONS, self.n_outputs),
            "source_rank": schema.N_NODE_SOURCES,
            "visible_layer": len(self.layer_graph.visible),
            "partition": ceil(self.n_images / self.partition_size),
        }

    def stage_fingerprints(self) -> dict[str, int] | None:
        """What each stage's results depend on, as one number: the extraction's facts, then the options stage by stage.

        None for an imported store, which no stage can run on.
        """
        if "fingerprint" not in self.run:
            return None
        prints = {"extract": int(self.run["fingerprint"])}
        for stage, before in (
            ("reduce", "extract"),
            ("examples", "extract"),
            ("graphs", "reduce"),
            ("embed", "reduce"),
        ):
            own = {name: self.run["config"].get(name) for name in options_of(stage)}  # type: ignore[arg-type]
            prints[stage] = fingerprint({"before": prints[before], **own})
        return prints

    def attributes(self) -> dict[str, Any]:
        """As the root's attributes."""
        return {
            "summit_format": schema.FORMAT_VERSION,
            "layer_graph": json.loads(self.layer_graph.to_json()),
            "run": dict(self.run),
            "sizes": {
                "n_images": self.n_images,
                "n_classes": self.n_classes,
                "n_outputs": self.n_outputs,
                "partition_size": self.partition_size,
            },
        }

    @classmethod
    def of(cls, attributes: Mapping[str, Any], path: Path) -> "Header":
        """From the root's attributes.

        Raises
        ------
        StoreError, StoreVersionError
            If they are not those of a store, or of another format version.
        """
        if "summit_format" not in attributes:
            raise StoreError(
                f"{path} is a Zarr group, but no summit-dask store (its attributes lack 'summit_format'). "
                "Give the folder that 'summit-dask run --out' made."
            )
        if (found := attributes["summit_format"]) != schema.FORMAT_VERSION:
            raise StoreVersionError(
                f"{path} has the store format {found}; this version reads format {schema.FORMAT_VERSION}. "
                "Make the store again with 'summit-dask run', or use the version that wrote it."
            )
        try:
            graph = LayerGraph.from_json(json.dumps(attributes["layer_graph"]))
            return cls(graph, attributes["run"], **attributes["sizes"])
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"The attributes of {path} are damaged ({type(error).__name__}: {error}); delete the store and make it "
                "again, or restore its zarr.json."
            ) from error


class Store:
    """A store as its writers see it: groups made from the registry, values written by whole shards."""

    def __init__(self, path: Path, group: zarr.Group) -> None:
        self.path, self.group = path, group
        self._opened: dict[str, Any] = {}  # opening an array reads a file, and a partition writes a hundred arrays

    @classmethod
    def open(cls, path: Path | str, writable: bool = False) -> "Store":
        """Open an existing store.

        Raises
        ------
        StoreError, StoreVersionError
            If there is none at that place, it is broken, or of another format version.
        """
        store = cls(Path(path), _open_group(Path(path), writable))
        store.header  # noqa: B018 - checks the version before anything else happens
        return store

    @classmethod
    def create(
        cls, path: Path, header: Header, tables: Mapping[str, Mapping[str, NDArray[Any]]], k: int | None
    ) -> "Store":
        """Lay out a store and fill the tables of images, classes and outputs; appears whole or not at all.

        Parameters
        ----------
        tables
            By group ("", "outputs", "images", "classes"), by variable; /images may hold further columns,
            which become coordinates.
        k
            Sources kept per channel; 0 leaves the influences out, None every per-image value but the given columns
            of /images (what an imported store has).

        Raises
        ------
        StoreError
            If the disk is full or can't be written.
        """
        draft = path.with_name(path.name + ".init")
        with _writing(path):
            shutil.rmtree(draft, ignore_errors=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            group = zarr.open_group(draft, mode="w", zarr_format=3)
            store = cls(draft, group)
            group.update_attributes(header.attributes())
            store._lay_out(k, tables["images"])
            for name, table in tables.items():
                store._fill_table(name, table)
            draft.rename(path)
        return cls.open(path, writable=True)

    def _lay_out(self, k: int | None, images: Iterable[str]) -> None:
        for template in ("", "outputs", "classes", "partitions"):
            self.make_group(template, template)
        self.make_group("images", "images", images if k is None else None)
        if k is not None:
            self._lay_out_layers(k)

    def _lay_out_layers(self, k: int) -> None:
        values = bool(self.header.run["config"].get("influence_values", True))
        for layer in self.layer_graph.visible:
            self.make_group("activations/{layer}", layer.name, channel=layer.channels)
        for layer in self.layer_graph.influenced if k else ():
            names = None if values else ("hop", "source")
            self.make_group("influences/{layer}", layer.name, names, channel=layer.channels, rank=k)

    def _fill_table(self, name: str, table: Mapping[str, NDArray[Any]]) -> None:
        known = {v.name for v in schema.variables(name)}
        for column, values in table.items():
            if column in known:
                self.write(name, name, column, values)
            else:
                self._add_coordinate(name, column, values)

    def _add_coordinate(self, group: str, name: str, values: NDArray[Any]) -> None:
        dtype = "str" if values.dtype.kind in "TOU" else str(values.dtype)
        column = Variable(group, name, ("image",), dtype, "column of the manifest", "", "" if dtype == "str" else 0)
        array = self._make_array(column, values.shape)
        array[:] = values.astype(column.numpy_dtype)
        node = self._node(group)
        node.update_attributes({"coordinates": " ".join([*str(node.attrs.get("coordinates", "")).split(), name])})

    @cached_property
    def header(self) -> Header:
        """What the root's attributes say."""
        return Header.of(self.group.attrs.asdict(), self.path)

    @property
    def layer_graph(self) -> LayerGraph:
        """The network's layers and hops."""
        return self.header.layer_graph

    def make_group(self, template: str, name: str, names: Iterable[str] | None = None, **lengths: int) -> None:
        """Make the arrays of a group, all fill values; `name` is the layer's, the hop's or the group's own."""
        wanted = set(names) if names is not None else None
        for variable in schema.variables(template):
            if wanted is None or variable.name in wanted:
                shape = schema.sizes(variable, {**self.header.lengths(), **lengths})
                self._make_array(variable, shape, schema.group_of(template, name))

    def _make_array(self, variable: Variable, shape: tuple[int, ...], group: str | None = None) -> Any:
        chunks, shards = self._chunks(variable, shape)
        path = f"{variable.group if group is None else group}/{variable.name}".lstrip("/")
        self._opened[path] = self.group.create_array(
            path,
            shape=shape,
            dtype=variable.numpy_dtype,
            chunks=chunks,
            shards=shards,
            fill_value=variable.fill,
            dimension_names=variable.dims,
            compressors=[ZstdCodec(level=3), Crc32cCodec()],
            attributes={"long_name": variable.meaning, "units": variable.units},
        )
        return self._opened[path]

    def _chunks(self, variable: Variable, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        if variable.name == "influence_count":
            row = prod(shape[1:]) * variable.numpy_dtype.itemsize
            classes = max(1, min(shape[0], MATRIX_SHARD_BYTES // max(row, 1)))
            return (1, *shape[1:]), (classes, *shape[1:])
        if variable.dims[0] == "image":
            return image_chunks(shape, variable.numpy_dtype.itemsize, self.header.partition_size)
        if variable.dims == ("partition",):
            return (1,), None
        if variable.dims[0].endswith("_byte"):
            shard = ceil(max(shape[0], 1) / PICTURE_CHUNK_BYTES) * PICTURE_CHUNK_BYTES
            return (PICTURE_CHUNK_BYTES,), (min(shard, MATRIX_SHARD_BYTES),)
        return tuple(max(1, min(n, 2**16)) for n in shape), None

    def write(self, template: str, name: str, variable: str, values: NDArray[Any], start: int = 0) -> None:
        """Write values from `start` on along the first dim; the other dims whole.

        Raises
        ------
        StoreError
            If dtype or shape differ from the registry's, or the start is not a shard's.
        """
        array = self._array(f"{schema.group_of(template, name)}/{variable}".lstrip("/"))
        known = schema.variable(template, variable)
        expected = dict(zip(known.dims, (len(values), *array.shape[1:]), strict=True))
        schema.check(known, values, expected)
        step = self.rows_per_shard(array.path)
        if start % step or (len(values) % step and start + len(values) != array.shape[0]):
            raise StoreError(
                f"{array.path}: rows {start} to {start + len(values)} are not whole shards of {step}; "
                "two writers could meet in one file."
            )
        array[start : start + len(values)] = values

    def rows_per_shard(self, path: str) -> int:
        """Rows along an array's first dim that one file holds."""
        array = self._array(path)
        return int((array.shards or array.chunks)[0])

    def read(self, path: str, rows: slice | NDArray[np.bool_] = slice(None), column: int | None = None) -> NDArray[Any]:
        """Values of an array, some rows of its first dim or all; of one column of its second dim, if given.

        Raises
        ------
        StoreIncompleteError, StoreError
            If there is no such array, or its files are damaged.
        """
        array = self._array(path)
        where = (rows,) if column is None else (rows, column)
        try:
            _refuse_empty_files(self.path / path, array, rows)
            return np.asarray(array.get_orthogonal_selection(where))
        except (ValueError, RuntimeError) as error:
            raise StoreError(
                f"{self.path / path} can't be read: {error}. Its files are damaged; delete the store and make it "
                "again, or restore them."
            ) from error

    def has(self, path: str) -> bool:
        """Whether the store holds an array or group."""
        return path in self.group

    def _array(self, path: str) -> Any:
        if path not in self._opened:
            self._opened[path] = self._open_array(path)
        return self._opened[path]

    def _open_array(self, path: str) -> Any:
        try:
            return self.group[path]
        except KeyError:
            remedy = (
                "it was imported, and the imported files do not hold that"
                if "imported" in self.header.run
                else "run the stage that makes it ('summit-dask run' does all)"
            )
            raise StoreIncompleteError(f"{self.path} has no {path}; {remedy}.") from None

    def _node(self, path: str) -> zarr.Group:
        return self.group if not path else self.group.require_group(path)

    def partition(self, index: int) -> slice:
        """Images of a partition."""
        size = self.header.partition_size
        return slice(index * size, min((index + 1) * size, self.header.n_images))

    def done(self, fingerprint: int) -> NDArray[np.bool_]:
        """Which partitions are complete for this configuration."""
        return np.asarray(self.read("partitions/fingerprint") == np.uint64(fingerprint), bool)

    def mark_done(self, partition: int, fingerprint: int) -> None:
        """Say that a partition is complete; written after all its values."""
        self.write("partitions", "partitions", "fingerprint", np.array([fingerprint], "uint64"), partition)

    def update_run(self, changes: Mapping[str, Any]) -> None:
        """Change entries of the root attribute `run`."""
        self.group.update_attributes({"run": {**self.header.run, **changes}})
        self.__dict__.pop("header", None)

    def stage_fingerprint(self, group: str) -> int | None:
        """Configuration of a finished stage, by its group ("matrices", "graphs", "embedding"); None if unfinished."""
        found = self.group.get(group)
        return found.attrs.get(FINGERPRINT) if isinstance(found, zarr.Group) else None  # type: ignore[return-value]

    def begin_stage(self, group: str) -> None:
        """Empty a stage's group, which is unfinished from now on."""
        shutil.rmtree(self.path / group, ignore_errors=True)
        self._opened.clear()
        self.group.create_group(group)

    def finish_stage(self, group: str, fingerprint: int) -> None:
        """Say that a stage's group is complete; written after all its values."""
        self._node(group).update_attributes({FINGERPRINT: fingerprint})

    @property
    def is_consolidated(self) -> bool:
        """Whether all metadata is in one file: not while something writes, nor after it was killed."""
        return self.group.metadata.consolidated_metadata is not None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Around all writing into an existing store: loosened before, consolidated after, also after a failure.

        Raises
        ------
        StoreError
            If the disk is full or can't be written.
        """
        with _writing(self.path):
            self.loosen()
            try:
                yield
            finally:
                self.consolidate()

    def loosen(self) -> None:
        """Take out consolidated metadata, which would go stale, and files that a killed process left half-written."""
        for path in self.path.rglob("*.partial"):
            path.unlink()
        if self.is_consolidated:
            self.group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
            self.group.update_attributes({})

    def consolidate(self) -> None:
        """Gather all metadata in one file, so that opening is one read."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZarrUserWarning)
            zarr.consolidate_metadata(self.group.store)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Tell what the disk refuses; an error without a number comes from the network."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise StoreError(
            f"Writing {path} failed: {error}. Make room or restore access, then run the same command: what is "
            "finished is kept."
        ) from error


def _refuse_empty_files(folder: Path, array: Any, rows: slice | NDArray[np.bool_]) -> None:
    """A file that lost its content, as when the power fails, would be read as if it had never been written."""
    for shard in _shards_of(rows, array.shape[0], (array.shards or array.chunks)[0]):
        file = folder.joinpath("c", str(shard), *["0"] * (array.ndim - 1))
        if file.is_file() and file.stat().st_size == 0:
            raise ValueError(f"{file} is empty")


def _shards_of(rows: slice | NDArray[np.bool_], length: int, step: int) -> Iterable[int]:
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(length)
        return range(start // step, ceil(stop / step))
    return [int(shard) for shard in np.unique(np.flatnonzero(rows) // step)]


def image_chunks(shape: tuple[int, ...], itemsize: int, partition: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk and shard of an array along `image`: a shard is a partition, a chunk some channels of it.

    image     channel ->
    partition |chunk|chunk|chunk|   one shard, one file
    partition |chunk|chunk|chunk|
    """
    if len(shape) == 1:
        return (partition,), (partition,)
    rest = prod(shape[2:])
    channels = max(1, min(shape[1], CHUNK_BYTES // (partition * rest * itemsize)))
    return (partition, channels, *shape[2:]), (partition, ceil(shape[1] / channels) * channels, *shape[2:])


def stored_bytes_per_image(layer_graph: LayerGraph, k: int, influence_values: bool) -> int:
    """Bytes of one image's activations and influences before compression."""
    activations = sum(layer.channels for layer in layer_graph.visible) * 8
    influences = sum(layer.channels for layer in layer_graph.influenced) * k * (5 if influence_values else 3)
    return activations + influences


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


def _open_group(path: Path, writable: bool) -> zarr.Group:
    if not path.exists():
        draft = path.with_name(path.name + ".init")
        more = " It was being laid out when it stopped; run the same command again." if draft.exists() else ""
        raise StoreError(f"There is no store at {path}.{more} Make one with 'summit-dask run --out {path}'.")
    if path.is_file():
        raise StoreError(f"{path} is a file, no store; give the folder of a store, or of one to be made.")
    if writable and not os.access(path, os.W_OK):
        raise StoreError(f"{path} can't be written; change its permissions or copy it elsewhere.")
    try:
        return zarr.open_group(path, mode="r+" if writable else "r", zarr_format=3)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is no Zarr group ({type(error).__name__}: {error}). Give the folder that "
            "'summit-dask run --out' made; if it is that one, its zarr.json is damaged."
        ) from error
