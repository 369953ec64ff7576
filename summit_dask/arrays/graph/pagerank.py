"""The whole weighted graph of a class, and the personalised PageRank of its channels (DESIGN 3.5).

All visible layers' channels lie on one axis, the lowest layer first:

    channel   0 ... 75 | 76 ... 175 | 176 ... 291 | ...
    layer     mixed3a  | mixed3b    | mixed4a     |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy import sparse

from summit_dask.arrays.graph.edges import ClassCounts, edges_between
from summit_dask.arrays.graph.rows import Entries, all_entries, entries_of, in_rows
from summit_dask.facts.errors import ConfigError, StoreError
from summit_dask.facts.layergraph import Layer, LayerGraph

#: Share of a node's score that it hands on along its edges; the rest goes to where the class starts.
DAMPING = 0.85

MAX_ITERATIONS = 100

#: Change of a node's score, on average, at which the iteration ends.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class WholeGraph:
    """All channels of the visible layers and the edges between them, nothing selected yet.

    Parameters
    ----------
    layers
        Visible layers, input side first.
    bounds
        Layer k holds the channels ``bounds[k]`` up to ``bounds[k + 1]`` of the common axis.
    pairs
        Places in `layers` of each layer and of those below it that it draws from, (target, source).
    edges
        (channel, channel) from target (row) to source (column); none at an excluded channel.
    is_identity
        Of each edge, in the order of ``edges.data``: whether an identity alone is its widest path.
    is_node
        Channels that have an edge before the excluded ones are removed, and are not excluded.
    is_excluded
        Channels that are left out.
    """

    layers: tuple[Layer, ...]
    bounds: Int[np.ndarray, " bound"]
    pairs: Int[np.ndarray, "pair 2"]
    edges: sparse.csr_array
    is_identity: Bool[np.ndarray, " edge"]
    is_node: Bool[np.ndarray, " channel"]
    is_excluded: Bool[np.ndarray, " channel"]

    @property
    def ends(self) -> tuple[Int[np.ndarray, " edge"], Int[np.ndarray, " edge"]]:
        """Target and source of every edge on the common axis."""
        targets = np.repeat(np.arange(self.is_node.size), np.diff(self.edges.indptr))
        return targets, self.edges.indices

    @property
    def layer_of(self) -> Int[np.ndarray, " channel"]:
        """Place in `layers` of each channel's layer."""
        return np.repeat(np.arange(len(self.layers)), np.diff(self.bounds))

    @property
    def is_lowest(self) -> Bool[np.ndarray, " visible"]:
        """Layers that draw from no other."""
        return ~np.isin(np.arange(len(self.layers)), self.pairs[:, 0])

    def part(self, index: int) -> slice:
        """The channels of a layer, by its place in `layers`, on the common axis."""
        return slice(int(self.bounds[index]), int(self.bounds[index + 1]))


def whole_graph(layer_graph: LayerGraph, counts: ClassCounts, excluded: Mapping[str, Sequence[int]]) -> WholeGraph:
    """Weighted graph of a class over all visible layers.

    Parameters
    ----------
    layer_graph
        Layers and hops of the network.
    counts
        Of the class.
    excluded
        Channels to leave out, by layer.

    Raises
    ------
    ConfigError
        If an excluded channel is not one of its layer.
    LayerNotFoundError
        If an excluded channel's layer does not exist.

    Examples
    --------
    >>> from summit_dask.facts.layergraph import Hop, Window
    >>> at = (1, 1, True, Window((1, 1), (1, 1), (0, 0)))
    >>> hop = Hop("up", "low", "high", range(2), None)
    >>> layer_graph = LayerGraph((Layer("low", 2, *at), Layer("high", 2, *at)), (hop,))
    >>> counts = ClassCounts({}, {"up": sparse.csr_array(np.array([[7, 9], [0, 4]]))})
    >>> whole = whole_graph(layer_graph, counts, excluded={"low": [0]})
    >>> whole.edges.toarray()
    array([[0, 0, 0, 0],
           [0, 0, 0, 0],
           [0, 9, 0, 0],
           [0, 4, 0, 0]], dtype=int32)
    >>> whole.is_node
    array([False,  True,  True,  True])
    """
    layers = layer_graph.visible
    bounds = np.cumsum([0, *(layer.channels for layer in layers)])
    pairs = _pairs(layer_graph)
    entries, is_identity = _all_edges(layer_graph, counts, pairs, bounds)
    is_excluded = _excluded(layer_graph, bounds, excluded)
    # Who is a node is judged before the excluded channels go: one tied to these alone stays, without edges.
    is_tied = np.zeros(is_excluded.size, np.bool_)
    is_tied[entries.row] = True
    is_tied[entries.column] = True
    kept = np.flatnonzero(~(is_excluded[entries.row] | is_excluded[entries.column]))
    rows = in_rows(Entries(entries.row[kept], entries.column[kept], kept.astype(np.int32)), is_excluded.size)
    shape = (is_excluded.size, is_excluded.size)
    edges = sparse.csr_array((entries.value[rows.data], rows.indices, rows.indptr), shape=shape)
    return WholeGraph(layers, bounds, pairs, edges, is_identity[rows.data], is_tied & ~is_excluded, is_excluded)


