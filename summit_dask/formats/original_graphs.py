"""The original's attribution graphs, ag-N.json.

    {"mixed5b": [{"channel": 101, "count": 298, "layer": "mixed5b", "pagerank": 0.0012,
                  "prev_channels": [{"prev_channel": 1, "inf": 623}, ...],           edges down
                  "attr_channels": [{"prev_channel": "762", "inf": 1293}, ...]}]}    strongest sources

A source of the original indexes what its hop comes from, in the 3x3 and 5x5 branches the bottleneck. Files
written from our own runs name channels of the layer below instead.

An edge names no layer: it leads to the visible layer just below. Edges that lead past a layer, as dense and long skip
connections make them, have no place in these files and are left out.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.layergraph import Layer, LayerGraph
from summit_dask.facts.schema import N_NODE_SOURCES
from summit_dask.formats.checks import check_rows, check_unique, digits, fault, integers, numbers

_NODE_KEYS = ("channel", "count", "layer", "pagerank", "prev_channels", "attr_channels")
_SOURCE_KEYS = ("prev_channel", "inf")
_ATTRIBUTED = "prev_channel of attr_channels"
_LARGEST = 2**31 - 1


def graph_json(graph: ClassGraph, layer_graph: LayerGraph) -> dict[str, list[dict[str, Any]]]:
    """The content of an ag-N.json: layers from the top down, nodes, edges and sources in the tables' order.

    Edges that lead past a layer are left out.
    """
    names = [layer.name for layer in layer_graph.layers]
    edges = _edges_json(graph, ~leads_past(graph, layer_graph))
    result: dict[str, list[dict[str, Any]]] = {layer.name: [] for layer in reversed(layer_graph.visible)}
    for row, (layer, channel) in enumerate(zip(graph.node_layer.tolist(), graph.node_channel.tolist(), strict=True)):
        node = {
            "channel": channel,
            "count": int(graph.node_count[row]),
            "layer": names[layer],
            "pagerank": float(graph.node_score[row]),
            "prev_channels": edges[layer, channel],
            "attr_channels": _sources_json(graph, row),
        }
        result[names[layer]].append(node)
    return result


def layer_below(layer_graph: LayerGraph, name: str) -> Layer | None:
    """The visible layer just below, of which alone a node's entry can speak; None if the layer draws nothing from it.

    Parameters
    ----------
    name
        Of a visible layer.
    """
    visible = layer_graph.visible
    place = visible.index(layer_graph.layer(name))
    return visible[place - 1] if place and visible[place - 1] in layer_graph.below(name) else None


def leads_past(graph: ClassGraph, layer_graph: LayerGraph) -> NDArray[np.bool_]:
    """Of each edge, whether it leads elsewhere than to the visible layer just below."""
    layers = layer_graph.layers
    below = np.full(len(layers), -1)
    for layer in layer_graph.visible:
        if found := layer_below(layer_graph, layer.name):
            below[layers.index(layer)] = layers.index(found)
    past: NDArray[np.bool_] = graph.edge_source_layer != below[graph.edge_target_layer]
    return past


def _edges_json(graph: ClassGraph, rows: NDArray[np.bool_]) -> Mapping[tuple[int, int], list[dict[str, int]]]:
    """Some rows of the edges, those down from each node, by its layer and channel; empty for a node without any."""
    edges: dict[tuple[int, int], list[dict[str, int]]] = defaultdict(list)
    columns = (graph.edge_target_layer, graph.edge_target_channel, graph.edge_source_channel, graph.edge_influence)
    for layer, channel, source, influence in zip(*(column[rows].tolist() for column in columns), strict=True):
        edges[layer, channel].append({"prev_channel": source, "inf": influence})
    return edges


def _sources_json(graph: ClassGraph, row: int) -> list[dict[str, Any]]:
    pairs = zip(graph.node_source_channel[row].tolist(), graph.node_source_influence[row].tolist(), strict=True)
    return [{"prev_channel": str(channel), "inf": influence} for channel, influence in pairs if channel >= 0]


@dataclass(frozen=True)
class _LayerFacts:
    """What a visible layer's nodes are held against.

    Parameters
    ----------
    layer, index
        The layer and its index in the layer graph.
    below, below_index
        The same of the visible layer just below; None and -1 where the layer draws nothing from it.
    source_index, source_size
        By channel: index and number of channels of the layer that its sources lie in.
    """

    layer: Layer
    index: int
    below: Layer | None
    below_index: int
    source_index: NDArray[np.int32]
    source_size: NDArray[np.int32]

    @classmethod
    def of(cls, layer_graph: LayerGraph, layer: Layer, through: bool) -> "_LayerFacts":
        """Sources through the bottlenecks lie in the layer below, others where the channel's hop comes from."""
        below = layer_below(layer_graph, layer.name)
        below_index = layer_graph.layers.index(below) if below else -1
        source_index = np.full(layer.channels, below_index, np.int32)
        if not through:
            for hop in layer_graph.incoming(layer.name):
                source_index[hop.rows] = layer_graph.layers.index(layer_graph.layer(hop.source))
        # The last size stands for index -1: no layer, no channel.
        sizes = np.array([*(known.channels for known in layer_graph.layers), 0], np.int32)
        return cls(layer, layer_graph.layers.index(layer), below, below_index, source_index, sizes[source_index])


