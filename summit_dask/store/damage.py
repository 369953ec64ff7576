"""Damaged files of a store, each by its address: every file is read whole, and checksums tell a single flipped bit.

activations/upper/value/c/2/0      a file of values: a checksum in each chunk, and in the shard's index
activations/upper/value/zarr.json  a node's metadata: a second copy is gathered in the root's zarr.json
zarr.json                          the root's: a checksum among its attributes (see `Store.consolidate`)
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any

import zarr

from summit_dask.facts import schema
from summit_dask.facts.files import folder
from summit_dask.facts.stages import stage_of
from summit_dask.store.metadata import CHECKSUM, METADATA, checksum, gathered, root_of
from summit_dask.store.present import GROUPED
from summit_dask.store.store import Store

MARKS = "partitions/fingerprint"


@dataclass(frozen=True)
class Damage:
    """A file that is damaged or missing.

    Attributes
    ----------
    address
        The array (or group, for metadata) that it belongs to; empty for the root.
    file
        Its path inside the store.
    what
        What is wrong with it.
    partition
        The images' partition whose values it holds; None for any other file.
    """

    address: str
    file: str
    what: str
    partition: int | None = None

    @property
    def is_metadata(self) -> bool:
        """Whether it holds no values."""
        return self.file.endswith(METADATA)

    def sentence(self, path: object) -> str:
        """What to tell the user of a store."""
        whose = f", the values of partition {self.partition}" if self.partition is not None else ""
        return f"{self.address or 'the root'}: {self.file}{whose}, {self.what}; {self._remedy(path)}."

    def _remedy(self, path: object) -> str:
        repair = f"'summit-dask repair {path}'"
        if self.file == METADATA:
            return "it can't be made again: restore it from a copy, or delete the store and run again"
        if self.is_metadata:
            return f"{repair} writes it again"
        if self.partition is not None:
            return f"{repair} measures the partition again"
        return f"{repair} makes it again, as {_maker(self.address)} did"


#: Commands that make what belongs to no stage; the tables are made by init.
_MAKERS = {"evidence": "evidence", "pictures": "pictures", "usage": "usage", GROUPED: "reduce --by"}


def _maker(address: str) -> str:
    """The command that wrote an array which is not divided into partitions."""
    stage = stage_of(address)
    head = address.partition("/")[0]
    return f"'{stage.command if stage else _MAKERS.get(head, 'init')}'"


def is_measured(address: str) -> bool:
    """Whether an array is filled by the extraction, a file a partition."""
    stage = stage_of(address)
    return address in schema.MEASURED_OF_IMAGES or (stage is not None and stage.by_partition)


def find_damage(store: Store) -> Iterator[Damage | None]:
    """Look at every file of a store; None for one that is whole.

    Values are read a file at a time. Files that an unfinished partition may lack are not looked at.

    Parameters
    ----------
    store
        Opened for reading, so that its metadata is the gathered copy.
    """
    yield from _metadata(store)
    marks = dict(_files(store, MARKS))
    yield from marks.values()
    waiting = {k for k, damage in marks.items() if damage or not store.read(MARKS, slice(k, k + 1)).all()}
    for address in _arrays(store):
        may_lack = waiting if stage_of(address) is not None and is_measured(address) else ()
        yield from (damage for place, damage in _files(store, address) if place not in may_lack)


def _arrays(store: Store) -> list[str]:
    """Addresses of all arrays, but the marks of partitions that are done."""
    members = store.group.members(max_depth=None)
    return sorted(address for address, node in members if isinstance(node, zarr.Array) and address != MARKS)


def _files(store: Store, address: str) -> Iterator[tuple[int, Damage | None]]:
    """Each file of an array: its place along the first dim, and what is wrong with it."""
    array: Any = store.group[address]
    step = array.shards or array.chunks
    counts = [ceil(length / size) for length, size in zip(array.shape, step, strict=True)]
    for place in product(*map(range, counts)):
        file = "/".join([address, "c", *map(str, place)])
        region = tuple(slice(i * size, (i + 1) * size) for i, size in zip(place, step, strict=True))
        what = _wrong(store, file, array, region)
        partition = place[0] if is_measured(address) or address == MARKS else None
        yield place[0], Damage(address, file, what, partition) if what else None


def _wrong(store: Store, file: str, array: Any, region: tuple[slice, ...]) -> str:
    """What is wrong with a file of values; empty if nothing is."""
    size = folder(store.path).size(file)
    if size is None:
        return "" if file.startswith(MARKS) else "which is missing"
    if size == 0:  # Zarr would take it for fill values
        return "which is empty"
    try:
        array[region]
    except (ValueError, RuntimeError, OSError) as error:
        return f"which is damaged ({str(error).splitlines()[0]})"
    return ""


def _metadata(store: Store) -> Iterator[Damage | None]:
    """The metadata of each node against its gathered copy, and the root's against its checksum."""
    if not store.is_consolidated:  # a run is going on, or was killed
        return
    root = root_of(store.path)
    is_right = root["attributes"].get(CHECKSUM) in (None, checksum(root))
    yield None if is_right else Damage("", METADATA, "which is damaged (its checksum differs)")
    for address, copy in gathered(root).items():
        file = f"{address}/{METADATA}"
        what = _wrong_metadata(store, file, copy)
        yield Damage(address, file, what) if what else None


def _wrong_metadata(store: Store, file: str, copy: Mapping[str, Any]) -> str:
    try:
        found = json.loads(folder(store.path).read(file))
    except FileNotFoundError:
        return "which is missing"
    except ValueError as error:
        return f"which is damaged ({error})"
    return "" if found == copy else "which is damaged (it differs from its copy in the root's zarr.json)"
