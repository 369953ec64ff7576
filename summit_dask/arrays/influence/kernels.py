"""Compiled loops of the influence of 1x1 and of depthwise hops, and what they share with k x k ones (`patches`).

One set serves every stride, padding, dilation and grouping. Targets are handled in tiles of 16 neighbours (`LANES`);
weights are laid out so that a tile's lie together. All of this file is numba; `no_type_check` keeps jaxtyping's import
hook, on while testing, from wrapping it. The functions that are called from Python are compiled with all others in
them, and kept on disk.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from summit_dask.arrays.influence.simd import LANES, lanes_above, raise_peak

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
def rank_depthwise(maps, weights, stride, padding, dilation, peaks):
    """Influence of each channel on its own targets in a depthwise step.

    maps (image, y, x, channel) · weights (target of a channel, ky, kx, channel) · peaks (image, target of a channel,
    channel), from 0 · at least `LANES` channels
    """
    _, height, width, channels = maps.shape
    multiple, kernel_y, kernel_x, _ = weights.shape
    size_y = _positions(height, kernel_y, stride[0], padding[0], dilation[0])
    size_x = _positions(width, kernel_x, stride[1], padding[1], dilation[1])
    pixels = maps.reshape(-1)
    taps = weights.reshape(-1)
    best = peaks.reshape(-1)
    for n in range(len(maps)):
        for m in range(multiple):
            for y in range(size_y):
                top = y * stride[0] - padding[0]
                first_y, rows = _inside(top, height, kernel_y, dilation[0])
                for x in range(size_x):
                    left = x * stride[1] - padding[1]
                    first_x, columns = _inside(left, width, kernel_x, dilation[1])
                    # Where the kernel's part that lies inside the map begins, in all three flat arrays.
                    row = n * height + top + first_y * dilation[0]
                    pixel = (row * width + left + first_x * dilation[1]) * channels
                    tap = ((m * kernel_y + first_y) * kernel_x + first_x) * channels
                    own = (n * multiple + m) * channels
                    for block in range(0, channels, LANES):
                        c = min(block, channels - LANES)  # the last vector may overlap the one before
                        raise_peak(
                            pixels, pixel + c, dilation[0] * width * channels, dilation[1] * channels,
                            taps, tap + c, kernel_x * channels, channels, rows, columns, best, own + c,
                        )  # fmt: skip


@njit
@no_type_check
def _positions(size, kernel, stride, padding, dilation):
    """Positions of a kernel along one axis of a map."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


@njit
@no_type_check
def _inside(start, size, kernel, dilation):
    """First tap of a kernel that lies inside a map of this size, and how many do, along one axis."""
    first = (max(0, -start) + dilation - 1) // dilation
    end = min(kernel, (size - start + dilation - 1) // dilation)
    return first, max(0, end - first)


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
