"""Compiled loops of the influence: one set for every kernel size, stride, padding, dilation and grouping.

Targets are handled in tiles of 16 neighbours (`LANES`); weights are laid out so that a tile's lie together.
All of this file is numba; `no_type_check` keeps jaxtyping's import hook, on while testing, from wrapping it.

Only the k strongest sources of each target are wanted, and most of the work can be proved useless beforehand.
A patch x (the pixels of one source under the kernel at one position) can't contribute more than the lengths of
the two vectors allow, |w| |x|, so it matters to a target only if

    energy = |x|^2  >=  floor^2 / |w|^2        floor: a lower bound of the target's k-th largest influence

The floor comes from one cheap round, the influence of every source at its patch of most energy alone, and rises
while the sources are gone through. Zero patches have no energy and drop out by the same rule.
"""

from typing import no_type_check

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

#: Targets that are handled together: one or two vectors of floats on most machines.
LANES = 16

#: Patches that are multiplied together with one load of the weights; their sums stay in registers.
GROUP = 6

# The number of patches as a tuple's length, which numba knows while compiling.
_ALONE, _GROUP = (0,), (0,) * GROUP

#: Energy classes that the patches of a source are sorted into, four to an octave.
_CLASSES = 64

#: The energy of a patch that is not zero is at least this, so that small squares don't vanish.
_LEAST = np.float32(1e-30)

#: Room for the rounding of energies and norms, far above it.
_MARGIN = np.float32(0.999)

_HUGE = np.float32(3e38)


@intrinsic
@no_type_check
def _raise_peaks(typing, group, plane, bases, taps, weights, peaks):
    """Raise the 16 `peaks` to the largest sums of taps times weights over a group of patches.

    A patch's pixels are ``plane[base + taps]``; the weights are (tap, lane). The length of the tuple `group`
    is the number of patches. All vectors are of 16 floats; LLVM cuts them to what the machine has.
    """
    signature = types.void(group, plane, bases, taps, weights, peaks)
    return signature, _emit_raise_peaks


