"""Which channels of a class's whole graph make its attribution graph (DESIGN 3.6).

In every layer the channels of highest score are taken until they hold a share p of the layer's score. A layer that no
edge between selected channels joins to any layer that it draws from gets a larger p, and so does each of those.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from summit_dask.arrays.graph.pagerank import WholeGraph
from summit_dask.facts.config import GraphOptions

#: What p rises by, for each layer that is not joined to any below.
P_STEP = 0.005


@dataclass(frozen=True)
class Selection:
    """Selected channels; and of each visible layer the p it reached, and whether it can be joined to any below."""

    is_selected: Bool[np.ndarray, " channel"]
    p: Float64[np.ndarray, " visible"]
    valid: Bool[np.ndarray, " visible"]


def select(whole: WholeGraph, scores: Float64[np.ndarray, " channel"], options: GraphOptions) -> Selection:
    """Raise p until every layer that can be is joined to a layer that it draws from.

    Parameters
    ----------
    whole
        Of the class.
    scores
        Of its nodes, at least one above 0.
    options
        Where p starts, and whether all layers share it.

    Returns
    -------
    Selection
        A layer that is not joined gets a p higher by `P_STEP`, and so does each layer that it draws from; at most 1.
        What a p of 1 could not join is not `valid`, and raises nothing. Ties of scores: the lower channel.

    Examples
    --------
    The two layers' strongest channels, 0 and 2, are no neighbours: p rises until channel 3 joins them.

    >>> from scipy.sparse import csr_array
    >>> from summit_dask.facts.layergraph import Layer, Window
    >>> layers = tuple(Layer(name, 2, 1, 1, True, Window((1, 1), (1, 1), (0, 0))) for name in ("low", "high"))
    >>> edges = csr_array(np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 5, 0, 0], [9, 0, 0, 0]]))
    >>> yes, no = np.ones(4, np.bool_), np.zeros(4, np.bool_)
    >>> whole = WholeGraph(layers, np.array([0, 2, 4]), np.array([[1, 0]]), edges, no[:2], is_node=yes, is_excluded=no)
    >>> selection = select(whole, np.array([0.4, 0.1, 0.3, 0.2]), GraphOptions(p=0.5))
    >>> selection.is_selected, selection.p
    (array([ True, False,  True,  True]), array([0.605, 0.605]))
    """
    ranking = _rank(whole, scores, options.unified)
    n_groups = len(ranking.sums)
    targets, sources = whole.pairs.T
    can_be_joined = ranking.joined(ranking.sizes(np.ones(n_groups)))
    # Counted in whole steps: adding up 0.005 would drift across the sums it is compared with.
    steps = np.zeros(n_groups, np.int64)
    while True:
        p = np.minimum(options.p + P_STEP * steps, 1.0)
        sizes = ranking.sizes(p)
        apart = np.flatnonzero(can_be_joined & ~ranking.joined(sizes))
        if apart.size == 0:
            break
        raised = [0] if options.unified else np.concatenate([apart, sources[np.isin(targets, apart)]])
        np.add.at(steps, raised, 1)  # a layer that stands there twice rises twice
    is_selected = ranking.rank < sizes[ranking.group][whole.layer_of]
    return Selection(is_selected, p[ranking.group], can_be_joined)


def nothing_selected(whole: WholeGraph) -> Selection:
    """Of a class whose graph could not be ranked: no channel, and a p of NaN."""
    n_layers = len(whole.layers)
    return Selection(np.zeros(whole.is_node.size, np.bool_), np.full(n_layers, np.nan), whole.is_lowest)


def selected_edges(
    whole: WholeGraph, is_selected: Bool[np.ndarray, " channel"], is_lowest: Bool[np.ndarray, " channel"]
) -> Int[np.ndarray, " edge"]:
    """Edges between selected channels, as places in those of the whole graph.

    An edge down to a channel that has no such edge itself is left out, unless that channel is in a lowest layer.

    Parameters
    ----------
    whole
        Of the class.
    is_selected, is_lowest
        Of each channel: whether it was selected, and whether it is in a layer that draws from no other.

    Returns
    -------
    array
        By target, then influence descending, then source.
    """
    targets, sources = whole.ends
    edges = np.flatnonzero(is_selected[targets] & is_selected[sources])
    goes_on = is_lowest.copy()
    goes_on[targets[edges]] = True
    kept: Int[np.ndarray, " kept"] = edges[goes_on[sources[edges]]]
    order = np.lexsort((sources[kept], -whole.edges.data[kept], targets[kept]))
    return kept[order]


@dataclass(frozen=True)
class _Ranking:
    """Nodes from the highest score to the lowest, in each group of layers that shares a p.

    group
        Of each layer.
    rank
        Of each channel in its group; that of other channels than nodes is past the end.
    sums
        Running sums of each group's scores, from the highest.
    pairs, is_lowest
        Those of the whole graph.
    nearest
        Per pair and number of its selected targets: the best rank that any source of theirs has. A layer is joined
        to one below as soon as that source is selected too::

            targets selected      0    1    2    3
            nearest source        -    7    7    2       joined with 2 targets once 8 sources are selected
    """

    group: Int[np.ndarray, " visible"]
    rank: Int[np.ndarray, " channel"]
    sums: tuple[Float64[np.ndarray, " _"], ...]
    pairs: Int[np.ndarray, "pair 2"]
    is_lowest: Bool[np.ndarray, " visible"]
    nearest: Int[np.ndarray, "pair bound"]

    def sizes(self, p: Float64[np.ndarray, " group"]) -> Int[np.ndarray, " group"]:
        """Fewest nodes of each group whose scores reach p of the group's sum; 0 where that sum is 0."""
        return np.array([_fewest(sums, share) for sums, share in zip(self.sums, p, strict=True)])

    def joined(self, sizes: Int[np.ndarray, " group"]) -> Bool[np.ndarray, " visible"]:
        """Layers with a selected channel that has an edge to a selected one below; the lowest always."""
        n_selected = sizes[self.group]
        targets, sources = self.pairs.T
        nearest = self.nearest[np.arange(targets.size), n_selected[targets]]
        joined = self.is_lowest.copy()
        joined[targets[nearest < n_selected[sources]]] = True
        return joined


