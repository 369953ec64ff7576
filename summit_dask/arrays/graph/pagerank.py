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

from summit_dask.arrays.graph.edges import ClassCounts, layer_edges
from summit_dask.facts.errors import ConfigError, StoreError
from summit_dask.facts.layergraph import Layer, LayerGraph

DAMPING, MAX_ITERATIONS, TOLERANCE = 0.85, 100, 1e-6


@dataclass(frozen=True)
class WholeGraph:
    """All channels of the visible layers and the edges between neighbouring layers, nothing selected yet.

    Parameters
    ----------
    layers
        Visible layers, input side first.
    bounds
        Layer k holds the channels ``bounds[k]`` up to ``bounds[k + 1]`` of the common axis.
    edges
        (channel, channel) from target (row) to source (column); none at an excluded channel.
    is_node
        Channels that have an edge before the excluded ones are removed, and are not excluded.
    is_excluded
        Channels that are left out.
    """

    layers: tuple[Layer, ...]
    bounds: Int[np.ndarray, " bound"]
    edges: sparse.csr_array
    is_node: Bool[np.ndarray, " channel"]
    is_excluded: Bool[np.ndarray, " channel"]

    @property
    def ends(self) -> tuple[Int[np.ndarray, " edge"], Int[np.ndarray, " edge"]]:
        """Target and source of every edge on the common axis."""
        return np.repeat(np.arange(self.is_node.size), np.diff(self.edges.indptr)), self.edges.indices

    def part(self, place: int) -> slice:
        """A layer's channels on the common axis."""
        return slice(int(self.bounds[place]), int(self.bounds[place + 1]))


def whole_graph(layer_graph: LayerGraph, counts: ClassCounts, excluded: Mapping[str, Sequence[int]]) -> WholeGraph:
    """Weighted graph of a class over all visible layers.

    Raises
    ------
    ConfigError
        If an excluded channel is not one of its layer.
    LayerNotFoundError
        If an excluded channel's layer does not exist.
    """
    layers = layer_graph.visible
    bounds = np.cumsum([0, *(layer.channels for layer in layers)])
    edges = _below_diagonal([layer_edges(layer_graph, counts, layer.name) for layer in layers], bounds)
    is_excluded = _excluded(layer_graph, bounds, excluded)
    rows = np.repeat(np.arange(is_excluded.size), np.diff(edges.indptr))
    touched = np.zeros(is_excluded.size, np.bool_)
    touched[rows] = touched[edges.indices] = True
    edges.data[is_excluded[rows] | is_excluded[edges.indices]] = 0
    edges.eliminate_zeros()
    return WholeGraph(layers, bounds, edges, touched & ~is_excluded, is_excluded)


def _below_diagonal(blocks: Sequence[sparse.csr_array], bounds: Int[np.ndarray, " bound"]) -> sparse.csr_array:
    """Every layer's edges in its own rows and the columns of the layer below."""
    lower = [0, *bounds[:-2].tolist()]
    indices = np.concatenate([b.indices + column for b, column in zip(blocks, lower, strict=True)])
    indptr = np.cumsum(np.concatenate([[0], *(np.diff(b.indptr) for b in blocks)]))
    data = np.concatenate([b.data for b in blocks])
    return sparse.csr_array((data, indices.astype(np.int32), indptr.astype(np.int32)), shape=(bounds[-1], bounds[-1]))


def _excluded(
    layer_graph: LayerGraph, bounds: Int[np.ndarray, " bound"], excluded: Mapping[str, Sequence[int]]
) -> Bool[np.ndarray, " channel"]:
    mask = np.zeros(bounds[-1], np.bool_)
    starts = {layer.name: int(start) for layer, start in zip(layer_graph.visible, bounds, strict=False)}
    for name, channels in excluded.items():
        size = layer_graph.layer(name).channels
        if beyond := sorted(c for c in channels if not 0 <= c < size):
            raise ConfigError(f"Excluded channels {beyond} of {name}: expected 0 to {size - 1}; mend `excluded`.")
        if name in starts:
            mask[starts[name] + np.array(channels, np.int64)] = True
    return mask


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
    """
    weights = np.zeros(graph.is_node.size)
    for place, layer in enumerate(graph.layers):
        part = graph.part(place)
        used = np.where(graph.is_excluded[part], 0, activation_of(counts, layer))
        weights[part] = used / max(used.max(), 1) if layer.name in counts.activation else 1.0
    return np.where(graph.is_node, weights, 0.0)


def activation_of(counts: ClassCounts, layer: Layer) -> Int[np.ndarray, " channel"]:
    """Counts of a layer's channels; 0 where the layer was not counted.

    Raises
    ------
    StoreError
        If there are more or fewer counts than channels.
    """
    found = counts.activation.get(layer.name, np.zeros(layer.channels, np.int32))
    if found.shape != (layer.channels,):
        raise StoreError(
            f"Activation counts of {layer.name}: expected the shape {(layer.channels,)} of the layer graph, "
            f"found {found.shape}."
        )
    return found


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
    """
    n_nodes, total = int(is_node.sum()), float(personalisation.sum())
    if edges.nnz == 0 or total == 0:
        return np.zeros(is_node.size)
    down = edges.astype(np.float64)
    up = down.T.tocsr()
    strength = down.sum(axis=1) if directed else down.sum(axis=1) + up.sum(axis=1)
    share = np.divide(1.0, strength, out=np.zeros_like(strength), where=strength > 0)
    dangling = np.flatnonzero(is_node & (strength == 0))
    jump = personalisation / total
    scores = is_node / n_nodes
    # The change shrinks by the damping each time, from 2 at the most: below 1e-6 after 90 of the 100.
    for _ in range(MAX_ITERATIONS):
        before, flow = scores, scores * share
        followed = up @ flow if directed else up @ flow + down @ flow
        scores = DAMPING * (followed + before[dangling].sum() * jump) + (1 - DAMPING) * jump
        if np.abs(scores - before).sum() < n_nodes * TOLERANCE:
            break
    return scores


def class_scores(
    layer_graph: LayerGraph, counts: ClassCounts, excluded: Mapping[str, Sequence[int]], directed: bool = False
) -> dict[str, Float64[np.ndarray, " _"]]:
    """PageRank of every channel of a class's whole graph, by visible layer; NaN where the channel is no node."""
    graph = whole_graph(layer_graph, counts, excluded)
    scores = pagerank(graph.edges, graph.is_node, personalisation(graph, counts), directed)
    scores = np.where(graph.is_node, scores, np.nan)
    return {layer.name: scores[graph.part(place)] for place, layer in enumerate(graph.layers)}
