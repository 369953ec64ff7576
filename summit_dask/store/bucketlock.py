"""The lock of a store in a bucket: an object that the server makes only where there is none.

Its holder writes it again every 20 s. Nobody takes it back when the holder dies, so one that has not been written for
2 min, by the server's clock, is taken over; a dead process of this machine is known to be dead at once.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from upath import UPath

from summit_dask.facts.errors import StoreError
from summit_dask.facts.files import Bucket
from summit_dask.store.holder import busy, in_words, myself
from summit_dask.store.progress import duration, say

BEAT_SECONDS = 20.0
STALE_SECONDS = 120.0

#: How long another process that takes over the same lock may need from looking to writing.
_SETTLE_SECONDS = 2.0

#: What the lock holds, as plain facts.
Note = Mapping[str, str]


@contextmanager
def locked_object(path: UPath) -> Iterator[None]:
    """Hold the lock of a store until the block ends.

    Raises
    ------
    StoreBusyError
        If another process holds it; or took it over, having heard nothing of this one for two minutes.
    StoreError
        If the bucket can't be written.
    """
    lock = _Lock(path)
    lock.take()
    ended = threading.Event()
    beat = threading.Thread(target=lock.beat, args=(ended,), daemon=True)
    beat.start()
    try:
        yield
        lock.see_that_it_is_mine()
    finally:
        ended.set()
        beat.join()
        lock.give_back()


class _Lock:
    def __init__(self, path: UPath) -> None:
        self.path = path
        self.name = f"{path.name}.lock"
        self.folder = Bucket(path.parent)
        self.note = {**myself(), "space": _process_space(), "id": uuid4().hex}
        self.content = json.dumps(self.note).encode()

    def take(self) -> None:
        try:
            self._create()
        except FileExistsError:
            self._take_over()

    def _create(self) -> None:
        if self._keeps_apart():
            self.folder.create(self.name, self.content)
            return
        say(
            f"The file system of {self.path} can't make an object only where there is none: two runs that start at the "
            "same moment would not notice each other. See to it yourself that they don't."
        )
        if self.folder.size(self.name) is not None:
            raise FileExistsError(self.name)
        self.folder.write(self.name, self.content)

    def _keeps_apart(self) -> bool:
        """Whether of two that make an object only one can, tried out: some servers don't know the condition."""
        trial = f"{self.name}.{self.note['id']}"
        try:
            self.folder.create(trial, b"")
            self.folder.create(trial, b"")
        except FileExistsError:
            return True
        except StoreError as error:
            if not isinstance(error.__cause__, TypeError | NotImplementedError):
                raise
        finally:
            self.folder.drop(trial)
        return False

    def _take_over(self) -> None:
        note = self._found()
        silent = self._silent_for()
        if not (silent > STALE_SECONDS or _is_dead(note)):
            more = f" It gave a sign of life {duration(silent)} ago; after {duration(STALE_SECONDS)} it counts as dead."
            raise busy(self.path, _words(note), more)
        self.folder.write(self.name, self.content)
        time.sleep(_SETTLE_SECONDS)
        self.see_that_it_is_mine()  # of several that take it over, the last one has it
        say(f"{self.path} was being changed by {_words(note)}, which has died: taken over.")

    def _silent_for(self) -> float:
        """Seconds since the lock was written, by the server's clock; none if it is gone by now."""
        now = f"{self.name}.{self.note['id']}"
        self.folder.write(now, b"")
        try:
            return self.folder.age(self.name, now)
        except FileNotFoundError:
            return 0
        finally:
            self.folder.drop(now)

    def _found(self) -> Note:
        try:
            note: Note = json.loads(self.folder.read(self.name))
            return note if isinstance(note, dict) else {}
        except (FileNotFoundError, ValueError):
            return {}

    def see_that_it_is_mine(self) -> None:
        note = self._found()
        if note != self.note:
            raise busy(self.path, _words(note))

    def beat(self, ended: threading.Event) -> None:
        """Write the lock again and again, as long as it is ours."""
        while not ended.wait(BEAT_SECONDS):
            with suppress(StoreError):  # the place may answer again
                if self._found() != self.note:
                    return
                self.folder.write(self.name, self.content)

    def give_back(self) -> None:
        with suppress(StoreError):  # what went wrong before is what matters; the lock grows stale
            if self._found() == self.note:
                self.folder.drop(self.name)


def _words(note: Note) -> str:
    try:
        return in_words(note)
    except KeyError:
        return "another process"


def _is_dead(note: Note) -> bool:
    """Whether it is a process of this machine that there is no more."""
    here = myself()
    if note.get("host") != here["host"] or note.get("space") != _process_space() or os.name != "posix":
        return False
    try:
        os.kill(int(note["process"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError):
        return False
    return False


def _process_space() -> str:
    """What parts containers of one machine: the number of a process means something inside of it alone."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
