"""Compiled loops of the influence of k x k hops: one set for every size, stride, padding, dilation and grouping.

Only the k strongest sources of each target are wanted, and most of the work can be proved useless beforehand.
A patch x (the pixels of one source under the kernel at one position) can't contribute more than the lengths of
the two vectors allow, |w| |x|, so it matters to a target only if

    energy = |x|^2  >=  floor^2 / |w|^2        floor: a lower bound of the target's k-th largest influence

The floor comes from one cheap round, the influence of every source at its patch of most energy alone, and rises
while the sources are gone through. Zero patches have no energy and drop out by the same rule.

As in `kernels`, targets are handled in tiles. Hot loops index flat arrays rather than slice or look into tuples, which
would count references. `rank_patches` takes plain tuples: numba's cache on disk keeps a class by name, and could not
be read once that had changed. The cache looks at this file only: after a change in `kernels`, delete it.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Int64, UInt64
from numba import njit

from summit_dask.arrays.influence.kernels import MARGIN, insert, keep_best
from summit_dask.arrays.influence.simd import LANES, lanes_above, least_lane, raise_peaks

#: Patches that are multiplied together with one load of the weights; their sums stay in registers.
GROUP = 6

# The number of patches as a tuple's length, which numba knows while compiling.
_ALONE = (0,)
_GROUP = (0,) * GROUP

#: Energy classes that the patches of a source are sorted into, four to an octave.
_CLASSES = 64

#: The energy of a patch that is not zero is at least this, so that small squares don't vanish.
_LEAST_ENERGY = np.float32(1e-30)

_HUGE = np.float32(3e38)


class Weights(NamedTuple):
    """Kernel slices of a hop, in tiles of `LANES` targets; lanes without a target hold zeros.

    A group's sources lie together, and each has the tiles of its group's targets alone.
    """

    tiles: Float32[np.ndarray, "source tile tap lane"]
    groups: int


class Bounds(NamedTuple):
    """What is known of a hop's targets beforehand.

    `inverse` is 1 / |w|^2 of every kernel slice; `floor` a first lower bound of each target's k-th largest influence:
    0, or infinite where there is nothing to find.
    """

    inverse: Float32[np.ndarray, "source target_in_group"]
    floor: Float32[np.ndarray, " target"]


class Patches(NamedTuple):
    """Where the patches of a k x k hop lie in a plane: a source's map with zeros around, row after row.

    For a 3 x 3 kernel on a plane of width w, `bases` are the places of the first pixels b of the patches::

        b  b+1  b+2            columns     0, 1, 2
           ...                 rows        0, w, 2w
        b+2w    b+2w+2         taps        0, 1, 2, w, w+1, w+2, 2w, 2w+1, 2w+2
    """

    padding: tuple[int, int]
    bases: UInt64[np.ndarray, " position"]
    rows: Int64[np.ndarray, " kh"]
    columns: Int64[np.ndarray, " kw"]
    taps: Int64[np.ndarray, " tap"]


class _Planes(NamedTuple):
    """One image's maps, zeros around; energy of the patch that begins at each pixel; where each source's largest is."""

    pixels: Float32[np.ndarray, "source pixel"]
    energy: Float32[np.ndarray, "source pixel"]
    strongest: UInt64[np.ndarray, " source"]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def rank_patches(maps, patches, weights, bounds, source, value):
    """Rank the sources of a k x k hop.

    maps (image, y, x, source) · patches, weights, bounds: plain tuples of what those of that name hold · source, value
    (image, target, k), -1 and 0 · the targets of a group are padded to whole tiles
    """
    patches = Patches(*patches)
    weights = Weights(*weights)
    bounds = Bounds(*bounds)
    planes = _empty_planes(maps, patches)
    for n in range(len(maps)):
        _spread(maps[n], patches.padding, planes.pixels)
        _measure(planes, patches)
        floor = bounds.floor.copy()
        if len(patches.bases) > GROUP:
            _raise_floor(planes, patches.taps, weights, value.shape[2], floor)
        _rank_image(planes, patches, weights, bounds.inverse, floor, source[n], value[n])


@njit(error_model="numpy")
@no_type_check
def _empty_planes(maps, patches):
    """Memory for the planes of one image, zero so far."""
    _, height, width, sources = maps.shape
    size = (height + 2 * patches.padding[0]) * (width + 2 * patches.padding[1])
    # Sums of energy run on past the last patch; what they read there is never used.
    pixels = np.zeros((sources, size + patches.taps[-1]), np.float32)
    energy = np.empty((sources, size), np.float32)
    return _Planes(pixels, energy, np.empty(sources, np.uint64))


@njit(error_model="numpy")
@no_type_check
def _spread(image, padding, pixels):
    """Copy an image (y, x, source) into planes (source, pixel) whose borders are zero, 16 sources at a time."""
    height, width, sources = image.shape
    plane_width = width + 2 * padding[1]
    for first in range(0, sources, LANES):
        last = min(first + LANES, sources)
        for y in range(height):
            start = (y + padding[0]) * plane_width + padding[1]
            for x in range(width):
                for i in range(first, last):
                    pixels[i, start + x] = image[y, x, i]


@njit(error_model="numpy")
@no_type_check
def _measure(planes, patches):
    """Fill the energies, and where the patch of most energy is."""
    # Taken out of their tuples once: each taking counts a reference.
    pixels = planes.pixels
    energy = planes.energy
    strongest = planes.strongest
    bases = patches.bases
    rows = patches.rows
    columns = patches.columns
    for i in range(len(pixels)):
        _energies(pixels[i], rows, columns, energy[i])
        strongest[i] = _strongest(energy[i], bases)


@njit(error_model="numpy")
@no_type_check
def _energies(plane, rows, columns, energy):
    """Energy of the patch at every pixel: squares summed along the kernel's columns, then its rows."""
    #     squares      1 0 2 1 ...
    #     along        3 3 ...           three columns: each the sum of itself and the next two
    #     energy                         the same down the rows
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


