"""What a channel saw of an image: the part under its receptive field, cut from the original's own pixels.

    position on the feature map ── receptive field on the network's input ── box on the original ── thumbnail

Each original is opened once for all layers. First the plain functions, then their Dask form.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
from dask.delayed import Delayed, delayed
from jaxtyping import Int, Int32, Int64
from PIL import Image, UnidentifiedImageError

from summit_dask.facts.layergraph import Box, Layer
from summit_dask.facts.preprocessing import Preprocessing

#: Images whose thumbnails are one task.
_IMAGES_PER_TASK = 64

_JPEG_QUALITY = 85

OpenImage = Callable[[int], Image.Image]


def input_boxes(layer: Layer, position: Int32[np.ndarray, "*shape"]) -> Int32[np.ndarray, "*shape side"]:
    """Receptive fields on the network's input: top, left, bottom, right; they may lie beyond its border.

    Parameters
    ----------
    layer
        Whose feature maps the positions are on.
    position
        ``y * width + x`` on the layer's feature map.

    Examples
    --------
    A 3 x 3 convolution of stride 2 and padding 1; position 5 is in row 1, column 1.

    >>> from summit_dask.facts.layergraph import Window
    >>> layer = Layer("conv", 64, 4, 4, True, Window(size=(3, 3), stride=(2, 2), start=(-1, -1)))
    >>> input_boxes(layer, np.array([0, 5], np.int32))
    array([[-1, -1,  2,  2],
           [ 1,  1,  4,  4]], dtype=int32)
    """
    y, x = np.divmod(position, np.int32(layer.width))
    window = layer.window
    top = window.start[0] + y * window.stride[0]
    left = window.start[1] + x * window.stride[1]
    bottom = top + window.size[0]
    right = left + window.size[1]
    return np.stack([top, left, bottom, right], axis=-1).astype(np.int32)


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


class Crops(NamedTuple):
    """What to cut: an image (-1: nothing) and a box on the network's input, per thumbnail."""

    image: Int32[np.ndarray, " item"]
    box: Int32[np.ndarray, "item side"]


class Thumbnails(NamedTuple):
    """What was cut, in the order of the crops.

    `box` is in the original's pixels, all 0 where the original could not be opened; the picture is blank there.
    `jpeg` is empty where there was nothing to cut. `reasons` counts the images that failed, by reason.
    """

    box: Int32[np.ndarray, "item side"]
    jpeg: list[bytes]
    reasons: Counter[str]


class Geometry(NamedTuple):
    """How originals became the network's input, and the longer side of a thumbnail, in pixels."""

    preprocessing: Preprocessing
    thumbnail: int = 96


def cut_thumbnails(crops: Crops, open_image: OpenImage, geometry: Geometry) -> Thumbnails:
    """Open each image once and cut all its crops.

    Parameters
    ----------
    crops
        What to cut.
    open_image
        Gives an original by its place in the store, neither resized nor cropped, in the mode RGB or L. What it
        raises is taken as the reason for blank thumbnails.
    geometry
        How originals became the network's input, and how large thumbnails are.

    Examples
    --------
    >>> crops = Crops(np.array([3, -1], np.int32), np.array([[0, 0, 8, 16], [0, 0, 0, 0]], np.int32))
    >>> geometry = Geometry(Preprocessing(None, (32, 32)), thumbnail=24)
    >>> made = cut_thumbnails(crops, lambda image: Image.new("RGB", (32, 32)), geometry)
    >>> Image.open(BytesIO(made.jpeg[0])).size, made.jpeg[1]
    ((24, 12), b'')
    """
    n_items = len(crops.image)
    boxes = np.zeros((n_items, 4), np.int32)
    jpeg = [b""] * n_items
    reasons: Counter[str] = Counter()
    for items in _groups(crops.image, 1):
        try:
            picture = open_image(int(crops.image[items[0]]))
        except Exception as error:  # Pillow's plugins raise whatever they like on damaged files
            reasons[_reason(error)] += 1
            picture = None
        for item in items.tolist():
            seen = Box(*crops.box[item].tolist())
            boxes[item], jpeg[item] = _cut(picture, seen, geometry)
    return Thumbnails(boxes, jpeg, reasons)


def _groups(image: Int32[np.ndarray, " item"], n_images: int) -> list[Int64[np.ndarray, " _"]]:
    """Items of every few images that occur, the images ascending; items without an image are left out.

    image      7 -1  2  7  5        in groups of 2 images:     items of 2 and 5      2 4
    item       0  1  2  3  4                                   items of 7            0 3
    """
    order = np.argsort(image, kind="stable")
    order = order[np.count_nonzero(image < 0) :]
    if len(order) == 0:
        return []
    _, starts = np.unique(image[order], return_index=True)
    return np.split(order, starts[n_images::n_images])


def _reason(error: Exception) -> str:
    """Without the file's name, so that equal reasons count together."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture that Pillow can read"
    return str(getattr(error, "strerror", None) or error)


def _cut(picture: Image.Image | None, seen: Box, geometry: Geometry) -> tuple[Box, bytes]:
    """The box on the original, and its thumbnail, of a box on the network's input."""
    if picture is None:
        blank = Image.new("L", (geometry.thumbnail, geometry.thumbnail), 128)
        return Box(0, 0, 0, 0), encode(blank)
    box = original_box(seen, (picture.height, picture.width), geometry.preprocessing)
    height = box.bottom - box.top
    width = box.right - box.left
    scale = geometry.thumbnail / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    corners = (box.left, box.top, box.right, box.bottom)
    # The gap lets Pillow shrink large boxes in two steps, which is much faster and looks the same.
    return box, encode(picture.resize(size, Image.Resampling.BICUBIC, corners, reducing_gap=2.0))


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


def thumbnails(crops: Crops, open_image: OpenImage, geometry: Geometry) -> Delayed:
    """`cut_thumbnails` as one task for each few images; gives the `Thumbnails` of all crops.

    Examples
    --------
    >>> crops = Crops(np.array([3, -1], np.int32), np.array([[0, 0, 8, 16], [0, 0, 0, 0]], np.int32))
    >>> geometry = Geometry(Preprocessing(None, (32, 32)))
    >>> task = thumbnails(crops, lambda image: Image.new("RGB", (32, 32)), geometry)
    >>> task.compute(scheduler="synchronous").box
    array([[ 0,  0,  8, 16],
           [ 0,  0,  0,  0]], dtype=int32)
    """
    groups = _groups(crops.image, _IMAGES_PER_TASK)
    cut = delayed(cut_thumbnails, pure=False, traverse=False)
    parts = [cut(Crops(crops.image[items], crops.box[items]), open_image, geometry) for items in groups]
    joined: Delayed = delayed(_join, pure=False)(parts, groups, len(crops.image))
    return joined


def _join(parts: Sequence[Thumbnails], groups: Sequence[Int[np.ndarray, " _"]], n_items: int) -> Thumbnails:
    """The thumbnails of all crops, from those of groups of them."""
    boxes = np.zeros((n_items, 4), np.int32)
    jpeg = [b""] * n_items
    reasons: Counter[str] = Counter()
    for part, items in zip(parts, groups, strict=True):
        boxes[items] = part.box
        reasons.update(part.reasons)
        for item, data in zip(items.tolist(), part.jpeg, strict=True):
            jpeg[item] = data
    return Thumbnails(boxes, jpeg, reasons)
