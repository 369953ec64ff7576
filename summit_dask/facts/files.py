"""Files and folders wherever they lie, and what a store needs of them that every place does in its own way.

                        disk                                  bucket
    a file              written beside, then renamed          there whole or not at all by itself
    a folder appears    one rename                            its objects are copied, its zarr.json last
    a folder goes       one rename                            its zarr.json first
    a change shows by   the time of a file                    the tag of an object

A folder in a bucket without its zarr.json is not there, whatever else lies under its name. Listings are asked for anew
each time: fsspec would remember them, and other processes write too.
"""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from upath import UPath

from summit_dask.facts.errors import StoreError, SummitError
from summit_dask.facts.location import Location

#: What makes a folder a Zarr group.
HEAD = "zarr.json"


class Folder(ABC):
    """A folder at some place; names of files are relative to it, parted by slashes."""

    path: Location

    @abstractmethod
    def is_there(self) -> bool:
        """Whether there is anything."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is none of that name."""

    @abstractmethod
    def sizes(self, name: str = "") -> dict[str, int]:
        """Bytes of every file in it, or in a folder of it."""

    @abstractmethod
    def sizes_of(self, names: Sequence[str]) -> list[int | None]:
        """Bytes of some files that lie together; None for each that is not there."""

    @abstractmethod
    def groups(self) -> list[str]:
        """Names of the Zarr groups directly in it, ascending."""

    @abstractmethod
    def stamps(self, names: Sequence[str]) -> tuple[Hashable, ...]:
        """Of each zarr.json, or folder whose files only become more, what changes when it does; 0 if it is absent."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """What is in a file.

        Raises
        ------
        FileNotFoundError
            If there is none of that name.
        """

    @abstractmethod
    def written(self, name: str) -> float:
        """When a file that is there was written, as a POSIX time."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file, which is there whole or not at all."""

    @abstractmethod
    def remove(self) -> None:
        """Remove it with all that it holds, if it is there."""

    @abstractmethod
    def share(self, names: Sequence[str], to: Location) -> None:
        """Have some files in another folder too, whose bytes don't come through here."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove files that a killed process left half-written."""


def folder(path: Location) -> Folder:
    """The folder at a place."""
    if isinstance(path, Path):
        return Zip(path) if is_zip(path) else Disk(path)
    return Bucket(path)


def is_zip(path: Location) -> bool:
    """Whether a place is one file with a whole store in it."""
    return isinstance(path, Path) and path.suffix == ".zip" and path.is_file()


