"""Contribution of the channels below to each channel of a layer, at the one position where that is largest (3.3).

    channel j of the layer            a source's map                 contribution of the source to j
    . . . . .                         . . . . .
    . . . 9 .   largest here  ──────> . . 2 5 1   x  w[j, source]  =  one number
    . . . . .                         . . 0 3 .      under the kernel
                                      . . . . .

Over all sources of all steps into the layer, plus bias, the numbers add up to what the channel computes there. On one
linear step that is gradient times activation, LRP-0 and integrated gradients from zero at once.
"""

from typing import NamedTuple, Protocol, no_type_check, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int32
from numba import njit

from summit_dask.arrays.influence.kernels import MARGIN
from summit_dask.arrays.influence.maximum import Maps, Strongest, Weight, check_weight
from summit_dask.arrays.influence.simd import LANES, lanes_beyond
from summit_dask.facts.layergraph import Convolution


class Contributions(NamedTuple):
    """What adds most to each target, and what lowers it most; the inhibitors' values are sizes, above 0."""

    strongest: Strongest
    inhibitors: Strongest


#: Where each target is largest: ``y * width + x`` on what the step makes; -1 where one doesn't fire and has none.
Position = Int32[np.ndarray, "image target"]


@runtime_checkable
class ContributionKernel(Protocol):
    """Ranks the contributions of a linear step's sources; `maps` is the step's real input, all finite.

    A step that makes one position only (of a value that is added to every position) contributes that everywhere.
    """

    def __call__(self, maps: Maps, position: Position) -> Contributions: ...


def prepare_contributions(
    convolution: Convolution | None, weight: Weight | None, k: int, name: str
) -> ContributionKernel:
    """The kernel of a linear step, its weights laid out once.

    Parameters
    ----------
    convolution, weight
        As of `prepare_step`.
    k
        Sources kept of either sign per target; descending size, ties to the lower source, never 0.
    name
        Of the step, for messages.

    Raises
    ------
    NumericalError
        If a weight is NaN or infinite.

    Examples
    --------
    A 1x1 convolution of two channels with weights 2 and -1; the target is largest at the second position, 2 * 4 - 3.

    >>> weight = np.array([2, -1], np.float32).reshape(1, 2, 1, 1)
    >>> kernel = prepare_contributions(Convolution(), weight, k=1, name="step")
    >>> maps = np.array([[3, 5], [4, 3]], np.float32).reshape(1, 1, 2, 2)  # image, y, x, channel
    >>> found = kernel(maps, np.array([[1]], np.int32))
    >>> found.strongest.source.item(), found.strongest.value.item()
    (0, 8.0)
    >>> found.inhibitors.source.item(), found.inhibitors.value.item()
    (1, 3.0)
    """
    check_weight(weight, name)
    if convolution is None:
        return _Carried(weight)
    assert weight is not None
    return _Summed(convolution, weight, k)


class _Carried:
    """An identity: target i has the one source i, scaled."""

    def __init__(self, weight: Weight | None) -> None:
        self.scale = np.float32(1) if weight is None else weight[:, 0, 0, 0]

    def __call__(self, maps: Maps, position: Position) -> Contributions:
        images, height, width, channels = maps.shape
        position = _on_map(position, (height, width))
        y, x = np.divmod(np.maximum(position, 0), width)
        value = maps[np.arange(images)[:, None], y, x, np.arange(channels)] * self.scale
        value = np.where(position < 0, 0, value)
        return Contributions(_alone(value), _alone(-value))


class _Summed:
    """A convolution, or a fully connected layer on a map that it covers whole."""

    def __init__(self, convolution: Convolution, weight: Weight, k: int) -> None:
        self.convolution, self.k = convolution, k
        # (target, tap, source): a tap's sources lie together, as a pixel's channels do.
        self.weights = np.ascontiguousarray(weight.reshape(*weight.shape[:2], -1).swapaxes(1, 2))

    def __call__(self, maps: Maps, position: Position) -> Contributions:
        c = self.convolution
        targets, _, sources = self.weights.shape
        made = c.made(maps.shape[1:3])
        position = _on_map(position, made)
        shape = (len(maps), targets, min(self.k, sources))
        found = [np.full(shape, -1, np.int32), np.zeros(shape, np.float32)]
        found += [np.full(shape, -1, np.int32), np.zeros(shape, np.float32)]
        rank_contributions(
            maps, self.weights, c.groups, c.kernel, c.stride, c.padding, c.dilation, position, made[1], *found
        )
        return Contributions(Strongest(*found[:2]), Strongest(*found[2:]))