def _pairs(layer_graph: LayerGraph) -> Int[np.ndarray, "pair 2"]:
    """Places among the visible layers of target and source, by target, then source."""
    place = {layer.name: index for index, layer in enumerate(layer_graph.visible)}
    pairs = [(place[name], place[below.name]) for name in place for below in layer_graph.below(name)]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _all_edges(
    layer_graph: LayerGraph,
    counts: ClassCounts,
    pairs: Int[np.ndarray, "pair 2"],
    bounds: Int[np.ndarray, " bound"],
) -> tuple[Entries, Bool[np.ndarray, " edge"]]:
    """Edges of all pairs, and which are identities; every pair's in its target's rows and its source's columns.

              lowest  second  third
    lowest  |   .       .       .   |
    second  | block     .       .   |
    third   | block   block     .   |      draws from both
    """
    layers = layer_graph.visible
    parts: list[Entries] = []
    is_identity = [np.zeros(0, np.bool_)]
    for target, source in pairs.tolist():
        edges = edges_between(layer_graph, counts, layers[target].name, layers[source].name)
        parts.append(entries_of(edges.weight, range(bounds[target], bounds[target + 1]), int(bounds[source])))
        is_identity.append(edges.is_identity)
    return all_entries(parts), np.concatenate(is_identity)


def _excluded(
    layer_graph: LayerGraph, bounds: Int[np.ndarray, " bound"], excluded: Mapping[str, Sequence[int]]
) -> Bool[np.ndarray, " channel"]:
    is_excluded = np.zeros(bounds[-1], np.bool_)
    starts = {layer.name: int(start) for layer, start in zip(layer_graph.visible, bounds, strict=False)}
    for name, channels in excluded.items():
        size = layer_graph.layer(name).channels
        if beyond := sorted(c for c in channels if not 0 <= c < size):
            raise ConfigError(f"Excluded channels {beyond} of {name}: expected 0 to {size - 1}; mend `excluded`.")
        if name in starts:  # a hidden layer's channels are no nodes
            is_excluded[starts[name] + np.array(channels, np.int64)] = True
    return is_excluded


def personalisation(graph: WholeGraph, counts: ClassCounts) -> Float64[np.ndarray, " channel"]:
    """Count of each channel over the largest of its layer's channels that are not excluded.

    Parameters
    ----------
    graph
        The class's weighted graph.
    counts
        Of the class.

    Returns
    -------
    array
        0 to 1; 1 in a layer without counts, 0 in a layer whose counts are all 0 and where there is no node.

    Examples
    --------
    >>> from summit_dask.facts.layergraph import Hop, Window
    >>> at = (1, 1, True, Window((1, 1), (1, 1), (0, 0)))
    >>> hop = Hop("up", "low", "high", range(2), None)
    >>> layer_graph = LayerGraph((Layer("low", 2, *at), Layer("high", 2, *at)), (hop,))
    >>> counts = ClassCounts({"low": np.array([2, 8])}, {"up": sparse.csr_array(np.array([[7, 9], [0, 4]]))})
    >>> personalisation(whole_graph(layer_graph, counts, excluded={}), counts)
    array([0.25, 1.  , 1.  , 1.  ])
    """
    weights = np.ones(graph.is_node.size)
    for index, layer in enumerate(graph.layers):
        if layer.name in counts.activation:
            part = graph.part(index)
            used = np.where(graph.is_excluded[part], 0, activation_of(counts, layer))
            weights[part] = used / max(used.max(), 1)
    return np.where(graph.is_node, weights, 0.0)


