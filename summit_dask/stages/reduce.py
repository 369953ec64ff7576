"""The reduce stage: per-image values of the store become counts per class, on Dask workers.

Some classes at a time, for images lie in the order of their classes:

    the classes' images:  partitions 0 1 2 3 ── count ──┐
                                     4 5 6 7 ── count ──┼── write    their matrices, in whole files
                                     8       ── count ──┘

So a task holds the counts of few classes, however many images and classes there are. Images in another order are
counted as well; only more tasks read the same partition.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from scipy.sparse import csr_array

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.matrices import (
    add_counts,
    class_statistics,
    count_selected,
    count_sources,
    dense_counts,
    sources_by_hop,
)
from summit_dask.facts import schema
from summit_dask.facts.addresses import addresses, is_kept
from summit_dask.facts.config import MeasureOptions, ResultOptions
from summit_dask.facts.layergraph import Hop
from summit_dask.facts.location import Location
from summit_dask.stages.cluster import Connect
from summit_dask.stages.tasks import finished
from summit_dask.store.counts import readable_classes
from summit_dask.store.layout import CLASSES_PER_SHARD
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store

GROUP = "matrices"

#: Partitions that a task counts; with it there are at most two tasks for each partition.
PARTITIONS_PER_TASK = 4

#: Counts of some classes by address, sparse ones as `count_sources` makes them.
Counts = dict[str, csr_array]


def reduce(store: Store, options: ResultOptions, connect: Connect) -> None:
    """Count A, I and the classes' images from the stored values."""
    cluster = connect()
    for address, variable in addresses(store.layer_graph, GROUP):
        if is_kept(variable, options):
            store.lay_out(address)
    write_statistics(store)
    tasks = count_classes(store, options)
    used: dict[range, Mapping[str, NDArray[np.int32]]] = {}
    with Progress("reduce", "classes", store.header.n_classes) as progress:
        for classes, counts in finished(cluster, cluster.client.compute([*tasks.values()]), [*tasks]):
            used[classes] = counts
            progress.add(len(classes))
    for address in next(iter(used.values())):
        store.write(address, np.concatenate([used[classes][address] for classes in tasks]))


@dataclass(frozen=True)
class Count:
    """A count of the registry, and where the values of single images that are counted lie.

    Of a layer L, `values` and a name: activations/L/value, or contributions/L/inhibitor_ and source, hop.
    """

    name: str
    values: str

    def address(self, layer: str, name: str) -> str:
        """Of one layer's values."""
        head, _, prefix = self.values.partition("/")
        return f"{head}/{layer}/{prefix}{name}"


#: By the channels that an image uses, and by the sources of its channels.
USED = (Count("activation_count", "activations"), Count("relevance_count", "relevances"))
RANKED = (
    Count("influence_count", "influences"),
    Count("contribution_count", "contributions"),
    Count("inhibition_count", "contributions/inhibitor_"),
)


def kept(counts: Sequence[Count], options: MeasureOptions) -> list[Count]:
    """Those that a run with these options keeps."""
    return [count for count in counts if is_kept(schema.variable(f"{GROUP}/-/{count.name}"), options)]


def count_classes(store: Store, options: ResultOptions) -> dict[range, Delayed]:
    """Tasks that count some neighbouring classes each, write their I and give their A; nothing is computed yet."""
    count, write = delayed(_count, pure=False), delayed(_write, pure=False)
    images = partitions_by_classes(store)
    step = PARTITIONS_PER_TASK * ceil(sum(map(len, images.values())) / (2 * store.header.n_partitions))
    return {
        classes: write(
            store.path,
            classes,
            [count(store.path, options, classes, own[i : i + step]) for i in range(0, len(own), step)],
        )
        for classes, own in images.items()
    }


