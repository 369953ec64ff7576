"""The original's sprites: one picture file of all the pictures of ten channels, one row of 147 px a channel.

147 px  147 px   147 px    147 px x 4      74 px x 10
neuron  channel  negative  diversity 0-3   dataset-p 0-9    upper 74 px, cropped to 73
                                           dataset-n 0-9    lower 73 px
"""

import io
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

#: Side of a made picture, and height of a row, in pixels.
SIDE = 147

#: Distance and side of the examples, in pixels.
PITCH = 74
CROPPED = 73

#: Channels in one sprite.
ROWS = 10

JPEG_QUALITY = 95

#: Side of the blocks that JPEG encodes one by one, in pixels.
_JPEG_BLOCK = 8

#: Colour of a cell that holds no picture.
_BLANK = (128, 128, 128)

_MADE_KINDS = ("neuron", "channel", "negative", *(f"diversity-{number}" for number in range(4)))
_N_EXAMPLES = 10

#: Least width of a sprite; the original's are a pixel wider.
LEAST_WIDTH = len(_MADE_KINDS) * SIDE + (_N_EXAMPLES - 1) * PITCH + CROPPED
_WIDTH = len(_MADE_KINDS) * SIDE + _N_EXAMPLES * PITCH

#: Encoded pictures by channel and kind.
Pictures = Mapping[tuple[int, str], bytes]


class Cell(NamedTuple):
    """Where a row has the picture of one kind."""

    kind: str
    left: int
    top: int
    side: int


def cells() -> Iterator[Cell]:
    """All cells of a row.

    Examples
    --------
    >>> list(cells())[-1]
    Cell(kind='dataset-n-9', left=1695, top=74, side=73)
    """
    for number, kind in enumerate(_MADE_KINDS):
        yield Cell(kind, number * SIDE, 0, SIDE)
    for number in range(_N_EXAMPLES):
        left = len(_MADE_KINDS) * SIDE + number * PITCH
        yield Cell(f"dataset-p-{number}", left, 0, CROPPED)
        yield Cell(f"dataset-n-{number}", left, PITCH, CROPPED)


def cut(sprite: Image.Image, first: int) -> dict[tuple[int, str], bytes]:
    """The pictures of a sprite as JPEG, without cells of a single colour: they hold none.

    Parameters
    ----------
    sprite
        RGB, of whole rows.
    first
        Channel of the first row.
    """
    pictures = {}
    for row in range(sprite.height // SIDE):
        for kind, left, top, side in cells():
            upper = row * SIDE + top
            picture = sprite.crop((left, upper, left + side, upper + side))
            if not _is_blank(picture):
                pictures[first + row, kind] = as_jpeg(picture)
    return pictures


def _is_blank(picture: Image.Image) -> bool:
    # JPEG's blocks carry traces of the neighbouring cells over the border.
    inner = np.asarray(picture)[_JPEG_BLOCK:-_JPEG_BLOCK, _JPEG_BLOCK:-_JPEG_BLOCK]
    return not np.ptp(inner, axis=(0, 1)).any()


def sprite(pictures: Pictures, first: int) -> Image.Image:
    """The sprite of up to ten channels; ends at the last one that has a picture.

    Parameters
    ----------
    pictures
        At least one is of these channels. One of another size is scaled to its cell.
    first
        Channel of the first row.
    """
    last = max(channel for channel, _ in pictures if channel < first + ROWS)
    result = Image.new("RGB", (_WIDTH, (last - first + 1) * SIDE), _BLANK)
    for channel in range(first, last + 1):
        for kind, left, top, side in cells():
            if (channel, kind) in pictures:
                picture = _sized(pictures[channel, kind], side)
                result.paste(picture, (left, (channel - first) * SIDE + top))
    return result


def _sized(content: bytes, side: int) -> Image.Image:
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    return picture if picture.size == (side, side) else picture.resize((side, side), Image.Resampling.LANCZOS)


def as_jpeg(image: Image.Image) -> bytes:
    """An encoded picture of good quality."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()