def activation_of(counts: ClassCounts, layer: Layer) -> Int[np.ndarray, " channel"]:
    """Counts of a layer's channels; 0 where the layer was not counted.

    Raises
    ------
    StoreError
        If there are more or fewer counts than channels.
    """
    used = counts.activation.get(layer.name, np.zeros(layer.channels, np.int32))
    if used.shape != (layer.channels,):
        raise StoreError(
            f"Activation counts of {layer.name}: expected the shape {(layer.channels,)} of the layer graph, "
            f"found {used.shape}."
        )
    return used


def pagerank(
    edges: sparse.csr_array,
    is_node: Bool[np.ndarray, " channel"],
    personalisation: Float[np.ndarray, " channel"],
    directed: bool = False,
) -> Float64[np.ndarray, " channel"]:
    """Personalised PageRank, equal to that of `networkx.pagerank` on the same nodes and edges.

    Parameters
    ----------
    edges
        (channel, channel) weights from target (row) to source (column), each pair in one direction only.
    is_node
        Channels that take part; the others have no edges and no personalisation.
    personalisation
        At least 0; nodes without edges to follow hand their score on by it, too.
    directed
        Follow the edges only from target to source.

    Returns
    -------
    array
        Scores, sum 1; 0 where there is no node. All 0 without edges or with every personalisation 0.

    Examples
    --------
    >>> edges = sparse.csr_array(np.array([[0, 0, 0], [0, 0, 0], [3, 1, 0]]))  # from channel 2 to 0 and 1
    >>> pagerank(edges, np.array([True, True, True]), np.array([1.0, 1.0, 1.0])).round(3)
    array([0.36 , 0.153, 0.486])
    """
    n_nodes = int(is_node.sum())
    total = float(personalisation.sum())
    if edges.nnz == 0 or total == 0:
        return np.zeros(is_node.size)
    down = edges.astype(np.float64)
    up = down.T.tocsr()
    # A node hands its score on by the weights of its edges, in equal shares of their sum.
    strength = down.sum(axis=1) if directed else down.sum(axis=1) + up.sum(axis=1)
    share = np.divide(1.0, strength, out=np.zeros_like(strength), where=strength > 0)
    # One without edges to follow hands it to all, as the jump does.
    dangling = np.flatnonzero(is_node & (strength == 0))
    jump = personalisation / total
    scores = is_node / n_nodes
    # The change shrinks by the damping each time, from 2 at the most: below 1e-6 after 90 of the 100.
    for _ in range(MAX_ITERATIONS):
        before = scores
        flow = scores * share
        followed = up @ flow if directed else up @ flow + down @ flow
        scores = DAMPING * (followed + before[dangling].sum() * jump) + (1 - DAMPING) * jump
        if np.abs(scores - before).sum() < n_nodes * TOLERANCE:
            break
    return scores


def class_scores(
    layer_graph: LayerGraph, counts: ClassCounts, excluded: Mapping[str, Sequence[int]], directed: bool = False
) -> dict[str, Float64[np.ndarray, " _"]]:
    """PageRank of every channel of a class's whole graph, by visible layer; NaN where the channel is no node.

    Examples
    --------
    >>> from summit_dask.facts.layergraph import Hop, Window
    >>> at = (1, 1, True, Window((1, 1), (1, 1), (0, 0)))
    >>> hop = Hop("up", "low", "high", range(2), None)
    >>> layer_graph = LayerGraph((Layer("low", 2, *at), Layer("high", 2, *at)), (hop,))
    >>> counts = ClassCounts({}, {"up": sparse.csr_array(np.array([[7, 0], [7, 0]]))})
    >>> class_scores(layer_graph, counts, excluded={})["low"].round(3)
    array([0.486,   nan])
    """
    graph = whole_graph(layer_graph, counts, excluded)
    scores = pagerank(graph.edges, graph.is_node, personalisation(graph, counts), directed)
    scores = np.where(graph.is_node, scores, np.nan)
    return {layer.name: scores[graph.part(index)] for index, layer in enumerate(graph.layers)}
