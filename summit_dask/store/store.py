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
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.errors import ZarrUserWarning

from summit_dask.facts import schema
from summit_dask.facts.addresses import measured_arrays
from summit_dask.facts.errors import StoreError, StoreIncompleteError
from summit_dask.facts.files import HEAD, Bucket, Folder, Zip, folder
from summit_dask.facts.location import Location, location
from summit_dask.facts.run import NetworkSpec, Run
from summit_dask.facts.schema import Variable
from summit_dask.store.arrays import StoredArrays
from summit_dask.store.durable import flush
from summit_dask.store.header import Header
from summit_dask.store.lock import holding
from summit_dask.store.metadata import CHECKSUM, checksum, root_of
from summit_dask.store.swap import appear, replace, restore, standing_in
from summit_dask.store.zarrstore import zarr_place

FINGERPRINT = "fingerprint"

Table = Mapping[str, NDArray[Any]]


class Store(StoredArrays):
    """A store, open for reading or for writing: its arrays, and what is said of them in its attributes."""

    @classmethod
    def open(cls, path: Location | str, writable: bool = False, renewed: str = "") -> "Store":
        """Open an existing store: its folder, its address, or a zip file of it, which can only be read.

        Raises
        ------
        StoreError, StoreVersionError
            If there is none at that place, it is broken, or of another format version.
        """
        place, group = _opened(located(path), writable)
        store = cls(place, group, renewed)
        store.header  # noqa: B018 - checks the version before anything else happens
        return store

    @classmethod
    def create(cls, path: Location, header: Header, tables: Mapping[str, Table]) -> "Store":
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
        draft = _layout_of(path)
        with writing(path):
            folder(draft).remove()
            store = cls(draft, zarr.open_group(zarr_place(folder(draft), writable=True), mode="w", zarr_format=3))
            store.group.update_attributes(header.attributes())
            store._lay_out_tables(tables)
            if header.run.imported is None:
                store._lay_out_measured()
            flush(draft)
            appear(draft, path)
        return cls.open(path, writable=True)

    def _lay_out_tables(self, tables: Mapping[str, Table]) -> None:
        for head in ("", "outputs", "images", "classes"):
            given = tables.get(head, {})
            for variable in schema.variables(head):
                if variable.name in given:
                    self.add(variable.address(), given[variable.name])
                elif head != "images" or self.header.run.imported is None:
                    self._add_empty(variable)
        for column in sorted(set(tables["images"]) - {variable.name for variable in schema.variables("images")}):
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
    def images_root(self) -> Location:
        """The folder that the images' paths start from.

        Raises
        ------
        StoreIncompleteError
            If the store was imported.
        StoreError
            If it is at an address that can't be reached from here.
        """
        if self.header.run.images_root is None:
            raise self._without("images")
        try:
            return location(self.header.run.images_root)
        except ValueError as error:
            raise StoreError(f"The images of {self.path} can't be read: {error}.") from error

    def _without(self, what: str) -> StoreIncompleteError:
        return StoreIncompleteError(
            f"{self.path} was imported; it has no {what}. Make a store of your own with 'summit-dask run'."
        )

    def update_run(self, run: Run) -> None:
        """Change what the header says of the run."""
        self.group.update_attributes({"run": run.plain()})
        self.__dict__.pop("header", None)

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
        folder(self._draft_path / group).remove()
        view = type(self)(self.path, self.group, renewed=group)
        view._draft.create_group(group)
        try:
            yield view
            flush(self._draft_path)
            self._replace(group)
        finally:
            folder(self._draft_path).remove()

    def _replace(self, group: str) -> None:
        parent = group.rpartition("/")[0]
        if parent:
            self.group.require_group(parent)
        replace(self.path, self._draft_path, group)
        self._opened.clear()

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
        place = folder(self.path)
        place.sweep()
        restore(self.path, self._draft_path)
        folder(self._draft_path).remove()
        self.group = zarr.open_group(zarr_place(place, writable=True), mode="r+", use_consolidated=False)
        self.group.update_attributes({CHECKSUM: None})
        self._opened.clear()
        self.__dict__.pop("header", None)  # another process may have changed it

    def consolidate(self) -> None:
        """Gather all metadata in one file, so that opening is one read; then note that file's checksum."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZarrUserWarning)
            root = zarr.consolidate_metadata(self.group.store)
        root.update_attributes({CHECKSUM: checksum(root_of(self.path))})


@contextmanager
def writing(path: Location) -> Iterator[None]:
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


def is_taken(path: Location) -> bool:
    """Whether something lies there already, other than a store that is being laid out; an empty folder becomes one."""
    place = folder(path)
    if isinstance(place, Bucket) and place.size(HEAD) is None and folder(_layout_of(path)).is_there():
        return False
    return place.is_there()


def _is_begun(path: Location) -> bool:
    """Whether a store was being laid out there, or got further images, when it stopped."""
    if isinstance(path, Path):
        return _layout_of(path).exists() or additions(path).exists()
    return folder(_layout_of(path)).is_there() or folder(additions(path)).is_there()


def _layout_of(path: Location) -> Location:
    """Where a store lies while it is laid out."""
    return path.with_name(f"{path.name}.init")


def additions(path: Location) -> Location:
    """Where a store is laid out anew that gets further images."""
    return path.with_name(f"{path.name}.append")


def located(path: Location | str) -> Location:
    """The place of a store.

    Raises
    ------
    StoreError
        If nothing known leads to its address.
    """
    try:
        return location(path)
    except ValueError as error:
        raise StoreError(
            f"There is no store at {path} that can be read: {error}. Check the address; some need a package of their "
            "own, as s3:// needs s3fs."
        ) from error


def _opened(path: Location, writable: bool) -> tuple[Location, zarr.Group]:
    """A store and where it is read: beside its place, if it is on its way there with further images."""
    try:
        return path, _open_group(path, writable)
    except StoreError:
        draft = None if writable else standing_in(additions(path), path.name)
        if draft is None:
            raise
        return draft, _open_group(draft, writable)


def _open_group(path: Location, writable: bool) -> zarr.Group:
    place = folder(path)
    if not isinstance(place, Bucket):
        _refuse_what_is_none(place, writable)
    try:
        if writable:  # gathered metadata would outlive what it describes
            return zarr.open_group(zarr_place(place, writable), mode="r+", zarr_format=3, use_consolidated=False)
        return zarr.open_group(zarr_place(place, writable), mode="r", zarr_format=3)
    except (OSError, ValueError, KeyError, TypeError) as error:
        _refuse_what_is_none(place, writable)
        raise StoreError(
            f"{path} is no Zarr group ({type(error).__name__}: {error}). Give the folder that "
            "'summit-dask run --out' made; if it is that one, its zarr.json is damaged."
        ) from error


def _refuse_what_is_none(place: Folder, writable: bool) -> None:
    path = place.path
    if isinstance(place, Zip):
        _refuse_zip(place, writable)
    elif not (path.exists() if isinstance(path, Path) else is_taken(path)):
        more = " It was being laid out when it stopped; run the same command again." if _is_begun(path) else ""
        raise StoreError(f"There is no store at {path}.{more} Make one with 'summit-dask run --out {path}'.")
    elif isinstance(path, Path) and path.is_file():
        raise StoreError(f"{path} is a file, no store; give the folder of a store, or of one to be made.")
    elif isinstance(path, Path) and writable and not os.access(path, os.W_OK):
        raise StoreError(f"{path} can't be written; change its permissions or copy it elsewhere.")


def _refuse_zip(place: Zip, writable: bool) -> None:
    if writable:
        raise place.refused()
    if place.size(HEAD) is None:
        raise StoreError(
            f"There is no store at {place.path}: make the zip of what the store's folder holds, without it."
        )
