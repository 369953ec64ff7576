"""Compiled loops of the influence of 1x1 and of depthwise hops, and what they share with k x k ones (`patches`).

One set serves every stride, padding, dilation and grouping. Targets are handled in tiles of 16 neighbours (`LANES`);
weights are laid out so that a tile's lie together. All of this file is numba; `no_type_check` keeps jaxtyping's import
hook, on while testing, from wrapping it. The functions that are called from Python are compiled with all others in
them, and kept on disk.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from summit_dask.arrays.influence.simd import LANES, lanes_above

#: Room for rounding, far above it.
MARGIN = np.float32(0.999)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def rank_closed(weights, groups, maximum, minimum, source, value):
    """Rank the sources of a 1x1 hop by their extremes.

    weights (source, target of its group) · maximum, minimum (image, source) · source, value (image, target, k),
    -1 and 0 · the targets of a group are padded to whole tiles
    """
    sources = weights.shape[0] // groups
    targets = weights.shape[1]
    peaks = np.empty(targets, np.float32)
    for n in range(len(maximum)):
        for g in range(groups):
            first = g * sources
            last = first + sources
            high = maximum[n, first:last]
            low = minimum[n, first:last]
            own = slice(g * targets, (g + 1) * targets)
            _rank_group(weights[first:last], high, low, first, peaks, source[n, own], value[n, own])


@njit(error_model="numpy")
@no_type_check
def _rank_group(weights, high, low, first, peaks, source, value):
    """Rank the sources of one group's targets; `first` is the group's first source, `peaks` memory to work in."""
    least = _closed_floor(weights, high, low, value.shape[1], peaks)
    for i in range(len(weights)):
        if high[i] == 0 and low[i] == 0:
            continue
        peaks[:] = 0
        _raise_closed(weights[i], high[i], low[i], peaks)
        for start in range(0, len(least), LANES):
            above = lanes_above(peaks, least, start)
            j = start
            while above:
                if above & 1:
                    insert(source, value, j, first + i, peaks[j])
                    least[j] = max(least[j], value[j, -1])
                above >>= 1
                j += 1


@njit(error_model="numpy")
@no_type_check
def _closed_floor(weights, high, low, k, peaks):
    """A lower bound of each target's k-th largest influence: the k-th largest over whole runs of sources.

    sources     | 4 1 7 | 0 2 2 | 5 3 1 | ...       k = 2: runs have 7, 2, 5; two sources have 5 at least
    """
    sources, targets = weights.shape
    run = max(1, sources // (4 * k))
    best = np.zeros((k, targets), np.float32)
    for start in range(0, sources, run):
        peaks[:] = 0
        for i in range(start, min(start + run, sources)):
            _raise_closed(weights[i], high[i], low[i], peaks)
        keep_best(best, peaks)
    return best[k - 1] * MARGIN


@njit(error_model="numpy")
@no_type_check
def _raise_closed(weights, high, low, peaks):
    """Raise each target's peak to the influence of a source of these extremes."""
    if high == 0 and low == 0:
        return
    for j in range(len(peaks)):
        at_high = weights[j] * high
        at_low = weights[j] * low
        peak = at_high if at_high > at_low else at_low
        peaks[j] = peak if peak > peaks[j] else peaks[j]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def rank_depthwise(maps, weights, taps_y, taps_x, stride, peaks):
    """Influence of each channel on its own targets in a depthwise hop.

    maps (image, y, x, channel), padded · weights (target of a channel, tap, channel) · peaks (image, target of a
    channel, channel), from 0
    """
    images, height, width, channels = maps.shape
    multiple, n_taps, _ = weights.shape
    total = np.empty(channels, np.float32)
    for n in range(images):
        for m in range(multiple):
            for y in range(0, height - taps_y[-1], stride[0]):
                for x in range(0, width - taps_x[-1], stride[1]):
                    total[:] = 0
                    for t in range(n_taps):
                        pixel = maps[n, y + taps_y[t], x + taps_x[t]]
                        for c in range(channels):
                            total[c] += pixel[c] * weights[m, t, c]
                    for c in range(channels):
                        peaks[n, m, c] = max(peaks[n, m, c], total[c])


@njit(error_model="numpy")
@no_type_check
def insert(source, value, target, new, peak):
    """Put a source that beats the target's last into its rank; they come in ascending order, so ties stay."""
    rank = value.shape[1] - 1
    while rank > 0 and peak > value[target, rank - 1]:
        value[target, rank] = value[target, rank - 1]
        source[target, rank] = source[target, rank - 1]
        rank -= 1
    value[target, rank] = peak
    source[target, rank] = new


@njit(error_model="numpy")
@no_type_check
def keep_best(best, peaks):
    """Let `peaks` compete with the k best of their lanes, (k, lane), descending; `peaks` is used up."""
    # The larger one stays in the row, the smaller one goes on to the next.
    for r in range(len(best)):
        row = best[r]
        for j in range(len(peaks)):
            kept = row[j]
            new = peaks[j]
            row[j] = kept if kept > new else new
            peaks[j] = new if kept > new else kept
