"""What is done in a store and what is still to do, read from the table of stages."""

from collections.abc import Iterator

from summit_dask.facts.config import ResultOptions
from summit_dask.facts.errors import StoreIncompleteError
from summit_dask.facts.stages import STAGES, Stage, commands, stage_fingerprints, stage_named
from summit_dask.store.store import Store


def fingerprints(store: Store, options: ResultOptions | None = None) -> dict[str, int]:
    """What each stage's results depend on with some options, those of the store by default.

    Raises
    ------
    StoreIncompleteError
        If the store was imported: there are no images and no network to run a stage with.
    """
    run = store.header.run
    if run.fingerprint is None:
        raise StoreIncompleteError(
            f"{store.path} was imported; it has neither images nor a network to run this stage with. "
            "Make a store of your own with 'summit-dask run'."
        )
    return stage_fingerprints(run.fingerprint, options or run.config, run.revision)


def is_done(store: Store, stage: Stage, options: ResultOptions) -> bool:
    """Whether all that a stage makes with some options is there."""
    key = fingerprints(store, options)[stage.name]
    if stage.by_partition:
        return bool(store.done(key).all())
    return all(store.finished(group) == key for group in stage.made_with(options))


def pending(store: Store, options: ResultOptions | None = None) -> tuple[Stage, ...]:
    """Stages that have to run, in order, for the results of some options (the store's by default)."""
    fingerprints(store)  # refuses an imported store
    return tuple(stage for stage in STAGES if not is_done(store, stage, options or store.header.run.config))


def pending_commands(store: Store) -> list[str]:
    """Commands that have to run, in order; none for an imported store."""
    if store.header.run.imported is not None:
        return []
    return list(dict.fromkeys(stage.command for stage in pending(store)))


def outdated(store: Store) -> tuple[str, ...]:
    """Finished groups that were made with other options than the store's present ones; each pair's graphs by itself."""
    if store.header.run.imported is not None:
        return ()
    return tuple(
        group
        for stage in _renewed()
        for options in stage.beside(store.header.run.config)
        for group in stage.made_with(options)
        if store.finished(group) not in (None, fingerprints(store, options)[stage.name])
    )


def unfinished(store: Store) -> tuple[str, ...]:
    """Groups that a stage makes of the store's pair of measures and that are not there, finished."""
    options = store.header.run.config
    groups = (group for stage in _renewed() for group in stage.made_with(options))
    return tuple(group for group in groups if store.finished(group) is None)


def _renewed() -> Iterator[Stage]:
    """Stages whose groups are replaced as a whole."""
    return (stage for stage in STAGES if not stage.by_partition)


def check_ready(store: Store, stage: Stage, options: ResultOptions) -> None:
    """See that what a stage is made from is there.

    Raises
    ------
    StoreIncompleteError
        If it isn't, or was made with other options; says what to run.
    """
    if stage.after is None:
        return
    before = stage_named(stage.after)
    if is_done(store, before, options):
        return
    what = " and ".join(before.groups.values())
    state = "are missing or were made with other options"
    if before.by_partition:
        done = store.done(fingerprints(store, options)[before.name])
        what = f"{int((~done).sum())} of {len(done)} partitions"
        state = "are not extracted"
    raise StoreIncompleteError(
        f"{what.capitalize()} of {store.path} {state}; run 'summit-dask {before.command} {store.path}' first."
    )


def makers() -> dict[str, tuple[str, str]]:
    """Of every outermost group that stages make: what it is in plain words, and the command that makes it."""
    return {
        group: (what, command)
        for command, stages in commands().items()
        for stage in stages
        for group, what in stage.groups.items()
    }
