"""Vectors of 16 floats for numba: what its loops don't turn into good vector code by themselves.

Each function here is a piece of LLVM code that numba puts into its caller. LLVM cuts the vectors to those of the
machine: one register with AVX-512, two with AVX, four with SSE2 or NEON; the result is the same.

numba's cache looks at the file of the compiled caller only: after a change here, delete the ``__pycache__`` folder.
"""

from typing import no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

#: Floats in a vector: targets that are handled together.
LANES = 16

_INDEX = ir.IntType(64)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_LANE_NUMBERS = ir.VectorType(ir.IntType(32), LANES)


@intrinsic
@no_type_check
def raise_peaks(typing, group, pixels, bases, first_base, taps, weights, first_weight, peaks, first_peak):
    """Raise 16 of the `peaks` to the largest sums of taps times weights over a group of patches.

    For the lanes of one tile, and patches 0, 1, ... of a group::

        peaks[first_peak + lane] = max of itself and, over the patches p, of
                                   sum over t of pixels[bases[first_base + p] + taps[t]]
                                                 * weights[first_weight + 16 * t + lane]

    The length of the tuple `group` is the number of patches.
    """
    signature = types.void(group, pixels, bases, first_base, taps, weights, first_weight, peaks, first_peak)
    return signature, _emit_raise_peaks


@no_type_check
def _emit_raise_peaks(context, builder, signature, arguments):
    n_patches = len(signature.args[0])
    pixels = _array(context, builder, signature, arguments, 1)
    bases = _array(context, builder, signature, arguments, 2)
    first_base = arguments[3]
    taps = _array(context, builder, signature, arguments, 4)
    weights = _array(context, builder, signature, arguments, 5)
    first_weight = arguments[6]
    peaks = _array(context, builder, signature, arguments, 7)
    first_peak = arguments[8]

    n_taps = builder.extract_value(taps.shape, 0)
    multiply_add = _multiply_add(builder)
    base = builder.gep(bases.data, [first_base])
    patches = [_element(builder, pixels.data, _number(builder, base, r)) for r in range(n_patches)]
    sums = [cgutils.alloca_once_value(builder, _VECTOR([0.0] * LANES)) for _ in patches]
    tile = builder.gep(weights.data, [first_weight])
    with cgutils.for_range(builder, n_taps, intp=_INDEX) as loop:
        # One load of the weights serves all patches; their sums stay in registers.
        weight = _load(builder, _element(builder, tile, builder.mul(loop.index, _INDEX(LANES))))
        offset = builder.load(_element(builder, taps.data, loop.index))
        for patch, total in zip(patches, sums, strict=True):
            pixel = _spread(builder, builder.load(_element(builder, patch, offset)))
            builder.store(builder.call(multiply_add, [pixel, weight, builder.load(total)]), total)

    target = _element(builder, peaks.data, first_peak)
    best = builder.load(sums[0])
    for total in sums[1:]:
        best = _choose(builder, ">", best, builder.load(total))
    best = _choose(builder, ">", best, _load(builder, target))
    builder.store(best, builder.bitcast(target, _VECTOR.as_pointer()), align=4)
    return context.get_dummy_value()


@intrinsic
@no_type_check
def raise_peak(
    typing, pixels, first_pixel, pixel_row, pixel_column, taps, first_tap, tap_row, tap_column, rows, columns,
    peaks, first_peak,
):  # fmt: skip
    """Raise 16 of the `peaks` to 16 neighbouring channels' sums of pixels times taps over a rectangle::

    peaks[first_peak + lane] = max of itself and
        sum over y < rows, x < columns of pixels[first_pixel + pixel_row * y + pixel_column * x + lane]
                                          * taps[first_tap + tap_row * y + tap_column * x + lane]
    """
    signature = types.void(
        pixels, first_pixel, pixel_row, pixel_column, taps, first_tap, tap_row, tap_column, rows, columns,
        peaks, first_peak,
    )  # fmt: skip
    return signature, _emit_raise_peak


@no_type_check
def _emit_raise_peak(context, builder, signature, arguments):
    _, first_pixel, pixel_row, pixel_column, _, first_tap, tap_row, tap_column, rows, columns, _, first_peak = arguments
    pixels, taps, peaks = (_array(context, builder, signature, arguments, i).data for i in (0, 4, 10))
    multiply_add = _multiply_add(builder)
    total = cgutils.alloca_once_value(builder, _VECTOR([0.0] * LANES))
    with cgutils.for_range(builder, rows, intp=_INDEX) as y:
        pixel = builder.add(first_pixel, builder.mul(pixel_row, y.index))
        tap = builder.add(first_tap, builder.mul(tap_row, y.index))
        with cgutils.for_range(builder, columns, intp=_INDEX) as x:
            factors = [
                _load(builder, _element(builder, values, builder.add(first, builder.mul(step, x.index))))
                for values, first, step in ((pixels, pixel, pixel_column), (taps, tap, tap_column))
            ]
            builder.store(builder.call(multiply_add, [*factors, builder.load(total)]), total)
    target = _element(builder, peaks, first_peak)
    best = _choose(builder, ">", builder.load(total), _load(builder, target))
    builder.store(best, builder.bitcast(target, _VECTOR.as_pointer()), align=4)
    return context.get_dummy_value()


