"""The attribution graph of a class: which channels matter, and how they build on each other (DESIGN 3.4 to 3.6).

counts -> widest paths between visible layers (`edges`) -> scores (`pagerank`) -> selection (here)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int, Int16, Int32, UInt8

from summit_dask.arrays.graph.edges import ClassCounts, Sources, layer_edges, strongest_sources
from summit_dask.arrays.graph.pagerank import (
    WholeGraph,
    activation_of,
    class_scores,
    pagerank,
    personalisation,
    whole_graph,
)
from summit_dask.facts.errors import ConfigError
from summit_dask.facts.layergraph import Channel, LayerGraph
from summit_dask.facts.schema import N_NODE_SOURCES

if TYPE_CHECKING:
    import networkx as nx

__all__ = [
    "ClassCounts",
    "ClassGraph",
    "GraphOptions",
    "Sources",
    "WholeGraph",
    "class_graph",
    "class_scores",
    "layer_edges",
    "pagerank",
    "personalisation",
    "strongest_sources",
    "to_networkx",
    "verify_graph",
    "whole_graph",
]

#: What p rises by, for each layer that is not joined to the one below.
P_STEP = 0.005


@dataclass(frozen=True)
class GraphOptions:
    """How a class's channels are ranked and selected.

    Parameters
    ----------
    p
        Share of a layer's scores that is selected at first, above 0, at most 1.
    unified
        One p over the channels of all layers together, instead of one per layer.
    directed
        PageRank follows the edges only from the output side to the input side.
    """

    p: float = 0.075
    unified: bool = False
    directed: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ConfigError(f"The option 'p' is {self.p}: expected above 0 and at most 1.")


@dataclass(frozen=True, eq=False)  # arrays have no single equality; two graphs are the same only as one object
class ClassGraph:
    """Attribution graph of one class, as columns of the stored node and edge tables (schema, group "graphs").

    Layers are places in ``layer_graph.layers``. Nodes: input side first, channels ascending. Edges: by target,
    then influence descending, then source. `reached_p` and `valid` are per visible layer, input side first;
    `reached_p` is NaN in an empty graph.
    """

    node_layer: Int16[np.ndarray, " node"]
    node_channel: Int32[np.ndarray, " node"]
    node_count: Int32[np.ndarray, " node"]
    node_score: Float64[np.ndarray, " node"]
    node_source_layer: Int16[np.ndarray, "node rank"]
    node_source_channel: Int32[np.ndarray, "node rank"]
    node_source_influence: Int32[np.ndarray, "node rank"]
    edge_source_layer: Int16[np.ndarray, " edge"]
    edge_source_channel: Int32[np.ndarray, " edge"]
    edge_target_layer: Int16[np.ndarray, " edge"]
    edge_target_channel: Int32[np.ndarray, " edge"]
    edge_influence: Int32[np.ndarray, " edge"]
    reached_p: Float64[np.ndarray, " visible"]
    valid: UInt8[np.ndarray, " visible"]

    @property
    def empty(self) -> bool:
        """Whether nothing could be ranked: no edges, or no channel that the class uses."""
        return bool(np.isnan(self.reached_p).all())


@dataclass(frozen=True)
class _Selection:
    is_selected: Bool[np.ndarray, " channel"]
    p: Float64[np.ndarray, " visible"]
    valid: Bool[np.ndarray, " visible"]


def class_graph(
    layer_graph: LayerGraph,
    counts: ClassCounts,
    excluded: Mapping[str, Sequence[int]],
    options: GraphOptions = GraphOptions(),
) -> ClassGraph:
    """Attribution graph of one class (DESIGN 3.5, 3.6; the paper's section 6.3).

    Parameters
    ----------
    layer_graph
        Layers and hops of the network.
    counts
        Of the class.
    excluded
        Channels to leave out, by layer.
    options
        How to rank and select.

    Returns
    -------
    ClassGraph
        Selected channels and the edges between those of neighbouring layers. Empty, with NaN for the reached p,
        if the class's whole graph has no edges or every personalisation is 0. `valid` is 0 for a layer that no p
        can join to the one below; no p is raised for it.
    """
    whole = whole_graph(layer_graph, counts, excluded)
    scores = pagerank(whole.edges, whole.is_node, personalisation(whole, counts), options.directed)
    selection = _select(whole, scores, options) if scores.any() else _nothing(whole)
    return _tables(layer_graph, counts, whole, scores, selection)


def _nothing(whole: WholeGraph) -> _Selection:
    n = len(whole.layers)
    return _Selection(np.zeros(whole.is_node.size, np.bool_), np.full(n, np.nan), np.arange(n) == 0)


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


def _select(whole: WholeGraph, scores: Float64[np.ndarray, " channel"], options: GraphOptions) -> _Selection:
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
    return _Selection(ranking.rank < sizes[of_channel], p[ranking.group], can_be)


def _tables(
    layer_graph: LayerGraph,
    counts: ClassCounts,
    whole: WholeGraph,
    scores: Float64[np.ndarray, " channel"],
    selection: _Selection,
) -> ClassGraph:
    """Nodes and edges of the selected channels."""
    is_lowest = np.arange(scores.size) < whole.bounds[1]
    has_source = np.diff(whole.edges.indptr) > 0
    nodes = np.flatnonzero(selection.is_selected & (is_lowest | has_source))
    edges = _selected_edges(whole, selection.is_selected, is_lowest)
    targets, sources = (ends[edges] for ends in whole.ends)
    of_layer = np.repeat([layer_graph.layers.index(layer) for layer in whole.layers], np.diff(whole.bounds))
    of_layer = of_layer.astype(np.int16)
    channel = (np.arange(scores.size) - np.repeat(whole.bounds[:-1], np.diff(whole.bounds))).astype(np.int32)
    used = np.concatenate([activation_of(counts, layer) for layer in whole.layers]).astype(np.int32)
    strongest = _node_sources(layer_graph, counts, of_layer[nodes], channel[nodes])
    return ClassGraph(
        of_layer[nodes],
        channel[nodes],
        used[nodes],
        scores[nodes],
        strongest.layer,
        strongest.channel,
        strongest.influence,
        of_layer[sources],
        channel[sources],
        of_layer[targets],
        channel[targets],
        whole.edges.data[edges],
        selection.p,
        selection.valid.astype(np.uint8),
    )


def _selected_edges(
    whole: WholeGraph, is_selected: Bool[np.ndarray, " channel"], is_lowest: Bool[np.ndarray, " channel"]
) -> Int[np.ndarray, " edge"]:
    """Edges between selected channels, but none down to a dead end above the lowest layer; by target and influence."""
    targets, sources = whole.ends
    edges = np.flatnonzero(is_selected[targets] & is_selected[sources])
    goes_on = is_lowest.copy()
    goes_on[targets[edges]] = True
    kept: Int[np.ndarray, " kept"] = edges[goes_on[sources[edges]]]
    return kept[np.lexsort((sources[kept], -whole.edges.data[kept], targets[kept]))]


def _node_sources(
    layer_graph: LayerGraph, counts: ClassCounts, layer: Int16[np.ndarray, " node"], channel: Int32[np.ndarray, " node"]
) -> Sources:
    names = [known.name for known in layer_graph.layers]
    parts = [
        strongest_sources(layer_graph, counts, names[place], channel[layer == place].tolist(), N_NODE_SOURCES)
        for place in np.unique(layer).tolist()
    ] or [strongest_sources(layer_graph, counts, names[0], (), N_NODE_SOURCES)]
    return Sources(
        np.concatenate([s.layer for s in parts]),
        np.concatenate([s.channel for s in parts]),
        np.concatenate([s.influence for s in parts]),
    )


def to_networkx(layer_graph: LayerGraph, graph: ClassGraph) -> "nx.DiGraph[Channel]":
    """The attribution graph as a network of `Channel` objects, edges from the input side to the output side.

    Parameters
    ----------
    layer_graph
        The one that the graph was made with.
    graph
        Of a class.

    Returns
    -------
    DiGraph
        Node attributes count and score; edge attribute influence; graph attributes reached_p and valid, by name
        of the visible layer. In the order of the tables.
    """
    import networkx as nx

    names = [layer.name for layer in layer_graph.visible]
    result: nx.DiGraph[Channel] = nx.DiGraph(
        reached_p=dict(zip(names, graph.reached_p.tolist(), strict=True)),
        valid=dict(zip(names, graph.valid.astype(bool).tolist(), strict=True)),
    )
    nodes = _channels(layer_graph, graph.node_layer, graph.node_channel)
    for node, count, score in zip(nodes, graph.node_count.tolist(), graph.node_score.tolist(), strict=True):
        result.add_node(node, count=count, score=score)
    sources = _channels(layer_graph, graph.edge_source_layer, graph.edge_source_channel)
    targets = _channels(layer_graph, graph.edge_target_layer, graph.edge_target_channel)
    for source, target, influence in zip(sources, targets, graph.edge_influence.tolist(), strict=True):
        result.add_edge(source, target, influence=influence)
    return result


def _channels(
    layer_graph: LayerGraph, layer: Int16[np.ndarray, " n"], channel: Int32[np.ndarray, " n"]
) -> list[Channel]:
    return [Channel(layer_graph.layers[k].name, c) for k, c in zip(layer.tolist(), channel.tolist(), strict=True)]


def verify_graph(layer_graph: LayerGraph, graph: ClassGraph, excluded: Mapping[str, Sequence[int]]) -> list[str]:
    """What is true of every attribution graph, checked on one (DESIGN section 8).

    Parameters
    ----------
    layer_graph
        The one that the graph was made with.
    graph
        Of a class.
    excluded
        Channels that were left out, by layer.

    Returns
    -------
    list
        A sentence for each thing that is wrong; empty if all is well.
    """
    nodes = _channels(layer_graph, graph.node_layer, graph.node_channel)
    edges = list(
        zip(
            _channels(layer_graph, graph.edge_target_layer, graph.edge_target_channel),
            _channels(layer_graph, graph.edge_source_layer, graph.edge_source_channel),
            graph.edge_influence.tolist(),
            strict=True,
        )
    )
    return [
        *_wrong_nodes(layer_graph, nodes, excluded),
        *_wrong_values(graph),
        *_wrong_sources(nodes, graph.node_source_influence),
        *_wrong_edges(layer_graph, dict(zip(nodes, graph.node_source_influence[:, 0].tolist(), strict=True)), edges),
    ]


def _wrong_nodes(
    layer_graph: LayerGraph, nodes: Sequence[Channel], excluded: Mapping[str, Sequence[int]]
) -> Iterator[str]:
    if len(set(nodes)) != len(nodes):
        yield f"{len(nodes) - len(set(nodes))} nodes stand in the table twice."
    for node in nodes:
        layer = layer_graph.layer(node.layer)
        if not layer.visible:
            yield f"Node {node} lies in a hidden layer."
        if not 0 <= node.index < layer.channels:
            yield f"Node {node} is beyond the {layer.channels} channels of its layer."
        if node.index in excluded.get(node.layer, ()):
            yield f"Node {node} is an excluded channel."


def _wrong_values(graph: ClassGraph) -> Iterator[str]:
    if not (
        np.isfinite(graph.node_score).all() and (graph.node_score >= 0).all() and graph.node_score.sum() < 1 + 1e-6
    ):
        yield f"Scores are expected from 0 to a sum of 1; found a sum of {graph.node_score.sum()}."
    if (graph.node_count < 0).any():
        yield f"Counts are expected from 0; found {graph.node_count.min()}."
    if not graph.empty and not ((graph.reached_p > 0) & (graph.reached_p <= 1)).all():
        yield f"The reached p is expected above 0 and at most 1; found {graph.reached_p.tolist()}."


def _wrong_sources(nodes: Sequence[Channel], influence: Int32[np.ndarray, "node rank"]) -> Iterator[str]:
    for place in np.flatnonzero((np.diff(influence, axis=1) > 0).any(axis=1)).tolist():
        yield f"Sources of {nodes[place]} are not descending: {influence[place].tolist()}."


def _wrong_edges(
    layer_graph: LayerGraph, strongest: Mapping[Channel, int], edges: Sequence[tuple[Channel, Channel, int]]
) -> Iterator[str]:
    if len({edge[:2] for edge in edges}) != len(edges):
        yield "An edge stands in the table twice."
    for target, source, influence in edges:
        below = layer_graph.below(target.layer)
        if target not in strongest or source not in strongest:
            yield f"The edge from {target} to {source} ends outside the graph."
        elif below is None or below.name != source.layer:
            yield f"The edge from {target} to {source} does not lead to the layer below."
        elif not 0 < influence <= strongest[target]:
            yield f"The edge from {target} to {source} has {influence}, its target's first source {strongest[target]}."
