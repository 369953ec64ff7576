"""How two groups of images differ in the channels they use: shares, their difference, and what of it may be chance.

used   count of each channel's images ─┐
                                       ├─ share of the images in a and in b ── difference ── its interval
n      images of the group ────────────┘
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

#: Samples that an interval is made from, and the part of them that it leaves out, a half at each end.
N_SAMPLES, LEFT_OUT = 1000, 0.1


@dataclass(frozen=True, eq=False)
class Difference:
    """Shares of two groups' images, and their difference, of a minus of b; NaN where a group has no images.

    Attributes
    ----------
    low, high
        The middle 90 % of the difference in bootstrap samples of both groups' images.
    """

    share_a: Float64[np.ndarray, " channel"]
    share_b: Float64[np.ndarray, " channel"]
    value: Float64[np.ndarray, " channel"]
    low: Float64[np.ndarray, " channel"]
    high: Float64[np.ndarray, " channel"]

    @property
    def is_clear(self) -> Bool[np.ndarray, " channel"]:
        """Whether the interval leaves 0 out: what is not clear may be chance."""
        clear: Bool[np.ndarray, " channel"] = (self.low > 0) | (self.high < 0)
        return clear


def difference(
    used_a: Int[np.ndarray, " channel"],
    n_a: int,
    used_b: Int[np.ndarray, " channel"],
    n_b: int,
    seed: int = 0,
) -> Difference:
    """Compare how many images of two groups use each channel.

    A bootstrap sample of n images, of which a share s use the channel, holds Binomial(n, s) that do: the interval
    needs no values of single images.

    Parameters
    ----------
    used_a, used_b
        Images that use the channel. More than there are, as imported counts may be, are taken for all.
    n_a, n_b
        Images of each group.

    Examples
    --------
    >>> found = difference(np.array([100, 50]), 100, np.array([0, 51]), 100)
    >>> found.value.round(2).tolist(), found.is_clear.tolist()
    ([1.0, -0.01], [True, False])
    """
    generator = np.random.default_rng(seed)
    share_a, sampled_a = _sampled(used_a, n_a, generator)
    share_b, sampled_b = _sampled(used_b, n_b, generator)
    low, high = np.quantile(sampled_a - sampled_b, [LEFT_OUT / 2, 1 - LEFT_OUT / 2], axis=0)
    return Difference(share_a, share_b, share_a - share_b, low, high)


def _sampled(
    used: Int[np.ndarray, " channel"], n: int, generator: np.random.Generator
) -> tuple[Float64[np.ndarray, " channel"], Float64[np.ndarray, "sample channel"]]:
    """The share, and that of each sample."""
    if n == 0:
        return np.full(len(used), np.nan), np.full((N_SAMPLES, len(used)), np.nan)
    share = np.minimum(used / n, 1.0)
    return share, generator.binomial(n, share, (N_SAMPLES, len(used))) / n
