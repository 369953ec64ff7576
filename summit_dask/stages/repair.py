"""Repair: what damaged files held is made again, and nothing else, to the same bytes.

    metadata                   written again from the copy in the root's zarr.json
    values of a partition      the partition is measured again
    tables of init             looked up again in images and classes, if these are still the same
    a group of a stage         made again with its own options; so are counts by groups, evidence and pictures

What is made again first loses its done record: a repair that is stopped is gone on with by the next one, or by a run.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from summit_dask.arrays.pictures import KINDS, Settings, stored_kinds
from summit_dask.facts.config import ClusterOptions
from summit_dask.facts.errors import StoreError, StoreIncompleteError
from summit_dask.facts.files import folder
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import PAIRS
from summit_dask.facts.schema import PICTURE_KINDS
from summit_dask.facts.stages import STAGES, Stage, stage_named, stage_of
from summit_dask.stages.cluster import Connect, cluster
from summit_dask.stages.evidence import find_evidence
from summit_dask.stages.extract import extract
from summit_dask.stages.groups import count_groups
from summit_dask.stages.pictures import paint
from summit_dask.stages.pipeline import run_stages
from summit_dask.stages.reduce import write_statistics
from summit_dask.stages.sources import tables_again
from summit_dask.store.damage import Damage, find_damage
from summit_dask.store.evidence import group_of, stored_settings
from summit_dask.store.groups import groups_of_store
from summit_dask.store.lock import holding
from summit_dask.store.metadata import METADATA, gathered, root_of, write_again
from summit_dask.store.pictures import made_with, noted_settings
from summit_dask.store.present import GROUPED
from summit_dask.store.status import fingerprints, is_done
from summit_dask.store.store import Store

STATISTICS = ("classes/n_images", "classes/n_correct")


def repair(path: Location, where: ClusterOptions) -> list[str]:
    """Make again what damaged files of a store held; says what was done, nothing if nothing is damaged.

    Parameters
    ----------
    where
        The cluster to run on.

    Raises
    ------
    StoreIncompleteError
        If the store was imported.
    StoreError
        If the root's own metadata is damaged, of which there is no copy.
    StoreMismatchError
        If a table was damaged, and the images or classes are no longer those that it was made from.
    """
    with holding(path):
        damages = _damages(Store.open(path))
        _write_metadata(path, damages)
        if not damages:
            return []
        store = Store.open(path, writable=True)
        with store.changing(), cluster(where) as connect:
            return list(mend(store, damages, connect))


def _damages(store: Store) -> list[Damage]:
    if store.header.run.imported is not None:
        raise StoreIncompleteError(
            f"{store.path} was imported; it has neither images nor a network to make anything again with. "
            "'summit-dask verify' names what is damaged; 'summit-dask import-summit' makes a new store."
        )
    damages = [damage for damage in find_damage(store) if damage is not None]
    for damage in damages:
        if damage.file == METADATA:
            raise StoreError(f"{store.path}: {damage.sentence(store.path)}")
    return damages


def _write_metadata(path: Location, damages: Iterable[Damage]) -> None:
    copies = gathered(root_of(path))
    for damage in damages:
        if damage.is_metadata:
            write_again(path, damage.address, copies[damage.address])


def mend(store: Store, damages: Sequence[Damage], connect: Connect) -> Iterator[str]:
    """Make again what the files held, metadata excepted; a sentence for each thing; within `Store.changing`."""
    run = store.header.run
    if metadata := [damage.file for damage in damages if damage.is_metadata]:
        yield f"Written again: {', '.join(metadata)}."
    values = [damage for damage in damages if not damage.is_metadata]
    lost = list(dict.fromkeys(damage.address for damage in values if damage.partition is None))
    if tables := [address for address in lost if _is_table(address)]:
        yield from _look_up_again(store, tables)
    if partitions := sorted({damage.partition for damage in values if damage.partition is not None}):
        yield _measure_again(store, partitions, connect)
    if any(address in STATISTICS for address in lost) and store.finished("matrices") is not None:
        write_statistics(store)
    groups = dict.fromkeys(_group(address) for address in lost if not _is_table(address))
    for stage in STAGES:
        yield from (_make_again(store, stage, group, connect) for group in groups if stage_of(group) is stage)
    yield from (_count_again(store, group, connect) for group in groups if group.startswith(f"{GROUPED}/"))
    yield from (_test_again(store, group, connect) for group in groups if group.startswith("evidence/"))
    yield from (_paint_again(store, group, connect) for group in groups if group.startswith("pictures/"))
    if "usage" in groups:
        yield _taken_out(store, "usage", f"'summit-dask usage {store.path}' makes it again")
    if store.header.run != run:  # the pair that was asked for last
        store.update_run(run)


def _is_table(address: str) -> bool:
    return address.partition("/")[0] in ("image", "class", "images", "classes", "outputs")


def _group(address: str) -> str:
    """The group that is finished and renewed by itself: graphs/activation-influence, matrices."""
    head, *inner = address.split("/")
    return f"{head}/{inner[0]}" if head in ("graphs", "evidence", "pictures", GROUPED) else head


def _look_up_again(store: Store, addresses: Sequence[str]) -> Iterator[str]:
    """Statistics are counted later; until then they are those of no image."""
    tables = tables_again(store) | {name: np.zeros(store.header.n_classes, np.int32) for name in STATISTICS}
    for address in addresses:
        store.write_whole(address, tables[address])
    yield f"Looked up again: {', '.join(addresses)}."


def _measure_again(store: Store, partitions: Sequence[int], connect: Connect) -> str:
    for index in partitions:
        store.mark_done(index, 0)
    named = ", ".join(map(str, partitions))
    others = np.delete(store.done(fingerprints(store)["extract"]), partitions)
    if not others.all():
        return f"To be measured again by the run, which isn't finished: partitions {named}."
    extract(store, store.header.run.config, connect)
    return f"Measured again: partitions {named}."


def _make_again(store: Store, stage: Stage, group: str, connect: Connect) -> str:
    """By its stage, unless what it was made from has changed since."""
    pair = next((pair for pair in PAIRS if pair.group == group), None)
    options = store.header.run.config.replaced(**pair._asdict()) if pair else store.header.run.config
    if stage.after is not None and not is_done(store, stage_named(stage.after), options):
        return _taken_out(store, group, f"'summit-dask {stage.command} {store.path}' makes it once it can")
    store.finish(group, 0)
    run_stages(store, [stage], options, connect)
    return f"Made again: {group}."


def _count_again(store: Store, group: str, connect: Connect) -> str:
    """Counts by other groups of images, unless what they were made from has changed since."""
    columns = group.partition("/")[2].split(" ")
    options = store.header.run.config
    key = store.finished(group)
    measured = is_done(store, stage_named("extract"), options)
    if not measured or key != groups_of_store(store, columns).fingerprint(fingerprints(store)["reduce"]):
        flags = " ".join(f"--by {column}" for column in columns)
        return _taken_out(store, group, f"'summit-dask reduce {store.path} {flags}' makes it again")
    store.finish(group, 0)
    count_groups(store, columns, options, connect)
    return f"Made again: {group}."


def _test_again(store: Store, group: str, connect: Connect) -> str:
    """Evidence for a pair's graphs, by the settings that it was found with."""
    pair = next(pair for pair in PAIRS if group_of(pair) == group)
    run = store.header.run
    asked = run.config.replaced(**pair._asdict())
    key = fingerprints(store, asked)["graphs"]
    try:
        settings = stored_settings(store, pair)
    except StoreError:
        settings = None
    if settings is None or not key == store.finished(group) == store.finished(pair.group):
        return _taken_out(store, group, f"'summit-dask evidence {store.path}' finds it again")
    store.finish(group, 0)
    store.update_run(run.model_copy(update={"config": asked}))
    find_evidence(store, settings, connect)
    return f"Found again: {group}."


def _paint_again(store: Store, group: str, connect: Connect) -> str:
    """Pictures of a layer, by the settings that each was made with."""
    layer = group.partition("/")[2]
    known = noted_settings(store)
    try:
        table = made_with(store, layer)
    except StoreError:
        return _taken_out(store, group, f"'summit-dask pictures {store.path}' makes them again")
    keys = sorted({int(key) for key in np.unique(table)} - {0})
    if not set(keys) <= set(known) or not keys:
        return (
            f"{group} holds pictures that were imported, or whose settings are not known: it can't be made again. "
            f"Delete {store.path / group}, then import them, or make them with 'summit-dask pictures {store.path}'."
        )
    last = store.finished("pictures")
    folder(store.path / group).remove()
    for key in keys:
        for kind in KINDS:
            channels = np.flatnonzero(table[:, PICTURE_KINDS.index(stored_kinds(kind)[0])] == key).tolist()
            paint(store, connect, {layer: channels}, (kind,), Settings(**known[key]))
    store.finish("pictures", last or 0)
    return f"Made again: {group}."


def _taken_out(store: Store, group: str, remedy: str) -> str:
    folder(store.path / group).remove()
    return f"{group} was damaged and is taken out; {remedy}."
