"""The reduce stage: per-image values of the store become counts per class, on Dask workers.

A layer at a time: every partition of its sources is read once and counted for all of the layer's hops;
sparse counts are added in a tree; the last task writes the matrix, some classes at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from scipy.sparse import csr_array

from summit_dask.arrays.matrices import (
    activation_counts,
    add_counts,
    class_statistics,
    count_sources,
    dense_counts,
    sources_by_hop,
    tree_reduce,
)
from summit_dask.facts import schema
from summit_dask.facts.addresses import addresses, is_kept
from summit_dask.facts.config import CountOptions, MeasureOptions, ResultOptions
from summit_dask.facts.layergraph import Hop, LayerGraph
from summit_dask.stages.cluster import Connect
from summit_dask.stages.tasks import computed
from summit_dask.store.counts import readable_classes
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store

GROUP = "matrices"


def reduce(store: Store, options: ResultOptions, connect: Connect) -> None:
    """Count A, I and the classes' images from the stored values."""
    cluster = connect()
    for address, variable in addresses(store.layer_graph, GROUP):
        if is_kept(variable, options):
            store.lay_out(address)
    write_statistics(store)
    tasks = [task for count in kept(USED, options) for task in count_channels(store, count, options)]
    layers = [(count, layer.name) for count in kept(RANKED, options) for layer in store.layer_graph.influenced]
    with Progress("reduce", "layers", len(tasks) + len(layers)) as progress:
        for task in tasks:
            computed(cluster, [task])
            progress.add(1)
        for count, layer in layers:
            computed(cluster, count_ranked(store, count, layer))
            progress.add(1)


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


@dataclass(frozen=True)
class PartitionReader:
    """Reads one layer's values of a partition, with the class of each image (-1: unreadable)."""

    path: Path
    count: Count
    layer: str

    def values(self, partition: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Of each channel (image, channel)."""
        store = Store.open(self.path)
        rows = store.partition(partition)
        return store.read(self.count.address(self.layer, "value"), rows), readable_classes(store.read, rows)

    def sources(self, partition: int) -> tuple[NDArray[np.int16], NDArray[np.int8], NDArray[np.int32]]:
        """Strongest sources and their hops (image, channel, rank)."""
        store = Store.open(self.path)
        rows = store.partition(partition)
        source, hop = (store.read(self.count.address(self.layer, name), rows) for name in ("source", "hop"))
        return source, hop, readable_classes(store.read, rows)


def count_channels(store: Store, count: Count, options: CountOptions) -> list[Delayed]:
    """One task a visible layer that writes which channels images use; nothing is computed yet."""
    write = delayed(_write_used, pure=False)
    header = store.header
    return [
        write(
            store.path,
            f"{GROUP}/{layer.name}/{count.name}",
            activation_counts(
                PartitionReader(store.path, count, layer.name).values,
                header.n_partitions,
                header.n_classes,
                options.mass,
                options.excluded_channels(layer.name),
            ),
        )
        for layer in store.layer_graph.visible
    ]


def count_ranked(store: Store, count: Count, layer: str) -> list[Delayed]:
    """One task a hop into the layer that writes its sources' counts; nothing is computed yet."""
    graph = store.layer_graph
    hops = graph.incoming(layer)
    read = PartitionReader(store.path, count, layer)
    n_classes = store.header.n_classes
    count_one = delayed(_count_partition, pure=False, traverse=False, nout=len(hops))
    blocks = [count_one(read, partition, graph, n_classes) for partition in range(store.header.n_partitions)]
    write = delayed(_write_ranked, pure=False)
    return [
        write(store.path, hop, count.name, tree_reduce([block[index] for block in blocks], add_counts))
        for index, hop in enumerate(hops)
    ]


def _count_partition(read: PartitionReader, partition: int, graph: LayerGraph, n_classes: int) -> tuple[csr_array, ...]:
    source, by_hop, classes = read.sources(partition)
    hops = graph.incoming(read.layer)
    return tuple(
        count_sources(_own_sources(source, by_hop, hops, index), classes, n_classes, graph.layer(hop.source).channels)
        for index, hop in enumerate(hops)
    )


def _own_sources(
    source: NDArray[np.int16], by_hop: NDArray[np.int8], hops: Sequence[Hop], index: int
) -> NDArray[np.int16]:
    """Sources that come by one hop; the mask is needed only where another hop leads into the same channels."""
    own = hops[index]
    alone = all(hop is own or set(hop.targets).isdisjoint(own.targets) for hop in hops)
    return source[:, own.rows] if alone else sources_by_hop(source[:, own.rows], by_hop[:, own.rows], index)


def _write_used(path: Path, address: str, counts: NDArray[np.int32]) -> None:
    Store.open(path, writable=True, renewed=GROUP).write(address, counts)


def _write_ranked(path: Path, hop: Hop, name: str, counts: csr_array) -> None:
    store = Store.open(path, writable=True, renewed=GROUP)
    address = f"{GROUP}/{hop.name}/{name}"
    n_classes = store.header.n_classes
    step = store.rows_per_shard(address)
    for start in range(0, n_classes, step):
        rows = dense_counts(counts, hop.channels, start, min(start + step, n_classes))
        store.write(address, rows, start)


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
