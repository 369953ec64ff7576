"""Where the bytes of single images are, and reading them: whole files, byte ranges of shards, rows of Parquet files.

a file of this machine     left to the thread that decodes it
a file at an address       fetched, those of a batch at once
a Part of a shard          read; neighbours in the shard as one piece
a Row of a Parquet file    read on from the row before (see `rows`)
"""

import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fsspec.implementations.local import LocalFileSystem

from summit_dask.facts.location import Location, is_address, location

if TYPE_CHECKING:
    from summit_dask.images.rows import ImageRows

PARQUET = (".parquet", ".pq")

#: Bytes between two images of a shard that are rather read than skipped.
GAP = 1 << 16

#: What is no file, though a name leads to it.
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

#: Bytes of a file that are held at a time.
_PIECE = 1 << 20


@dataclass(frozen=True)
class Part:
    """Bytes of a shard that are an image."""

    shard: Location
    offset: int
    length: int


@dataclass(frozen=True)
class Row:
    """A row of a Parquet file that holds an image."""

    shard: Location
    row: int


ImageFile: TypeAlias = Location | Part | Row

#: What an image file holds; a file of this machine stands for itself, and what can't be read for why.
Content: TypeAlias = Path | bytes | Exception


def image_file(root: Location, path: str, offset: int = -1, length: int = -1) -> ImageFile:
    """The image at a path of a store.

    Parameters
    ----------
    offset, length
        As the store has them: where an image begins in its shard, -1 for a file of its own, and its bytes. Of a
        Parquet file: the row, and -1.
    """
    if offset >= 0:
        shard = root / path.partition("/")[0]
        return Row(shard, offset) if shard.suffix.lower() in PARQUET else Part(shard, offset, length)
    return location(path) if is_remote(path) else root / path


def is_remote(path: str) -> bool:
    """Whether the path of an image is an address; a folder may be called ``a::b``."""
    return "://" in path and is_address(path) and not path.startswith("file:")


def size_of(content: Content) -> int:
    """Bytes of an image; 0 if it can't be read at all."""
    if isinstance(content, Path):
        return content.stat().st_size if content.is_file() else 0
    return len(content) if isinstance(content, bytes) else 0


def checksum_of(content: Content) -> int:
    """CRC-32 of the bytes of an image; 0 if it can't be read."""
    if isinstance(content, bytes):
        return zlib.crc32(content)
    checksum = 0
    if isinstance(content, Path):
        with suppress(OSError), opened(content) as file:
            while piece := file.read(_PIECE):
                checksum = zlib.crc32(piece, checksum)
    return checksum


def check_file(file: Location) -> None:
    """See that what has the name of a file is one: whoever opens a pipe waits, and a device may have no end.

    Raises
    ------
    OSError
        If it isn't there, or of another kind; says which.
    """
    if not isinstance(file, Path):
        return
    mode = file.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(f"it is {_KINDS.get(stat.S_IFMT(mode), 'of an unknown kind')}, not a file")


def opened(file: Path) -> BufferedReader:
    """A file of this machine, to read.

    Raises
    ------
    OSError
        If it can't be opened, or is none.
    """
    check_file(file)
    return file.open("rb")


def place_of(file: ImageFile) -> str:
    """The file that has to be there for an image to be read."""
    return str(file.shard if isinstance(file, Part | Row) else file)


class Reader:
    """Reads images, a batch at a time; cheapest in their order. For one thread."""

    def __init__(self) -> None:
        self._rows: ImageRows | None = None

    def read(self, files: Sequence[ImageFile]) -> list[Content]:
        """What each image holds, or why it can't be read."""
        contents: list[Content] = []
        for shard, group in groupby(files, key=_shard):
            own = list(group)
            try:
                contents += self._alike(shard, own)
            except Exception as error:  # file systems raise whatever they like
                contents += [error] * len(own)
        return contents

    def _alike(self, shard: Any, files: list[Any]) -> Sequence[Content]:
        """Of files that are read in the same way."""
        if isinstance(files[0], Row):
            return self._rows_of(shard, files)
        if isinstance(files[0], Part):
            return list(_parts(shard, files))
        return files if isinstance(files[0], Path) else _whole(files)

    def _rows_of(self, shard: Location, rows: Sequence[Row]) -> list[Content]:
        if self._rows is None or self._rows.shard != shard:
            from summit_dask.images.rows import ImageRows  # pyarrow has a thread of its own, and few need it

            self._rows = ImageRows(shard)
        return [self._rows.read(row.row) for row in rows]


def read_image(file: ImageFile) -> Path | bytes:
    """What one image holds.

    Raises
    ------
    Exception
        Whatever its file system raises.
    """
    (content,) = Reader().read([file])
    if isinstance(content, Exception):
        raise content
    return content


def _shard(file: ImageFile) -> Any:
    """What neighbouring files have in common that are read together."""
    if isinstance(file, Part | Row):
        return file.shard
    return None if isinstance(file, Path) else file.fs


def _whole(files: Sequence[Any]) -> list[Content]:
    """Files at addresses of one file system."""
    nothing = [None] * len(files)
    contents: list[Content] = files[0].fs.cat_ranges([file.path for file in files], nothing, nothing, on_error="return")
    return contents


def _parts(shard: Location, parts: Sequence[Part]) -> Iterator[Content]:
    pieces = list(_neighbours(parts))
    starts = [piece[0].offset for piece in pieces]
    ends = [piece[-1].offset + piece[-1].length for piece in pieces]
    fs, path = (LocalFileSystem(), str(shard)) if isinstance(shard, Path) else (shard.fs, shard.path)
    contents = fs.cat_ranges([path] * len(pieces), starts, ends, on_error="return")
    for piece, start, content in zip(pieces, starts, contents, strict=True):
        yield from (_cut(content, part.offset - start, part.length) for part in piece)


def _neighbours(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Parts that follow on each other in their shard, together."""
    piece = [parts[0]]
    for part in parts[1:]:
        end = piece[-1].offset + piece[-1].length
        if not end <= part.offset <= end + GAP:
            yield piece
            piece = []
        piece.append(part)
    yield piece


def _cut(content: bytes | Exception, start: int, length: int) -> Content:
    if isinstance(content, Exception):
        return content
    own = content[start : start + length]
    return own if len(own) == length else EOFError(f"the shard ends early: {len(own)} of {length} bytes are there")
