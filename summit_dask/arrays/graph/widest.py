"""The inner loop of the widest paths, compiled; kept apart because importing numba takes most of a second."""

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True)
@no_type_check  # numba needs the plain function, not one wrapped to check shapes while testing
def widest_rows(direct, last, reach, n_sources, keep):
    """Sources of every row, each with its widest path, as the three arrays of a CSR matrix.

        target j  --direct-------------------> source i
        target j  --last--> hidden channel h --reach--> source i

    Parameters
    ----------
    direct
        CSR arrays (indptr, indices, data; int32): hops straight from the sources; an entry may occur twice.
    last
        CSR arrays: hops from hidden channels; column h belongs to row h of `reach`.
    reach
        CSR arrays (hidden channel, source): widest paths of the hidden channels.
    n_sources
        Number of source channels.
    keep
        Sources kept per row of those that come through hidden channels, the widest first; ties: the lower
        index. Sources that also come directly are kept beside them.

    Returns
    -------
    tuple
        indptr, indices (ascending in a row) and data, int32.
    """
    n_rows = direct[0].size - 1
    straight = np.zeros(n_sources, np.int32)
    through = np.zeros(n_sources, np.int32)
    bound = _bound(direct, last, reach, n_sources)
    indptr, indices, data = np.zeros(n_rows + 1, np.int32), np.empty(bound, np.int32), np.empty(bound, np.int32)
    n = 0
    for row in range(n_rows):
        for e in range(direct[0][row], direct[0][row + 1]):
            i = direct[1][e]
            straight[i] = max(straight[i], direct[2][e])
        for e in range(last[0][row], last[0][row + 1]):
            h = last[1][e]
            for f in range(reach[0][h], reach[0][h + 1]):
                i = reach[1][f]
                through[i] = max(through[i], min(last[2][e], reach[2][f]))
        least, ties = _cut(through, keep)
        for i in range(n_sources):
            if straight[i] == 0 and through[i] < max(least, 1):
                continue
            tied = through[i] == least and ties > 0
            ties -= tied
            if straight[i] > 0 or through[i] > least or tied:
                indices[n], data[n] = i, max(straight[i], through[i])
                n += 1
        straight[:] = through[:] = 0
        indptr[row + 1] = n
    return indptr, indices[:n].copy(), data[:n].copy()


@njit(cache=True)
@no_type_check
def _bound(direct, last, reach, n_sources):
    """Most entries that the result can have."""
    total = 0
    for row in range(direct[0].size - 1):
        entries = direct[0][row + 1] - direct[0][row]
        for e in range(last[0][row], last[0][row + 1]):
            h = last[1][e]
            entries += reach[0][h + 1] - reach[0][h]
        total += min(entries, n_sources)
    return total


@njit(cache=True)
@no_type_check
def _cut(widths, keep):
    """Value above which all are kept, and how many of those equal to it; (0, 0) keeps all that are positive."""
    if keep >= widths.size:
        return 0, 0
    if keep == 0:
        return widths.max(), 0
    top = np.zeros(keep, np.int32)  # descending; few values get in, so that inserting beats partitioning
    for width in widths:
        if width > top[-1]:
            place = keep - 1
            while place > 0 and top[place - 1] < width:
                top[place] = top[place - 1]
                place -= 1
            top[place] = width
    return top[-1], (top == top[-1]).sum() if top[-1] > 0 else 0
