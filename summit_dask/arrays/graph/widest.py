"""Widest paths from the channels of one layer to those of another, compiled.

    target j  ──convolved──────────────────────> source i
    target j  ──identity───────────────────────> source i
    target j  ──last──> hidden channel h ──reach──> source i

A path is as wide as the smallest count along it. Through two hidden layers nearly every channel is reached, so `reach`
is no sparse matrix; its rows are gone through some sources at once.

Kept apart because importing numba takes most of a second. `no_type_check` keeps jaxtyping's import hook, on while
testing, from wrapping what numba has to compile.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Int32
from numba import njit

from summit_dask.arrays.graph.rows import Rows

#: Above all counts.
_LARGEST = 2**31 - 1


def widest_reach(
    straight: Rows, last: Rows, reach: Int32[np.ndarray, "hidden source"]
) -> Int32[np.ndarray, "target source"]:
    """Widest paths of every target to every source; 0 where there is none.

    Parameters
    ----------
    straight
        (target, source) counts of hops straight from the sources; an entry may occur twice.
    last
        (target, hidden channel) counts of hops from hidden channels; an entry may occur twice.
    reach
        Widest paths of the hidden channels.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from summit_dask.arrays.graph.rows import entries_of, in_rows
    >>> straight, last = (in_rows(entries_of(csr_array(part)), 1) for part in ([[2, 0, 0]], [[5]]))
    >>> widest_reach(straight, last, np.array([[0, 9, 4]], np.int32))
    array([[2, 5, 4]], dtype=int32)
    """
    widths: Int32[np.ndarray, "target source"] = _reach(tuple(straight), tuple(last), reach)
    return widths


def widest_rows(
    convolved: Rows, identity: Rows, last: Rows, reach: Int32[np.ndarray, "hidden source"], keep: int
) -> tuple[Rows, Bool[np.ndarray, " entry"]]:
    """Sources of every target, each with its widest path.

    Parameters
    ----------
    convolved, identity
        (target, source) counts of hops straight from the sources, by what they are; an entry may occur twice.
    last
        (target, hidden channel) counts of hops from hidden channels; an entry may occur twice.
    reach
        Widest paths of the hidden channels.
    keep
        Sources kept per target of those that come through hidden channels, the widest first; ties: the lower source.
        Sources that also come directly are kept beside them.

    Returns
    -------
    Rows
        (target, source), sources ascending, none of width 0.
    array
        Of each of its entries, whether an identity is wider than all other paths.

    Examples
    --------
    One target. Source 0 comes directly, with 2 images; through a hidden channel come source 1, with 5, and 2, with 4.

    >>> from scipy.sparse import csr_array
    >>> from summit_dask.arrays.graph.rows import entries_of, in_rows
    >>> parts = (in_rows(entries_of(csr_array(part)), 1) for part in ([[1, 0, 0]], [[2, 0, 0]], [[5]]))
    >>> found, is_identity = widest_rows(*parts, np.array([[0, 9, 4]], np.int32), keep=1)
    >>> found.indices, found.data, is_identity
    (array([0, 1], dtype=int32), array([2, 5], dtype=int32), array([ True, False]))
    """
    # Plain tuples: numba's cache on disk keeps a class by name, and could not be read once that had changed.
    *rows, is_identity = _widest(tuple(convolved), tuple(identity), tuple(last), reach, keep)
    return Rows(*rows), is_identity


@njit(cache=True)
@no_type_check
def _reach(straight, last, reach):
    """`widest_reach` of plain tuples."""
    straight = Rows(*straight)
    last = Rows(*last)
    width = np.zeros((straight.indptr.size - 1, reach.shape[1]), np.int32)
    for target in range(width.shape[0]):
        _widen_straight(straight, target, width[target])
        _widen_through(last, reach, target, 0, _LARGEST, width[target])
    return width


@njit(cache=True)
@no_type_check
def _widest(convolved, identity, last, reach, keep):
    """`widest_rows` of plain tuples."""
    convolved = Rows(*convolved)
    identity = Rows(*identity)
    last = Rows(*last)
    n_targets = convolved.indptr.size - 1
    n_sources = reach.shape[1]
    room = convolved.data.size + identity.data.size + n_targets * min(keep, n_sources)
    indptr = np.zeros(n_targets + 1, np.int32)
    indices = np.empty(room, np.int32)
    data = np.empty(room, np.int32)
    is_identity = np.empty(room, np.bool_)
    straight = np.zeros(n_sources, np.int32)
    unchanged = np.zeros(n_sources, np.int32)
    through = np.zeros(n_sources, np.int32)
    stored = 0
    for target in range(n_targets):
        _widen_straight(convolved, target, straight)
        _widen_straight(identity, target, unchanged)
        _widen_enough(convolved, identity, last, reach, target, keep, through)
        stored = _append(straight, unchanged, through, keep, indices, data, is_identity, stored)
        indptr[target + 1] = stored
        straight[:] = 0
        unchanged[:] = 0
        through[:] = 0
    return indptr, indices[:stored].copy(), data[:stored].copy(), is_identity[:stored].copy()


@njit
@no_type_check
def _widen_straight(direct, target, width):
    """Raise the width of each source to the target's largest direct count of it."""
    for entry in range(direct.indptr[target], direct.indptr[target + 1]):
        source = direct.indices[entry]
        width[source] = max(width[source], direct.data[entry])


