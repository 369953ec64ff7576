"""The reduce stage: per-image values of the store become counts per class, on Dask workers.

Some classes at a time, for images lie in the order of their classes:

    the classes' images:  partitions 0 1 2 3 ── count ──┐
                                     4 5 6 7 ── count ──┼── write    their matrices, in whole files
                                     8       ── count ──┘

So a task holds the counts of few classes, however many images and classes there are. Images in another order are
counted as well; only more tasks read the same partition.
"""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from scipy.sparse import csr_array

from summit_dask.arrays.matrices import add_counts, class_statistics, dense_counts
from summit_dask.facts import schema
from summit_dask.facts.addresses import addresses, is_kept
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.location import Location
from summit_dask.stages.cluster import Connect
from summit_dask.stages.tasks import finished
from summit_dask.store.counting import RANKED, USED, Counts, Matrix, add_to, count_block, kept, matrices
from summit_dask.store.counts import readable_classes
from summit_dask.store.layout import CLASSES_PER_SHARD
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store

GROUP = "matrices"

#: Partitions that a task counts; with it there are at most two tasks for each partition.
PARTITIONS_PER_TASK = 4

#: Images of a partition, and the class of each; -1: of none that is counted.
Part = tuple[slice, NDArray[np.int32]]


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


def count_classes(store: Store, options: ResultOptions) -> dict[range, Delayed]:
    """Tasks that count some neighbouring classes each, write their I and give their A; nothing is computed yet."""
    index = readable_classes(store.read, slice(None))
    images = {classes: parts_of(store, index, classes) for classes in _neighbours(store)}
    step = PARTITIONS_PER_TASK * ceil(sum(map(len, images.values())) / (2 * store.header.n_partitions))
    return {classes: counting(store, GROUP, options, classes, parts, step) for classes, parts in images.items()}


def matrices_of(store: Store, options: ResultOptions, values: tuple[str, ...] = ()) -> list[Matrix]:
    """All that is counted with some options; of the values at some addresses alone, if any are given."""
    counts = kept((*USED, *RANKED), options)
    own = matrices(store.layer_graph, counts, options.mass, options.excluded_by_layer())
    return [matrix for matrix in own if values in ((), matrix.values)]


def _neighbours(store: Store) -> list[range]:
    """Classes that are counted together: half as many ranges as partitions, each of whole files."""
    n_classes, n_ranges = store.header.n_classes, max(1, store.header.n_partitions // 2)
    step = CLASSES_PER_SHARD * ceil(n_classes / CLASSES_PER_SHARD / n_ranges)
    return [range(start, min(start + step, n_classes)) for start in range(0, n_classes, step)]


def parts_of(store: Store, index: NDArray[np.int32], groups: range) -> list[Part]:
    """Partitions that hold images of some groups (none: the first), and the place of each image's group among these.

    Parameters
    ----------
    index
        Group of each image; -1: none.
    """
    own = np.where((index >= groups.start) & (index < groups.stop), index - groups.start, -1).astype(np.int32)
    holding = np.unique(np.flatnonzero(own >= 0) // store.header.partition_size).tolist() or [0]
    return [(rows, own[rows].copy()) for rows in map(store.partition, holding)]  # a view would keep all images' alive


def counting(
    store: Store,
    group: str,
    options: ResultOptions,
    groups: range,
    parts: Sequence[Part],
    step: int,
    values: tuple[str, ...] = (),
) -> Delayed:
    """The task that counts some groups, `step` partitions at once, and writes what was counted.

    Parameters
    ----------
    group
        Of the store, in which the matrices stand.
    values
        As in `matrices_of`.
    """
    count, write = delayed(_count, pure=False), delayed(_write, pure=False)
    starts = range(0, len(parts), step)
    counted = [count(store.path, options, values, len(groups), parts[i : i + step]) for i in starts]
    written: Delayed = write(store.path, group, groups, counted)
    return written


def _count(
    path: Location, options: ResultOptions, values: tuple[str, ...], n_groups: int, parts: Sequence[Part]
) -> Counts:
    """Counts of some groups' images in some partitions; runs on a worker."""
    store = Store.open(path)
    own = matrices_of(store, options, values)
    totals: Counts = {}
    for rows, index in parts:
        add_to(totals, count_block(store.read, own, rows, index, n_groups))
    return totals


def _write(path: Location, group: str, groups: range, parts: Sequence[Counts]) -> dict[str, NDArray[np.int32]]:
    """Write sources' counts of some groups; gives those of channels, whose arrays hold all groups in one file."""
    store = Store.open(path, writable=True, renewed=group)
    used = {}
    for name in parts[0]:
        address = f"{group}/{name}"
        counts = add_counts([part[name] for part in parts])
        if schema.variable(address).dims[-1] == "channel":
            used[address] = counts.toarray()
        else:
            _write_sources(store, address, groups, counts)
    return used


def _write_sources(store: Store, address: str, groups: range, counts: csr_array) -> None:
    step = store.rows_per_shard(address)
    for start in range(0, len(groups), step):
        rows = dense_counts(counts, counts.shape[0] // len(groups), start, min(start + step, len(groups)))
        store.write(address, rows, groups.start + start)


def write_statistics(store: Store) -> None:
    """Count each class's readable and rightly classified images; they depend on no option of this stage."""
    n_images, n_correct = class_statistics(
        store.read("images/class_index"),
        store.read("images/status") == schema.READ,
        store.read("images/predicted", column=0),
        store.read("classes/output_index"),
    )
    store.write("classes/n_images", n_images)
    store.write("classes/n_correct", n_correct)
