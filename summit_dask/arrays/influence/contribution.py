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
from summit_dask.arrays.influence.simd import LANES, fetch, lanes_beyond, largest_but, lowest_bit, rank_in, weigh
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
        self.convolution, self.k, self.shape = convolution, k, weight.shape
        # (target, tap, source): a tap's sources lie together, as a pixel's channels do; whole vectors of them.
        self.missing = -weight.shape[1] % LANES
        by_tap = weight.reshape(*weight.shape[:2], -1).swapaxes(1, 2)
        self.weights = np.ascontiguousarray(np.pad(by_tap, ((0, 0), (0, 0), (0, self.missing))))

    def __call__(self, maps: Maps, position: Position) -> Contributions:
        c = self.convolution
        targets, sources = self.shape[:2]
        made = c.made(maps.shape[1:3])
        shape = (len(maps), targets, min(self.k, sources))
        found = [np.full(shape, -1, np.int32), np.zeros(shape, np.float32)]
        found += [np.full(shape, -1, np.int32), np.zeros(shape, np.float32)]
        # A vector of the last sources reaches beyond them, into what is multiplied with 0.
        wide = np.pad(maps, ((0, 0), (0, 0), (0, 0), (0, self.missing))) if self.missing else maps
        geometry = (c.groups, c.kernel, c.stride, c.padding, c.dilation)
        ranks = [part.reshape(-1) for part in found]
        rank_contributions(wide, self.weights, *geometry, sources, _on_map(position, made), made[1], shape[2], *ranks)
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


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def rank_contributions(
    maps, weights, groups, kernel, stride, padding, dilation, sources, position, width, k,
    source, value, inhibitor, lowered,
):  # fmt: skip
    """Rank the sources of every target at its own position.

    maps (image, y, x, channel) · weights (target, tap, source of its group, whole vectors) · position (image, target)
    · the rest (image * target * rank), -1 and 0
    """
    images, targets = position.shape
    taps, vector = weights.shape[1:]
    pixels, weight = maps.reshape(-1), weights.reshape(-1)
    offsets, slices = np.empty(taps, np.int64), np.empty(taps, np.int64)
    total = np.empty(vector, np.float32)
    high, low = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    size, of = np.empty(2 * LANES, np.float32), np.empty(2 * LANES, np.int32)
    vectors = np.empty(vector // LANES + 1, np.int64)
    for j in range(targets):
        first = j // (targets // groups) * sources
        own = j * taps * vector
        for line in range(own + taps * vector, own + 2 * taps * vector, LANES):
            fetch(weight, line)  # the next target's, on their way from memory while this one's are used
        for n in range(images):
            n_taps = _find_taps(
                maps, n, position[n, j], width, kernel, stride, padding, dilation, own, vector, offsets, slices
            )
            if n_taps == 0:  # the target doesn't fire
                continue
            weigh(pixels, first, offsets, weight, slices, n_taps, total, high, low)
            place = (n * targets + j) * k
            if k > LANES:
                _rank_many(total, first, source[place : place + k], value[place : place + k])
                _rank_many(-total, first, inhibitor[place : place + k], lowered[place : place + k])
                continue
            _rank(total, high, low, first, k, size, of, vectors)
            for rank in range(k):
                value[place + rank], source[place + rank] = size[rank], of[rank]
                lowered[place + rank], inhibitor[place + rank] = size[LANES + rank], of[LANES + rank]


@njit(error_model="numpy")
@no_type_check
def _find_taps(maps, n, at, width, kernel, stride, padding, dilation, first_slice, vector, offsets, slices):
    """Where the pixels and weights of a target's taps are, of those that lie on the map; returns how many do."""
    height, map_width, channels = maps.shape[1:]
    found = 0
    if at < 0:
        return found
    top = at // width * stride[0] - padding[0]
    left = at % width * stride[1] - padding[1]
    for ky in range(kernel[0]):
        y = top + ky * dilation[0]
        for kx in range(kernel[1]):
            x = left + kx * dilation[1]
            if 0 <= y < height and 0 <= x < map_width:
                offsets[found] = ((n * height + y) * map_width + x) * channels
                slices[found] = first_slice + (ky * kernel[1] + kx) * vector
                found += 1
    return found


@njit(error_model="numpy")
@no_type_check
def _rank(total, high, low, first, k, size, of, vectors):
    """Rank the largest and the most negative numbers: the first half of `size` and `of`, and the second."""
    size[:], of[:] = 0, -1
    # The k-th largest lane is a lower bound of the k-th largest number.
    above = largest_but(high, k - 1) * MARGIN
    below = largest_but(low, k - 1) * MARGIN
    # Which vectors hold any that count: gone through first, since each that does comes as a surprise.
    n = 0
    for start in range(0, len(total), LANES):
        vectors[n] = start
        n += lanes_beyond(total, start, above, below) != 0
    for start in vectors[:n]:
        beyond = lanes_beyond(total, start, above, below)
        while beyond:
            i = start + lowest_bit(beyond)
            rank_in(size, of, LANES * (total[i] < 0), abs(total[i]), np.int32(first + i))
            beyond &= beyond - 1  # that bit is done


@njit(error_model="numpy")
@no_type_check
def _rank_many(total, first, source, value):
    """Rank more numbers than a vector holds, those above 0."""
    for rank, i in enumerate(np.argsort(-total, kind="mergesort")[: len(value)]):
        if total[i] > 0:
            source[rank], value[rank] = first + i, total[i]