class GraphReader:
    """Reads ag-N.json files that speak of one layer graph.

    Parameters
    ----------
    layer_graph
        Layers and hops that the files speak of.
    through
        Sources name channels of the layer below, through the bottlenecks; otherwise what the node's hop comes from.
    """

    def __init__(self, layer_graph: LayerGraph, through: bool = False) -> None:
        self._is_lowest = [not layer_graph.below(layer.name) for layer in layer_graph.visible]
        self._facts = {layer.name: _LayerFacts.of(layer_graph, layer, through) for layer in layer_graph.visible}

    def parse(self, data: Any, where: object) -> ClassGraph:
        """Nodes and edges of one class from the content of a file, in the file's order.

        Parameters
        ----------
        data
            As `read_json` gives it.
        where
            The file, for messages.

        Returns
        -------
        ClassGraph
            Values as in the file. The reached p is unknown: NaN. Every layer is valid, as the original went on
            until they were, but in a file without edges. No edge is known to be an identity.

        Raises
        ------
        FormatError
            For another type or key, a layer or channel that doesn't exist, a channel that stands twice, or an edge
            that doesn't lead to a node of the layer below.
        """
        if not isinstance(data, dict) or set(data) != set(self._facts):
            layers = list(data) if isinstance(data, dict) else data
            raise fault(where, f"an object with the layers {', '.join(self._facts)}", layers)
        facts = [self._facts[name] for name in data]
        nodes = {fact.layer.name: _node_table(data, fact.layer, where) for fact in facts}
        edges = np.concatenate([_edge_table(fact, nodes, where) for fact in facts], axis=1)
        sources = np.concatenate([_source_table(fact, nodes[fact.layer.name], where) for fact in facts])
        tables = list(nodes.values())
        return ClassGraph(
            node_layer=np.repeat(np.array([f.index for f in facts], np.int16), [t.channel.size for t in tables]),
            node_channel=np.concatenate([table.channel for table in tables]),
            node_count=np.concatenate([table.count for table in tables]),
            node_score=np.concatenate([table.score for table in tables]),
            node_source_layer=sources[..., 0].astype(np.int16),
            node_source_channel=sources[..., 1],
            node_source_influence=sources[..., 2],
            edge_source_layer=edges[0].astype(np.int16),
            edge_source_channel=edges[1],
            edge_target_layer=edges[2].astype(np.int16),
            edge_target_channel=edges[3],
            edge_influence=edges[4],
            edge_identity=np.zeros(edges.shape[1], np.uint8),
            reached_p=np.full(len(facts), np.nan),
            valid=np.array([is_lowest or edges.size > 0 for is_lowest in self._is_lowest], np.uint8),
        )


@dataclass(frozen=True)
class _Nodes:
    """Nodes of one layer; edges and sources as they stand in the file, a list for each node."""

    channel: NDArray[np.int32]
    count: NDArray[np.int32]
    score: NDArray[np.float64]
    edges: list[list[dict[str, Any]]]
    sources: list[list[dict[str, Any]]]


