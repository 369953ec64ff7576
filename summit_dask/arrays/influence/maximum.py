"""Influence of the channels below on each channel of a layer, exact and at full resolution (section 3.3).

Here sources are the channels of a linear step's real input, whichever layers they come from. The influence of source
i on target j is the maximum over positions of the convolution of the source's map with the kernel slice
``weight[j, i]``; of each target only its k strongest sources are kept.
"""

import time
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int32, Int64

from summit_dask.arrays.activations import Extremes, channel_extremes
from summit_dask.arrays.influence.kernels import rank_closed, rank_depthwise
from summit_dask.arrays.influence.patches import Bounds, Patches, Weights, rank_patches
from summit_dask.arrays.influence.simd import LANES
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import Convolution

Maps = Float32[np.ndarray, "image height width channel"]
Weight = Float32[np.ndarray, "target source_in_group kh kw"]
Peaks = Float32[np.ndarray, "image channel"]


class Strongest(NamedTuple):
    """The k strongest sources of each target: descending influence, ties to the lower source, only above 0.

    Places without a source hold source -1 and value 0. Where a target has one possible source there is one rank.
    """

    source: Int32[np.ndarray, "image target rank"]
    value: Float32[np.ndarray, "image target rank"]


@runtime_checkable
class StepKernel(Protocol):
    """Finds the strongest sources of a linear step's targets for a batch of images.

    `maps` is the step's real input, before the convolution's own zero padding; `extremes` those of `maps` if they
    are known.

    Raises
    ------
    NumericalError
        If `maps` holds NaN or infinity; names the step.
    """

    def __call__(self, maps: Maps, extremes: Extremes | None = None) -> Strongest: ...


def prepare_step(convolution: Convolution | None, weight: Weight | None, k: int, name: str) -> StepKernel:
    """The kernel that ranks the sources of a linear step, its weights laid out once.

    Parameters
    ----------
    convolution
        Geometry; None for an identity, in which target i's only source is i, with the maximum of its scaled map.
    weight
        Kernel with all constant scales folded in; of an identity (target, 1, 1, 1), or None where it scales nothing.
    k
        Sources kept per target; may exceed the number of sources.
    name
        Of the step, for messages.

    Raises
    ------
    NumericalError
        If a weight is NaN or infinite.

    Examples
    --------
    A 1x1 convolution from two channels to one, with weights 2 and -1. Channel 0 reaches 3 somewhere; channel 1 is
    never below 1, so that it only lowers the target.

    >>> weight = np.array([2, -1], np.float32).reshape(1, 2, 1, 1)
    >>> kernel = prepare_step(Convolution(), weight, k=2, name="step")
    >>> maps = np.array([[3, 1], [0, 5]], np.float32).reshape(1, 2, 1, 2)  # image, y, x, channel
    >>> kernel(maps).source, kernel(maps).value
    (array([[[ 0, -1]]], dtype=int32), array([[[6., 0.]]], dtype=float32))
    """
    check_weight(weight, name)
    if convolution is None:
        return _Identity(weight, name)
    assert weight is not None
    if weight.shape[1] == 1 < convolution.groups:
        return _Depthwise(convolution, weight, name)
    if convolution.kernel == (1, 1):
        return _Closed(convolution, weight, k, name)
    return _Patches(convolution, weight, k, name)


def check_weight(weight: Weight | None, name: str) -> None:
    """Refuse a weight that is NaN or infinite.

    Raises
    ------
    NumericalError
        Names the step.
    """
    if weight is not None and not np.isfinite(weight).all():
        raise NumericalError(f"Weights of {name} hold NaN or infinity; expected finite values. Check the weights file.")


def needs_maps(convolution: Convolution | None) -> bool:
    """Whether a step's influences depend on more than the extremes of its whole input."""
    return convolution is not None and (convolution.kernel != (1, 1) or convolution.stride != (1, 1))


def warm_up() -> float:
    """Compile everything that the kernels of any hop need, or load it from the disk cache.

    Called once before worker processes start, so that they find it compiled.

    Returns
    -------
    float
        Seconds it took.
    """
    start = time.perf_counter()
    maps = np.ones((1, 4, 4, 2), np.float32)
    for shape, groups in (((2, 2, 1, 1), 1), ((2, 2, 3, 3), 1), ((2, 1, 3, 3), 2)):
        weight = np.ones(shape, np.float32)
        prepare_step(Convolution(shape[2:], groups=groups), weight, 1, "warm-up")(maps)
    return time.perf_counter() - start


