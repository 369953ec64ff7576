"""The Zarr store: laid out first, filled by whole shards, read by address.

    store.zarr/                         the root: its attributes are the header
      images/ classes/ outputs/         tables, filled when the store is laid out
      partitions/fingerprint            which partitions are done: written last, after all their values
      activations/<layer>/value ...     one shard a partition
      matrices/ graphs/ ...             one group a stage, which has its fingerprint as an attribute once it is whole
    store.zarr.new/                     what is being renewed, until it is whole

Every array is described in `schema`; chunks and shard indices end in a crc32c.
"""

import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.errors import ZarrUserWarning

from summit_dask.facts import schema
from summit_dask.facts.addresses import measured_arrays, own_lengths
from summit_dask.facts.errors import StoreError, StoreIncompleteError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.run import NetworkSpec, Run
from summit_dask.facts.schema import Variable
from summit_dask.facts.stages import stage_of
from summit_dask.store import layout
from summit_dask.store.header import Header
from summit_dask.store.lock import holding

FINGERPRINT = "fingerprint"

#: Rows of an array's first dim.
Rows = slice | NDArray[np.bool_]

Table = Mapping[str, NDArray[Any]]


class Store:
    """A store, open for reading or for writing.

    Parameters
    ----------
    path
        Its folder.
    group
        The folder as a Zarr group.
    renewed
        A group that is being made anew: its arrays are written to, and read from, a folder beside the store, which
        takes the group's place when it is whole (see `renewing`).
    """

    def __init__(self, path: Path, group: zarr.Group, renewed: str = "") -> None:
        self.path = path
        self.group = group
        self._renewed = renewed
        self._opened: dict[str, Any] = {}  # opening an array reads a file, and a partition writes a hundred arrays

    @classmethod
    def open(cls, path: Path | str, writable: bool = False, renewed: str = "") -> "Store":
        """Open an existing store.

        Raises
        ------
        StoreError, StoreVersionError
            If there is none at that place, it is broken, or of another format version.
        """
        store = cls(Path(path), _open_group(Path(path), writable), renewed)
        store.header  # noqa: B018 - checks the version before anything else happens
        return store

    @classmethod
    def create(cls, path: Path, header: Header, tables: Mapping[str, Table]) -> "Store":
        """Lay out a store and fill the tables of images, classes and outputs; appears whole or not at all.

        Parameters
        ----------
        tables
            By group ("", "outputs", "images", "classes"), by variable; /images may hold further columns,
            which become coordinates. An imported store has of /images the given variables alone, and no arrays for
            what is measured.

        Raises
        ------
        StoreError
            If the disk is full or can't be written.
        """
        draft = path.with_name(path.name + ".init")
        with writing(path):
            shutil.rmtree(draft, ignore_errors=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            store = cls(draft, zarr.open_group(draft, mode="w", zarr_format=3))
            store.group.update_attributes(header.attributes())
            store._lay_out_tables(tables)
            if header.run.imported is None:
                store._lay_out_measured()
            draft.rename(path)
        return cls.open(path, writable=True)

    def _lay_out_tables(self, tables: Mapping[str, Table]) -> None:
        for head in ("", "outputs", "images", "classes"):
            given = tables.get(head, {})
            for variable in schema.variables(head):
                if variable.name in given:
                    self.add(variable.address(), given[variable.name])
                elif head != "images" or self.header.run.imported is None:
                    self._add_empty(variable)
        for column in set(tables["images"]) - {variable.name for variable in schema.variables("images")}:
            self._add_coordinate("images", column, tables["images"][column])
        self.lay_out("partitions/fingerprint")

    def _add_empty(self, variable: Variable) -> None:
        """An array of fill values, in files: one that is missing later was lost."""
        shape = schema.sizes(variable, self.header.lengths())
        self.add(variable.address(), np.full(shape, variable.fill, variable.numpy_dtype))

    def _add_coordinate(self, group: str, name: str, values: NDArray[Any]) -> None:
        is_text = values.dtype.kind in "TOU"
        dtype = "str" if is_text else str(values.dtype)
        column = Variable(group, name, ("image",), dtype, "column of the manifest", "", "" if is_text else 0)
        self._make_array(column.address(), column, values.shape)[:] = values.astype(column.numpy_dtype)
        node = self.group.require_group(group)
        names = str(node.attrs.get("coordinates", "")).split()
        node.update_attributes({"coordinates": " ".join(sorted([*names, name]))})

    def _lay_out_measured(self) -> None:
        options = self.header.run.config
        for address in measured_arrays(self.layer_graph, options):
            self.lay_out(address, rank=options.k)

    # What it is

    @cached_property
    def header(self) -> Header:
        """What the root's attributes say."""
        return Header.of(self.group.attrs.asdict(), self.path)

    @property
    def layer_graph(self) -> LayerGraph:
        """The network's layers and hops."""
        return self.header.layer_graph

    @property
    def network(self) -> NetworkSpec:
        """What the images were measured with.

        Raises
        ------
        StoreIncompleteError
            If the store was imported.
        """
        if self.header.run.network is None:
            raise self._without("network to measure images with")
        return self.header.run.network

    @property
    def images_root(self) -> Path:
        """The folder that the images' paths start from.

        Raises
        ------
        StoreIncompleteError
            If the store was imported.
        """
        if self.header.run.images_root is None:
            raise self._without("images")
        return self.header.run.images_root

    def _without(self, what: str) -> StoreIncompleteError:
        return StoreIncompleteError(
            f"{self.path} was imported; it has no {what}. Make a store of your own with 'summit-dask run'."
        )

    def update_run(self, run: Run) -> None:
        """Change what the header says of the run."""
        self.group.update_attributes({"run": run.plain()})
        self.__dict__.pop("header", None)

    # Arrays, by address

    def has(self, address: str) -> bool:
        """Whether the store holds an array or group."""
        return address in self._root_of(address)

    def lay_out(self, address: str, **lengths: int) -> None:
        """Make an array of fill values; `lengths` of the dims that neither header nor layer graph decide."""
        variable = schema.variable(address)
        shape = schema.sizes(variable, {**self._known_lengths(address), **lengths})
        self._make_array(address, variable, shape)

    def add(self, address: str, values: NDArray[Any]) -> None:
        """Make an array of these values, which decide the dims that neither header nor layer graph do.

        Raises
        ------
        StoreError
            If dtype or shape differ from what the registry says.
        """
        schema.check(address, values, self._known_lengths(address))
        self._make_array(address, schema.variable(address), values.shape)[...] = values

    def write(self, address: str, values: NDArray[Any], start: int = 0) -> None:
        """Write values from `start` on along the first dim; the other dims whole.

        Raises
        ------
        StoreError
            If dtype or shape differ from the registry's, or the rows are not whole shards.
        """
        array = self._array(address)
        dims = schema.variable(address).dims
        schema.check(address, values, dict(zip(dims[1:], array.shape[1:], strict=True)))
        step = self.rows_per_shard(address)
        stop = start + len(values)
        if start % step or (stop % step and stop != array.shape[0]) or stop > array.shape[0]:
            raise StoreError(
                f"{address}: rows {start} to {stop} of {array.shape[0]} are not whole shards of {step}; "
                "two writers could meet in one file."
            )
        array[start:stop] = values

    def read(self, address: str, rows: Rows = slice(None), column: int | None = None) -> NDArray[Any]:
        """Values of an array, some rows of its first dim or all; of one column of its second dim, if given.

        Raises
        ------
        StoreIncompleteError, StoreError
            If there is no such array, or its files are damaged or missing.
        """
        array = self._array(address)
        selection = (rows,) if column is None else (rows, column)
        self.refuse_lost_files(address, rows)
        try:
            return np.asarray(array.get_orthogonal_selection(selection))
        except (ValueError, RuntimeError) as error:
            raise self._damaged(address, error) from error

    def refuse_lost_files(self, address: str, rows: Rows = slice(None)) -> None:
        """See that the files of some rows are there; what is missing would be read as fill values.

        Raises
        ------
        StoreError
            If one is missing, and was written once, or empty.
        """
        array = self._array(address)
        for shard in _shards_of(rows, array.shape[0], _rows_per_file(array)):
            file = Path(array.store_path.store.root, array.path, "c", str(shard), *["0"] * (array.ndim - 1))
            if not file.is_file() and not self._may_lack(address, shard):
                raise self._damaged(address, f"{file} is missing")
            if file.is_file() and file.stat().st_size == 0:
                raise self._damaged(address, f"{file} is empty")

    def _damaged(self, address: str, what: object) -> StoreError:
        return StoreError(
            f"{self.path / address} can't be read: {what}. Its files are damaged; delete the store and make it "
            "again, or restore them."
        )

    def rows_per_shard(self, address: str) -> int:
        """Rows along an array's first dim that one file holds."""
        return _rows_per_file(self._array(address))

    def _known_lengths(self, address: str) -> dict[str, int]:
        return {**self.header.lengths(), **own_lengths(self.layer_graph, address)}

    def _make_array(self, address: str, variable: Variable, shape: tuple[int, ...]) -> Any:
        chunk, shard = layout.cut(variable, shape, self.header.partition_size)
        made = self._root_of(address).create_array(
            address,
            shape=shape,
            dtype=variable.numpy_dtype,
            chunks=chunk,
            shards=shard,
            fill_value=variable.fill,
            dimension_names=variable.dims,
            compressors=[ZstdCodec(level=3), Crc32cCodec()],
            attributes={"long_name": variable.meaning, "units": variable.units},
        )
        self._opened[address] = _writing_all(made)
        return self._opened[address]

    def _array(self, address: str) -> Any:
        if address not in self._opened:
            self._opened[address] = self._open_array(address)
        return self._opened[address]

    def _open_array(self, address: str) -> Any:
        try:
            return _writing_all(self._root_of(address)[address])
        except KeyError:
            remedy = (
                "run the stage that makes it ('summit-dask run' does all)"
                if self.header.run.imported is None
                else "it was imported, and the imported files do not hold that"
            )
            raise StoreIncompleteError(f"{self.path} has no {address}; {remedy}.") from None

    def _root_of(self, address: str) -> zarr.Group:
        """The Zarr group that an address starts from: another one for what is being renewed."""
        if self._renewed and (address == self._renewed or address.startswith(f"{self._renewed}/")):
            return self._draft
        return self.group

    def _may_lack(self, address: str, shard: int) -> bool:
        """Whether a file may be missing: of a partition that is not done."""
        if address == "partitions/fingerprint":
            return True
        stage = stage_of(address.partition("/")[0])
        if stage is None or not stage.by_partition:
            return False
        return bool(self._array("partitions/fingerprint")[shard] == 0)

    # Partitions

    def partition(self, index: int) -> slice:
        """Images of a partition."""
        size = self.header.partition_size
        return slice(index * size, min((index + 1) * size, self.header.n_images))

    def done(self, fingerprint: int) -> NDArray[np.bool_]:
        """Which partitions are complete for this configuration."""
        return np.asarray(self.read("partitions/fingerprint") == np.uint64(fingerprint), bool)

    def mark_done(self, partition: int, fingerprint: int) -> None:
        """Say that a partition is complete; written after all its values."""
        self.write("partitions/fingerprint", np.array([fingerprint], "uint64"), partition)

    def forget(self, partitions: Iterable[int]) -> None:
        """Take back that some partitions are complete: they are measured again, and all that is made from them too."""
        self.update_run(self.header.run.model_copy(update={"revision": self.header.run.revision + 1}))
        for index in partitions:
            self.mark_done(index, 0)

    # Groups that stages make

    def finished(self, group: str) -> int | None:
        """What a group was made with, as a fingerprint; None if it isn't there or not whole."""
        node = self._root_of(group).get(group)
        if not isinstance(node, zarr.Group):
            return None
        key: Any = node.attrs.get(FINGERPRINT)
        return None if key is None else int(key)

    def finish(self, group: str, fingerprint: int) -> None:
        """Say that a group is whole; written after all its values."""
        self._root_of(group).require_group(group).update_attributes({FINGERPRINT: fingerprint})

    @contextmanager
    def renewing(self, group: str) -> Iterator["Store"]:
        """A view of the store in which a group is new and empty; it replaces the old one when the block has ended well.

        Until then, and for ever if the block fails, readers see the group as it was.
        """
        shutil.rmtree(self._draft_path / group, ignore_errors=True)
        view = type(self)(self.path, self.group, renewed=group)
        view._draft.create_group(group)
        try:
            yield view
            self._replace(group)
        finally:
            shutil.rmtree(self._draft_path, ignore_errors=True)

    def _replace(self, group: str) -> None:
        parent = group.rpartition("/")[0]
        if parent:
            self.group.require_group(parent)
        old = self.path / group
        if old.exists():
            aside = self._aside / group
            aside.parent.mkdir(parents=True)
            old.rename(aside)
        (self._draft_path / group).rename(old)
        self._opened.clear()

    def _restore(self) -> None:
        """Put back what a killed process had moved aside to make room."""
        for file in sorted(self._aside.rglob("zarr.json"), key=_depth):  # a group comes before what is inside
            place = self.path / file.parent.relative_to(self._aside)
            if file.exists() and not place.exists():
                file.parent.rename(place)

    @property
    def _aside(self) -> Path:
        return self._draft_path / "old"

    @property
    def _draft_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.new")

    @cached_property
    def _draft(self) -> zarr.Group:
        return zarr.open_group(self._draft_path, mode="a", zarr_format=3)

    # Changing a store

    @property
    def is_consolidated(self) -> bool:
        """Whether all metadata is in one file: not while something writes, nor after it was killed."""
        return self.group.metadata.consolidated_metadata is not None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Around all writing into an existing store: alone, loosened before, consolidated after, also after a failure.

        Raises
        ------
        StoreBusyError
            If another process is changing it.
        StoreError
            If the disk is full or can't be written.
        """
        with holding(self.path), writing(self.path):
            self.loosen()
            try:
                yield
            finally:
                self.consolidate()

    def loosen(self) -> None:
        """Take out consolidated metadata, which would go stale, and what a killed process left half-written."""
        for path in self.path.rglob("*.partial"):
            path.unlink()
        self._restore()
        shutil.rmtree(self._draft_path, ignore_errors=True)
        self.group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        self.group.update_attributes({})
        self._opened.clear()
        self.__dict__.pop("header", None)  # another process may have changed it

    def consolidate(self) -> None:
        """Gather all metadata in one file, so that opening is one read."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZarrUserWarning)
            zarr.consolidate_metadata(self.group.store)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell what the disk refuses; an error without a number comes from the network.

    Raises
    ------
    StoreError
        Names the place and what to do.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise StoreError(
            f"Writing {path} failed: {error}. Make room or restore access, then run the same command: what is "
            "finished is kept."
        ) from error


def _depth(path: Path) -> int:
    return len(path.parts)


def _writing_all(array: Any) -> Any:
    """An array whose chunks of fill values are written too, so that a missing file always means a loss."""
    return array.with_config({"write_empty_chunks": True})


def _rows_per_file(array: Any) -> int:
    return int((array.shards or array.chunks)[0])


def _shards_of(rows: Rows, length: int, step: int) -> Iterable[int]:
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(length)
        return range(start // step, ceil(stop / step))
    return [int(shard) for shard in np.unique(np.flatnonzero(rows) // step)]


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
        if writable:  # gathered metadata would outlive what it describes
            return zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=False)
        return zarr.open_group(path, mode="r", zarr_format=3)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is no Zarr group ({type(error).__name__}: {error}). Give the folder that "
            "'summit-dask run --out' made; if it is that one, its zarr.json is damaged."
        ) from error