def warm_up() -> None:
    """Compile the kernel, or load it from the disk cache."""
    prepare_contributions(Convolution(), np.ones((1, 2, 1, 1), np.float32), 1, "warm-up")(
        np.ones((1, 1, 1, 2), np.float32), np.zeros((1, 1), np.int32)
    )


def _on_map(position: Position, made: tuple[int, int]) -> Position:
    """The targets' positions on what the step makes: the same map, or one position for all."""
    return np.minimum(position, 0) if made == (1, 1) else position


def _alone(value: Float32[np.ndarray, "image target"]) -> Strongest:
    """Ranking where each target has the one source of its own number."""
    source = np.where(value > 0, np.arange(value.shape[1]), -1).astype(np.int32)
    return Strongest(source[:, :, None], np.maximum(value, 0).astype(np.float32)[:, :, None])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "nsz", "contract"})
@no_type_check
def rank_contributions(
    maps, weights, groups, kernel, stride, padding, dilation, position, width, source, value, inhibitor, lowered
):
    """Rank the sources of every target at its own position.

    maps (image, y, x, channel) · weights (target, tap, source of its group) · position (image, target) · the rest
    (image, target, rank), -1 and 0
    """
    targets, _, sources = weights.shape
    total = np.zeros(-(-sources // LANES) * LANES, np.float32)  # whole vectors, 0 where there is no source
    most = np.empty((2, LANES), np.float32)
    for j in range(targets):
        first = j // (targets // groups) * sources
        for n in range(len(maps)):
            at = position[n, j]
            if at < 0:
                continue
            y = at // width * stride[0] - padding[0]
            x = at % width * stride[1] - padding[1]
            _sum_taps(maps[n], weights[j], first, y, x, kernel, dilation, total[:sources])
            _rank(total, most, first, source[n, j], value[n, j], inhibitor[n, j], lowered[n, j])


@njit(error_model="numpy", fastmath={"nnan", "nsz", "contract"})
@no_type_check
def _sum_taps(maps, weights, first, y, x, kernel, dilation, total):
    """What each source brings through all taps of a kernel that begins at a pixel; there is nothing beyond the map."""
    height, width, _ = maps.shape
    sources = len(total)
    total[:] = 0
    for ky in range(kernel[0]):
        row = y + ky * dilation[0]
        if row < 0 or row >= height:
            continue
        for kx in range(kernel[1]):
            column = x + kx * dilation[1]
            if column < 0 or column >= width:
                continue
            pixel = maps[row, column, first : first + sources]
            tap = weights[ky * kernel[1] + kx]
            for i in range(sources):
                total[i] += pixel[i] * tap[i]


@njit(error_model="numpy", fastmath={"nnan", "nsz", "contract"})
@no_type_check
def _rank(total, most, first, source, value, inhibitor, lowered):
    """Put the largest and the most negative of some numbers into a target's ranks; `most` is memory to work in."""
    _largest_by_lane(total, most[0], most[1])
    k = len(value)
    high = _floor(most[0], k)
    low = _floor(most[1], k)
    for start in range(0, len(total), LANES):
        beyond = lanes_beyond(total, start, high, low)
        i = start
        while beyond:
            if beyond & 1:
                if total[i] > value[k - 1]:
                    _insert(source, value, first + i, total[i])
                elif -total[i] > lowered[k - 1]:
                    _insert(inhibitor, lowered, first + i, -total[i])
            beyond >>= 1
            i += 1


@njit(error_model="numpy", fastmath={"nnan", "nsz", "contract"})
@no_type_check
def _largest_by_lane(total, high, low):
    """Of every 16th number the largest, and the largest size of a negative one; 0 at least."""
    high[:] = 0
    low[:] = 0
    for start in range(0, len(total), LANES):
        for lane in range(LANES):
            new = total[start + lane]
            high[lane] = new if new > high[lane] else high[lane]
            low[lane] = -new if -new > low[lane] else low[lane]


@njit(error_model="numpy", fastmath={"nnan", "nsz", "contract"})
@no_type_check
def _floor(lanes, k):
    """A lower bound of the k-th largest of all numbers: the k-th largest of the lanes', which are used up."""
    largest = np.float32(0)
    for _ in range(k):
        largest = np.float32(0)
        for lane in range(LANES):
            largest = lanes[lane] if lanes[lane] > largest else largest
        for lane in range(LANES):
            lanes[lane] = 0 if lanes[lane] == largest else lanes[lane]
    return largest * MARGIN


@njit(error_model="numpy")
@no_type_check
def _insert(source, value, new, size):
    """Put a source that beats the last into its rank; they come in ascending order, so ties stay."""
    rank = len(value) - 1
    while rank > 0 and size > value[rank - 1]:
        value[rank] = value[rank - 1]
        source[rank] = source[rank - 1]
        rank -= 1
    value[rank] = size
    source[rank] = new