def _fewest(sums: Float64[np.ndarray, " node"], p: float) -> int:
    if sums.size == 0 or sums[-1] == 0:
        return 0
    return int(np.searchsorted(sums, p * sums[-1])) + 1


def _rank(whole: WholeGraph, scores: Float64[np.ndarray, " channel"], unified: bool) -> _Ranking:
    layers = np.arange(len(whole.layers))
    group = np.zeros_like(layers) if unified else layers
    group_of = group[whole.layer_of]
    rank = np.full(scores.size, scores.size)
    sums = []
    for index in np.unique(group):
        nodes = np.flatnonzero(whole.is_node & (group_of == index))
        order = nodes[np.argsort(-scores[nodes], kind="stable")]
        rank[order] = np.arange(order.size)
        sums.append(np.cumsum(scores[order]))
    return _Ranking(group, rank, tuple(sums), whole.pairs, whole.is_lowest, _nearest(whole, rank))


def _nearest(whole: WholeGraph, rank: Int[np.ndarray, " channel"]) -> Int[np.ndarray, "pair bound"]:
    targets, sources = whole.ends
    n_pairs = len(whole.pairs)
    pair = np.zeros((len(whole.layers), len(whole.layers)), np.int64)
    pair[*whole.pairs.T] = np.arange(n_pairs)
    nearest = np.full((n_pairs, rank.size + 1), rank.size)
    # A target of rank r is selected once more than r are.
    np.minimum.at(nearest, (pair[whole.layer_of[targets], whole.layer_of[sources]], rank[targets] + 1), rank[sources])
    return np.minimum.accumulate(nearest, axis=1)
