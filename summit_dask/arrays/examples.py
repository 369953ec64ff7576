"""The images that drive each channel most, and what it saw of them.

    partition 0 ─ top k ┐
    partition 1 ─ top k ┼ top k of these ┐
    partition 2 ─ top k ┘                ├ top k ── receptive field ── original's pixels ── thumbnail
    partition 3 ─ top k ── ...           ┘

A layer's values are only ever seen a partition at a time, and each original is opened once for all
layers. First the plain functions, then their Dask form.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from typing import NamedTuple

import numpy as np
from dask.delayed import Delayed, delayed
from jaxtyping import Float32, Int, Int32, Int64
from PIL import Image, UnidentifiedImageError

from summit_dask.arrays.matrices import tree_reduce
from summit_dask.facts.layergraph import Box, Layer

#: Images whose thumbnails are one task.
_IMAGES_PER_TASK = 64

_LAST_IMAGE = 2**32 - 1
_NONE = np.iinfo(np.int64).min
_JPEG_QUALITY = 85


class Block(NamedTuple):
    """Stored maxima of some consecutive images in one layer.

    `first_image` is the place of the first row in the store; images of class -1 are left out.
    """

    value: Float32[np.ndarray, "image channel"]
    position: Int32[np.ndarray, "image channel"]
    class_index: Int[np.ndarray, " image"]
    first_image: int


class Strongest(NamedTuple):
    """The k images of largest value of each channel, descending; ties: the lower image.

    `image` is -1, `value` and `position` 0 where there are fewer than k images.
    """

    value: Float32[np.ndarray, "channel rank"]
    image: Int32[np.ndarray, "channel rank"]
    position: Int32[np.ndarray, "channel rank"]


ReadBlock = Callable[[int], Block]
OpenImage = Callable[[int], Image.Image]


def strongest(block: Block, k: int) -> Strongest:
    """The k strongest images of a block, over all classes.

    Values are compared as float32; a channel that never fires gets its first images, with value 0.

    Parameters
    ----------
    block
        Maxima of some consecutive images.
    k
        Images kept per channel.

    Examples
    --------
    >>> value = np.array([[0.5], [2], [0.5]], np.float32)
    >>> block = Block(value, np.array([[6], [0], [3]], np.int32), np.array([0, 0, 1]), first_image=100)
    >>> found = strongest(block, k=2)
    >>> found.image, found.value, found.position
    (array([[101, 100]], dtype=int32), array([[2. , 0.5]], dtype=float32), array([[0, 6]], dtype=int32))
    """
    rows = np.flatnonzero(block.class_index >= 0)
    keys = _keys(block.value[rows], rows[:, None] + block.first_image)
    best = _largest(keys, k)
    image = _image_of(best)
    position = np.take_along_axis(block.position, np.maximum(image - block.first_image, 0), axis=0)
    return _strongest(best, position)


def merge(parts: Sequence[Strongest], k: int) -> Strongest:
    """The k strongest images of several results; the order of the parts doesn't matter.

    Examples
    --------
    >>> def one(value, image):
    ...     return Strongest(np.array([[value]], np.float32), *np.array([[[image]], [[0]]], np.int32))
    >>> merge([one(3, image=7), one(5, image=9), one(3, image=1)], k=2).image
    array([[9, 1]], dtype=int32)
    """
    value = np.concatenate([part.value.T for part in parts])
    image = np.concatenate([part.image.T for part in parts])
    position = np.concatenate([part.position.T for part in parts])
    keys = np.where(image < 0, _NONE, _keys(value, image))
    # The largest key is the strongest; `_NONE` is smaller than any other.
    best = np.argsort(keys, axis=0)[::-1][:k]
    return _strongest(np.take_along_axis(keys, best, axis=0), np.take_along_axis(position, best, axis=0))


# One integer ranks value and image: larger value first, then the lower image.
#
#     key = | bits of the float, in the floats' order | 2**32 - 1 - image |
def _keys(value: Float32[np.ndarray, "row channel"], image: Int[np.ndarray, "..."]) -> Int64[np.ndarray, "row channel"]:
    bits = (value + np.float32(0)).view(np.int32)  # + 0 makes -0 equal to 0
    ordered = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    return (ordered << 32) | (_LAST_IMAGE - image.astype(np.int64))


def _largest(keys: Int64[np.ndarray, "row channel"], k: int) -> Int64[np.ndarray, "rank channel"]:
    """The k largest, descending; `_NONE` where there are fewer."""
    missing = np.full((max(k - len(keys), 0), keys.shape[1]), _NONE)
    keys = np.concatenate([keys, missing])
    best = np.partition(keys, len(keys) - k, axis=0)[len(keys) - k :]
    return np.sort(best, axis=0)[::-1]


def _image_of(keys: Int64[np.ndarray, "rank channel"]) -> Int64[np.ndarray, "rank channel"]:
    return np.where(keys == _NONE, -1, _LAST_IMAGE - (keys & _LAST_IMAGE))


def _value_of(keys: Int64[np.ndarray, "rank channel"]) -> Float32[np.ndarray, "rank channel"]:
    ordered = (keys >> 32).astype(np.int32)
    bits = np.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).astype(np.int32)
    return np.where(keys == _NONE, np.float32(0), bits.view(np.float32))


def _strongest(keys: Int64[np.ndarray, "rank channel"], position: Int32[np.ndarray, "rank channel"]) -> Strongest:
    return Strongest(
        np.ascontiguousarray(_value_of(keys).T),
        np.ascontiguousarray(_image_of(keys).astype(np.int32).T),
        np.ascontiguousarray(np.where(keys == _NONE, np.int32(0), position).T),
    )


def strongest_images(read: ReadBlock, n_partitions: int, k: int) -> Delayed:
    """`strongest` over the partitions of a layer, as a tree; building it reads nothing.

    Parameters
    ----------
    read
        Called once per partition, on a worker. Small and picklable; it travels with every task.
    n_partitions
        Number of partitions, at least 1.
    k
        Images kept per channel.

    Raises
    ------
    StoreIncompleteError
        If there are no partitions.

    Examples
    --------
    >>> def read(partition):
    ...     value = np.array([[1], [2 * partition]], np.float32)
    ...     return Block(value, np.zeros((2, 1), np.int32), np.array([0, 0]), first_image=2 * partition)
    >>> strongest_images(read, n_partitions=3, k=3).compute().image
    array([[5, 3, 0]], dtype=int32)
    """
    chunk = delayed(_strongest_of, pure=False, traverse=False)
    return tree_reduce([chunk(read, p, k) for p in range(n_partitions)], partial(merge, k=k))


def _strongest_of(read: ReadBlock, partition: int, k: int) -> Strongest:
    return strongest(read(partition), k)


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


def original_box(box: Box, original: tuple[int, int], resize: int | None, crop: tuple[int, int]) -> Box:
    """Pixels of an original image that lie in a box on the network's input.

        original ── shorter side to `resize` ──> resized ── centre crop, zeros around smaller ones ──> input

    Parameters
    ----------
    box
        On the network's input, in pixels; what lies beyond its border is zero padding and is cut off.
    original
        Height and width of the original.
    resize
        Shorter side that the original is resized to; None: not at all.
    crop
        Height and width of the network's input.

    Returns
    -------
    Box
        Every pixel that the box touches, clipped at the original's border; at least one pixel.

    Examples
    --------
    An image of 512 x 1024 pixels becomes 256 x 512, of which the input shows rows 16 to 240, columns 144 to 368.

    >>> original_box(Box(10, 10, 20, 20), original=(512, 1024), resize=256, crop=(224, 224))
    Box(top=52, left=308, bottom=72, right=328)
    """
    resized = original if resize is None else _resized(original, resize)
    top, bottom = _original_span((box.top, box.bottom), original[0], resized[0], crop[0])
    left, right = _original_span((box.left, box.right), original[1], resized[1], crop[1])
    return Box(top, left, bottom, right)


def _resized(original: tuple[int, int], resize: int) -> tuple[int, int]:
    """Height and width after the shorter side became `resize`, rounded down as torchvision does."""
    short = min(original)
    height, width = (resize if side == short else int(resize * side / short) for side in original)
    return height, width


# Along one axis, for an image larger than the input and one smaller:
#
#     resized   0 ──────┬──────────┬────── size                        0 ───────── size
#     input             0 ──────── crop                        0 ──────┴───────────┴────── crop
#                offset ┘                                    - offset ─┘
def _original_span(span: tuple[int, int], original: int, resized: int, crop: int) -> tuple[int, int]:
    """First pixel of the original along one axis, and the one after the last, of a span on the input."""
    low = max(span[0], 0)
    high = min(span[1], crop)
    # The two ways to round are those of torchvision's padding and cropping.
    offset = -((crop - resized) // 2) if crop > resized else round((resized - crop) / 2)
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

    resize: int | None
    crop: tuple[int, int]
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
    >>> made = cut_thumbnails(crops, lambda image: Image.new("RGB", (32, 32)), Geometry(None, (32, 32), thumbnail=24))
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
    box = original_box(seen, (picture.height, picture.width), geometry.resize, geometry.crop)
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
    >>> task = thumbnails(crops, lambda image: Image.new("RGB", (32, 32)), Geometry(None, (32, 32)))
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
