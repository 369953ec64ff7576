"""Activations of channels: the maximum of each feature map, and the channels that an image uses."""

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Int32
from numba import njit

from summit_dask.facts.errors import NumericalError

#: Channels whose largest value is remembered together while selecting.
_BLOCK = 32


class Extremes(NamedTuple):
    """Largest and smallest value of each channel over the positions, per image.

    `position` is that of the maximum, ``y * width + x``, the lowest on ties. Where a channel holds a NaN its
    maximum and minimum are NaN; infinities stand in them as they are.
    """

    maximum: Float32[np.ndarray, "image channel"]
    position: Int32[np.ndarray, "image channel"]
    minimum: Float32[np.ndarray, "image channel"]


def channel_extremes(maps: Float32[np.ndarray, "image height width channel"]) -> Extremes:
    """Activation of every channel (DESIGN 3.1): the extremes of its feature map.

    Parameters
    ----------
    maps
        Feature maps, C contiguous (the NHWC view of a torch channels_last tensor); at least one position.

    Returns
    -------
    Extremes
        A NaN anywhere makes its channel's maximum and minimum NaN and an infinity stays one, so checking both for
        being finite finds every value that is not.
    """
    n, height, width, channels = maps.shape
    maximum, minimum = np.empty((2, n, channels), np.float32)
    position = np.empty((n, channels), np.int32)
    _extremes(maps.reshape(n, height * width, channels), maximum, position, minimum)
    return Extremes(maximum, position, minimum)


# no_type_check keeps jaxtyping's import hook, on while testing, from wrapping what numba has to compile.
@njit(cache=True, nogil=True)
@no_type_check
def _extremes(maps, maximum, position, minimum):
    images, positions, channels = maps.shape
    for n in range(images):
        high, where, low = maximum[n], position[n], minimum[n]
        high[:], where[:], low[:] = maps[n, 0], 0, maps[n, 0]
        for p in range(1, positions):
            values = maps[n, p]
            for c in range(channels):
                value = values[c]
                missing = value != value
                higher = (value > high[c]) | missing
                high[c] = value if higher else high[c]
                where[c] = p if higher else where[c]
                low[c] = value if (value < low[c]) | missing else low[c]


def select_channels(
    values: Float32[np.ndarray, "image channel"], mass: float, excluded: Sequence[int] = ()
) -> Bool[np.ndarray, "image channel"]:
    """Channels that each image uses in a layer (DESIGN 3.2; the paper's section 5.1).

    Going from the largest value to the smallest, a channel is selected as long as the shares of those
    before it, ``value / total`` summed in float64 in this order, are below `mass`.

    Parameters
    ----------
    values
        Maximum of each channel's feature map; negative ones count as 0.
    mass
        Share of the image's summed activation to cover, above 0, at most 1.
    excluded
        Channels that count as 0.

    Returns
    -------
    Bool[image channel]
        Ties: the higher channel first. A channel of value 0 is never selected, so a row of zeros selects nothing.

    Raises
    ------
    NumericalError
        If a value of a channel that is not excluded is NaN or infinite.
    """
    values = np.ascontiguousarray(values)
    counted = np.ones(values.shape[1], np.bool_)
    counted[list(excluded)] = False
    selected = np.zeros(values.shape, np.bool_)
    bad = _select(values, values.view(np.int32), counted, mass, selected)
    if bad >= 0:
        raise NumericalError(
            f"Row {bad} of {len(values)} images' activations holds NaN or infinity, expected finite values; "
            "look at the image, the network's weights and its preprocessing."
        )
    return selected


# The bits of positive floats are ordered as the floats are, so one integer ranks value and channel:
#
#     key = | bits of the value | channel |     0: not counted
#
# The largest key of each block of channels is kept. Taking the largest of all then means looking at one
# block again, not at all channels, and only as often as channels are selected.
@njit(cache=True, nogil=True)
@no_type_check
def _select(values, bits, counted, mass, selected):
    """Fill `selected`; returns the first row that is not finite, else -1."""
    n_images, n_channels = values.shape
    n_blocks = -(-n_channels // _BLOCK)
    keys = np.zeros(n_blocks * _BLOCK, np.int64)
    tops = np.zeros(n_blocks, np.int64)
    for n in range(n_images):
        total = 0.0
        for c in range(n_channels):
            used = counted[c] and not values[n, c] <= 0  # true of NaN, which then shows in the total
            total += np.float64(values[n, c]) if used else 0.0
            keys[c] = (np.int64(bits[n, c]) << 32) | c if used else 0
        if not np.isfinite(total):
            return n
        for b in range(n_blocks):
            tops[b] = _largest(keys, b * _BLOCK, (b + 1) * _BLOCK)
        running, best = 0.0, _largest(tops, 0, n_blocks)
        while best > 0 and running < mass:
            c = best & 0xFFFFFFFF
            selected[n, c] = True
            running += np.float64(values[n, c]) / total
            keys[c] = 0
            b = c // _BLOCK
            tops[b] = _largest(keys, b * _BLOCK, (b + 1) * _BLOCK)
            best = _largest(tops, 0, n_blocks)
    return -1


@njit(cache=True, nogil=True)
@no_type_check
def _largest(keys, start, stop):
    best = np.int64(0)
    for i in range(start, stop):
        best = max(best, keys[i])
    return best
