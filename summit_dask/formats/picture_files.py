"""Pictures of channels as files, in the original's two layouts.

Single:  <kind>/<layer>-<channel>-<kind>.jpg, where dataset-p-0 ... dataset-p-9 share the folder dataset-p

Sprite:  <layer>_<first channel, five digits>....jpg, one row of 147 px a channel

    147 px  147 px   147 px    147 px x 4      74 px x 10
    neuron  channel  negative  diversity 0-3   dataset-p 0-9    upper 74 px, cropped to 73
                                               dataset-n 0-9    lower 73 px
"""

import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from summit_dask.facts import encoded
from summit_dask.facts.errors import FormatError, StoreError, suggestion
from summit_dask.facts.layergraph import Channel, LayerGraph
from summit_dask.facts.schema import PICTURE_KINDS
from summit_dask.formats.tables import original_names
from summit_dask.store.pictures import add_pictures, read_pictures
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store

#: Side of a sprite's made pictures, pitch and side of its examples, and rows of one sprite, in pixels.
SIDE, PITCH, CROPPED = 147, 74, 73
#: Channels in one sprite, as in the original's.
SPRITE_ROWS = 10
JPEG_QUALITY, JPEG_BLOCK = 95, 8
#: Colour of a sprite's cell that holds no picture.
BLANK = (128, 128, 128)

#: Encoded pictures by channel and kind.
Pictures = dict[tuple[int, str], bytes]

_SPRITE_KINDS = ("neuron", "channel", "negative", *(f"diversity-{i}" for i in range(4)))
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
class _File:
    """A file by what its name says; `kind` is None for a sprite, whose first channel `channel` is."""

    path: Path
    channel: Channel
    kind: str | None


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
    problems: list[str] = []
    files = _by_layer(folder, store.layer_graph, layer_table, problems)
    if not files and not problems:
        raise FormatError(
            f"{folder}: expected pictures named like mixed3a-101-channel.jpg or mixed3a_00000.jpg, found none."
        )
    n_pictures = 0
    with store.changing(), Progress("import", "picture files", sum(map(len, files.values()))) as progress:
        for layer, own in files.items():
            pictures = _read_files(own, store.layer_graph.layer(layer).channels, problems, progress)
            if pictures:
                add_pictures(store, layer, pictures)
            n_pictures += len(pictures)
    return PicturesReport(n_pictures, tuple(problems))


def _by_layer(
    folder: Path, layer_graph: LayerGraph, layer_table: Mapping[str, str] | None, problems: list[str]
) -> dict[str, list[_File]]:
    """Files of each layer: sprites, then single pictures."""
    names = original_names(layer_graph, layer_table)
    own_names = {name: name for name in names} | {original: name for name, original in names.items()}
    files: dict[str, list[_File]] = defaultdict(list)
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file()):
        try:
            found = _parse_name(path, own_names)
            files[found.channel.layer].append(found)
        except FormatError as error:
            problems.append(str(error))
    return {layer: sorted(own, key=lambda file: file.kind is not None) for layer, own in files.items()}


def _parse_name(path: Path, own_names: Mapping[str, str]) -> _File:
    single, sprite = _SINGLE.fullmatch(path.stem), _SPRITE.fullmatch(path.stem)
    match = single or sprite
    if not match:
        raise FormatError(
            f"{path}: expected a name like mixed3a-101-channel.jpg or mixed3a_00000.jpg, found {path.name!r}. "
            f"The kinds are {', '.join(PICTURE_KINDS[:7])}, dataset-p-0 to 9 and dataset-n-0 to 9."
        )
    if match["layer"] not in own_names:
        raise FormatError(
            f"{path}: expected a layer of the store, found {match['layer']!r}. "
            f"{suggestion(match['layer'], own_names)} Give --layers to rename."
        )
    index, kind = (int(single["channel"]), single["kind"]) if single else (int(match["first"]), None)
    return _File(path, Channel(own_names[match["layer"]], index), kind)


def _read_files(files: Sequence[_File], n_channels: int, problems: list[str], progress: Progress) -> Pictures:
    """Pictures of one layer's files; the later ones replace the earlier."""
    pictures: Pictures = {}
    for file in files:
        try:
            pictures |= _read_single(file, n_channels) if file.kind else _read_sprite(file, n_channels)
        except FormatError as error:
            problems.append(str(error))
        progress.add(1)
    return pictures


def _check_channels(file: _File, last: int, n_channels: int) -> None:
    if last >= n_channels:
        raise FormatError(
            f"{file.path}: expected channels from 0 to {n_channels - 1}, as {file.channel.layer} has them, "
            f"found {last}."
        )


def _read_single(file: _File, n_channels: int) -> Pictures:
    _check_channels(file, file.channel.index, n_channels)
    assert file.kind
    content = file.path.read_bytes()
    try:
        encoded.media_type(content)
    except StoreError as error:
        raise FormatError(f"{file.path}: expected a JPEG, PNG or WebP picture. {error}") from error
    _opened(file.path).close()
    return {(file.channel.index, file.kind): content}


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path}: expected a picture, found {error}.") from error


