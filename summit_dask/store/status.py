"""What is done in a store and what is still to do, read from the table of stages."""

from summit_dask.facts.config import ResultOptions
from summit_dask.facts.errors import StoreIncompleteError
from summit_dask.facts.stages import STAGES, Stage, commands, stage_fingerprints, stage_named, stage_of
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


def is_done(store: Store, stage: Stage, key: int) -> bool:
    """Whether all that a stage makes is there, made with what the fingerprint stands for."""
    if stage.by_partition:
        return bool(store.done(key).all())
    return all(store.finished(group) == key for group in stage.groups)


def pending(store: Store, options: ResultOptions | None = None) -> tuple[Stage, ...]:
    """Stages that have to run, in order, for the results of some options (the store's by default)."""
    keys = fingerprints(store, options)
    return tuple(stage for stage in STAGES if not is_done(store, stage, keys[stage.name]))


def pending_commands(store: Store) -> list[str]:
    """Commands that have to run, in order; none for an imported store."""
    if store.header.run.imported is not None:
        return []
    return list(dict.fromkeys(stage.command for stage in pending(store)))


def outdated(store: Store) -> tuple[str, ...]:
    """Finished groups that were made with other options than the store's present ones."""
    if store.header.run.imported is not None:
        return ()
    keys = fingerprints(store)
    finished = {group: store.finished(group) for group in _groups()}
    return tuple(g for g, key in finished.items() if key is not None and key != keys[_stage(g).name])


def unfinished(store: Store) -> tuple[str, ...]:
    """Groups that a stage makes and that are not there, finished, whatever the options."""
    return tuple(group for group in _groups() if store.finished(group) is None)


def _groups() -> list[str]:
    return [group for stage in STAGES if not stage.by_partition for group in stage.groups]


def _stage(group: str) -> Stage:
    stage = stage_of(group)
    assert stage is not None
    return stage


def check_ready(store: Store, stage: Stage, keys: dict[str, int]) -> None:
    """See that what a stage is made from is there.

    Raises
    ------
    StoreIncompleteError
        If it isn't, or was made with other options; says what to run.
    """
    if stage.after is None:
        return
    before = stage_named(stage.after)
    if is_done(store, before, keys[before.name]):
        return
    what = " and ".join(before.groups.values())
    state = "are missing or were made with other options"
    if before.by_partition:
        done = store.done(keys[before.name])
        what = f"{int((~done).sum())} of {len(done)} partitions"
        state = "are not extracted"
    raise StoreIncompleteError(
        f"{what.capitalize()} of {store.path} {state}; run 'summit-dask {before.command} {store.path}' first."
    )


def makers() -> dict[str, tuple[str, str]]:
    """Of every group that stages make: what it is in plain words, and the command that makes it."""
    return {
        group: (what, command)
        for command, stages in commands().items()
        for stage in stages
        for group, what in stage.groups.items()
    }