class Disk(Folder):
    """A folder on a file system of this machine."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path

    def is_there(self) -> bool:
        """See `Folder`."""
        return self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir()))

    def size(self, name: str) -> int | None:
        """See `Folder`."""
        file = self.path / name
        return file.stat().st_size if file.is_file() else None

    def sizes(self, name: str = "") -> dict[str, int]:
        """See `Folder`."""
        return dict(self._sizes(self.path / name))

    def _sizes(self, inside: Path) -> Iterator[tuple[str, int]]:
        for place, _, names in os.walk(inside):
            for file in (Path(place, name) for name in names):
                with suppress(FileNotFoundError):  # gone by now, as happens while a stage goes on
                    yield file.relative_to(self.path).as_posix(), file.stat().st_size

    def sizes_of(self, names: Sequence[str]) -> list[int | None]:
        """See `Folder`."""
        return [self.size(name) for name in names]

    def groups(self) -> list[str]:
        """See `Folder`."""
        return sorted(child.name for child in self.path.iterdir() if (child / HEAD).exists())

    def stamps(self, names: Sequence[str]) -> tuple[Hashable, ...]:
        """See `Folder`."""
        return tuple(_modified(self.path / name) for name in names)

    def read(self, name: str) -> bytes:
        """See `Folder`."""
        return (self.path / name).read_bytes()

    def written(self, name: str) -> float:
        """See `Folder`."""
        return (self.path / name).stat().st_mtime

    def write(self, name: str, content: bytes) -> None:
        """See `Folder`."""
        file = self.path / name
        partial = file.with_name(f"{file.name}.partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())  # a power cut must not leave a name without its content
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)

    def remove(self) -> None:
        """See `Folder`."""
        shutil.rmtree(self.path, ignore_errors=True)

    def share(self, names: Sequence[str], to: Location) -> None:
        """See `Folder`."""
        assert isinstance(to, Path), "folders of one place share files"
        for name in names:
            _link(self.path / name, to / name)

    def sweep(self) -> None:
        """See `Folder`."""
        for path in self.path.rglob("*.partial"):
            path.unlink()


class Bucket(Folder):
    """Objects that share a beginning of their names; whatever fsspec reaches."""

    def __init__(self, path: UPath) -> None:
        self.path: UPath = path
        system = path.fs
        own = {**system.storage_options, "use_listings_cache": False}
        self.fs: Any = type(system)(*system.storage_args, **own)
        self.root = path.path.rstrip("/")

    def is_there(self) -> bool:
        """See `Folder`."""
        return self.size(HEAD) is not None or bool(self.sizes())

    def size(self, name: str) -> int | None:
        """See `Folder`."""
        with self.reached("Reading", name), suppress(FileNotFoundError):
            found = self.fs.info(f"{self.root}/{name}")
            return int(found["size"]) if found["type"] == "file" else None
        return None

    def sizes(self, name: str = "") -> dict[str, int]:
        """See `Folder`."""
        with self.reached("Listing", name):
            found = self.fs.find(f"{self.root}/{name}".rstrip("/"), detail=True)
        return {path.removeprefix(f"{self.root}/"): int(facts["size"]) for path, facts in found.items()}

    def sizes_of(self, names: Sequence[str]) -> list[int | None]:
        """See `Folder`; one request for a file, one for a thousand of several."""
        if len(names) == 1:
            return [self.size(names[0])]
        found = self.sizes(os.path.commonpath(names)) if names else {}
        return [found.get(name) for name in names]

    def groups(self) -> list[str]:
        """See `Folder`."""
        with self.reached("Listing"), suppress(FileNotFoundError):
            names = [str(child).rstrip("/").rpartition("/")[2] for child in self.fs.ls(self.root, detail=False)]
            return sorted(name for name in names if self.size(f"{name}/{HEAD}") is not None)
        return []

    def stamps(self, names: Sequence[str]) -> tuple[Hashable, ...]:
        """See `Folder`."""
        heads = [name for name in names if name.endswith(f"/{HEAD}")]
        with self.reached("Reading"):
            contents = self.fs.cat_ranges([f"{self.root}/{name}" for name in heads], 0, None, on_error="return")
        known = dict(zip(heads, contents, strict=True))
        return tuple(_or_none(known[name]) if name in known else self._stamp(name) for name in names)

    def _stamp(self, name: str) -> Hashable:
        """Of the root, whose content is large; else of a folder, whose files only become more."""
        if name != HEAD:
            return len(self.sizes(name))
        with self.reached("Reading", name), suppress(FileNotFoundError):
            return str(self.fs.ukey(f"{self.root}/{name}"))
        return 0

    def read(self, name: str) -> bytes:
        """See `Folder`."""
        with self.reached("Reading", name, FileNotFoundError):
            return bytes(self.fs.cat_file(f"{self.root}/{name}", start=0))

    def written(self, name: str) -> float:
        """See `Folder`."""
        with self.reached("Reading", name):
            return float(self.fs.modified(f"{self.root}/{name}").timestamp())

    def write(self, name: str, content: bytes) -> None:
        """See `Folder`."""
        with self.reached("Writing", name):
            self.fs.pipe_file(f"{self.root}/{name}", content)

    def create(self, name: str, content: bytes) -> None:
        """Make an object, in one step of the server's.

        Raises
        ------
        FileExistsError
            If there is one of that name.
        """
        with self.reached("Writing", name, FileExistsError):
            self.fs.pipe_file(f"{self.root}/{name}", content, mode="create")

    def drop(self, name: str) -> None:
        """Remove an object, if it is there."""
        with self.reached("Writing", name), suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.root}/{name}")

    def age(self, name: str, than: str) -> float:
        """Seconds by which an object is older than another one, by the server's clock.

        Raises
        ------
        FileNotFoundError
            If one of them isn't there.
        """
        with self.reached("Reading", name, FileNotFoundError):
            written, later = (self.fs.modified(f"{self.root}/{object_}") for object_ in (name, than))
        return float((later - written).total_seconds())

    def remove(self) -> None:
        """See `Folder`."""
        self.drop(HEAD)
        with self.reached("Writing"), suppress(FileNotFoundError):
            self.fs.rm(self.root, recursive=True)

    def share(self, names: Sequence[str], to: Location) -> None:
        """See `Folder`."""
        place = folder(to)
        assert isinstance(place, Bucket), "folders of one place share files"
        if names:
            with place.reached("Writing"):
                self.fs.copy([f"{self.root}/{name}" for name in names], [f"{place.root}/{name}" for name in names])

    def sweep(self) -> None:
        """See `Folder`: there are none."""

    def move(self, to: UPath) -> None:
        """Take another folder's place; may be done again where it was cut off."""
        Bucket(to).remove()
        self.share([name for name in sorted(self.sizes()) if name != HEAD], to)
        self.share([HEAD], to)

    def reached(self, doing: str, name: str = "", *expected: type[Exception]) -> AbstractContextManager[None]:
        """See the function."""
        return reached(doing, self.path / name if name else self.path, *expected)


