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

    Examples
    --------
    >>> maps = np.array([[1, 5, 2], [0, 5, -1]], np.float32).reshape(1, 2, 3, 1)
    >>> maximum, position, minimum = channel_extremes(maps)
    >>> maximum.item(), position.item(), minimum.item()
    (5.0, 1, -1.0)
    """
    images, height, width, channels = maps.shape
    maximum = np.empty((images, channels), np.float32)
    position = np.empty((images, channels), np.int32)
    minimum = np.empty((images, channels), np.float32)
    _extremes(maps.reshape(images, height * width, channels), maximum, position, minimum)
    return Extremes(maximum, position, minimum)


# no_type_check keeps jaxtyping's import hook, on while testing, from wrapping what numba has to compile.
@njit(cache=True, nogil=True)
@no_type_check
def _extremes(maps, maximum, position, minimum):
    images, positions, channels = maps.shape
    for n in range(images):
        high = maximum[n]
        where = position[n]
        low = minimum[n]
        high[:] = maps[n, 0]
        where[:] = 0
        low[:] = maps[n, 0]
        for p in range(1, positions):
            values = maps[n, p]
            # No branches: all channels of a position go through vector instructions. The order matters, too: with both
            # comparisons first, a layer of few channels takes twice the time.
            for c in range(channels):
                value = values[c]
                missing = value != value  # NaN; from then on no value is higher or lower
                higher = (value > high[c]) | missing
                high[c] = value if higher else high[c]
                where[c] = p if higher else where[c]
                lower = (value < low[c]) | missing
                low[c] = value if lower else low[c]


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

    Examples
    --------
    The first image's largest value is 4 of 8, so half the mass is reached with it alone; 0.6 of it is not.

    >>> values = np.array([[4, 1, 3, 0], [0, 0, 0, 0]], np.float32)
    >>> select_channels(values, 0.5)
    array([[ True, False, False, False],
           [False, False, False, False]])
    >>> select_channels(values, 0.6)[0]
    array([ True, False,  True, False])
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
# block again, not at all channels, and only as often as channels are selected:
#
#     keys    5 2 0 7 | 1 9 3 3 | 0 4 4 8          take 9, forget it, look at its block again:
#     tops       7    |    9    |    8             tops  7  3  8
@njit(cache=True, nogil=True)
@no_type_check
def _select(values, bits, counted, mass, selected):
    """Fill `selected`; returns the first row that is not finite, else -1."""
    n_images, n_channels = values.shape
    n_blocks = -(-n_channels // _BLOCK)
    keys = np.zeros(n_blocks * _BLOCK, np.int64)
    tops = np.zeros(n_blocks, np.int64)
    for n in range(n_images):
        total = _fill_keys(values[n], bits[n], counted, keys)
        if not np.isfinite(total):
            return n
        for block in range(n_blocks):
            tops[block] = _largest(keys, block * _BLOCK, (block + 1) * _BLOCK)
        running = 0.0
        best = _largest(tops, 0, n_blocks)
        while best > 0 and running < mass:
            channel = best & 0xFFFFFFFF
            selected[n, channel] = True
            running += np.float64(values[n, channel]) / total
            keys[channel] = 0
            block = channel // _BLOCK
            tops[block] = _largest(keys, block * _BLOCK, (block + 1) * _BLOCK)
            best = _largest(tops, 0, n_blocks)
    return -1


@njit(cache=True, nogil=True)
@no_type_check
def _fill_keys(values, bits, counted, keys):
    """Keys of one image's channels; returns the sum of the values that count."""
    total = 0.0
    for c in range(len(values)):
        used = counted[c] and not values[c] <= 0  # true of NaN, which then shows in the total
        total += np.float64(values[c]) if used else 0.0
        keys[c] = (np.int64(bits[c]) << 32) | c if used else 0
    return total


@njit(cache=True, nogil=True)
@no_type_check
def _largest(keys, start, stop):
    best = np.int64(0)
    for i in range(start, stop):
        best = max(best, keys[i])
    return best
