"""What a network loses without some channels: which are taken away, and what the losses say (DESIGN 3.8).

    ranking of all channels ── the n first of each layer ── a choice ── margins without it ── necessity, sufficiency

Channels of all layers with maps stand one after the other; `bounds` says where each layer's begin.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

#: Sets of channels whose necessity is measured; the first two also layer by layer.
CHOICES = ("graph", "random", "active_quarter", "most_active", "highest_count", "nearest", "other")
LAYER_CHOICES = CHOICES[:2]

#: Classes whose graphs a class's own is held against.
RIVALS = CHOICES[-2:]

#: Shares of a layer's channels that are kept, and which: those that the class uses most, or random ones.
SHARES = (0.05, 0.1, 0.2, 0.5)
KEPT = ("most_used", "random")

#: Draws of random channels.
N_DRAWS = 20

#: Bootstrap samples of the images, and the interval that is told.
N_SAMPLES = 200
INTERVAL = (0.05, 0.95)

Bounds = Int[np.ndarray, " bound"]
Mask = Bool[np.ndarray, " channel"]


def first_of(ranking: Float[np.ndarray, " channel"], sizes: Int[np.ndarray, " layer"], bounds: Bounds) -> Mask:
    """So many channels of each layer as `sizes` says, those of the largest values; ties: the lower channel.

    Examples
    --------
    >>> first_of(np.array([1.0, 3, 2, 5, 5]), sizes=np.array([2, 1]), bounds=np.array([0, 3, 5]))
    array([False,  True,  True,  True, False])
    """
    mask = np.zeros(len(ranking), bool)
    for low, high, size in zip(bounds[:-1], bounds[1:], sizes, strict=True):
        mask[low + np.argsort(-ranking[low:high], kind="stable")[:size]] = True
    return mask


def of_layer(layer: int, bounds: Bounds) -> Mask:
    """All channels of one layer.

    Examples
    --------
    >>> of_layer(1, np.array([0, 3, 5]))
    array([False, False, False,  True,  True])
    """
    mask = np.zeros(bounds[-1], bool)
    mask[bounds[layer] : bounds[layer + 1]] = True
    return mask


def active_quarter(activation: Float[np.ndarray, " channel"], bounds: Bounds) -> Mask:
    """The quarter of each layer's channels that is most active.

    Examples
    --------
    >>> active_quarter(np.array([1.0, 3, 2, 5]), np.array([0, 4]))
    array([False, False, False,  True])
    """
    return first_of(activation, -(-np.diff(bounds) // 4), bounds)


class Ratio(NamedTuple):
    """A share of a loss, and the bootstrap interval over the images; NaN where nothing is to be lost."""

    value: float
    low: float
    high: float


NOTHING = Ratio(np.nan, np.nan, np.nan)


def ratio(
    part: Float64[np.ndarray, " image"], whole: Float64[np.ndarray, " image"], generator: np.random.Generator
) -> Ratio:
    """Mean part of mean whole; NaN if the whole is not above 0.

    Parameters
    ----------
    part, whole
        What each image loses, or keeps.
    generator
        Draws the samples.

    Examples
    --------
    >>> ratio(np.array([1.0, 1]), np.array([2.0, 2]), np.random.default_rng(0))
    Ratio(value=0.5, low=0.5, high=0.5)
    """
    if not len(whole) or whole.sum() <= 0:
        return NOTHING
    n = len(whole)
    weights = generator.multinomial(n, np.full(n, 1 / n), N_SAMPLES)
    wholes = weights @ whole
    possible = wholes > 0
    shares = (weights @ part)[possible] / wholes[possible]
    low, high = np.quantile(shares, INTERVAL).tolist() if len(shares) else (np.nan, np.nan)
    return Ratio(float(part.sum() / whole.sum()), low, high)


def p_value(own: float, draws: Float64[np.ndarray, " draw"]) -> float:
    """How often random draws are as large; never 0, as there are so many draws and no more.

    Examples
    --------
    >>> p_value(0.5, np.array([0.1, 0.2, 0.6]))
    0.5
    """
    return float((1 + (draws >= own).sum()) / (1 + len(draws))) if np.isfinite(own) else np.nan


def halves(n: int, generator: np.random.Generator) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Two halves of n things in random order; the second has one more if n is odd."""
    order = generator.permutation(n)
    return order[: n // 2], order[n // 2 :]