def _node_table(data: Mapping[str, Any], layer: Layer, where: object) -> _Nodes:
    where = f"{where}, {layer.name}"
    rows = check_rows(data[layer.name], _NODE_KEYS, where)
    channel = integers([row["channel"] for row in rows], layer.channels, where, "channel")
    check_unique(channel, where)
    for row in rows:
        if row["layer"] != layer.name:
            raise fault(where, f"the layer {layer.name!r} in each of its nodes", row["layer"])
    return _Nodes(
        channel,
        integers([row["count"] for row in rows], _LARGEST, where, "count"),
        numbers([row["pagerank"] for row in rows], where, "pagerank"),
        _check_lists([row["prev_channels"] for row in rows], where),
        _check_lists([row["attr_channels"] for row in rows], where),
    )


def _check_lists(values: list[Any], where: str) -> list[list[dict[str, Any]]]:
    """The values, if each is a list of objects that name a channel and an influence."""
    return [check_rows(value, _SOURCE_KEYS, where) for value in values]


def _edge_table(fact: _LayerFacts, nodes: Mapping[str, _Nodes], where: object) -> NDArray[np.int32]:
    """Edges (5, edge): source layer, source channel, target layer, target channel, influence."""
    where = f"{where}, {fact.layer.name}"
    own = nodes[fact.layer.name]
    edges = [edge for edges_of_node in own.edges for edge in edges_of_node]
    if fact.below is None:
        if edges:
            raise fault(where, "no prev_channels, as the layer draws nothing from one just below", edges[0])
        return np.empty((5, 0), np.int32)
    source = integers([edge["prev_channel"] for edge in edges], fact.below.channels, where, "prev_channel")
    influence = integers([edge["inf"] for edge in edges], _LARGEST, where, "inf")
    lost = source[~np.isin(source, nodes[fact.below.name].channel)]
    if lost.size:
        raise fault(where, f"each prev_channel among the nodes of {fact.below.name}", int(lost[0]))
    target = np.repeat(own.channel, [len(edges_of_node) for edges_of_node in own.edges])
    if len(set(zip(target.tolist(), source.tolist(), strict=True))) != len(edges):
        raise fault(where, "each prev_channel of a node once", edges)
    source_layer = np.full(len(edges), fact.below_index, np.int32)
    target_layer = np.full(len(edges), fact.index, np.int32)
    return np.stack([source_layer, source, target_layer, target, influence])


def _source_table(fact: _LayerFacts, nodes: _Nodes, where: object) -> NDArray[np.int32]:
    """Strongest sources (node, rank, 3): layer, channel, influence; -1, -1, 0 where there are no more."""
    where = f"{where}, {fact.layer.name}"
    lengths = np.array([len(sources) for sources in nodes.sources], np.int64)
    if lengths.max(initial=0) > N_NODE_SOURCES:
        raise fault(where, f"at most {N_NODE_SOURCES} attr_channels", int(lengths.max()))
    sources = [source for sources_of_node in nodes.sources for source in sources_of_node]
    channel = integers(digits([source["prev_channel"] for source in sources]), _LARGEST, where, _ATTRIBUTED)
    influence = integers([source["inf"] for source in sources], _LARGEST, where, "inf")
    target = np.repeat(nodes.channel, lengths)
    _check_sources(fact, target, channel, where)
    table = np.tile(np.array([-1, -1, 0], np.int32), (lengths.size, N_NODE_SOURCES, 1))
    # A node with two sources fills its ranks 0 and 1.
    is_filled = np.arange(N_NODE_SOURCES) < lengths[:, None]
    table[is_filled] = np.stack([fact.source_index[target], channel, influence], axis=1)
    return table


def _check_sources(fact: _LayerFacts, target: NDArray[np.int32], channel: NDArray[np.int32], where: str) -> None:
    """Refuse a source that its layer does not have."""
    size = fact.source_size[target]
    lost = np.flatnonzero(channel >= size)
    if lost.size:
        first = int(lost[0])
        raise fault(f"{where}, channel {target[first]}", f"{_ATTRIBUTED} below {size[first]}", int(channel[first]))
