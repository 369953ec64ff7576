"""Whether anything of each class can be read, looked up before a run and not after it."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from summit_dask.facts.errors import DatasetError
from summit_dask.facts.location import Location
from summit_dask.images.files import ImageFile, is_remote, opened, place_of, read_image, size_of
from summit_dask.images.manifest import exists
from summit_dask.images.sources import ImageSet


def check_readable(images: ImageSet) -> None:
    """Look for one image of every class, or of every shard, that can be opened; of most just one is looked at.

    Raises
    ------
    DatasetError
        If no image of some class or shard can be opened: says why for one, and what may be wrong with its path.
    """
    paths = images.table["path"]
    groups = paths.str.partition("/")[0] if images.in_shards else images.table["label"]
    rows_of = {str(name): rows.tolist() for name, rows in groups.groupby(groups).groups.items()}
    lost = {name: rows for name, rows in rows_of.items() if all(_fault(images.file(row)) for row in rows)}
    if not lost:
        return
    first = min(row for rows in lost.values() for row in rows)
    path, fault = str(paths.iloc[first]), _fault(images.file(first))
    raise DatasetError(
        f"No image of {len(lost)} of the {len(rows_of)} {'shards' if images.in_shards else 'classes'} can be read "
        f"({_some(list(lost))}; {sum(map(len, lost.values()))} images of {len(paths)}). For example {path!r}: {fault}."
        + "".join(f" {hint}" for hint in ([] if images.in_shards else _hints(images.root, path)))
    )


def _some(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:4])) + (", …" if len(labels) > 4 else "")


def _fault(file: ImageFile) -> str:
    """Why an image can't be opened; empty if it can."""
    place = place_of(file)
    try:
        content = read_image(file)
        with opened(content) if isinstance(content, Path) else BytesIO(content) as picture, Image.open(picture):
            return ""
    except UnidentifiedImageError:
        return f"{place} ({size_of(content)} bytes) holds no picture that Pillow can read"
    except FileNotFoundError:
        return f"there is no file {place}"
    except Exception as error:  # Pillow's plugins raise whatever they like on damaged files
        return f"{place}: {error}"


def _hints(root: Location, path: str) -> Iterator[str]:
    """What may be wrong with the path of a file that isn't there."""
    if is_remote(path):
        yield "That is an address: check it, and --storage-options for what it takes to get there."
        return
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
        yield from _elsewhere(root, path.replace("\\", "/")) if isinstance(root, Path) else ()


def _target(file: Location) -> Path | None:
    """What a link leads to; None if the file is no link."""
    try:
        return file.readlink() if isinstance(file, Path) else None
    except OSError:
        return None


def _elsewhere(root: Path, path: str) -> Iterator[str]:
    """The folder from which a relative path would lead to a file, if one of those nearby does."""
    for folder in (Path.cwd(), *root.parents):
        if exists(folder / path):
            yield f"From {folder} the path would be right: move the manifest there."
            return
