"""The arrays of a store: made, written and read by their address, and never read where their files were lost.

address     activations/inception4c/value
registry    (image, channel) float32, so: chunks, shards, fill value       facts/schema.py, store/layout.py
lengths     image, class ... from the header; channel, source from the layer graph; others from the values
"""

from collections.abc import Sequence
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from summit_dask.facts import schema
from summit_dask.facts.addresses import own_lengths
from summit_dask.facts.errors import StoreError, StoreIncompleteError
from summit_dask.facts.files import folder
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.location import Location
from summit_dask.facts.schema import Variable
from summit_dask.facts.stages import stage_of
from summit_dask.store import layout
from summit_dask.store.header import Header
from summit_dask.store.zarrstore import zarr_place

#: Rows of an array's first dim.
Rows = slice | NDArray[np.bool_]


class StoredArrays:
    """The arrays of an open store.

    Parameters
    ----------
    path
        Its folder, its address, or a zip file of it.
    group
        The same as a Zarr group.
    renewed
        A group that is being made anew: its arrays are written to, and read from, a folder beside the store, which
        takes the group's place when it is whole (see `renewing`).
    """

    def __init__(self, path: Location, group: zarr.Group, renewed: str = "") -> None:
        self.path = path
        self.group = group
        self._renewed = renewed
        self._opened: dict[str, Any] = {}  # opening an array reads a file, and a partition writes a hundred arrays

    @cached_property
    def header(self) -> Header:
        """What the root's attributes say."""
        return Header.of(self.group.attrs.asdict(), self.path)

    @property
    def layer_graph(self) -> LayerGraph:
        """The network's layers and hops."""
        return self.header.layer_graph

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
        schema.check(address, values.shape, values.dtype, self._known_lengths(address))
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
        schema.check(address, values.shape, values.dtype, dict(zip(dims[1:], array.shape[1:], strict=True)))
        step = self.rows_per_shard(address)
        stop = start + len(values)
        if start % step or (stop % step and stop != array.shape[0]) or stop > array.shape[0]:
            raise StoreError(
                f"{address}: rows {start} to {stop} of {array.shape[0]} are not whole shards of {step}; "
                "two writers could meet in one file."
            )
        array[start:stop] = values

    def write_whole(self, address: str, values: NDArray[Any]) -> None:
        """Write all values of an array anew, whatever its files hold; a column of the manifest too."""
        self._array(address)[...] = values

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
        shards = _shards_of(rows, array.shape[0], _rows_per_file(array))
        files = ["/".join([array.path, "c", str(shard), *["0"] * (array.ndim - 1)]) for shard in shards]
        place = folder(self._place_of(address))
        for shard, file, size in zip(shards, files, place.sizes_of(files), strict=True):
            if size is None and not self._may_lack(address, shard):
                raise self._damaged(address, f"{place.path / file} is missing")
            if size == 0:
                raise self._damaged(address, f"{place.path / file} is empty")

    def _damaged(self, address: str, what: object) -> StoreError:
        return StoreError(
            f"{self.path / address} can't be read: {what}. Its files are damaged; "
            f"'summit-dask repair {self.path}' makes them again."
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
            found = self._root_of(address)[address]
        except KeyError:
            remedy = (
                "run the stage that makes it ('summit-dask run' does all)"
                if self.header.run.imported is None
                else "it was imported, and the imported files do not hold that"
            )
            raise StoreIncompleteError(f"{self.path} has no {address}; {remedy}.") from None
        self._see_that_it_fits(address, found)
        return _writing_all(found)

    def _see_that_it_fits(self, address: str, found: Any) -> None:
        """Whether an array is what registry and header say; else an index would lead past its end later."""
        if not schema.is_registered(address):
            return
        try:
            schema.check(address, found.shape, found.dtype, self._known_lengths(address))
        except StoreError as error:
            raise StoreError(
                f"{self.path} doesn't hold what its header says: {error} Restore its zarr.json files from a copy, or "
                "make the store again."
            ) from error

    def _root_of(self, address: str) -> zarr.Group:
        """The Zarr group that an address starts from: another one for what is being renewed."""
        return self._draft if self._is_drafted(address) else self.group

    def _place_of(self, address: str) -> Location:
        return self._draft_path if self._is_drafted(address) else self.path

    def _is_drafted(self, address: str) -> bool:
        return bool(self._renewed) and (address == self._renewed or address.startswith(f"{self._renewed}/"))

    def _may_lack(self, address: str, shard: int) -> bool:
        """Whether a file may be missing: of a partition that is not done."""
        if address == "partitions/fingerprint":
            return True
        stage = stage_of(address)
        if stage is None or not stage.by_partition:
            return False
        return bool(self._array("partitions/fingerprint")[shard] == 0)

    @property
    def _draft_path(self) -> Location:
        return self.path.with_name(f"{self.path.name}.new")

    @cached_property
    def _draft(self) -> zarr.Group:
        return zarr.open_group(zarr_place(folder(self._draft_path), writable=True), mode="a", zarr_format=3)


def _writing_all(array: Any) -> Any:
    """An array whose chunks of fill values are written too, so that a missing file always means a loss."""
    return array.with_config({"write_empty_chunks": True})


def _rows_per_file(array: Any) -> int:
    return int((array.shards or array.chunks)[0])


def _shards_of(rows: Rows, length: int, step: int) -> Sequence[int]:
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(length)
        return range(start // step, ceil(stop / step))
    return [int(shard) for shard in np.unique(np.flatnonzero(rows) // step)]
