"""One process at a time changes a store: a lock beside it that the system takes back when its holder dies.

store.zarr
store.zarr.lock     held by flock(2); says who holds it, for the one who has to wait
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from summit_dask.facts.errors import StoreBusyError, StoreError

#: Stores that this process holds: a command holds its store while the stages inside it ask again.
_HELD: set[Path] = set()


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold a store, which need not exist yet, until the block ends.

    Raises
    ------
    StoreBusyError
        If another process holds it; says which one, where and since when.
    StoreError
        If its folder can't be written.
    """
    path = path.resolve()
    if path in _HELD:
        yield
        return
    lock = FileLock(_lock_file(path), timeout=0)
    _acquire(lock, path)
    _HELD.add(path)
    try:
        yield
    finally:
        _HELD.remove(path)
        _lock_file(path).unlink(missing_ok=True)
        _note_file(path).unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        _note_file(path).write_text(json.dumps(_myself()), encoding="utf-8")
    except Timeout as error:
        raise StoreBusyError(
            f"{path} is being changed by {_holder(path)}. Wait until that has ended, or end it, then give the same "
            "command again."
        ) from error
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


def _myself() -> dict[str, str]:
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"host": socket.gethostname(), "process": str(os.getpid()), "since": now}


def _holder(path: Path) -> str:
    try:
        note = json.loads(_note_file(path).read_text(encoding="utf-8"))
        return f"process {note['process']} on {note['host']}, since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
