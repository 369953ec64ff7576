"""Counts per class: which channels its images use (A), which sources fire them (I), how many are right.

Plain functions on one block of images, and how blocks are combined. All counts are int32 sums over images, so neither
the order of images nor the borders of blocks can show in them.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any, no_type_check

import numpy as np
from dask.delayed import Delayed, delayed
from jaxtyping import Bool, Int, Int32
from numba import njit
from numba.cpython.unsafe.numbers import trailing_zeros
from scipy.sparse import csr_array

from summit_dask.facts.errors import StoreError, StoreIncompleteError

#: Target channels counted at a time: their dense counts (16 x 1024 x 4 bytes) stay in the core's cache.
_TILE = 16

#: Partial counts that are added at once.
_SPLIT_EVERY = 8


def count_selected(
    selected: Bool[np.ndarray, "image channel"], class_index: Int[np.ndarray, " image"], n_classes: int
) -> Int32[np.ndarray, "class channel"]:
    """A: number of each class's images that selected the channel (DESIGN 3.2; the paper's section 5.1).

    Parameters
    ----------
    selected
        From `select_channels`.
    class_index
        Class of each image, in any order; -1: the image is left out.
    n_classes
        Number of classes; one without images gets zeros.

    Raises
    ------
    StoreError
        If a class index is not below `n_classes`.

    Examples
    --------
    >>> selected = np.array([[True, False], [True, True], [False, True]])
    >>> count_selected(selected, np.array([0, 0, 1]), n_classes=2)
    array([[2, 1],
           [0, 1]], dtype=int32)
    """
    _check_below(class_index, n_classes, "class index")
    counts = np.zeros((n_classes, selected.shape[1]), np.int32)
    _add_selected(selected, class_index, counts)
    return counts


def count_sources(
    source: Int[np.ndarray, "image channel rank"],
    class_index: Int[np.ndarray, " image"],
    n_classes: int,
    n_sources: int,
) -> csr_array:
    """I of one hop: number of each class's images in which the source is among the channel's strongest.

    DESIGN 3.3; the paper's section 5.2.

    Parameters
    ----------
    source
        Strongest sources of the hop's own channels, no source twice in a ranking; -1: none. Entries of
        another hop into the same channels must be -1, see `sources_by_hop`.
    class_index
        Class of each image, in any order; -1: the image is left out.
    n_classes, n_sources
        Number of classes, and of channels of the hop's source layer.

    Returns
    -------
    scipy.sparse.csr_array
        int32, shape (n_classes * n_channels, n_sources): row ``class * n_channels + channel``;
        sources ascending, no stored zeros. See `dense_counts`.

    Raises
    ------
    StoreError
        If a class index or a source is not below its number.

    Examples
    --------
    One channel and its two strongest sources in each of three images: 1 and 0 twice in class 0, 2 once in class 1.

    >>> source = np.array([[[1, 0]], [[1, 0]], [[2, -1]]])
    >>> count_sources(source, np.array([0, 0, 1]), n_classes=2, n_sources=3).toarray()
    array([[2, 2, 0],
           [0, 0, 1]], dtype=int32)
    """
    _check_below(class_index, n_classes, "class index")
    _check_below(source, n_sources, "source channel")
    # Images of class -1 come first, before where class 0 starts.
    order = np.argsort(class_index, kind="stable")
    bounds = np.searchsorted(class_index[order], np.arange(n_classes + 1))
    indptr, indices, data = _add_sources(source, order, bounds, n_sources)
    return csr_array((data, indices, indptr), shape=(len(indptr) - 1, n_sources))


def sources_by_hop(
    source: Int[np.ndarray, "image channel rank"], hop: Int[np.ndarray, "image channel rank"], index: int
) -> Int[np.ndarray, "image channel rank"]:
    """Sources that come by the layer's incoming hop number `index`; -1 in the places of the others.

    Needed only where several hops lead into the same channels.

    Parameters
    ----------
    source
        Strongest sources of all hops together.
    hop
        Which of the layer's incoming hops each came by.
    index
        The hop that is wanted.

    Examples
    --------
    >>> sources_by_hop(np.array([[[4, 2, 4]]]), np.array([[[0, 1, 1]]]), 1)
    array([[[-1,  2,  4]]])
    """
    return np.where(hop == index, source, source.dtype.type(-1))


def dense_counts(
    counts: csr_array, n_channels: int, start: int, stop: int
) -> Int32[np.ndarray, "class channel source"]:
    """Rows of the classes `start` to `stop` of `count_sources`, as they are stored.

    Examples
    --------
    >>> counts = count_sources(np.array([[[1, 0], [2, -1]]]), np.array([0]), n_classes=1, n_sources=3)
    >>> dense_counts(counts, n_channels=2, start=0, stop=1)
    array([[[1, 1, 0],
            [0, 0, 1]]], dtype=int32)
    """
    rows = counts[start * n_channels : stop * n_channels].toarray()
    return rows.reshape(stop - start, n_channels, counts.shape[1])


def class_statistics(
    class_index: Int[np.ndarray, " image"],
    readable: Bool[np.ndarray, " image"],
    predicted_first: Int[np.ndarray, " image"],
    output_index: Int[np.ndarray, "class"],
) -> tuple[Int32[np.ndarray, "class"], Int32[np.ndarray, "class"]]:
    """Readable images of each class, and how many of them the network gets right (DESIGN 3.7).

    Parameters
    ----------
    class_index
        Class of each image; -1: none.
    readable
        False: the image is left out.
    predicted_first
        Output of highest probability.
    output_index
        The network's output for each class.

    Returns
    -------
    n_images, n_correct
        Zero for a class without readable images.

    Examples
    --------
    Two images of class 0, whose output is 7, one of them right; the image of class 1 can't be read.

    >>> class_index, readable = np.array([0, 0, 1]), np.array([True, True, False])
    >>> class_statistics(class_index, readable, predicted_first=np.array([7, 8, 8]), output_index=np.array([7, 8]))
    (array([2, 0], dtype=int32), array([1, 0], dtype=int32))
    """
    n_classes = len(output_index)
    _check_below(class_index, n_classes, "class index")
    counted = readable & (class_index >= 0)
    classes = class_index[counted]
    correct = classes[predicted_first[counted] == output_index[classes]]
    n_images = np.bincount(classes, minlength=n_classes)
    n_correct = np.bincount(correct, minlength=n_classes)
    return n_images.astype(np.int32), n_correct.astype(np.int32)


def _check_below(values: Int[np.ndarray, "..."], limit: int, what: str) -> None:
    largest = values.max(initial=-1)
    if largest >= limit:
        raise StoreError(
            f"Can't count: found the {what} {largest}, expected at most {limit - 1}; "
            "the stored arrays don't belong to this layer graph or these classes, extract them again."
        )


@njit(cache=True, nogil=True)
@no_type_check
def _add_selected(selected, class_index, counts):
    for n in range(len(selected)):
        k = class_index[n]
        if k >= 0:
            for c in range(selected.shape[1]):
                counts[k, c] += selected[n, c]


# One class at a time and a tile of its channels at a time:
#
#                     sources             counts of the tile, dense, then written out
#     channel first | 0 3 0 0 1 … |   ->   indices 1 4 …   data 3 1 …
#          …        |      …      |
#
#     channel first | 010010… |            marks: a bit for each count above 0, so that few sources are
#          …        |    …    |            found among many without looking at all
@njit(cache=True, nogil=True)
@no_type_check
def _add_sources(source, order, bounds, n_sources):
    """indptr, indices, data of the counts; `order` lists the images by class, `bounds` where each class starts."""
    n_channels = source.shape[1]
    n_classes = len(bounds) - 1
    indptr = np.zeros(n_classes * n_channels + 1, np.int32)
    indices = np.empty(source.size, np.int32)
    data = np.empty(source.size, np.int32)
    tile = np.zeros((_TILE, n_sources), np.int32)
    marks = np.zeros((_TILE, (n_sources + 63) // 64), np.uint64)
    stored = 0
    for k in range(n_classes):
        images = order[bounds[k] : bounds[k + 1]]
        for first in range(0, n_channels, _TILE):
            last = min(first + _TILE, n_channels)
            _add_tile(source, images, first, last, tile, marks)
            for c in range(first, last):
                if len(images) > 0:
                    stored = _move_row(tile[c - first], marks[c - first], indices, data, stored)
                indptr[k * n_channels + c + 1] = stored
    return indptr, indices[:stored].copy(), data[:stored].copy()


@njit(cache=True, nogil=True)
@no_type_check
def _add_tile(source, images, first, last, tile, marks):
    """Count the sources of the channels `first` to `last` over some images."""
    n_ranks = source.shape[2]
    for n in images:
        for c in range(first, last):
            for r in range(n_ranks):
                s = np.int64(source[n, c, r])
                if s >= 0:
                    tile[c - first, s] += 1
                    marks[c - first, s // 64] |= np.uint64(1) << np.uint64(s % 64)


@njit(cache=True, nogil=True)
@no_type_check
def _move_row(counts, marks, indices, data, stored):
    """Append the marked counts to the sparse arrays, and forget them; returns the new length."""
    # A word holds the marks of 64 sources, the lowest bit that of the first.
    for word in range(len(marks)):
        bits = marks[word]
        marks[word] = 0
        while bits:
            s = 64 * word + np.int64(trailing_zeros(bits))
            bits &= bits - np.uint64(1)  # without its lowest bit
            indices[stored] = s
            data[stored] = counts[s]
            counts[s] = 0
            stored += 1
    return stored


def tree_reduce(blocks: Sequence[Delayed], combine: Callable[[list[Any]], Any]) -> Delayed:
    """Combine partial results in a tree, neighbours first.

    Parameters
    ----------
    blocks
        Partial results, at least one.
    combine
        One partial result from up to eight; must not depend on how they are grouped.

    Raises
    ------
    StoreIncompleteError
        If there are no blocks.

    Examples
    --------
    >>> tree_reduce([delayed(n) for n in range(100)], sum).compute()
    4950
    """
    if not blocks:
        raise StoreIncompleteError("There are 0 partitions to reduce, expected at least 1; run init and extract first.")
    join = delayed(combine, pure=False)
    level: list[Delayed] = list(blocks)
    while len(level) > 1:
        level = [join(level[i : i + _SPLIT_EVERY]) for i in range(0, len(level), _SPLIT_EVERY)]
    return level[0]


def add_counts(blocks: Sequence[csr_array]) -> csr_array:
    """Sum of sparse counts of equal shape.

    Examples
    --------
    >>> add_counts([csr_array([[0, 1]]), csr_array([[2, 1]])]).toarray()
    array([[2, 2]])
    """
    return reduce(add, blocks)