@njit(error_model="numpy")
@no_type_check
def _strongest(energy, bases):
    """First pixel of the patch of most energy."""
    best = bases[0]
    for base in bases:
        best = base if energy[base] > energy[best] else best
    return best


@njit(error_model="numpy")
@no_type_check
def _raise_floor(planes, taps, weights, k, floor):
    """Raise each target's floor to the k-th largest influence of sources at their strongest patch alone."""
    sources, tiles = weights.tiles.shape[:2]
    pixels = planes.pixels.reshape(-1)
    numbers = weights.tiles.reshape(-1)
    targets = tiles * LANES
    step = len(taps) * LANES
    best = np.zeros((weights.groups, k, targets), np.float32)
    peaks = np.empty(targets, np.float32)
    base = np.empty(1, np.uint64)
    for i in range(sources):
        base[0] = i * planes.pixels.shape[1] + planes.strongest[i]
        peaks[:] = 0
        for t in range(tiles):
            raise_peaks(_ALONE, pixels, base, 0, taps, numbers, (i * tiles + t) * step, peaks, t * LANES)
        keep_best(best[i // (sources // weights.groups)], peaks)
    for j in range(len(floor)):
        floor[j] = max(floor[j], best[j // targets, k - 1, j % targets])


@njit(error_model="numpy")
@no_type_check
def _rank_image(planes, patches, weights, inverse, floor, source, value):
    """Go through the sources; of each, through the tiles of targets to which any of its patches can matter."""
    sources, tiles = weights.tiles.shape[:2]

    # Taken out of their tuples once: each taking counts a reference. What `raise_peaks` reads is flat.
    pixels = planes.pixels.reshape(-1)
    plane_size = planes.pixels.shape[1]
    energy = planes.energy
    strongest = planes.strongest
    bases = patches.bases
    taps = patches.taps
    numbers = weights.tiles.reshape(-1)
    groups = weights.groups
    targets = tiles * LANES
    step = len(taps) * LANES

    # What an influence must be above to matter to a target, and its square; both rise.
    least = floor * MARGIN
    squared = np.minimum(least * least * MARGIN, _HUGE)
    peaks = np.empty(len(floor), np.float32)
    needs = np.empty(targets, np.float32)

    # A source's patches that can matter, the strongest first, in groups; the last group is filled up with copies:
    #
    #     energy              3 0 9 1 4 0 7 5 4 2 1                    needed: 1
    #     order (by energy)   9 7 5 4 4 3 | 2 1 1 1 1 1
    #     within                   9      |      2                     a tile that needs 3 stops after the first group
    kept = np.empty(len(bases), np.uint64)
    order = np.empty(len(bases) + GROUP, np.uint64)
    within = np.empty(len(bases) // GROUP + 1, np.float32)

    for i in range(sources):
        # Nothing of a source matters if its strongest patch can't matter to any target of its group.
        top = energy[i, strongest[i]]
        offset = i // (sources // groups) * targets
        need = max(_needs(squared[offset : offset + targets], inverse[i], needs), _LEAST_ENERGY)
        if not top >= need:
            continue
        count = _keep(energy[i], bases, need, kept)
        if tiles > 2:
            _sort(energy[i], top, kept[:count], order)
        else:  # few would gain from the order
            order[:count] = kept[:count]
        batches = _group(energy[i], order, count, within)
        order[: batches * GROUP] += np.uint64(i * plane_size)
        # Of the tiles those to which any patch can matter, and of the patches the groups that can.
        for t in range(tiles):
            need = needs[t]
            if not top >= need:
                continue
            start = offset + t * LANES
            first_weight = (i * tiles + t) * step
            peaks[start : start + LANES] = 0
            g = 0
            while g < batches and within[g] >= need:
                raise_peaks(_GROUP, pixels, order, g * GROUP, taps, numbers, first_weight, peaks, start)
                g += 1
            _take(i, peaks, start, least, squared, source, value)


@njit(error_model="numpy")
@no_type_check
def _take(new, peaks, start, least, squared, source, value):
    """Put a source into the ranking of those targets of a tile whose least its peak is above, and raise these."""
    above = lanes_above(peaks, least, start)
    j = start
    while above:
        if above & 1:
            insert(source, value, j, new, peaks[j])
            least[j] = max(least[j], value[j, -1])
            squared[j] = min(least[j] * least[j] * MARGIN, _HUGE)
        above >>= 1
        j += 1


@njit(error_model="numpy")
@no_type_check
def _needs(squared, inverse, needs):
    """Least energy that matters to any target of each tile, into the front of `needs`; returns the least of all."""
    for j in range(len(squared)):
        needs[j] = squared[j] * inverse[j]
    least = _HUGE
    for t in range(len(squared) // LANES):
        needs[t] = least_lane(needs, t * LANES)
        least = min(least, needs[t])
    return least


@njit(error_model="numpy")
@no_type_check
def _keep(energy, bases, need, kept):
    """First pixels of the patches with the needed energy, into the front of `kept`; returns their number."""
    count = 0
    for base in bases:
        kept[count] = base
        count += energy[base] >= need
    return count


@njit(error_model="numpy")
@no_type_check
def _sort(energy, top, kept, order):
    """Patches by class of energy, the strongest class first, into the front of `order`."""
    bits = energy.view(np.int32)
    top_bits = np.float32(top).view(np.int32)
    # How many are in each class, then where each class begins, then where its next one goes.
    ends = np.zeros(_CLASSES + 1, np.int64)
    for base in kept:
        ends[1 + min((top_bits - bits[base]) >> 21, _CLASSES - 1)] += 1
    for c in range(_CLASSES):
        ends[c + 1] += ends[c]
    for base in kept:
        c = min((top_bits - bits[base]) >> 21, _CLASSES - 1)
        order[ends[c]] = base
        ends[c] += 1


@njit(error_model="numpy")
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
