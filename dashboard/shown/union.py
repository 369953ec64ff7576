"""Several attribution graphs over one layer graph as one: each channel and each edge once, and which graphs hold it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph


@dataclass(frozen=True, eq=False)
class Union:
    """Nodes and edges of several graphs, those of the first graph first.

    Attributes
    ----------
    layer, channel : (node,)
        Layers as places in ``layer_graph.layers``.
    held : (graph, node)
        Whether a graph holds the node; its count there (0: not held) and score (NaN) are alike.
    source, target : (edge,)
        Numbers of nodes.
    influence : (graph, edge)
        0 where a graph lacks the edge.
    identity : (edge,)
    at
        Of each graph, the numbers of its own nodes in their order.
    edge_at
        The same of its edges.
    """

    layer: NDArray[np.int64]
    channel: NDArray[np.int64]
    held: NDArray[np.bool_]
    count: NDArray[np.int64]
    score: NDArray[np.float64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    influence: NDArray[np.int64]
    identity: NDArray[np.int64]
    at: list[list[int]]
    edge_at: list[list[int]]


def united(graphs: Sequence[ClassGraph], more: Sequence[int] = ()) -> Union:
    """The union of graphs, and of more channels (by their `keys`) that none of them need hold."""
    nodes, node_at = _distinct([*(keys(graph.node_layer, graph.node_channel) for graph in graphs), more])
    ends = [_ends(graph) for graph in graphs]
    number = {key: k for k, key in enumerate(nodes)}
    edges, edge_at = _distinct([[(number[s], number[t]) for s, t in own] for own in ends])
    shape, n_edges = (len(graphs), len(nodes)), len(edges)
    held, count, score = np.zeros(shape, bool), np.zeros(shape, np.int64), np.full(shape, np.nan)
    influence, identity = np.zeros((len(graphs), n_edges), np.int64), np.zeros(n_edges, np.int64)
    for k, graph in enumerate(graphs):
        held[k, node_at[k]] = True
        count[k, node_at[k]] = graph.node_count
        score[k, node_at[k]] = graph.node_score
        influence[k, edge_at[k]] = graph.edge_influence
        identity[edge_at[k]] = graph.edge_identity
    own = np.array(nodes, np.int64)
    source, target = np.array(edges, np.int64).reshape(-1, 2).T
    return Union(
        own >> 32, own & (2**32 - 1), held, count, score, source, target, influence, identity, node_at, edge_at
    )


def keys(layer: NDArray[Any], channel: NDArray[Any]) -> list[int]:
    """A number for each channel of the network."""
    result: list[int] = (layer.astype(np.int64) << 32 | channel).tolist()
    return result


def _ends(graph: ClassGraph) -> list[tuple[int, int]]:
    sources = keys(graph.edge_source_layer, graph.edge_source_channel)
    return list(zip(sources, keys(graph.edge_target_layer, graph.edge_target_channel), strict=True))


def _distinct(lists: Sequence[Sequence[Any]]) -> tuple[list[Any], list[list[int]]]:
    """What lists hold, each thing once in the order of its first, and the places of each list's own."""
    found = {thing: None for things in lists for thing in things}
    place = {thing: k for k, thing in enumerate(found)}
    return list(found), [[place[thing] for thing in things] for things in lists]