def _read_sprite(file: _File, n_channels: int) -> Pictures:
    """Every cell of a sprite, but those of a single colour: they hold no picture."""
    with _opened(file.path) as image:
        width, height = image.size
        _check_sprite(file, width, height)
        _check_channels(file, file.channel.index + height // SIDE - 1, n_channels)
        try:
            pixels = image.convert("RGB")
        except OSError as error:
            raise FormatError(f"{file.path}: expected a whole picture, found {error}.") from error
    pictures: Pictures = {}
    for row in range(height // SIDE):
        for kind, (left, top, side) in _cells():
            cell = pixels.crop((left, row * SIDE + top, left + side, row * SIDE + top + side))
            if not _is_blank(cell):
                pictures[file.channel.index + row, kind] = as_jpeg(cell)
    return pictures


def _is_blank(cell: Image.Image) -> bool:
    # JPEG's blocks carry traces of the neighbouring cells over the border.
    inner = np.asarray(cell)[JPEG_BLOCK:-JPEG_BLOCK, JPEG_BLOCK:-JPEG_BLOCK]
    return not np.ptp(inner, axis=(0, 1)).any()


def _check_sprite(file: _File, width: int, height: int) -> None:
    expected = len(_SPRITE_KINDS) * SIDE + 9 * PITCH + CROPPED
    if width < expected or height % SIDE or not height:
        raise FormatError(
            f"{file.path}: expected a sprite of whole rows, at least {expected} px wide and a multiple of {SIDE} px "
            f"high, found {width} x {height} px."
        )


def _cells() -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Left, top and side of each kind's cell in a row of a sprite."""
    for place, kind in enumerate(_SPRITE_KINDS):
        yield kind, (place * SIDE, 0, SIDE)
    for place in range(10):
        left = len(_SPRITE_KINDS) * SIDE + place * PITCH
        yield f"dataset-p-{place}", (left, 0, CROPPED)
        yield f"dataset-n-{place}", (left, PITCH, CROPPED)


def as_jpeg(image: Image.Image) -> bytes:
    """An encoded picture of good quality."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def export_pictures(
    store: Store, folder: Path, sprites: bool = False, layer_table: Mapping[str, str] | None = None
) -> int:
    """Write a store's pictures as single files, or as sprites; JPEG goes out byte for byte.

    Parameters
    ----------
    store
        Its own examples stand for the kinds dataset-p where no such pictures were imported.
    folder
        Made if need be.
    sprites
        Sprites of ten channels instead of single files; a picture of another size is scaled to its cell.
    layer_table
        The files' name of each layer, as for `export`.

    Returns
    -------
    int
        Files written; 0 if the store has no pictures.
    """
    names = original_names(store.layer_graph, layer_table)
    n_files = 0
    with Progress("export", "layers", len(names)) as progress:
        for layer, name in names.items():
            pictures = {**_own_examples(store, layer), **read_pictures(store, layer)}
            write = _write_sprites if sprites else _write_singles
            n_files += write(pictures, name, folder)
            progress.add(1)
    return n_files


def _own_examples(store: Store, layer: str) -> Pictures:
    """The strongest images of each channel that the run found, as pictures of the kinds dataset-p."""
    group = f"examples/{layer}"
    if group not in store.group:
        return {}
    image = store.read(f"{group}/image_index")
    items = encoded.unpack_all(store.read(f"{group}/thumbnail_bytes"), store.read(f"{group}/thumbnail_offset"))
    found = zip(np.ndindex(*image.shape), items, strict=True)
    return {
        (channel, f"dataset-p-{rank}"): b for (channel, rank), b in found if image[channel, rank] >= 0 and rank < 10
    }


def _write_singles(pictures: Pictures, name: str, folder: Path) -> int:
    for (channel, kind), content in pictures.items():
        example = _EXAMPLE.fullmatch(kind)
        path = folder / (example[1] if example else kind) / f"{name}-{channel}-{kind}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        is_jpeg = encoded.media_type(content) == "image/jpeg"
        path.write_bytes(content if is_jpeg else as_jpeg(Image.open(io.BytesIO(content))))
    return len(pictures)


def _write_sprites(pictures: Pictures, name: str, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    firsts = sorted({channel // SPRITE_ROWS * SPRITE_ROWS for channel, _ in pictures})
    for first in firsts:
        last = max(channel for channel, _ in pictures if channel < first + SPRITE_ROWS)
        sprite = Image.new("RGB", (len(_SPRITE_KINDS) * SIDE + 10 * PITCH, (last - first + 1) * SIDE), BLANK)
        for channel in range(first, last + 1):
            for kind, (left, top, side) in _cells():
                if content := pictures.get((channel, kind)):
                    cell = Image.open(io.BytesIO(content)).convert("RGB")
                    cell = cell if cell.size == (side, side) else cell.resize((side, side), Image.Resampling.LANCZOS)
                    sprite.paste(cell, (left, (channel - first) * SIDE + top))
        (folder / f"{name}_{first:05d}.jpg").write_bytes(as_jpeg(sprite))
    return len(firsts)
