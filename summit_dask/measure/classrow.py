"""The class itself as the top row: each image's own logit, and what the pooled channels bring to it.

pooled channels  0.2 1.5 0.0 ...      weights of the image's class  3 -1 2 ...      sources  0.6 -1.5 0 ...
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from summit_dask.arrays.influence.merge import Ranking, empty_ranking
from summit_dask.network.traced import ClassStep


class ClassRow(NamedTuple):
    """Each image's own logit, the sources that add most to it, and those that lower it most (sizes above 0)."""

    logit: Float32[np.ndarray, " image"]
    ranking: Ranking
    inhibitors: Ranking


def measure_class_row(
    step: ClassStep, pooled: Float32[np.ndarray, "image source"], outputs: Int[np.ndarray, " image"], k: int
) -> ClassRow:
    """Rank the pooled channels by what they add to the logit of each image's own class (DESIGN 3.3).

    Parameters
    ----------
    step
        The network's last linear layer.
    pooled
        Its input.
    outputs
        The network's output of each image's class.
    k
        Sources kept; only those above 0, ties to the lower hop, then the lower source.
    """
    added = pooled * step.weight[outputs]
    order = np.lexsort((step.source, step.hop))
    order = order[step.hop[order] >= 0]  # what comes from no layer adds to the logit, but is no source
    places = step.hop[order], step.source[order]
    logit = added.sum(1) + step.bias[outputs]
    return ClassRow(logit, _ranked(added[:, order], *places, k), _ranked(-added[:, order], *places, k))


def _ranked(
    size: Float32[np.ndarray, "image source"],
    hop: Int[np.ndarray, " source"],
    source: Int[np.ndarray, " source"],
    k: int,
) -> Ranking:
    """The k largest above 0."""
    best = np.argsort(-size, axis=1, kind="stable")[:, :k]
    value = np.take_along_axis(size, best, 1)
    ranking = empty_ranking(len(size), 1, k)
    ranks = slice(best.shape[1])
    ranking.hop[:, 0, ranks] = np.where(value > 0, hop[best], -1)
    ranking.source[:, 0, ranks] = np.where(value > 0, source[best], -1)
    ranking.value[:, 0, ranks] = np.where(value > 0, value, 0)
    return ranking