class _Identity:
    """Target i's only source is i; scaled by a negative weight it is strongest where it is smallest."""

    def __init__(self, weight: Weight | None, name: str) -> None:
        self.name = name
        self.scale = np.float32(1) if weight is None else weight[:, 0, 0, 0]
        self.longest = float(np.abs(self.scale).max())

    def __call__(self, maps: Maps, extremes: Extremes | None = None) -> Strongest:
        extremes = _checked(maps, extremes, self.longest, self.name)
        peaks = np.maximum(self.scale * extremes.maximum, self.scale * extremes.minimum)
        return _only(peaks, np.arange(peaks.shape[1]))


class _Closed:
    """1x1: an influence is largest where the source is largest, or smallest if the weight is negative."""

    def __init__(self, convolution: Convolution, weight: Weight, k: int, name: str) -> None:
        self.convolution = convolution
        self.k = k
        self.name = name
        self.targets = len(weight)
        self.longest = _longest(weight)
        n_sources = convolution.groups * weight.shape[1]
        self.weights = _tiled(weight, convolution.groups).reshape(n_sources, -1)

    def __call__(self, maps: Maps, extremes: Extremes | None = None) -> Strongest:
        extremes = _checked(maps, extremes, self.longest, self.name)
        maximum, minimum = self._visited(maps, extremes)
        groups = self.convolution.groups
        strongest = _nothing(len(maps), groups * self.weights.shape[1], self.k)
        rank_closed(self.weights, groups, maximum, minimum, *strongest)
        return _untiled(strongest, self.targets, groups)

    def _visited(self, maps: Maps, extremes: Extremes) -> tuple[Peaks, Peaks]:
        """Maximum and minimum over the positions that the convolution visits; 0 among them where it pads."""
        step_y, step_x = self.convolution.stride
        pad_y, pad_x = self.convolution.padding
        if (step_y, step_x) != (1, 1):
            maps = np.ascontiguousarray(maps[:, -pad_y % step_y :: step_y, -pad_x % step_x :: step_x])
            if not maps.size:  # only padding is visited
                nothing = np.zeros_like(extremes.maximum)
                return nothing, nothing
            extremes = channel_extremes(maps)
        if (pad_y, pad_x) == (0, 0):
            return extremes.maximum, extremes.minimum
        return np.maximum(extremes.maximum, 0), np.minimum(extremes.minimum, 0)


class _Depthwise:
    """Each target has one possible source: targets ``c * multiple`` and following have channel c."""

    def __init__(self, convolution: Convolution, weight: Weight, name: str) -> None:
        self.convolution = convolution
        self.name = name
        self.longest = _longest(weight)
        self.owner = np.arange(len(weight)) * convolution.groups // len(weight)
        # A whole vector of channels at least.
        self.missing = max(0, LANES - convolution.groups)
        per_channel = weight.reshape(convolution.groups, -1, *convolution.kernel).transpose(1, 2, 3, 0)
        self.weights = _aligned(np.pad(per_channel, ((0, 0), (0, 0), (0, 0), (0, self.missing))))

    def __call__(self, maps: Maps, extremes: Extremes | None = None) -> Strongest:
        _checked(maps, extremes, self.longest, self.name)
        wide = np.pad(maps, ((0, 0), (0, 0), (0, 0), (0, self.missing))) if self.missing else maps
        c = self.convolution
        peaks = np.zeros((len(maps), len(self.weights), wide.shape[3]), np.float32)
        rank_depthwise(wide, self.weights, c.stride, c.padding, c.dilation, peaks)
        return _only(peaks[:, :, : c.groups].swapaxes(1, 2).reshape(len(maps), -1), self.owner)


class _Patches:
    """k x k: see `patches`."""

    def __init__(self, convolution: Convolution, weight: Weight, k: int, name: str) -> None:
        self.convolution = convolution
        self.k = k
        self.name = name
        self.targets = len(weight)
        self.longest = _longest(weight)
        self.weights = Weights(_tiled(weight, convolution.groups), convolution.groups)
        # Negative taps only lower the influence of a source that is nowhere negative.
        self.if_positive = _bounds(np.maximum(self.weights.tiles, 0), convolution.groups)
        self.if_signed = _bounds(self.weights.tiles, convolution.groups)

    def __call__(self, maps: Maps, extremes: Extremes | None = None) -> Strongest:
        extremes = _checked(maps, extremes, self.longest, self.name)
        bounds = self.if_signed if extremes.minimum.min() < 0 else self.if_positive
        strongest = _nothing(len(maps), bounds.floor.size, self.k)
        patches = _patches(self.convolution, maps.shape[1:3])
        if patches.bases.size:
            rank_patches(maps, tuple(patches), tuple(self.weights), tuple(bounds), *strongest)
        return _untiled(strongest, self.targets, self.convolution.groups)


