"""One process at a time changes a store: a lock beside it.

store.zarr
store.zarr.lock     on a disk held by flock(2), which the system takes back when its holder dies;
                    in a bucket an object that its holder writes again and again (see `bucketlock`)
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from summit_dask.facts.errors import StoreError
from summit_dask.facts.location import Location
from summit_dask.store.bucketlock import locked_object
from summit_dask.store.holder import busy, in_words, myself

#: Stores that this process holds: a command holds its store while the stages inside it ask again.
_HELD: set[str] = set()


@contextmanager
def holding(path: Location) -> Iterator[None]:
    """Hold a store, which need not exist yet, until the block ends.

    Raises
    ------
    StoreBusyError
        If another process holds it; says which one, where and since when.
    StoreError
        If its folder can't be written.
    """
    path = path.resolve() if isinstance(path, Path) else path
    if str(path) in _HELD:
        yield
        return
    with _locked(path) if isinstance(path, Path) else locked_object(path):
        _HELD.add(str(path))
        try:
            yield
        finally:
            _HELD.remove(str(path))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(_lock_file(path), timeout=0)
    _acquire(lock, path)
    try:
        yield
    finally:
        _lock_file(path).unlink(missing_ok=True)
        _note_file(path).unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        _note_file(path).write_text(json.dumps(myself()), encoding="utf-8")
    except Timeout as error:
        raise busy(path, _holder(path)) from error
    except OSError as error:
        lock.release()
        raise StoreError(
            f"Writing {path} failed: {error}. Make room or restore access, then run the same command: what is "
            "finished is kept."
        ) from error


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _note_file(path: Path) -> Path:
    # Beside the lock's own file, which only its holder may open on some systems.
    return path.with_name(f"{path.name}.lock.json")


def _holder(path: Path) -> str:
    try:
        return in_words(json.loads(_note_file(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
