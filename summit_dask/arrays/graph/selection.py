"""Which channels of a class's whole graph make its attribution graph (DESIGN 3.6).

In every layer the channels of highest score are taken until they hold a share p of the layer's score. A layer that is
not joined to the one below by an edge between selected channels gets a larger p, and so does the one below.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from summit_dask.arrays.graph.pagerank import WholeGraph
from summit_dask.facts.config import GraphOptions

#: What p rises by, for each layer that is not joined to the one below.
P_STEP = 0.005


@dataclass(frozen=True)
class Selection:
    """Selected channels; the p reached and whether it can be joined to the one below, for each visible layer."""

    is_selected: Bool[np.ndarray, " channel"]
    p: Float64[np.ndarray, " visible"]
    valid: Bool[np.ndarray, " visible"]


def select(whole: WholeGraph, scores: Float64[np.ndarray, " channel"], options: GraphOptions) -> Selection:
    """Raise p until every layer that can be is joined to the one below."""
    ranking = _rank(whole, scores, options.unified)
    can_be = ranking.joined(ranking.sizes(np.ones(len(ranking.sums))))
    # Counted in whole steps: adding up 0.005 would drift across the sums it is compared with.
    steps = np.zeros(len(ranking.sums), np.int64)
    while True:
        p = np.minimum(options.p + P_STEP * steps, 1.0)
        sizes = ranking.sizes(p)
        apart = np.flatnonzero(can_be & ~ranking.joined(sizes))
        if apart.size == 0:
            break
        np.add.at(steps, [0] if options.unified else np.concatenate([apart, apart - 1]), 1)
    of_channel = np.repeat(ranking.group, np.diff(whole.bounds))
    return Selection(ranking.rank < sizes[of_channel], p[ranking.group], can_be)


def nothing_selected(whole: WholeGraph) -> Selection:
    """Of a class whose graph could not be ranked: no channel, and a p of NaN."""
    n = len(whole.layers)
    return Selection(np.zeros(whole.is_node.size, np.bool_), np.full(n, np.nan), np.arange(n) == 0)


def selected_edges(
    whole: WholeGraph, is_selected: Bool[np.ndarray, " channel"], is_lowest: Bool[np.ndarray, " channel"]
) -> Int[np.ndarray, " edge"]:
    """Edges between selected channels, but none down to a dead end above the lowest layer; by target and influence."""
    targets, sources = whole.ends
    edges = np.flatnonzero(is_selected[targets] & is_selected[sources])
    goes_on = is_lowest.copy()
    goes_on[targets[edges]] = True
    kept: Int[np.ndarray, " kept"] = edges[goes_on[sources[edges]]]
    return kept[np.lexsort((sources[kept], -whole.edges.data[kept], targets[kept]))]


@dataclass(frozen=True)
class _Ranking:
    """Nodes from the highest score to the lowest, in each group of layers that shares a p.

    group: of each layer. rank: of each channel in its group, past the end for other channels. sums: running sums
    of each group's scores. nearest: per layer and number of selected targets, the rank of their best source.
    """

    group: Int[np.ndarray, " visible"]
    rank: Int[np.ndarray, " channel"]
    sums: tuple[Float64[np.ndarray, " _"], ...]
    nearest: tuple[Int[np.ndarray, " _"], ...]

    def sizes(self, p: Float64[np.ndarray, " group"]) -> Int[np.ndarray, " group"]:
        """Fewest nodes of each group whose scores reach p of the group's sum; 0 where that sum is 0."""
        return np.array([_fewest(sums, share) for sums, share in zip(self.sums, p, strict=True)])

    def joined(self, sizes: Int[np.ndarray, " group"]) -> Bool[np.ndarray, " visible"]:
        """Layers with a selected channel that has an edge to a selected one below; the lowest always."""
        sizes = sizes[self.group]
        found = [nearest[size] for nearest, size in zip(self.nearest, sizes, strict=True)]
        return np.array([True, *(rank < size for rank, size in zip(found[1:], sizes, strict=False))])


def _fewest(sums: Float64[np.ndarray, " node"], p: float) -> int:
    if sums.size == 0 or sums[-1] == 0:
        return 0
    return int(np.searchsorted(sums, p * sums[-1])) + 1


def _rank(whole: WholeGraph, scores: Float64[np.ndarray, " channel"], unified: bool) -> _Ranking:
    n = scores.size
    group = np.zeros(len(whole.layers), np.int64) if unified else np.arange(len(whole.layers))
    of_channel = np.repeat(group, np.diff(whole.bounds))
    rank, sums = np.full(n, n), []
    for place in range(group[-1] + 1):
        nodes = np.flatnonzero(whole.is_node & (of_channel == place))
        order = nodes[np.argsort(-scores[nodes], kind="stable")]
        rank[order] = np.arange(order.size)
        sums.append(np.cumsum(scores[order]))
    targets, sources = whole.ends
    best = np.full((group.size, n + 1), n)
    of_layer = np.repeat(np.arange(group.size), np.diff(whole.bounds))
    np.minimum.at(best, (of_layer[targets], rank[targets] + 1), rank[sources])
    return _Ranking(group, rank, tuple(sums), tuple(np.minimum.accumulate(best, axis=1)))