@intrinsic
@no_type_check
def lanes_above(typing, values, least, first):
    """Bits of those of 16 values, from `first` on, that are above `least`."""

    def emit(context, builder, signature, arguments):
        values = _array(context, builder, signature, arguments, 0)
        least = _array(context, builder, signature, arguments, 1)
        first = arguments[2]
        value = _load(builder, _element(builder, values.data, first))
        bound = _load(builder, _element(builder, least.data, first))
        bits = builder.bitcast(builder.fcmp_ordered(">", value, bound), ir.IntType(LANES))
        return builder.zext(bits, _INDEX)

    return types.int64(values, least, first), emit


@intrinsic
@no_type_check
def weigh(typing, pixels, pixel, offsets, weights, slices, n_taps, total, high, low):
    """Sums of pixels times weights over some taps, by source, and the largest of every lane::

        total[i] = sum over t < n_taps of pixels[pixel + offsets[t] + i] * weights[slices[t] + i]
        high[lane] = max of 0 and every 16th of total; low[lane] the same of minus total

    The length of `total` is a multiple of 16.
    """
    signature = types.void(pixels, pixel, offsets, weights, slices, n_taps, total, high, low)
    return signature, _emit_weigh


@no_type_check
def _emit_weigh(context, builder, signature, arguments):
    pixels, offsets, weights, slices, total, high, low = (
        _array(context, builder, signature, arguments, i) for i in (0, 2, 3, 4, 6, 7, 8)
    )
    pixel, n_taps = arguments[1], arguments[5]
    multiply_add = _multiply_add(builder)
    zero = _VECTOR([0.0] * LANES)
    most, least = (cgutils.alloca_once_value(builder, zero) for _ in range(2))
    added = cgutils.alloca_once(builder, _VECTOR)
    n_vectors = builder.udiv(builder.extract_value(total.shape, 0), _INDEX(LANES))
    start = builder.gep(pixels.data, [pixel])
    with cgutils.for_range(builder, n_vectors, intp=_INDEX) as vector:
        first = builder.mul(vector.index, _INDEX(LANES))
        builder.store(zero, added)
        with cgutils.for_range(builder, n_taps, intp=_INDEX) as tap:
            offset, own = (builder.load(_element(builder, a.data, tap.index)) for a in (offsets, slices))
            seen = _load(builder, _element(builder, start, builder.add(offset, first)))
            weight = _load(builder, _element(builder, weights.data, builder.add(own, first)))
            builder.store(builder.call(multiply_add, [seen, weight, builder.load(added)]), added)
        value = builder.load(added)
        target = _element(builder, total.data, first)
        builder.store(value, builder.bitcast(target, _VECTOR.as_pointer()), align=4)
        builder.store(_choose(builder, ">", value, builder.load(most)), most)
        builder.store(_choose(builder, ">", builder.fneg(value), builder.load(least)), least)
    for lanes, best in ((high, most), (low, least)):
        builder.store(builder.load(best), builder.bitcast(lanes.data, _VECTOR.as_pointer()), align=4)
    return context.get_dummy_value()


@intrinsic
@no_type_check
def largest_but(typing, values, number):
    """The largest of 16 values of 0 or more that are left when the largest are taken away so many times.

    Equal ones are taken away together, so that less may be left than there would be one by one.
    """

    def emit(context, builder, signature, arguments):
        values = _array(context, builder, signature, arguments, 0)
        left = cgutils.alloca_once_value(builder, _load(builder, values.data))
        with cgutils.for_range(builder, arguments[1], intp=_INDEX):
            lanes = builder.load(left)
            gone = builder.fcmp_ordered("==", lanes, _largest_everywhere(builder, lanes))
            builder.store(builder.select(gone, _VECTOR([0.0] * LANES), lanes), left)
        return builder.extract_element(_largest_everywhere(builder, builder.load(left)), ir.IntType(32)(0))

    return types.float32(values, number), emit


@no_type_check
def _largest_everywhere(builder, vector):
    """A vector of the largest lane; see `least_lane`."""
    for distance in (8, 4, 2, 1):
        turned = [(lane + distance) % LANES for lane in range(LANES)]
        other = builder.shuffle_vector(vector, vector, _LANE_NUMBERS(turned))
        vector = _choose(builder, ">", vector, other)
    return vector