def _checked(maps: Maps, extremes: Extremes | None, longest: float, name: str) -> Extremes:
    """Extremes of `maps`, if all is finite and stays so when multiplied with weights that sum to `longest`."""
    extremes = extremes or channel_extremes(maps)
    size = np.maximum(np.abs(extremes.maximum), np.abs(extremes.minimum)).astype(np.float64)
    # No sum of products can be larger in size.
    stays_finite = size * longest < np.finfo(np.float32).max
    if not stays_finite.all():
        image, channel = np.argwhere(~stays_finite)[0]
        raise NumericalError(
            f"Input of {name} holds {size[image, channel]:g} in channel {channel} of image {image} of the batch; "
            "expected finite values that stay finite when multiplied with the weights. Check the weights and the "
            "preprocessing."
        )
    return extremes


def _longest(weight: Weight) -> float:
    """Largest sum of absolute weights of any kernel slice."""
    return float(np.abs(weight).sum((2, 3), dtype=np.float64).max())


def _tiled(weight: Weight, groups: int) -> Float32[np.ndarray, "source tile tap lane"]:
    """A kernel as tiles of targets, zero in lanes without a target.

    target           0 1 2 ... 15 | 16 17 18                  19 targets, two tiles
    tile, lane       0: 0 ... 15  | 1: 0 1 2 (3 ... 15 zero)
    """
    targets, sources, kh, kw = weight.shape
    grouped = weight.reshape(groups, targets // groups, sources, kh * kw).astype(np.float32)
    missing = -(targets // groups) % LANES
    padded = np.pad(grouped, ((0, 0), (0, missing), (0, 0), (0, 0)))
    # (group, tile, lane, source, tap) -> (group, source, tile, tap, lane)
    tiles = padded.reshape(groups, -1, LANES, sources, kh * kw).transpose(0, 3, 1, 4, 2)
    return _aligned(tiles).reshape(groups * sources, -1, kh * kw, LANES)


def _aligned(array: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Contiguous copy that begins at a multiple of 64 bytes, so that a vector lies in one cache line."""
    room = np.empty(array.size + LANES, np.float32)
    # Floats from the beginning of the room to the next multiple of 64 bytes, or 16 floats.
    start = -room.ctypes.data // room.itemsize % LANES
    copy = room[start : start + array.size].reshape(array.shape)
    copy[:] = array
    return copy


def _untiled(strongest: Strongest, targets: int, groups: int) -> Strongest:
    """Without the lanes that have no target."""
    images, _, k = strongest.source.shape
    by_group = (images, groups, -1, k)
    source = strongest.source.reshape(by_group)[:, :, : targets // groups]
    value = strongest.value.reshape(by_group)[:, :, : targets // groups]
    return Strongest(source.reshape(images, targets, k), value.reshape(images, targets, k))


def _bounds(tiles: Float32[np.ndarray, "source tile tap lane"], groups: int) -> Bounds:
    """Of the targets of such weights; the floor is infinite where all slices of a target are zero."""
    squares = np.einsum("itpj,itpj->itj", tiles, tiles, dtype=np.float64)
    squares = squares.reshape(len(tiles), -1)
    with np.errstate(divide="ignore"):
        inverse = np.clip(1 / squares, 1e-37, 3e38).astype(np.float32)
    largest = squares.reshape(groups, -1, squares.shape[1]).max(1)
    floor = np.where(largest == 0, np.inf, 0).astype(np.float32).ravel()
    return Bounds(inverse, floor)


def _patches(convolution: Convolution, size: tuple[int, int]) -> Patches:
    """Where the patches lie on maps of this size."""
    width = size[1] + 2 * convolution.padding[1]
    firsts = [_firsts(convolution, axis, size[axis]) for axis in (0, 1)]
    bases = firsts[0][:, None] * width + firsts[1]
    rows = np.arange(convolution.kernel[0]) * convolution.dilation[0] * width
    columns = np.arange(convolution.kernel[1]) * convolution.dilation[1]
    taps = rows[:, None] + columns
    return Patches(convolution.padding, bases.ravel().astype(np.uint64), rows, columns, taps.ravel())


def _firsts(convolution: Convolution, axis: int, size: int) -> Int64[np.ndarray, " position"]:
    """Along one axis the first pixel of every patch, counted from the padding's first."""
    reach = convolution.dilation[axis] * (convolution.kernel[axis] - 1)
    return np.arange(0, size + 2 * convolution.padding[axis] - reach, convolution.stride[axis])


def _nothing(*shape: int) -> Strongest:
    return Strongest(np.full(shape, -1, np.int32), np.zeros(shape, np.float32))


def _only(peaks: Peaks, owner: Int64[np.ndarray, " target"]) -> Strongest:
    """Ranking where each target has one possible source."""
    source = np.where(peaks > 0, owner, -1).astype(np.int32)
    return Strongest(source[:, :, None], np.maximum(peaks, 0)[:, :, None])