@no_type_check
def _emit_raise_peaks(context, builder, signature, arguments):
    arrays = [
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args[1:], arguments[1:], strict=True)
    ]
    plane, bases, taps, weights, peaks = (array.data for array in arrays)
    n_taps = builder.extract_value(arrays[2].shape, 0)
    index, single = ir.IntType(64), ir.FloatType()
    vector = ir.VectorType(single, LANES)
    n_patches = len(signature.args[0])

    def at(pointer, place):
        return builder.gep(pointer, [place], inbounds=True)

    def load(pointer, kind):
        place = builder.bitcast(pointer, kind.as_pointer())
        return builder.load(place, align=4)

    def spread(number):
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

    def larger(a, b):
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    # One instruction where the machine has it, else a product and a sum.
    kind = ir.FunctionType(vector, [vector] * 3)
    multiply_add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")
    patches = [at(plane, builder.load(at(bases, ir.Constant(index, r)))) for r in range(n_patches)]
    sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * LANES)) for _ in patches]
    with cgutils.for_range(builder, n_taps, intp=index) as loop:
        weight = load(at(weights, builder.mul(loop.index, ir.Constant(index, LANES))), vector)
        offset = builder.load(at(taps, loop.index))
        for patch, total in zip(patches, sums, strict=True):
            pixel = spread(builder.load(at(patch, offset)))
            builder.store(builder.call(multiply_add, [pixel, weight, builder.load(total)]), total)
    best = load(peaks, vector)
    for total in sums:
        best = larger(builder.load(total), best)
    builder.store(best, builder.bitcast(peaks, vector.as_pointer()), align=4)
    return context.get_dummy_value()


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def insert(sources, values, source, value):
    """Put a source that beats the last into its place; sources come in ascending order, so ties stay to the lower."""
    place = len(values) - 1
    while place > 0 and value > values[place - 1]:
        values[place], sources[place] = values[place - 1], sources[place - 1]
        place -= 1
    values[place], sources[place] = value, source


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def rank_closed(weights, maximum, minimum, groups, source, value):
    """Rank the sources of a 1x1 hop by their extremes.

    weights (tile, source in group, lane) · maximum, minimum (image, source) · source, value (image, tile, lane, k)
    """
    tiles, sources, _ = weights.shape
    images, _, _, k = value.shape
    last = np.empty(LANES, np.float32)
    peaks = np.empty(LANES, np.float32)
    for t in range(tiles):
        first = t // (tiles // groups) * sources
        for n in range(images):
            last[:] = 0
            for i in range(sources):
                high, low = maximum[n, first + i], minimum[n, first + i]
                beats = False
                for j in range(LANES):
                    peaks[j] = max(weights[t, i, j] * high, weights[t, i, j] * low)
                    beats |= peaks[j] > last[j]
                if beats:
                    for j in range(LANES):
                        if peaks[j] > last[j]:
                            insert(source[n, t, j], value[n, t, j], first + i, peaks[j])
                            last[j] = value[n, t, j, k - 1]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def rank_patches(maps, padding, bases, rows, columns, weights, bound, groups, floor, source, value):
    """Rank the sources of a k x k hop.

    maps (image, y, x, source) · bases (position): first pixel of each patch in a zero-padded plane · rows,
    columns: offsets of the kernel's rows and columns in it · weights (source, tile in group, tap, lane) ·
    bound (source, tile in group, lane): 1 / |w|^2 · floor (target): 0, infinite where there is nothing to find ·
    source, value (image, tile, lane, k)
    """
    images, height, width, sources = maps.shape
    padded_width = width + 2 * padding[1]
    size = (height + 2 * padding[0]) * padded_width
    # Sums of energy run on past the last patch; what they read there is never used.
    reach = rows[-1] + columns[-1]
    planes = np.zeros((sources, size + reach), np.float32)
    energy = np.empty((sources, size), np.float32)
    strongest = np.empty(sources, np.int64)
    taps = np.empty(len(rows) * len(columns), np.int64)
    for y in range(len(rows)):
        for x in range(len(columns)):
            taps[y * len(columns) + x] = rows[y] + columns[x]
    for n in range(images):
        _spread(maps[n], padding, padded_width, planes)
        for i in range(sources):
            _energies(planes[i], rows, columns, energy[i])
            strongest[i] = _strongest(energy[i], bases)
        least = floor.copy()
        if len(bases) > GROUP:
            _raise_floor(planes, strongest, taps, weights, groups, value.shape[3], least)
        _rank_image(planes, energy, strongest, bases, taps, weights, bound, groups, least, source[n], value[n])


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _spread(image, padding, padded_width, planes):
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
        squares[p] = plane[p] * plane[p] + _LEAST if plane[p] != 0 else np.float32(0)
    along = np.zeros(len(plane), np.float32)
    for x in columns:
        for p in range(len(plane) - columns[-1]):
            along[p] += squares[p + x]
    energy[:] = 0
    for y in rows:
        for p in range(len(energy)):
            energy[p] += along[p + y]


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
    best = np.zeros((k, len(floor)), np.float32)
    peaks = np.zeros(tiles * LANES, np.float32)
    one = np.empty(1, np.int64)
    for i in range(sources):
        one[0] = strongest[i]
        peaks[:] = 0
        for t in range(tiles):
            _raise_peaks(_ALONE, planes[i], one, taps, weights[i, t], peaks[t * LANES : (t + 1) * LANES])
        start = i // (sources // groups) * tiles * LANES
        for r in range(k):
            row = best[r, start : start + tiles * LANES]
            for j in range(tiles * LANES):
                high = max(row[j], peaks[j])
                peaks[j] = min(row[j], peaks[j])
                row[j] = high
    for j in range(len(floor)):
        floor[j] = max(floor[j], best[k - 1, j])


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _rank_image(planes, energy, strongest, bases, taps, weights, bound, groups, floor, source, value):
    sources, tiles = weights.shape[:2]
    k = value.shape[2]
    squared = np.empty(len(floor), np.float32)
    for j in range(len(floor)):
        squared[j] = _squared(floor[j])
    needs = np.empty(tiles, np.float32)
    order = np.empty(len(bases) + GROUP, np.int64)
    within = np.empty(len(bases) // GROUP + 1, np.float32)
    scratch = np.empty(len(bases), np.int64)
    peaks = np.empty(LANES, np.float32)
    for i in range(sources):
        top = energy[i, strongest[i]]
        first = i // (sources // groups) * tiles
        need = _HUGE
        for t in range(tiles):
            needs[t] = _need(squared[(first + t) * LANES : (first + t + 1) * LANES], bound[i, t])
            need = min(need, needs[t])
        if not top >= max(need, _LEAST):
            continue
        batches = _sort_patches(energy[i], top, bases, max(need, _LEAST), scratch, order, within)
        for t in range(tiles):
            if not top >= needs[t]:
                continue
            peaks[:] = 0
            g = 0
            while g < batches and within[g] >= needs[t]:
                _raise_peaks(_GROUP, planes[i], order[g * GROUP : (g + 1) * GROUP], taps, weights[i, t], peaks)
                g += 1
            for j in range(LANES):
                if peaks[j] > value[first + t, j, k - 1]:
                    insert(source[first + t, j], value[first + t, j], i, peaks[j])
                    target = (first + t) * LANES + j
                    squared[target] = max(squared[target], _squared(value[first + t, j, k - 1]))


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _squared(floor):
    return min(floor * floor * _MARGIN, _HUGE)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "nsz"})
@no_type_check
def _need(squared, bound):
    """Least energy that matters to any target of a tile."""
    need = _HUGE
    for j in range(LANES):
        need = min(need, squared[j] * bound[j])
    return need


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _sort_patches(energy, top, bases, need, kept, order, within):
    """Patches with the needed energy, strongest class first, in groups; returns the number of groups.

    `within[g]` is the most energy of any patch from group g on. The last group is filled up with copies.
    """
    bits = energy.view(np.int32)
    top_bits = np.float32(top).view(np.int32)
    ends = np.zeros(_CLASSES + 1, np.int64)
    count = 0
    for base in bases:
        kept[count] = base
        count += energy[base] >= need
    for p in range(count):
        ends[1 + min((top_bits - bits[kept[p]]) >> 21, _CLASSES - 1)] += 1
    for c in range(_CLASSES):
        ends[c + 1] += ends[c]
    for p in range(count):
        c = min((top_bits - bits[kept[p]]) >> 21, _CLASSES - 1)
        order[ends[c]] = kept[p]
        ends[c] += 1
    groups = (count + GROUP - 1) // GROUP
    order[count : groups * GROUP] = order[count - 1]
    most = np.float32(0)
    for g in range(groups - 1, -1, -1):
        for r in range(GROUP):
            most = max(most, energy[order[g * GROUP + r]])
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
