"""A folder of class folders, here or at an address: the images of each class, and what lies there and is not used.

root/                       the folder given
  ant/ x.jpg  more/y.jpg    the first level names the class, images lie at any depth
  bee/ notes.txt            no images: no class
  stray.jpg                 in no class folder: not used
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image
from upath import UPath

from summit_dask.facts.errors import DatasetError
from summit_dask.facts.location import Location
from summit_dask.facts.names import composed

#: What systems leave behind in folders; it needs no word. Hidden files need none either.
LITTER = frozenset({"Thumbs.db", "ehthumbs.db", "desktop.ini", "__MACOSX", "@eaDir"})


@dataclass(frozen=True)
class Unused:
    """What lies in a folder and is not used.

    `endings` counts the files that are no images by their ending, empty for none; `loose` the images directly in
    the folder, which have no class; `empty` names the folders without any image.
    """

    endings: Counter[str] = field(default_factory=Counter)
    loose: int = 0
    empty: tuple[str, ...] = ()

    def sentences(self) -> Iterator[str]:
        """What to tell the user, a sentence for each kind."""
        if self.endings:
            yield (
                f"{counted(self.endings.total(), 'file')} passed over, of endings that are not read as images: "
                f"{self._kinds()}. Convert images of other formats; a manifest may list images without an ending."
            )
        if self.loose:
            yield f"{counted(self.loose, 'image')} directly in the image folder passed over: no folder names the class."
        if self.empty:
            yield f"{counted(len(self.empty), 'folder')} without images passed over: {_some(self.empty)}."

    def _kinds(self) -> str:
        """``9 .heic, 1 without ending``, the most frequent first."""
        ordered = sorted(self.endings.items(), key=lambda kind: (-kind[1], kind[0]))
        return _some([f"{count} {ending or 'without ending'}" for ending, count in ordered])


def counted(count: int, what: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def _some(texts: Sequence[str], limit: int = 8) -> str:
    return ", ".join(texts[:limit]) + (", …" if len(texts) > limit else "")


class Scan(NamedTuple):
    """Images of a folder: a table of path and label, the real file of each (a link's target), and the rest."""

    table: pd.DataFrame
    files: "pd.Series[str]"
    unused: Unused


def scan(root: Location) -> Scan:
    """Find the images of a folder of class folders.

    Raises
    ------
    DatasetError
        If a folder can't be read, or a file's name is no text.
    """
    try:
        return _scan(root) if isinstance(root, Path) else _scan_address(root)
    except OSError as error:
        place, why = error.filename or root, error.strerror or error
        raise DatasetError(f"Can't read {place}: {why}; its images would be missing.") from error


def _scan_address(root: UPath) -> Scan:
    """All files below an address are asked for at once, as object storage has no folders."""
    start = f"{root.path.rstrip('/')}/"
    paths = [path.removeprefix(start) for path in sorted(_found(root))]
    seen = [path for path in paths if not any(_is_hidden(part) for part in path.split("/"))]
    images = [path for path in seen if "/" in path and is_image(path)]
    folders = dict.fromkeys(path.partition("/")[0] for path in seen if "/" in path)
    empty = tuple(folders.keys() - {path.partition("/")[0] for path in images})
    rows = [(path, composed(path.partition("/")[0])) for path in images]
    loose = sum("/" not in path and is_image(path) for path in seen)
    unused = Unused(_endings(path for path in seen if not is_image(path)), loose, tuple(sorted(empty)))
    table = pd.DataFrame(rows, columns=["path", "label"], dtype=str)
    return Scan(table, table["path"], unused)


def _found(root: UPath) -> list[str]:
    return [str(root.fs._strip_protocol(path)) for path in root.fs.find(root.path)]


def _scan(root: Path) -> Scan:
    entries = _visible(str(root))
    direct = [entry.name for entry in entries if not _is_folder(entry)]
    others = [name for name in direct if not is_image(name)]
    tables = [_table(root, "", [])]
    empty: list[str] = []
    for folder in filter(_is_folder, entries):
        found = list(_files_below(folder.path, set()))
        images = [file for file in found if is_image(file.path)]
        others += [file.path for file in found if not is_image(file.path)]
        tables.append(_table(root, composed(folder.name), images))
        empty += [] if images else [folder.name]
    table = pd.concat(tables, ignore_index=True)  # texts of a column take a third of those of a list
    loose = sum(map(is_image, direct))
    return Scan(table[["path", "label"]], table["file"], Unused(_endings(others), loose, tuple(empty)))


def _table(root: Path, label: str, images: Sequence["_File"]) -> pd.DataFrame:
    """Of the images of a class folder."""
    paths = [file.path.removeprefix(f"{root}{os.sep}") for file in images]
    if odd := [path for path in paths if path != path.encode(errors="replace").decode()]:
        raise DatasetError(f"The names of {len(odd)} images in {root} are not UTF-8, as {odd[0]!r}; rename them.")
    return pd.DataFrame({"path": paths, "label": label, "file": [file.real for file in images]}, dtype=str)


def _endings(names: Iterable[str]) -> Counter[str]:
    return Counter(map(ending_of, names))


class _File(NamedTuple):
    path: str
    real: str


def _files_below(folder: str, seen: set[str]) -> Iterator[_File]:
    """All files below a folder, following links, but into each folder only once, or a circle would never end."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for entry in _visible(folder):
        if _is_folder(entry):
            yield from _files_below(entry.path, seen)
        elif entry.is_symlink():
            yield _File(entry.path, os.path.realpath(entry.path))
        else:
            yield _File(entry.path, f"{real}{os.sep}{entry.name}")


def _visible(folder: str) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        kept = [entry for entry in entries if not _is_hidden(entry.name)]
    return sorted(kept, key=lambda entry: entry.name)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in LITTER


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def ending_of(name: str) -> str:
    """``.jpg`` of ``A.JPG``; empty if there is none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path of each of a million names takes 5 s


def is_image(name: str) -> bool:
    """Whether a file's ending is one of those that Pillow reads."""
    return ending_of(name) in extensions()


@cache
def extensions() -> frozenset[str]:
    """Endings of the formats that Pillow reads, in lower case with their dot."""
    return frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN)
