"""The part of an original that stands for an example: a box on the network's input, cut from the original's own pixels.

box on the network's input ── box on the original ── thumbnail
"""

from io import BytesIO

import numpy as np
from jaxtyping import Int32
from PIL import Image

from summit_dask.facts.layergraph import Box
from summit_dask.facts.preprocessing import Preprocessing

_JPEG_QUALITY = 85


def original_boxes(
    boxes: Int32[np.ndarray, "item side"], original: tuple[int, int], preprocessing: Preprocessing
) -> Int32[np.ndarray, "item side"]:
    """Pixels of an original image that lie in boxes on the network's input.

    Parameters
    ----------
    boxes
        On the network's input, in pixels: top, left, bottom, right; what lies beyond its border is zero padding and is
        cut off.
    original
        Height and width of the original.
    preprocessing
        How originals became the network's input.

    Returns
    -------
    Array
        Every pixel that a box touches, clipped at the original's border; at least one pixel.

    Examples
    --------
    An image of 512 x 1024 pixels becomes 256 x 512, of which the input shows rows 16 to 240, columns 144 to 368.

    >>> box = np.array([[10, 10, 20, 20]], np.int32)
    >>> original_boxes(box, original=(512, 1024), preprocessing=Preprocessing(256, (224, 224)))
    array([[ 52, 308,  72, 328]], dtype=int32)
    """
    size, offset = preprocessing.placement(original)
    starts, stops = [], []
    for axis, (first, after) in enumerate(zip(boxes.T[:2].astype(np.int64), boxes.T[2:].astype(np.int64), strict=True)):
        start = (np.maximum(first, 0) + offset[axis]) * original[axis] // size[axis]
        stop = -(-(np.minimum(after, preprocessing.crop[axis]) + offset[axis]) * original[axis] // size[axis])  # up
        starts.append(np.clip(start, 0, original[axis] - 1))
        stops.append(np.maximum(np.minimum(stop, original[axis]), starts[-1] + 1))
    return np.stack([*starts, *stops], 1).astype(np.int32)


def thumbnail(picture: Image.Image, box: Box, side: int) -> bytes:
    """A box of an original, encoded; its longer side has so many pixels.

    Examples
    --------
    >>> data = thumbnail(Image.new("RGB", (32, 32)), Box(top=0, left=0, bottom=8, right=16), 24)
    >>> Image.open(BytesIO(data)).size
    (24, 12)
    """
    height, width = box.bottom - box.top, box.right - box.left
    scale = side / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    corners = (box.left, box.top, box.right, box.bottom)
    # The gap lets Pillow shrink large boxes in two steps, which is much faster and looks the same.
    return encode(picture.resize(size, Image.Resampling.BICUBIC, corners, reducing_gap=2.0))


def blank(side: int) -> bytes:
    """What stands for the thumbnail of an image that can't be opened."""
    return encode(Image.new("L", (side, side), 128))


def encode(picture: Image.Image) -> bytes:
    """A picture as JPEG; the same picture gives the same bytes.

    Examples
    --------
    >>> encode(Image.new("RGB", (8, 8)))[:3].hex(" ")
    'ff d8 ff'
    """
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
