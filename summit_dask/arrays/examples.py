"""The images that drive each channel most.

    partition 0 ─ top k ┐
    partition 1 ─ top k ┼ top k of these ┐
    partition 2 ─ top k ┘                ├ top k
    partition 3 ─ top k ── ...           ┘

A layer's values are only ever seen a partition at a time. What the channel saw of the images: `thumbnails`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from dask.delayed import Delayed, delayed
from jaxtyping import Float32, Int, Int32, Int64

from summit_dask.arrays.matrices import tree_reduce

_LAST_IMAGE = 2**32 - 1
_NONE = np.iinfo(np.int64).min


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


ReadBlocks = Callable[[int], Iterable[Block]]


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


def strongest_images(read: ReadBlocks, n_partitions: int, k: int) -> Delayed:
    """`strongest` over the partitions, of some layers at once, as a tree; building it reads nothing.

    Parameters
    ----------
    read
        Called once per partition, on a worker; gives a block of each layer. Small and picklable; it travels with every
        task.
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
    ...     yield Block(value, np.zeros((2, 1), np.int32), np.array([0, 0]), first_image=2 * partition)
    >>> [best] = strongest_images(read, n_partitions=3, k=3).compute()
    >>> best.image
    array([[5, 3, 0]], dtype=int32)
    """
    chunk = delayed(_strongest_of, pure=False, traverse=False)
    return tree_reduce([chunk(read, p, k) for p in range(n_partitions)], partial(_merge_layers, k=k))


def _strongest_of(read: ReadBlocks, partition: int, k: int) -> list[Strongest]:
    return [strongest(block, k) for block in read(partition)]


def _merge_layers(parts: Sequence[Sequence[Strongest]], k: int) -> list[Strongest]:
    return [merge(layer, k) for layer in zip(*parts, strict=True)]
