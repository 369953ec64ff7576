"""Counts by other groups of images than classes, kept in the store: what `reduce --by COLUMN` adds to reduce.

Images of a group lie anywhere, so that a task counts some groups over some partitions from one layer's values alone:

    activations/lower/value     partitions 0 1 2 3 ── count ──┐
                                           4 5 6 7 ── count ──┴── write    its matrices, in whole files
    influences/upper/source     partitions 0 1 2 3 ── count ──┐
                                           4 5 6 7 ── count ──┴── write

As many groups are counted at once as memory has room for: mostly all, so that each value is read once.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from dask.delayed import Delayed
from numpy.typing import NDArray

from summit_dask.facts import schema
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.stages import stage_named
from summit_dask.stages.cluster import Connect
from summit_dask.stages.reduce import PARTITIONS_PER_TASK, counting, matrices_of, parts_of
from summit_dask.stages.tasks import finished
from summit_dask.store.counting import by_values, bytes_of_group
from summit_dask.store.groups import Groups, groups_of_store
from summit_dask.store.layout import CLASSES_PER_SHARD
from summit_dask.store.progress import Progress
from summit_dask.store.status import check_ready, fingerprints
from summit_dask.store.store import Store

#: Dense counts of the groups that a task counts, in bytes, unless eight groups take more.
COUNTED_AT_ONCE = 2**28


def count_groups(store: Store, by: Sequence[str], options: ResultOptions, connect: Connect) -> None:
    """Keep the counts by some columns in the store, unless they are there; within `Store.changing`.

    Raises
    ------
    GroupNotFoundError
        If images have no such column, or it has too many values.
    StoreIncompleteError
        If the images aren't measured yet.
    """
    check_ready(store, stage_named("reduce"), options)
    groups = groups_of_store(store, by)
    key = groups.fingerprint(fingerprints(store, options)["reduce"])
    if store.finished(groups.address) == key:
        return
    with store.renewing(groups.address) as draft:
        _fill(draft, groups, options, connect)
        draft.finish(groups.address, key)


def _fill(store: Store, groups: Groups, options: ResultOptions, connect: Connect) -> None:
    store.add(f"{groups.address}/group", np.array(groups.names, schema.STRING))
    store.add(f"{groups.address}/n_images", groups.n_images)
    for matrix in matrices_of(store, options):
        store.lay_out(f"{groups.address}/{matrix.name}", group=len(groups.names))
    tasks = dict(_tasks(store, groups, options))
    used: dict[str, dict[int, NDArray[np.int32]]] = {}
    cluster = connect()
    with Progress("reduce", "parts", len(tasks)) as progress:
        for (_, own), counts in finished(cluster, cluster.client.compute([*tasks.values()]), [*tasks]):
            _gather(used, own, counts)
            progress.add(1)
    for address, parts in used.items():
        store.write(address, np.concatenate([parts[start] for start in sorted(parts)]))


def _gather(used: dict[str, dict[int, NDArray[np.int32]]], own: range, counts: Mapping[str, NDArray[np.int32]]) -> None:
    for address, values in counts.items():
        used.setdefault(address, {})[own.start] = values


def _tasks(
    store: Store, groups: Groups, options: ResultOptions
) -> Iterator[tuple[tuple[tuple[str, ...], range], Delayed]]:
    """By the values that are counted and the groups; nothing is computed yet."""
    n_groups = len(groups.names)
    for together in by_values(matrices_of(store, options)):
        step = CLASSES_PER_SHARD * max(1, COUNTED_AT_ONCE // (CLASSES_PER_SHARD * bytes_of_group(together)))
        for start in range(0, n_groups, step):
            own = range(start, min(start + step, n_groups))
            parts = parts_of(store, groups.index, own)
            values = together[0].values
            yield (
                (values, own),
                counting(store, groups.address, options, own, parts, PARTITIONS_PER_TASK, values),
            )
