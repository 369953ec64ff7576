"""The part of an original that stands for an example: a box on the network's input, cut from the original's own pixels.

box on the network's input ── box on the original ── thumbnail
"""

from io import BytesIO

from PIL import Image

from summit_dask.facts.layergraph import Box
from summit_dask.facts.preprocessing import Preprocessing

_JPEG_QUALITY = 85


def original_box(box: Box, original: tuple[int, int], preprocessing: Preprocessing) -> Box:
    """Pixels of an original image that lie in a box on the network's input.

    Parameters
    ----------
    box
        On the network's input, in pixels; what lies beyond its border is zero padding and is cut off.
    original
        Height and width of the original.
    preprocessing
        How originals became the network's input.

    Returns
    -------
    Box
        Every pixel that the box touches, clipped at the original's border; at least one pixel.

    Examples
    --------
    An image of 512 x 1024 pixels becomes 256 x 512, of which the input shows rows 16 to 240, columns 144 to 368.

    >>> original_box(Box(10, 10, 20, 20), original=(512, 1024), preprocessing=Preprocessing(256, (224, 224)))
    Box(top=52, left=308, bottom=72, right=328)
    """
    size, offset = preprocessing.placement(original)
    top, bottom = _original_span((box.top, box.bottom), original[0], size[0], offset[0], preprocessing.crop[0])
    left, right = _original_span((box.left, box.right), original[1], size[1], offset[1], preprocessing.crop[1])
    return Box(top, left, bottom, right)


def _original_span(span: tuple[int, int], original: int, resized: int, offset: int, crop: int) -> tuple[int, int]:
    """First pixel of the original along one axis, and the one after the last, of a span on the input."""
    low = max(span[0], 0)
    high = min(span[1], crop)
    start = (low + offset) * original // resized
    stop = -(-(high + offset) * original // resized)  # rounded up
    start = min(max(start, 0), original - 1)
    stop = max(min(stop, original), start + 1)
    return start, stop


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
