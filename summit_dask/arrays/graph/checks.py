"""What is true of every attribution graph, checked on one (DESIGN section 8)."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int32

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.layergraph import Channel, LayerGraph


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

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from summit_dask.arrays.graph.attribution import class_graph
    >>> from summit_dask.arrays.graph.edges import ClassCounts
    >>> from summit_dask.facts.layergraph import Hop, Layer, Window
    >>> at = (1, 1, True, Window((1, 1), (1, 1), (0, 0)))
    >>> hop = Hop("up", "low", "high", range(1), None)
    >>> layer_graph = LayerGraph((Layer("low", 1, *at), Layer("high", 1, *at)), (hop,))
    >>> graph = class_graph(layer_graph, ClassCounts({}, {"up": csr_array([[7]])}), excluded={})
    >>> verify_graph(layer_graph, graph, excluded={})
    []
    >>> verify_graph(layer_graph, graph, excluded={"high": [0]})
    ["Node Channel(layer='high', index=0) is an excluded channel."]
    """
    nodes = graph.nodes(layer_graph)
    return [
        *_wrong_nodes(layer_graph, nodes, excluded),
        *_wrong_values(graph),
        *_wrong_sources(nodes, graph.node_source_influence),
        *_wrong_edges(layer_graph, graph),
    ]


def _wrong_nodes(
    layer_graph: LayerGraph, nodes: Sequence[Channel], excluded: Mapping[str, Sequence[int]]
) -> Iterator[str]:
    repeated = len(nodes) - len(set(nodes))
    if repeated:
        yield f"{repeated} nodes stand in the table twice."
    for node in nodes:
        layer = layer_graph.layer(node.layer)
        if not layer.visible:
            yield f"Node {node} lies in a hidden layer."
        if not 0 <= node.index < layer.channels:
            yield f"Node {node} is beyond the {layer.channels} channels of its layer."
        if node.index in excluded.get(node.layer, ()):
            yield f"Node {node} is an excluded channel."


def _wrong_values(graph: ClassGraph) -> Iterator[str]:
    score = graph.node_score
    if not (np.isfinite(score).all() and (score >= 0).all() and score.sum() < 1 + 1e-6):
        yield f"Scores are expected from 0 to a sum of 1; found a sum of {score.sum()}."
    if (graph.node_count < 0).any():
        yield f"Counts are expected from 0; found {graph.node_count.min()}."
    in_range = (graph.reached_p > 0) & (graph.reached_p <= 1)
    if not graph.empty and not in_range.all():
        yield f"The reached p is expected above 0 and at most 1; found {graph.reached_p.tolist()}."


def _wrong_sources(nodes: Sequence[Channel], influence: Int32[np.ndarray, "node rank"]) -> Iterator[str]:
    rises = (np.diff(influence, axis=1) > 0).any(axis=1)
    for index in np.flatnonzero(rises).tolist():
        yield f"Sources of {nodes[index]} are not descending: {influence[index].tolist()}."


def _wrong_edges(layer_graph: LayerGraph, graph: ClassGraph) -> Iterator[str]:
    strongest = dict(zip(graph.nodes(layer_graph), graph.node_source_influence[:, 0].tolist(), strict=True))
    below = {layer.name: layer_graph.below(layer.name) for layer in layer_graph.layers}
    edges = graph.edges(layer_graph)
    if len(set(edges)) != len(edges):
        yield "An edge stands in the table twice."
    for (source, target), influence in zip(edges, graph.edge_influence.tolist(), strict=True):
        if target not in strongest or source not in strongest:
            yield f"The edge from {target} to {source} ends outside the graph."
        elif layer_graph.layer(source.layer) not in below[target.layer]:
            yield f"The edge from {target} to {source} does not lead to a layer below that {target.layer} draws from."
        elif not 0 < influence <= strongest[target]:
            yield f"The edge from {target} to {source} has {influence}, its target's first source {strongest[target]}."
    for index in np.flatnonzero(graph.edge_identity).tolist():
        if not _has_identity(layer_graph, *edges[index]):
            yield f"The edge from {edges[index][1]} to {edges[index][0]} is no identity; no such hop joins them."


def _has_identity(layer_graph: LayerGraph, source: Channel, target: Channel) -> bool:
    """Whether an identity hop carries the source to the target."""
    hops = [h for h in layer_graph.incoming(target.layer) if h.source == source.layer and h.convolution is None]
    pairs = (zip(hop.targets, layer_graph.sources_of(hop), strict=True) for hop in hops)
    return any((target.index, source.index) in carried for carried in pairs)
