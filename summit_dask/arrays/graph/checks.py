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


def _wrong_edges(layer_graph: LayerGraph, graph: ClassGraph) -> Iterator[str]:
    strongest = dict(zip(graph.nodes(layer_graph), graph.node_source_influence[:, 0].tolist(), strict=True))
    edges = graph.edges(layer_graph)
    if len(set(edges)) != len(edges):
        yield "An edge stands in the table twice."
    for (source, target), influence in zip(edges, graph.edge_influence.tolist(), strict=True):
        below = layer_graph.below(target.layer)
        if target not in strongest or source not in strongest:
            yield f"The edge from {target} to {source} ends outside the graph."
        elif below is None or below.name != source.layer:
            yield f"The edge from {target} to {source} does not lead to the layer below."
        elif not 0 < influence <= strongest[target]:
            yield f"The edge from {target} to {source} has {influence}, its target's first source {strongest[target]}."
