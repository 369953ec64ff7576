"""Compiled loops of the influence: one set for every kernel size, stride, padding, dilation and grouping.

Targets are handled in tiles of 16 neighbours (`LANES`); weights are laid out so that a tile's lie together.
All of this file is numba; `no_type_check` keeps jaxtyping's import hook, on while testing, from wrapping it. Hot
loops index flat arrays rather than slice, which would count references.

Only the k strongest sources of each target are wanted, and most of the work can be proved useless beforehand.
A patch x (the pixels of one source under the kernel at one position) can't contribute more than the lengths of
the two vectors allow, |w| |x|, so it matters to a target only if

    energy = |x|^2  >=  floor^2 / |w|^2        floor: a lower bound of the target's k-th largest influence

The floor comes from one cheap round, the influence of every source at its patch of most energy alone, and rises
while the sources are gone through. Zero patches have no energy and drop out by the same rule.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from summit_dask.arrays.influence.simd import LANES, lanes_above, least_lane, raise_peaks

#: Patches that are multiplied together with one load of the weights; their sums stay in registers.
GROUP = 6

# The number of patches as a tuple's length, which numba knows while compiling.
_ALONE, _GROUP = (0,), (0,) * GROUP

#: Energy classes that the patches of a source are sorted into, four to an octave.
_CLASSES = 64

#: The energy of a patch that is not zero is at least this, so that small squares don't vanish.
_LEAST_ENERGY = np.float32(1e-30)

#: Room for rounding, far above it.
_MARGIN = np.float32(0.999)

_HUGE = np.float32(3e38)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _insert(source, value, target, i, peak):
    """Put a source that beats the target's last into its place; they come in ascending order, so ties stay."""
    place = value.shape[1] - 1
    while place > 0 and peak > value[target, place - 1]:
        value[target, place] = value[target, place - 1]
        source[target, place] = source[target, place - 1]
        place -= 1
    value[target, place] = peak
    source[target, place] = i


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _keep_best(best, peaks):
    """Let `peaks` compete with the k best of their lanes, (k, lane), descending; `peaks` is used up."""
    for r in range(len(best)):
        row = best[r]
        for j in range(len(peaks)):
            a, b = row[j], peaks[j]
            row[j] = a if a > b else b
            peaks[j] = b if a > b else a


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def rank_closed(weights, maximum, minimum, groups, source, value):
    """Rank the sources of a 1x1 hop by their extremes.

    weights (source, target of its group) · maximum, minimum (image, source) · source, value (image, target, k),
    -1 and 0 · the targets of a group are padded to whole tiles

    The floor of a target is the k-th largest of the influences of whole runs of sources.
    """
    sources, targets = weights.shape
    k = value.shape[2]
    run = max(1, sources // groups // (4 * k))
    peaks = np.empty(targets, np.float32)
    for n in range(len(maximum)):
        for g in range(groups):
            first, last = g * sources // groups, (g + 1) * sources // groups
            best = np.zeros((k, targets), np.float32)
            for start in range(first, last, run):
                peaks[:] = 0
                for i in range(start, min(start + run, last)):
                    _raise_closed(weights[i], maximum[n, i], minimum[n, i], peaks)
                _keep_best(best, peaks)
            floor = best[k - 1] * _MARGIN
            _rank_closed(weights, maximum[n], minimum[n], first, last, g * targets, floor, source[n], value[n])


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _raise_closed(weights, high, low, peaks):
    if high == 0 and low == 0:
        return
    for j in range(len(peaks)):
        a, b = weights[j] * high, weights[j] * low
        peak = a if a > b else b
        peaks[j] = peak if peak > peaks[j] else peaks[j]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _rank_closed(weights, maximum, minimum, first, last, offset, least, source, value):
    peaks = np.empty(len(least), np.float32)
    for i in range(first, last):
        if maximum[i] == 0 and minimum[i] == 0:
            continue
        peaks[:] = 0
        _raise_closed(weights[i], maximum[i], minimum[i], peaks)
        for start in range(0, len(least), LANES):
            above = lanes_above(peaks, least, start)
            j = start
            while above:
                if above & 1:
                    _insert(source, value, offset + j, i, peaks[j])
                    least[j] = max(least[j], value[offset + j, -1])
                above >>= 1
                j += 1


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def rank_patches(maps, padding, bases, rows, columns, weights, bound, floor, groups, source, value):
    """Rank the sources of a k x k hop.

    maps (image, y, x, source) · bases (position): first pixel of each patch in a zero-padded plane · rows,
    columns: offsets of the kernel's rows and columns in it · weights (source, tile in group, tap, lane) ·
    bound (source, target of its group): 1 / |w|^2 · floor (target): 0, infinite where there is nothing to find ·
    source, value (image, target, k), -1 and 0 · the targets of a group are padded to whole tiles
    """
    images, height, width, sources = maps.shape
    padded_width = width + 2 * padding[1]
    size = (height + 2 * padding[0]) * padded_width
    # Sums of energy run on past the last patch; what they read there is never used.
    planes = np.zeros((sources, size + rows[-1] + columns[-1]), np.float32)
    energy = np.empty((sources, size), np.float32)
    strongest = np.empty(sources, np.uint64)
    taps = (rows.reshape(-1, 1) + columns).reshape(-1)
    for n in range(images):
        _spread_planes(maps[n], padding, padded_width, planes)
        for i in range(sources):
            _energies(planes[i], rows, columns, energy[i])
            strongest[i] = _strongest(energy[i], bases)
        least = floor.copy()
        if len(bases) > GROUP:
            _raise_floor(planes, strongest, taps, weights, groups, value.shape[2], least)
        _rank_image(planes, energy, strongest, bases, taps, weights, bound, groups, least, source[n], value[n])


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _spread_planes(image, padding, padded_width, planes):
    """Copy an image (y, x, source) into planes (source, pixel) whose borders are zero, 16 sources at a time."""
    height, width, sources = image.shape
    for first in range(0, sources, LANES):
        last = min(first + LANES, sources)
        for y in range(height):
            start = (y + padding[0]) * padded_width + padding[1]
            for x in range(width):
                for i in range(first, last):
                    planes[i, start + x] = image[y, x, i]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _energies(plane, rows, columns, energy):
    """Energy of the patch at every pixel: squares summed along the kernel's columns, then its rows."""
    squares = np.empty(len(plane), np.float32)
    for p in range(len(plane)):
        squares[p] = plane[p] * plane[p] + _LEAST_ENERGY if plane[p] != 0 else np.float32(0)
    along = np.zeros(len(plane), np.float32)
    for x in columns:
        shifted = squares[x:]
        for p in range(len(shifted)):
            along[p] += shifted[p]
    energy[:] = 0
    for y in rows:
        shifted = along[y : y + len(energy)]
        for p in range(len(energy)):
            energy[p] += shifted[p]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _strongest(energy, bases):
    """First pixel of the patch of most energy."""
    best = bases[0]
    for base in bases:
        best = base if energy[base] > energy[best] else best
    return best


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _raise_floor(planes, strongest, taps, weights, groups, k, floor):
    """Raise each target's floor to the k-th largest influence of sources at their strongest patch alone."""
    sources, tiles = weights.shape[:2]
    pixels, numbers = planes.reshape(-1), weights.reshape(-1)
    targets, step = tiles * LANES, len(taps) * LANES
    best = np.zeros((groups, k, targets), np.float32)
    peaks = np.empty(targets, np.float32)
    base = np.empty(1, np.uint64)
    for i in range(sources):
        base[0] = i * planes.shape[1] + strongest[i]
        peaks[:] = 0
        for t in range(tiles):
            raise_peaks(_ALONE, pixels, base, 0, taps, numbers, (i * tiles + t) * step, peaks, t * LANES)
        _keep_best(best[i // (sources // groups)], peaks)
    for j in range(len(floor)):
        floor[j] = max(floor[j], best[j // targets, k - 1, j % targets])


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _rank_image(planes, energy, strongest, bases, taps, weights, bound, groups, floor, source, value):
    sources, tiles = weights.shape[:2]
    pixels, numbers = planes.reshape(-1), weights.reshape(-1)
    targets, step = tiles * LANES, len(taps) * LANES
    least = floor * _MARGIN
    squared = np.minimum(least * least * _MARGIN, _HUGE)
    needs, peaks = np.empty(targets, np.float32), np.empty(len(floor), np.float32)
    order = np.empty(len(bases) + GROUP, np.uint64)
    within = np.empty(len(bases) // GROUP + 1, np.float32)
    kept = np.empty(len(bases), np.uint64)
    for i in range(sources):
        top = energy[i, strongest[i]]
        offset = i // (sources // groups) * targets
        need = max(_needs(squared[offset : offset + targets], bound[i], needs), _LEAST_ENERGY)
        if not top >= need:
            continue
        count = _keep(energy[i], bases, need, kept)
        if tiles > 2:
            _sort(energy[i], top, kept[:count], order)
        else:  # few would gain from the order
            order[:count] = kept[:count]
        batches = _group(energy[i], order, count, within)
        order[: batches * GROUP] += np.uint64(i * planes.shape[1])
        for t in range(tiles):
            need = needs[t]
            if not top >= need:
                continue
            start = offset + t * LANES
            peaks[start : start + LANES] = 0
            g = 0
            while g < batches and within[g] >= need:
                raise_peaks(_GROUP, pixels, order, g * GROUP, taps, numbers, (i * tiles + t) * step, peaks, start)
                g += 1
            above = lanes_above(peaks, least, start)
            j = start
            while above:
                if above & 1:
                    _insert(source, value, j, i, peaks[j])
                    least[j] = max(least[j], value[j, -1])
                    squared[j] = min(least[j] * least[j] * _MARGIN, _HUGE)
                above >>= 1
                j += 1


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _needs(squared, bound, needs):
    """Least energy that matters to any target of each tile, into the front of `needs`; returns the least of all."""
    for j in range(len(squared)):
        needs[j] = squared[j] * bound[j]
    need = _HUGE
    for t in range(len(squared) // LANES):
        needs[t] = least_lane(needs, t * LANES)
        need = min(need, needs[t])
    return need


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _keep(energy, bases, need, kept):
    """First pixels of the patches with the needed energy, into the front of `kept`; returns their number."""
    count = 0
    for base in bases:
        kept[count] = base
        count += energy[base] >= need
    return count


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _sort(energy, top, kept, order):
    """Patches by class of energy, the strongest class first, into the front of `order`."""
    bits = energy.view(np.int32)
    top_bits = np.float32(top).view(np.int32)
    ends = np.zeros(_CLASSES + 1, np.int64)
    for base in kept:
        ends[1 + min((top_bits - bits[base]) >> 21, _CLASSES - 1)] += 1
    for c in range(_CLASSES):
        ends[c + 1] += ends[c]
    for base in kept:
        c = min((top_bits - bits[base]) >> 21, _CLASSES - 1)
        order[ends[c]] = base
        ends[c] += 1


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _group(energy, order, count, within):
    """Number of groups that `count` patches make; the last is filled up with copies.

    `within[g]` is the most energy of any patch from group g on.
    """
    groups = (count + GROUP - 1) // GROUP
    order[count : groups * GROUP] = order[count - 1]
    most = np.float32(0)
    for g in range(groups - 1, -1, -1):
        for p in range(g * GROUP, (g + 1) * GROUP):
            most = energy[order[p]] if energy[order[p]] > most else most
        within[g] = most
    return groups


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
