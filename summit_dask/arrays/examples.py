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
    """
    rows = np.flatnonzero(block.class_index >= 0)
    keys = _keys(block.value[rows], rows[:, None] + block.first_image)
    best = _largest(keys, k)
    image = _image_of(best)
    position = np.take_along_axis(block.position, np.maximum(image - block.first_image, 0), axis=0)
    return _strongest(best, position)


def merge(parts: Sequence[Strongest], k: int) -> Strongest:
    """The k strongest images of several results; the order of the parts doesn't matter."""
    value, image, position = (np.concatenate([part[i].T for part in parts]) for i in range(3))
    keys = np.where(image < 0, _NONE, _keys(value, image))
    order = np.argsort(keys, axis=0)[: -k - 1 : -1]
    return _strongest(np.take_along_axis(keys, order, axis=0), np.take_along_axis(position, order, axis=0))


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
    return np.sort(np.partition(keys, len(keys) - k, axis=0)[len(keys) - k :], axis=0)[::-1]


def _image_of(keys: Int64[np.ndarray, "rank channel"]) -> Int64[np.ndarray, "rank channel"]:
    return np.where(keys == _NONE, -1, _LAST_IMAGE - (keys & _LAST_IMAGE))


def _strongest(keys: Int64[np.ndarray, "rank channel"], position: Int32[np.ndarray, "rank channel"]) -> Strongest:
    none = keys == _NONE
    ordered = (keys >> 32).astype(np.int32)
    value = np.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).astype(np.int32).view(np.float32)
    columns = np.where(none, np.float32(0), value), _image_of(keys).astype(np.int32), np.where(none, 0, position)
    return Strongest(*(np.ascontiguousarray(column.T) for column in columns))


def strongest_images(read: ReadBlock, n_partitions: int, k: int) -> Delayed:
    """`strongest` over the partitions of a layer, as a tree; building it reads nothing.

    Parameters
    ----------
    read
        Called once per partition, on a worker. Small and picklable; it travels with every task.
    n_partitions
        Number of partitions, at least 1.

    Raises
    ------
    StoreIncompleteError
        If there are no partitions.
    """
    chunk = delayed(_strongest_of, pure=False, traverse=False)
    return tree_reduce([chunk(read, p, k) for p in range(n_partitions)], partial(merge, k=k))


def _strongest_of(read: ReadBlock, partition: int, k: int) -> Strongest:
    return strongest(read(partition), k)


def input_boxes(layer: Layer, position: Int32[np.ndarray, "*shape"]) -> Int32[np.ndarray, "*shape side"]:
    """Receptive fields on the network's input: top, left, bottom, right; they may lie beyond its border.

    Parameters
    ----------
    position
        ``y * width + x`` on the layer's feature map.
    """
    y, x = np.divmod(position, np.int32(layer.width))
    window = layer.window
    top, left = (start + place * step for start, place, step in zip(window.start, (y, x), window.stride, strict=True))
    return np.stack([top, left, top + window.size[0], left + window.size[1]], axis=-1).astype(np.int32)


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
    """
    scaled = original if resize is None else _resized(original, resize)
    sides = [
        _original_span(low, high, *lengths)
        for low, high, *lengths in zip(box[:2], box[2:], original, scaled, crop, strict=True)
    ]
    (top, bottom), (left, right) = sides
    return Box(top, left, bottom, right)


def _resized(original: tuple[int, int], resize: int) -> tuple[int, int]:
    """Height and width after the shorter side became `resize`, rounded down as torchvision does."""
    short = min(original)
    height, width = (resize if side == short else int(resize * side / short) for side in original)
    return height, width


def _original_span(low: int, high: int, original: int, scaled: int, crop: int) -> tuple[int, int]:
    low, high = max(low, 0), min(high, crop)
    offset = -((crop - scaled) // 2) if crop > scaled else round((scaled - crop) / 2)
    start = min(max((low + offset) * original // scaled, 0), original - 1)
    stop = -(-(high + offset) * original // scaled)  # rounded up
    return start, max(min(stop, original), start + 1)


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
    open_image
        Gives an original by its place in the store, neither resized nor cropped, in the mode RGB or L. What it
        raises is taken as the reason for blank thumbnails.
    """
    boxes, jpeg = np.zeros((len(crops.image), 4), np.int32), [b""] * len(crops.image)
    reasons: Counter[str] = Counter()
    for items in _groups(crops.image, 1):
        try:
            picture = open_image(int(crops.image[items[0]]))
        except Exception as error:  # Pillow's plugins raise whatever they like on damaged files
            reasons[_reason(error)] += 1
            picture = None
        for item in items.tolist():
            boxes[item], jpeg[item] = _cut(picture, Box(*crops.box[item].tolist()), geometry)
    return Thumbnails(boxes, jpeg, reasons)


def _groups(image: Int32[np.ndarray, " item"], n_images: int) -> list[Int64[np.ndarray, " _"]]:
    """Items of every few images that occur, the images ascending; items without an image are left out."""
    order = np.argsort(image, kind="stable")[np.count_nonzero(image < 0) :]
    _, starts = np.unique(image[order], return_index=True)
    return np.split(order, starts[n_images::n_images]) if len(order) else []


def _reason(error: Exception) -> str:
    """Without the file's name, so that equal reasons count together."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture that Pillow can read"
    return str(getattr(error, "strerror", None) or error)


def _cut(picture: Image.Image | None, box: Box, geometry: Geometry) -> tuple[Box, bytes]:
    if picture is None:
        return Box(0, 0, 0, 0), encode(Image.new("L", (geometry.thumbnail, geometry.thumbnail), 128))
    found = original_box(box, (picture.height, picture.width), geometry.resize, geometry.crop)
    height, width = found.bottom - found.top, found.right - found.left
    scale = geometry.thumbnail / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    corners = (found.left, found.top, found.right, found.bottom)
    return found, encode(picture.resize(size, Image.Resampling.BICUBIC, corners, reducing_gap=2.0))


def encode(picture: Image.Image) -> bytes:
    """A picture as JPEG; the same picture gives the same bytes."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def thumbnails(crops: Crops, open_image: OpenImage, geometry: Geometry) -> Delayed:
    """`cut_thumbnails` as one task for each few images; gives the `Thumbnails` of all crops."""
    places = _groups(crops.image, _IMAGES_PER_TASK)
    cut = delayed(cut_thumbnails, pure=False, traverse=False)
    parts = [cut(Crops(crops.image[p], crops.box[p]), open_image, geometry) for p in places]
    joined: Delayed = delayed(_join, pure=False)(parts, places, len(crops.image))
    return joined


def _join(parts: Sequence[Thumbnails], places: Sequence[Int[np.ndarray, " _"]], n: int) -> Thumbnails:
    boxes, jpeg, reasons = np.zeros((n, 4), np.int32), [b""] * n, Counter[str]()
    for part, place in zip(parts, places, strict=True):
        boxes[place] = part.box
        reasons.update(part.reasons)
        for item, data in zip(place.tolist(), part.jpeg, strict=True):
            jpeg[item] = data
    return Thumbnails(boxes, jpeg, reasons)