@contextmanager
def reached(doing: str, what: Location | str, *expected: type[Exception]) -> Iterator[None]:
    """Tell what keeps us from an object; file systems and their libraries raise whatever they like.

    Raises
    ------
    StoreError
        Names the object and what to do; but for errors that are expected.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (SummitError, *expected)):
            raise
        raise StoreError(
            f"{doing} {what} failed ({type(error).__name__}: {error or 'no reason given'}). See that the address and "
            "what it takes to get there (--storage-options) are right and the place answers, then run the same "
            "command: what is finished is kept."
        ) from error


class Zip(Folder):
    """A whole store in one file; it can only be read."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path

    def is_there(self) -> bool:
        """See `Folder`."""
        return True

    def size(self, name: str) -> int | None:
        """See `Folder`."""
        return self.sizes().get(name)

    def sizes(self, name: str = "") -> dict[str, int]:
        """See `Folder`."""
        with self._opened() as archive:
            found = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}
        return {file: size for file, size in found.items() if not name or file.startswith(f"{name}/")}

    def sizes_of(self, names: Sequence[str]) -> list[int | None]:
        """See `Folder`."""
        found = self.sizes()
        return [found.get(name) for name in names]

    def groups(self) -> list[str]:
        """See `Folder`."""
        return sorted(name.split("/")[0] for name in self.sizes() if name.count("/") == 1 and name.endswith(HEAD))

    def stamps(self, names: Sequence[str]) -> tuple[Hashable, ...]:
        """See `Folder`."""
        return (_modified(self.path),)

    def read(self, name: str) -> bytes:
        """See `Folder`."""
        with self._opened() as archive:
            try:
                return archive.read(name)
            except KeyError as error:
                raise FileNotFoundError(name) from error

    def written(self, name: str) -> float:
        """See `Folder`."""
        return self.path.stat().st_mtime

    @contextmanager
    def _opened(self) -> Iterator[ZipFile]:
        try:
            with ZipFile(self.path) as archive:
                yield archive
        except BadZipFile as error:
            raise StoreError(
                f"There is no store at {self.path}: it is no zip file. Give a zip of what a store's folder holds."
            ) from error

    def write(self, name: str, content: bytes) -> None:
        """See `Folder`."""
        raise self.refused()

    def remove(self) -> None:
        """See `Folder`."""
        raise self.refused()

    def share(self, names: Sequence[str], to: Location) -> None:
        """See `Folder`."""
        raise self.refused()

    def sweep(self) -> None:
        """See `Folder`."""
        raise self.refused()

    def refused(self) -> StoreError:
        """What to do instead of writing."""
        return StoreError(f"{self.path} is a zip file, which can only be read; unpack it and give the folder.")


def _or_none(content: object) -> Hashable:
    return content if isinstance(content, bytes) else 0


def _link(source: Path, target: Path) -> None:
    """A second name of a file, or a copy where the disk has no such thing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
