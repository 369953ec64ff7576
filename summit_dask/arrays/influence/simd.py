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


@intrinsic
@no_type_check
def raise_peaks(typing, group, pixels, bases, first, taps, weights, start, peaks, place):
    """Raise 16 of the `peaks` to the largest sums of taps times weights over a group of patches.

    A patch's pixels are ``pixels[base + taps]``, its weights the 16 lanes of each tap from `start` on. The length
    of the tuple `group` is the number of patches. Vectors are of 16 floats; LLVM cuts them to what the machine has.
    """
    return types.void(group, pixels, bases, first, taps, weights, start, peaks, place), _emit_raise_peaks


@no_type_check
def _emit_raise_peaks(context, builder, signature, arguments):
    pixels, bases, taps, weights, peaks = (_array(context, builder, signature, arguments, i) for i in (1, 2, 4, 5, 7))
    n_taps = builder.extract_value(taps.shape, 0)
    bases = builder.gep(bases.data, [arguments[3]])
    weights, peaks = builder.gep(weights.data, [arguments[6]]), builder.gep(peaks.data, [arguments[8]])
    # One instruction where the machine has it, else a product and a sum.
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    multiply_add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")
    places = [builder.load(builder.gep(bases, [_INDEX(r)])) for r in range(len(signature.args[0]))]
    patches = [builder.gep(pixels.data, [place]) for place in places]
    sums = [cgutils.alloca_once_value(builder, _VECTOR([0.0] * LANES)) for _ in patches]
    with cgutils.for_range(builder, n_taps, intp=_INDEX) as loop:
        weight = _load(builder, builder.gep(weights, [builder.mul(loop.index, _INDEX(LANES))]))
        offset = builder.load(builder.gep(taps.data, [loop.index]))
        for patch, total in zip(patches, sums, strict=True):
            pixel = _spread(builder, builder.load(builder.gep(patch, [offset])))
            builder.store(builder.call(multiply_add, [pixel, weight, builder.load(total)]), total)
    best = builder.load(sums[0])
    for other in [builder.load(total) for total in sums[1:]] + [_load(builder, peaks)]:
        best = builder.select(builder.fcmp_ordered(">", best, other), best, other)
    builder.store(best, builder.bitcast(peaks, _VECTOR.as_pointer()), align=4)
    return context.get_dummy_value()


@intrinsic
@no_type_check
def lanes_above(typing, values, least, place):
    """Bits of those of 16 values, from `place` on, that are above `least`."""

    def emit(context, builder, signature, arguments):
        values, least = (_array(context, builder, signature, arguments, i).data for i in (0, 1))
        a, b = (_load(builder, builder.gep(data, [arguments[2]])) for data in (values, least))
        bits = builder.bitcast(builder.fcmp_ordered(">", a, b), ir.IntType(LANES))
        return builder.zext(bits, _INDEX)

    return types.int64(values, least, place), emit


@intrinsic
@no_type_check
def least_lane(typing, values, place):
    """Smallest of 16 values, from `place` on."""

    def emit(context, builder, signature, arguments):
        vector = _load(builder, builder.gep(_array(context, builder, signature, arguments, 0).data, [arguments[1]]))
        for distance in (8, 4, 2, 1):
            turned = [(lane + distance) % LANES for lane in range(LANES)]
            other = builder.shuffle_vector(vector, vector, ir.VectorType(ir.IntType(32), LANES)(turned))
            vector = builder.select(builder.fcmp_ordered("<", vector, other), vector, other)
        return builder.extract_element(vector, ir.IntType(32)(0))

    return types.float32(values, place), emit


@no_type_check
def _array(context, builder, signature, arguments, i):
    return context.make_array(signature.args[i])(context, builder, arguments[i])


@no_type_check
def _load(builder, pointer):
    return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


@no_type_check
def _spread(builder, number):
    """A vector of one number."""
    one = builder.insert_element(_VECTOR(ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.VectorType(ir.IntType(32), LANES)([0] * LANES))