@njit
@no_type_check
def _widen_through(last, reach, target, least, above, width):
    """Raise the width of each source to that of the widest path by one of the target's entries in a range."""
    for entry in range(last.indptr[target], last.indptr[target + 1]):
        count = last.data[entry]
        if least <= count < above:
            ways = reach[last.indices[entry]]
            for source in range(width.size):
                width[source] = max(width[source], min(count, ways[source]))


@njit
@no_type_check
def _widen_enough(convolved, identity, last, reach, target, keep, width):
    """`_widen_through` by all entries that matter: few large ones usually settle which sources are kept.

    A path is no wider than the entry that it takes. So an entry smaller than the last width to be kept, and than all
    counts of sources that come directly, changes nothing that is stored.
    """
    counts = last.data[last.indptr[target] : last.indptr[target + 1]]
    if counts.size == 0:
        return
    mean = counts.sum() // counts.size
    _widen_through(last, reach, target, mean, _LARGEST, width)
    matters = min(_cut(width, keep)[0], _smallest(convolved, target), _smallest(identity, target))
    _widen_through(last, reach, target, matters, mean, width)


@njit
@no_type_check
def _smallest(rows, target):
    smallest = _LARGEST
    for entry in range(rows.indptr[target], rows.indptr[target + 1]):
        smallest = min(smallest, rows.data[entry])
    return smallest


@njit
@no_type_check
def _append(straight, unchanged, through, keep, indices, data, is_identity, stored):
    """Append the sources that a target keeps; returns the new number of entries."""
    least, ties = _cut(through, keep)
    floor = max(least, 1)
    for source in range(straight.size):
        direct = straight[source] | unchanged[source]  # not above 0 where both are 0
        if direct == 0 and through[source] < floor:
            continue
        tied = through[source] == least and ties > 0
        ties -= tied
        if direct > 0 or through[source] > least or tied:
            indices[stored] = source
            others = max(straight[source], through[source])
            data[stored] = max(unchanged[source], others)
            is_identity[stored] = unchanged[source] > others
            stored += 1
    return stored


@njit
@no_type_check
def _cut(width, keep):
    """Width above which all are kept, and how many of those equal to it; (0, 0) keeps all that are positive.

    width  4 0 7 4 9 4    keep 3    ->    4, 1        9, 7 and the first of the 4s
    """
    if keep >= width.size:
        return 0, 0
    if keep == 0:
        return width.max(), 0
    # Halving the range of widths beats sorting: a width is counted at many sources at once.
    least, most = 0, width.max()
    while least < most:
        middle = (least + most + 1) // 2
        if _count(width, middle) >= keep:
            least = middle
        else:
            most = middle - 1
    if least == 0:
        return 0, 0
    return least, keep - _count(width, least + 1)


@njit
@no_type_check
def _count(width, least):
    """Number of widths from `least` up; all in 32 bits, so that it is compiled for several at once."""
    count = np.int32(0)
    bound = np.int32(least)
    for source in range(width.size):
        count = np.int32(count + np.int32(width[source] >= bound))
    return count