@intrinsic
@no_type_check
def lanes_beyond(typing, values, first, high, low):
    """Bits of those of 16 values, from `first` on, that are above `high` or below minus `low`."""

    def emit(context, builder, signature, arguments):
        values = _array(context, builder, signature, arguments, 0)
        value = _load(builder, _element(builder, values.data, arguments[1]))
        above = builder.fcmp_ordered(">", value, _spread(builder, arguments[2]))
        below = builder.fcmp_ordered("<", value, _spread(builder, builder.fneg(arguments[3])))
        bits = builder.bitcast(builder.or_(above, below), ir.IntType(LANES))
        return builder.zext(bits, _INDEX)

    return types.int64(values, first, types.float32, types.float32), emit


@intrinsic
@no_type_check
def rank_in(typing, values, sources, first, value, source):
    """Put a value among 16 that descend from `first` on, and its source with it; the last falls out, equal ones stay.

    ::

        9 7 7 4 1 ...   is at least 5?   1 1 1 0 0     stays         9 7 7
                        the one before?  1 1 1 1 0     is put here         5
                                                       moves up              4 1 ...
    """

    def emit(context, builder, signature, arguments):
        value, source = (_spread(builder, arguments[i]) for i in (3, 4))
        starts = [
            _element(builder, _array(context, builder, signature, arguments, i).data, arguments[2]) for i in (0, 1)
        ]
        old = [_load(builder, start) for start in starts]
        stays = builder.fcmp_ordered(">=", old[0], value)
        moved = [_moved_up(builder, vector) for vector in (stays, *old)]
        before = builder.insert_element(moved[0], ir.IntType(1)(1), ir.IntType(32)(0))  # nothing is before the first
        for start, mine, new, above in zip(starts, old, (value, source), moved[1:], strict=True):
            ranked = builder.select(stays, mine, builder.select(before, new, above))
            builder.store(ranked, builder.bitcast(start, ranked.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(values, sources, first, types.float32, types.int32), emit


@no_type_check
def _moved_up(builder, vector):
    """Every lane of a vector one lane further; the first is whatever was there."""
    return builder.shuffle_vector(vector, vector, _LANE_NUMBERS([0, *range(LANES - 1)]))


@intrinsic
@no_type_check
def fetch(typing, values, first):
    """Have the memory from `first` on brought near, a line of 16 floats; it may lie beyond the end."""

    def emit(context, builder, signature, arguments):
        start = _element(builder, _array(context, builder, signature, arguments, 0).data, arguments[1])
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # To be read, kept in all caches, data.
        builder.call(prefetch, [builder.bitcast(start, cgutils.voidptr_t), number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(values, first), emit


@intrinsic
@no_type_check
def lowest_bit(typing, bits):
    """Place of the lowest bit that is set; there is one."""

    def emit(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.int64), emit


@intrinsic
@no_type_check
def least_lane(typing, values, first):
    """Smallest of 16 values, from `first` on.

    The vector is compared with itself turned by 8, 4, 2 and 1 lanes; then every lane holds the smallest.
    """

    def emit(context, builder, signature, arguments):
        values = _array(context, builder, signature, arguments, 0)
        vector = _load(builder, _element(builder, values.data, arguments[1]))
        for distance in (8, 4, 2, 1):
            turned = [(lane + distance) % LANES for lane in range(LANES)]
            other = builder.shuffle_vector(vector, vector, _LANE_NUMBERS(turned))
            vector = _choose(builder, "<", vector, other)
        return builder.extract_element(vector, ir.IntType(32)(0))

    return types.float32(values, first), emit


@no_type_check
def _multiply_add(builder):
    """a * b + c of vectors: one instruction where the machine has it, else a product and a sum."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")


@no_type_check
def _array(context, builder, signature, arguments, i):
    return context.make_array(signature.args[i])(context, builder, arguments[i])


@no_type_check
def _element(builder, start, index):
    """Pointer to an element of an array that begins at a pointer."""
    return builder.gep(start, [index])


@no_type_check
def _number(builder, start, index):
    """An element itself, its index known while compiling."""
    return builder.load(_element(builder, start, _INDEX(index)))


@no_type_check
def _load(builder, pointer):
    """The vector that begins at a float, or at an integer."""
    return builder.load(builder.bitcast(pointer, ir.VectorType(pointer.type.pointee, LANES).as_pointer()), align=4)


@no_type_check
def _choose(builder, comparison, one, other):
    """In each lane the one that is greater, or less, than the other."""
    return builder.select(builder.fcmp_ordered(comparison, one, other), one, other)


@no_type_check
def _spread(builder, number):
    """A vector of one number."""
    one = builder.insert_element(ir.VectorType(number.type, LANES)(ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, _LANE_NUMBERS([0] * LANES))