def partitions_by_classes(store: Store) -> dict[range, list[int]]:
    """Partitions that hold images of some neighbouring classes (none: the first); half as many groups as partitions."""
    header = store.header
    n_groups = max(1, header.n_partitions // 2)
    step = CLASSES_PER_SHARD * ceil(header.n_classes / CLASSES_PER_SHARD / n_groups)
    partition = np.arange(header.n_images) // header.partition_size
    group = readable_classes(store.read, slice(None)) // step  # unreadable: -1
    return {
        range(start, min(start + step, header.n_classes)): np.unique(partition[group == start // step]).tolist() or [0]
        for start in range(0, header.n_classes, step)
    }


def _count(path: Location, options: ResultOptions, classes: range, partitions: Sequence[int]) -> Counts:
    """Counts of some classes' images in some partitions; runs on a worker."""
    store = Store.open(path)
    totals: Counts = {}
    for partition in partitions:
        rows, own = _images_of(store, partition, classes)
        for address, counts in _counted(store, options, rows, own, len(classes)):
            totals[address] = add_counts([totals[address], counts]) if address in totals else counts
    return totals


def _images_of(store: Store, partition: int, classes: range) -> tuple[slice, NDArray[np.int32]]:
    """The part of a partition where a class's images lie, and the place of each image's class; -1: another one."""
    rows = store.partition(partition)
    index = readable_classes(store.read, rows)
    own = np.where((index >= classes.start) & (index < classes.stop), index - classes.start, -1).astype(np.int32)
    places = np.flatnonzero(own >= 0)
    first, stop = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
    return slice(rows.start + first, rows.start + stop), own[first:stop]


def _counted(
    store: Store, options: ResultOptions, rows: slice, classes: NDArray[np.int32], n_classes: int
) -> Iterator[tuple[str, csr_array]]:
    """Counts over some images, by address."""
    graph = store.layer_graph
    for count in kept(USED, options):
        for layer in graph.visible:
            values = store.read(count.address(layer.name, "value"), rows)
            selected = select_channels(values, options.mass, options.excluded_channels(layer.name))
            yield f"{GROUP}/{layer.name}/{count.name}", csr_array(count_selected(selected, classes, n_classes))
    for count in kept(RANKED, options):
        for layer in graph.influenced:
            hops = graph.incoming(layer.name)
            source = store.read(count.address(layer.name, "source"), rows)
            by_hop = store.read(count.address(layer.name, "hop"), rows) if _meet(hops) else None
            for index, hop in enumerate(hops):
                own = source[:, hop.rows]
                if by_hop is not None:
                    own = sources_by_hop(own, by_hop[:, hop.rows], index)
                n_sources = graph.layer(hop.source).channels
                yield f"{GROUP}/{hop.name}/{count.name}", count_sources(own, classes, n_classes, n_sources)


def _meet(hops: Sequence[Hop]) -> bool:
    """Whether several lead into the same channels, so that a source doesn't say by which it came."""
    targets = [channel for hop in hops for channel in hop.targets]
    return len(set(targets)) < len(targets)


def _write(path: Location, classes: range, parts: Sequence[Counts]) -> dict[str, NDArray[np.int32]]:
    """Write sources' counts of some classes; gives those of channels, whose arrays hold all classes in one file."""
    store = Store.open(path, writable=True, renewed=GROUP)
    used = {}
    for address in parts[0]:
        counts = add_counts([part[address] for part in parts])
        if schema.variable(address).dims == ("class", "channel"):
            used[address] = counts.toarray()
        else:
            _write_sources(store, address, classes, counts)
    return used


def _write_sources(store: Store, address: str, classes: range, counts: csr_array) -> None:
    step = store.rows_per_shard(address)
    for start in range(0, len(classes), step):
        rows = dense_counts(counts, counts.shape[0] // len(classes), start, min(start + step, len(classes)))
        store.write(address, rows, classes.start + start)


def write_statistics(store: Store) -> None:
    """Count each class's readable and rightly classified images; they depend on no option of this stage."""
    n_images, n_correct = class_statistics(
        store.read("images/class_index"),
        store.read("images/status") == schema.READ,
        store.read("images/predicted")[:, 0],
        store.read("classes/output_index"),
    )
    store.write("classes/n_images", n_images)
    store.write("classes/n_correct", n_correct)
