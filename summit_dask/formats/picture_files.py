"""Pictures of channels as files, in the original's two layouts.

Single:  <kind>/<layer>-<channel>-<kind>.jpg, where dataset-p-0 ... dataset-p-9 share the folder dataset-p

Sprite:  <layer>_<first channel, five digits>....jpg; see `sprites`
"""

import io
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from summit_dask.facts import encoded
from summit_dask.facts.errors import FormatError, StoreError, suggestion
from summit_dask.facts.layergraph import Channel, LayerGraph
from summit_dask.facts.schema import PICTURE_KINDS
from summit_dask.formats.job import new_folder
from summit_dask.formats.names import original_names
from summit_dask.formats.sprites import LEAST_WIDTH, ROWS, SIDE, as_jpeg, cut, sprite
from summit_dask.store.pictures import add_pictures, read_pictures
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store

#: Encoded pictures by channel and kind.
Pictures = dict[tuple[int, str], bytes]

#: Examples of a channel that have files.
N_EXAMPLES = 10

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_SINGLE = re.compile(rf"(?P<layer>.+)-(?P<channel>\d+)-(?P<kind>{'|'.join(PICTURE_KINDS)})")
_SPRITE = re.compile(r"(?P<layer>.+?)_(?P<first>\d{5})(?!\d).*")
_EXAMPLE = re.compile(r"(dataset-[pn])-(\d+)")


@dataclass(frozen=True)
class PicturesReport:
    """Pictures read, and a sentence for each file that was left out."""

    n_pictures: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class PictureFile:
    """A file by what its name says; `kind` is None for a sprite, whose first channel `channel` is."""

    path: Path
    channel: Channel
    kind: str | None


@dataclass(frozen=True)
class FoundPictures:
    """Files of each layer, sprites before single pictures, and a sentence for each file of a wrong name."""

    files: Mapping[str, Sequence[PictureFile]]
    problems: Sequence[str]


def import_pictures(store: Store, folder: Path, layer_table: Mapping[str, str] | None = None) -> PicturesReport:
    """Take pictures into a store; single files byte for byte, sprites cut and encoded as JPEG.

    Parameters
    ----------
    store
        Open for writing. A picture it has already is replaced, the others stay.
    folder
        Searched with all its subfolders. Where both layouts have a picture, the single file is taken.
    layer_table
        The files' name of each of the store's layers, as for `export`.

    Returns
    -------
    PicturesReport
        A file of a wrong name, size or kind is left out and reported; the rest goes on.

    Raises
    ------
    FormatError
        If the folder holds no pictures at all.
    LayerNotFoundError
        If the table names a layer that doesn't exist.
    """
    found = find_pictures(folder, store.layer_graph, layer_table)
    with store.changing():
        return add_found(store, found)


def find_pictures(folder: Path, layer_graph: LayerGraph, layer_table: Mapping[str, str] | None = None) -> FoundPictures:
    """What a folder holds, by the names of its files; see `import_pictures`."""
    names = original_names(layer_graph, layer_table)
    # A file may call a layer by the store's name too.
    own_names = {name: name for name in names} | {original: name for name, original in names.items()}
    files: dict[str, list[PictureFile]] = defaultdict(list)
    problems = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES or not path.is_file():
            continue
        try:
            file = _parse_name(path, own_names)
            files[file.channel.layer].append(file)
        except FormatError as error:
            problems.append(str(error))
    if not files and not problems:
        raise FormatError(
            f"{folder}: expected pictures named like mixed3a-101-channel.jpg or mixed3a_00000.jpg, found none."
        )
    return FoundPictures({layer: sorted(own, key=_is_single) for layer, own in files.items()}, problems)


def add_found(store: Store, found: FoundPictures) -> PicturesReport:
    """Take what was found into a store that nobody else changes."""
    problems = list(found.problems)
    n_pictures = 0
    with Progress("import", "picture files", sum(map(len, found.files.values()))) as progress:
        for layer, files in found.files.items():
            pictures = _read_files(files, store.layer_graph.layer(layer).channels, problems, progress)
            if pictures:
                add_pictures(store, layer, pictures)
            n_pictures += len(pictures)
    return PicturesReport(n_pictures, tuple(problems))


def _is_single(file: PictureFile) -> bool:
    return file.kind is not None


def _parse_name(path: Path, own_names: Mapping[str, str]) -> PictureFile:
    single = _SINGLE.fullmatch(path.stem)
    match = single or _SPRITE.fullmatch(path.stem)
    if match is None:
        raise FormatError(
            f"{path}: expected a name like mixed3a-101-channel.jpg or mixed3a_00000.jpg, found {path.name!r}. "
            f"The kinds are {', '.join(PICTURE_KINDS[:7])}, dataset-p-0 to 9 and dataset-n-0 to 9."
        )
    if match["layer"] not in own_names:
        raise FormatError(
            f"{path}: expected a layer of the store, found {match['layer']!r}. "
            f"{suggestion(match['layer'], own_names)} Give --layers to rename."
        )
    layer = own_names[match["layer"]]
    if single:
        return PictureFile(path, Channel(layer, int(single["channel"])), single["kind"])
    return PictureFile(path, Channel(layer, int(match["first"])), None)


