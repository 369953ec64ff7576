"""Runs stages, those that have to run, in their order (see `facts.stages`).

What a stage makes is kept under a fingerprint of the options it depends on. A second run does what is missing or was
made with other options, and refuses to mix extractions. A group is replaced once its successor is whole, and the
store's options change with it, so a stage that fails leaves the store as it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from summit_dask.facts.config import ClusterOptions, ResultOptions, RunConfig
from summit_dask.facts.location import Location
from summit_dask.facts.stages import STAGES, Stage, commands
from summit_dask.stages.cluster import Connect, cluster
from summit_dask.stages.forkserver import prepare_workers
from summit_dask.stages.groups import count_groups
from summit_dask.stages.init import check_counted, check_exclusions, init, resolved
from summit_dask.store.progress import say
from summit_dask.store.status import check_ready, fingerprints, is_done, pending
from summit_dask.store.store import Store


def run(config: RunConfig, retry_unreadable: bool = False, append: bool = False, remeasure: bool = False) -> Location:
    """All stages, from images to attribution graphs; goes on where an earlier run stopped.

    Parameters
    ----------
    config
        Made by ``RunConfig.of({"model": ..., "images": ..., "out": ...})``. In a script, call this under
        ``if __name__ == "__main__"``: workers are processes.
    retry_unreadable
        Measure the images again that could not be read before.
    append
        Add images to a store that lacks some, and measure those alone; without it they are refused.
    remeasure
        Measure images again whose files have changed since, with their neighbours; without it they are refused.

    Returns
    -------
    Path, UPath
        The store, to open with `open_store`.

    Raises
    ------
    SummitError
        One of its kinds, for everything that can be mended; what was computed stays in the store.
    """
    prepare_workers(config)
    store = init(config, append, remeasure)
    options = ResultOptions.part_of(resolved(config))
    is_asked = store.header.run.config.pair == options.pair  # of graphs side by side, those asked for last
    if retry_unreadable or pending(store, options) or not is_asked or not Store.open(store.path).is_consolidated:
        with store.changing(), cluster(config) as connect:
            if retry_unreadable:
                retry(store)
            run_stages(store, STAGES, options, connect)
    return store.path


def retry(store: Store) -> None:
    """Have unreadable images measured again by the next run of the extract stage; says how many there are."""
    from summit_dask.stages.extract import forget_unreadable

    say(f"{forget_unreadable(store)} images could not be read before; they are tried again.")


def run_command(
    name: str,
    path: Location,
    results: Mapping[str, Any],
    where: ClusterOptions,
    retry_unreadable: bool = False,
    by: Sequence[str] = (),
) -> Store:
    """The stages of one command on an existing store, with some options changed.

    Parameters
    ----------
    results
        Options that differ from the store's.
    where
        The cluster to run on.
    retry_unreadable
        Measure the images again that could not be read before.
    by
        Columns of the images by which these are counted too, after the stages.

    Raises
    ------
    SummitError
        As the stages do.
    """
    store = Store.open(path, writable=True)
    fingerprints(store)  # refuses an imported store before anything is touched
    options = store.header.run.config.replaced(**results)
    check_counted(options)
    check_exclusions(options, store.layer_graph)
    with store.changing(), cluster(where) as connect:
        if retry_unreadable:
            retry(store)
        run_stages(store, commands()[name], options, connect)
        if by:
            count_groups(store, by, options, connect)
    return store


def run_stages(store: Store, stages: Sequence[Stage], options: ResultOptions, connect: Connect) -> None:
    """Run those of the stages whose results are missing or were made with other options; within `Store.changing`.

    Raises
    ------
    StoreIncompleteError
        If what a stage is made from is missing.
    """
    for stage in stages:
        if is_done(store, stage, options):
            _note(store, stage, options)
            continue
        check_ready(store, stage, options)
        if stage.by_partition:
            stage.load()(store, options, connect)
        else:
            _renew(store, stage, options, connect)


def _renew(store: Store, stage: Stage, options: ResultOptions, connect: Connect) -> None:
    (group,) = stage.made_with(options)
    key = fingerprints(store, options)[stage.name]
    with store.renewing(group) as draft:
        stage.load()(draft, options, connect)
        draft.finish(group, key)
    _note(store, stage, options)


def _note(store: Store, stage: Stage, options: ResultOptions) -> None:
    """Make the options a stage was asked for those of the store; of groups side by side one may have been there."""
    noted = store.header.run.with_options_of(stage, options)
    if noted != store.header.run:
        store.update_run(noted)
