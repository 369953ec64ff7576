"""Runs stages, those that have to run, in their order (see `facts.stages`).

What a stage makes is kept under a fingerprint of the options it depends on. A second run does what is missing or was
made with other options, and refuses to mix extractions. A group is replaced once its successor is whole, and the
store's options change with it, so a stage that fails leaves the store as it was.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from summit_dask.facts.config import ClusterOptions, ResultOptions, RunConfig
from summit_dask.facts.stages import STAGES, Stage, commands
from summit_dask.stages.cluster import Connect, cluster
from summit_dask.stages.init import check_exclusions, init, resolved
from summit_dask.store.lock import holding
from summit_dask.store.status import check_ready, fingerprints, is_done, pending
from summit_dask.store.store import Store


def run(config: RunConfig) -> Path:
    """All stages, from images to attribution graphs; goes on where an earlier run stopped.

    Parameters
    ----------
    config
        Made by ``RunConfig.of({"model": ..., "images": ..., "out": ...})``. In a script, call this under
        ``if __name__ == "__main__"``: workers are processes.

    Returns
    -------
    Path
        The store, to open with `open_store`.

    Raises
    ------
    SummitError
        One of its kinds, for everything that can be mended; what was computed stays in the store.
    """
    config = resolved(config)
    with holding(config.out):
        store = init(config)
        options = ResultOptions.part_of(config)
        if pending(store, options):
            with store.changing(), cluster(config) as connect:
                run_stages(store, STAGES, options, connect)
        elif not store.is_consolidated:
            store.consolidate()
    return store.path


def run_command(name: str, path: Path, results: Mapping[str, Any], where: ClusterOptions) -> Store:
    """The stages of one command on an existing store, with some options changed.

    Parameters
    ----------
    results
        Options that differ from the store's.
    where
        The cluster to run on.

    Raises
    ------
    SummitError
        As the stages do.
    """
    store = Store.open(path, writable=True)
    fingerprints(store)  # refuses an imported store before anything is touched
    options = store.header.run.config.replaced(**results)
    check_exclusions(options, store.layer_graph)
    with store.changing(), cluster(where) as connect:
        run_stages(store, commands()[name], options, connect)
    return store


def run_stages(store: Store, stages: Sequence[Stage], options: ResultOptions, connect: Connect) -> None:
    """Run those of the stages whose results are missing or were made with other options; within `Store.changing`.

    Raises
    ------
    StoreIncompleteError
        If what a stage is made from is missing.
    """
    for stage in stages:
        keys = fingerprints(store, options)
        if is_done(store, stage, keys[stage.name]):
            continue
        check_ready(store, stage, keys)
        if stage.by_partition:
            stage.load()(store, options, connect)
        else:
            _renew(store, stage, keys[stage.name], options, connect)


def _renew(store: Store, stage: Stage, key: int, options: ResultOptions, connect: Connect) -> None:
    (group,) = stage.groups
    with store.renewing(group) as draft:
        stage.load()(draft, options, connect)
        draft.finish(group, key)
    store.update_run(store.header.run.with_options_of(stage, options))