def _read_files(files: Sequence[PictureFile], n_channels: int, problems: list[str], progress: Progress) -> Pictures:
    """Pictures of one layer's files; the later ones replace the earlier."""
    pictures: Pictures = {}
    for file in files:
        try:
            pictures |= _read_single(file, n_channels) if file.kind else _read_sprite(file, n_channels)
        except FormatError as error:
            problems.append(str(error))
        progress.add(1)
    return pictures


def _check_channels(file: PictureFile, last: int, n_channels: int) -> None:
    if last >= n_channels:
        raise FormatError(
            f"{file.path}: expected channels from 0 to {n_channels - 1}, as {file.channel.layer} has them, "
            f"found {last}."
        )


def _read_single(file: PictureFile, n_channels: int) -> Pictures:
    _check_channels(file, file.channel.index, n_channels)
    assert file.kind
    try:
        content = file.path.read_bytes()
        encoded.media_type(content)
    except (OSError, StoreError) as error:
        raise FormatError(f"{file.path}: expected a JPEG, PNG or WebP picture. {error}") from error
    _opened(file.path).close()
    return {(file.channel.index, file.kind): content}


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path}: expected a picture, found {error}.") from error


def _read_sprite(file: PictureFile, n_channels: int) -> Pictures:
    with _opened(file.path) as image:
        width, height = image.size
        if width < LEAST_WIDTH or height % SIDE or not height:
            raise FormatError(
                f"{file.path}: expected a sprite of whole rows, at least {LEAST_WIDTH} px wide and a multiple "
                f"of {SIDE} px high, found {width} x {height} px."
            )
        _check_channels(file, file.channel.index + height // SIDE - 1, n_channels)
        try:
            return cut(image.convert("RGB"), file.channel.index)
        except OSError as error:
            raise FormatError(f"{file.path}: expected a whole picture, found {error}.") from error


def export_pictures(
    store: Store, folder: Path, sprites: bool = False, layer_table: Mapping[str, str] | None = None
) -> int:
    """Write a store's pictures as single files, or as sprites; JPEG goes out byte for byte.

    Parameters
    ----------
    store
        Its own examples stand for the kinds dataset-p where no such pictures were imported.
    folder
        New or empty; all files appear in it at the end, or none.
    sprites
        Sprites of ten channels instead of single files; a picture of another size is scaled to its cell.
    layer_table
        The files' name of each layer, as for `export`.

    Returns
    -------
    int
        Files written; 0 if the store has no pictures.

    Raises
    ------
    StoreError
        If the folder holds something or can't be written.
    """
    names = original_names(store.layer_graph, layer_table)
    write: Callable[[Pictures, str, Path], int] = write_sprites if sprites else write_singles
    n_files = 0
    with new_folder(folder) as draft, Progress("export", "layers", len(names)) as progress:
        for layer, name in names.items():
            channels = range(store.layer_graph.layer(layer).channels)
            pictures = {**own_examples(store, layer, channels), **read_pictures(store, layer)}
            n_files += write(pictures, name, draft)
            progress.add(1)
    return n_files


def own_examples(store: Store, layer: str, channels: Collection[int]) -> Pictures:
    """The strongest images of some channels that the run found, as pictures of the kinds dataset-p."""
    group = f"examples/{layer}"
    if group not in store.group or not channels:
        return {}
    image = store.read(f"{group}/image_index")
    thumbnails = store.read(f"{group}/thumbnail_bytes")
    offsets = store.read(f"{group}/thumbnail_offset")
    n_ranks = image.shape[1]
    examples: Pictures = {}
    for channel in channels:
        for rank in range(min(n_ranks, N_EXAMPLES)):
            content = encoded.unpack(thumbnails, offsets, channel * n_ranks + rank)
            if image[channel, rank] >= 0 and content:
                examples[channel, f"dataset-p-{rank}"] = content
    return examples


def write_singles(pictures: Pictures, name: str, folder: Path) -> int:
    """Write a layer's pictures as single files; returns how many."""
    for (channel, kind), content in pictures.items():
        example = _EXAMPLE.fullmatch(kind)
        path = folder / (example[1] if example else kind) / f"{name}-{channel}-{kind}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_jpeg(content))
    return len(pictures)


def _jpeg(content: bytes) -> bytes:
    """The picture as it is, if it is JPEG already."""
    if encoded.media_type(content) == "image/jpeg":
        return content
    return as_jpeg(Image.open(io.BytesIO(content)))


def write_sprites(pictures: Pictures, name: str, folder: Path) -> int:
    """Write a layer's pictures as sprites; returns how many."""
    firsts = sorted({channel // ROWS * ROWS for channel, _ in pictures})
    for first in firsts:
        content = as_jpeg(sprite(pictures, first))
        (folder / f"{name}_{first:05d}.jpg").write_bytes(content)
    return len(firsts)
