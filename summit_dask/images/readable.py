"""Whether anything of each class can be read, looked up before a run and not after it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from summit_dask.facts.errors import DatasetError
from summit_dask.images.manifest import exists
from summit_dask.images.sources import ImageSet


def check_readable(images: ImageSet) -> None:
    """Look for one image of every class that can be opened; of most classes one file's first bytes are read.

    Raises
    ------
    DatasetError
        If no image of some class can be opened: says why for one, and what may be wrong with its path.
    """
    lost = [str(label) for label, own in images.table.groupby("label")["path"] if not _any_opens(images.root, own)]
    if not lost:
        return
    rows = images.table[images.table["label"].isin(lost)]
    path = str(rows["path"].iloc[0])
    raise DatasetError(
        f"No image of {len(lost)} of the {len(images.classes)} classes can be read ({_some(lost)}; {len(rows)} "
        f"images of {len(images.table)}). For example {path!r}: {_fault(images.root / path)}."
        + "".join(f" {hint}" for hint in _hints(images.root, path))
    )


def _some(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:4])) + (", …" if len(labels) > 4 else "")


def _any_opens(root: Path, paths: Iterable[str]) -> bool:
    return any(not _fault(root / path) for path in paths)


def _fault(file: Path) -> str:
    """Why a file can't be opened as an image; empty if it can."""
    try:
        with Image.open(file):
            return ""
    except UnidentifiedImageError:
        return f"{file} ({file.stat().st_size} bytes) holds no picture that Pillow can read"
    except FileNotFoundError:
        return f"there is no file {file}"
    except Exception as error:  # Pillow's plugins raise whatever they like on damaged files
        return f"{file}: {error}"


def _hints(root: Path, path: str) -> Iterator[str]:
    """What may be wrong with the path of a file that isn't there."""
    file = root / path
    if target := _target(file):
        yield f"It is a link to {target}."
    if target or exists(file):
        return
    if "://" in path:
        yield "That is an address; images are read from files of this machine. Write their paths."
        return
    if "\\" in path:
        yield "The path has backslashes, and with slashes there is no such file either."
    if Path(path).is_absolute():
        yield "Is that the path on this machine, and is its disk mounted?"
    else:
        yield f"Paths of a manifest start at its own folder, {root}, or are absolute."
        yield from _elsewhere(root, path.replace("\\", "/"))


def _target(file: Path) -> Path | None:
    """What a link leads to; None if the file is no link."""
    try:
        return file.readlink()
    except OSError:
        return None


def _elsewhere(root: Path, path: str) -> Iterator[str]:
    """The folder from which a relative path would lead to a file, if one of those nearby does."""
    for folder in (Path.cwd(), *root.parents):
        if exists(folder / path):
            yield f"From {folder} the path would be right: move the manifest there."
            return
