"""Widest paths from the channels of one layer to those of another, compiled.

    target j  ──convolved──────────────────────> source i
    target j  ──identity───────────────────────> source i
    target j  ──last──> hidden channel h ──reach──> source i

A path is as wide as the smallest count along it. Kept apart because importing numba takes most of a second.
`no_type_check` keeps jaxtyping's import hook, on while testing, from wrapping what numba has to compile.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Bool
from numba import njit

from summit_dask.arrays.graph.rows import Rows


def widest_rows(
    convolved: Rows, identity: Rows, last: Rows, reach: Rows, n_sources: int, keep: int
) -> tuple[Rows, Bool[np.ndarray, " entry"]]:
    """Sources of every target, each with its widest path.

    Parameters
    ----------
    convolved, identity
        (target, source) counts of hops straight from the sources, by what they are; an entry may occur twice.
    last
        (target, hidden channel) counts of hops from hidden channels; an entry may occur twice.
    reach
        (hidden channel, source): widest paths of the hidden channels.
    n_sources
        Number of source channels.
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
    >>> from summit_dask.arrays.graph.rows import stacked
    >>> parts = ([[1, 0, 0]], [[2, 0, 0]], [[5]], [[0, 9, 4]])
    >>> found, is_identity = widest_rows(*(stacked([csr_array(part)]) for part in parts), n_sources=3, keep=1)
    >>> found.indices, found.data, is_identity
    (array([0, 1], dtype=int32), array([2, 5], dtype=int32), array([ True, False]))
    """
    # Plain tuples: numba's cache on disk keeps a class by name, and could not be read once that had changed.
    *rows, is_identity = _widest(tuple(convolved), tuple(identity), tuple(last), tuple(reach), n_sources, keep)
    return Rows(*rows), is_identity


@njit(cache=True)
@no_type_check
def _widest(convolved, identity, last, reach, n_sources, keep):
    """`widest_rows` of plain tuples."""
    convolved = Rows(*convolved)
    identity = Rows(*identity)
    last = Rows(*last)
    reach = Rows(*reach)
    n_targets = convolved.indptr.size - 1
    room = _room(convolved, identity, last, reach, n_sources)
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
        _widen_through(last, reach, target, through)
        stored = _append(straight, unchanged, through, keep, indices, data, is_identity, stored)
        indptr[target + 1] = stored
        straight[:] = 0
        unchanged[:] = 0
        through[:] = 0
    return indptr, indices[:stored].copy(), data[:stored].copy(), is_identity[:stored].copy()


@njit
@no_type_check
def _room(convolved, identity, last, reach, n_sources):
    """Most entries that the result can have."""
    room = 0
    for target in range(convolved.indptr.size - 1):
        paths = convolved.indptr[target + 1] - convolved.indptr[target]
        paths += identity.indptr[target + 1] - identity.indptr[target]
        for entry in range(last.indptr[target], last.indptr[target + 1]):
            hidden = last.indices[entry]
            paths += reach.indptr[hidden + 1] - reach.indptr[hidden]
        room += min(paths, n_sources)
    return room


@njit
@no_type_check
def _widen_straight(direct, target, width):
    """Raise the width of each source to the target's largest direct count of it."""
    for entry in range(direct.indptr[target], direct.indptr[target + 1]):
        source = direct.indices[entry]
        width[source] = max(width[source], direct.data[entry])


@njit
@no_type_check
def _widen_through(last, reach, target, width):
    """Raise the width of each source to that of the target's widest path through a hidden channel."""
    for entry in range(last.indptr[target], last.indptr[target + 1]):
        hidden = last.indices[entry]
        count = last.data[entry]
        for way in range(reach.indptr[hidden], reach.indptr[hidden + 1]):
            source = reach.indices[way]
            width[source] = max(width[source], min(count, reach.data[way]))


@njit
@no_type_check
def _append(straight, unchanged, through, keep, indices, data, is_identity, stored):
    """Append the sources that a target keeps; returns the new number of entries."""
    least, ties = _cut(through, keep)
    for source in range(straight.size):
        direct = max(straight[source], unchanged[source])
        if direct == 0 and through[source] < max(least, 1):
            continue
        tied = through[source] == least and ties > 0
        ties -= tied
        if direct > 0 or through[source] > least or tied:
            indices[stored] = source
            data[stored] = max(direct, through[source])
            is_identity[stored] = unchanged[source] > max(straight[source], through[source])
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
    # The widest so far, descending. Few get in, so that inserting beats partitioning.
    top = np.zeros(keep, np.int32)
    for new in width:
        if new > top[-1]:
            rank = keep - 1
            while rank > 0 and top[rank - 1] < new:
                top[rank] = top[rank - 1]
                rank -= 1
            top[rank] = new
    least = top[-1]
    if least == 0:
        return 0, 0
    return least, (top == least).sum()
