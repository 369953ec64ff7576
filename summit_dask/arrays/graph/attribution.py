"""The attribution graph of a class: which channels matter, and how they build on each other (DESIGN 3.4 to 3.6).

counts ── widest paths between visible layers ── scores ── selection ── node and edge tables
          edges, widest                          pagerank  selection    here
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int16, Int32, UInt8
from numpy.typing import NDArray

from summit_dask.arrays.graph.edges import ClassCounts, Sources, strongest_sources
from summit_dask.arrays.graph.pagerank import WholeGraph, activation_of, pagerank, personalisation, whole_graph
from summit_dask.arrays.graph.selection import (
    Selection,
    nothing_selected,
    select,
    selected_edges,
)
from summit_dask.facts.config import GraphOptions
from summit_dask.facts.layergraph import Channel, LayerGraph
from summit_dask.facts.schema import N_NODE_SOURCES

if TYPE_CHECKING:
    import networkx as nx


DEFAULT_OPTIONS = GraphOptions()

_ENDS = ("source_layer", "source_channel", "target_layer", "target_channel")


@dataclass(frozen=True, eq=False)  # arrays have no single equality; two graphs are the same only as one object
class ClassGraph:
    """Attribution graph of one class, as columns of the stored node and edge tables (schema, group "graphs").

    Layers are places in ``layer_graph.layers``. Nodes: input side first, channels ascending. Edges: by target,
    then influence descending, then source; `edge_identity` is 1 where an identity alone is the widest path.
    `reached_p` and `valid` are per visible layer, input side first; `reached_p` is NaN in an empty graph.
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
    edge_identity: UInt8[np.ndarray, " edge"]
    reached_p: Float64[np.ndarray, " visible"]
    valid: UInt8[np.ndarray, " visible"]

    @property
    def empty(self) -> bool:
        """Whether nothing could be ranked: no edges, or no channel that the class uses."""
        return bool(np.isnan(self.reached_p).all())

    def is_same(self, other: "ClassGraph") -> bool:
        """Whether both have the same nodes and edges, in the same order."""
        ends = ("node_layer", "node_channel", *(f"edge_{end}" for end in _ENDS))
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ends)

    def nodes(self, layer_graph: LayerGraph) -> list[Channel]:
        """The nodes' channels, in the order of the table."""
        return _channels(layer_graph, self.node_layer, self.node_channel)

    def edges(self, layer_graph: LayerGraph) -> list[tuple[Channel, Channel]]:
        """Source and target of the edges, in the order of the table."""
        sources = _channels(layer_graph, self.edge_source_layer, self.edge_source_channel)
        targets = _channels(layer_graph, self.edge_target_layer, self.edge_target_channel)
        return list(zip(sources, targets, strict=True))


@dataclass(frozen=True, eq=False)
class Marks:
    """What evidence says of the nodes and edges of one class's graph, in the order of its tables.

    Attributes
    ----------
    node_stability, edge_stability
        Share of the samples of the class's images whose graph holds them.
    edge_effect
        Share of the upper end's maximum that is lost without the lower end's channel; NaN: unknown.
    """

    node_stability: Float64[np.ndarray, " node"]
    edge_stability: Float64[np.ndarray, " edge"]
    edge_effect: Float64[np.ndarray, " edge"]


def _channels(
    layer_graph: LayerGraph, layer: Int16[np.ndarray, " n"], channel: Int32[np.ndarray, " n"]
) -> list[Channel]:
    names = [known.name for known in layer_graph.layers]
    return [Channel(names[k], c) for k, c in zip(layer.tolist(), channel.tolist(), strict=True)]


def class_graph(
    layer_graph: LayerGraph,
    counts: ClassCounts,
    excluded: Mapping[str, Sequence[int]],
    options: GraphOptions = DEFAULT_OPTIONS,
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
        Selected channels and the edges between those of each layer and the layers below that it draws from. Empty,
        with NaN for the reached p, if the class's whole graph has no edges or every personalisation is 0. `valid` is
        0 for a layer that no p can join to any below; no p is raised for it.

    Raises
    ------
    ConfigError, LayerNotFoundError
        If an excluded channel or its layer does not exist.
    StoreError
        If the counts don't fit the layer graph.

    Examples
    --------
    Channel 0 of the upper layer is fed by both channels of the lower one, channel 1 by the second alone.

    >>> from scipy.sparse import csr_array
    >>> from summit_dask.facts.layergraph import Hop, Layer, Window
    >>> at = (1, 1, True, Window((1, 1), (1, 1), (0, 0)))
    >>> hop = Hop("up", "low", "high", range(2), None)
    >>> layer_graph = LayerGraph((Layer("low", 2, *at), Layer("high", 2, *at)), (hop,))
    >>> used = {"low": np.array([1, 9]), "high": np.array([9, 1])}
    >>> counts = ClassCounts(used, {"up": csr_array([[7, 9], [0, 4]])})
    >>> graph = class_graph(layer_graph, counts, excluded={})
    >>> graph.edges(layer_graph)
    [(Channel(layer='low', index=1), Channel(layer='high', index=0))]
    """
    whole = whole_graph(layer_graph, counts, excluded)
    scores = pagerank(whole.edges, whole.is_node, personalisation(whole, counts), options.directed)
    selection = select(whole, scores, options) if scores.any() else nothing_selected(whole)
    return _tables(layer_graph, counts, whole, scores, selection)


def _tables(
    layer_graph: LayerGraph,
    counts: ClassCounts,
    whole: WholeGraph,
    scores: Float64[np.ndarray, " channel"],
    selection: Selection,
) -> ClassGraph:
    """Nodes and edges of the selected channels."""
    # Of each channel of the whole graph: its layer's place in the layer graph, its own place in the layer, its count.
    of_layer = np.array([layer_graph.layers.index(layer) for layer in whole.layers], np.int16)[whole.layer_of]
    channel = (np.arange(scores.size) - whole.bounds[whole.layer_of]).astype(np.int32)
    count = np.concatenate([activation_of(counts, layer) for layer in whole.layers]).astype(np.int32)

    is_lowest = whole.is_lowest[whole.layer_of]
    has_source = np.diff(whole.edges.indptr) > 0
    nodes = np.flatnonzero(selection.is_selected & (is_lowest | has_source))
    node_sources = _node_sources(layer_graph, counts, of_layer[nodes], channel[nodes])
    edges = selected_edges(whole, selection.is_selected, is_lowest)
    targets, sources = (ends[edges] for ends in whole.ends)
    return ClassGraph(
        node_layer=of_layer[nodes],
        node_channel=channel[nodes],
        node_count=count[nodes],
        node_score=scores[nodes],
        node_source_layer=node_sources.layer,
        node_source_channel=node_sources.channel,
        node_source_influence=node_sources.influence,
        edge_source_layer=of_layer[sources],
        edge_source_channel=channel[sources],
        edge_target_layer=of_layer[targets],
        edge_target_channel=channel[targets],
        edge_influence=whole.edges.data[edges],
        edge_identity=whole.is_identity[edges].astype(np.uint8),
        reached_p=selection.p,
        valid=selection.valid.astype(np.uint8),
    )


def _node_sources(
    layer_graph: LayerGraph, counts: ClassCounts, layer: Int16[np.ndarray, " node"], channel: Int32[np.ndarray, " node"]
) -> Sources:
    """The strongest sources of each node."""
    shape = (layer.size, N_NODE_SOURCES)
    result = Sources(np.empty(shape, np.int16), np.empty(shape, np.int32), np.empty(shape, np.int32))
    for index in np.unique(layer).tolist():
        own = layer == index
        name = layer_graph.layers[index].name
        part = strongest_sources(layer_graph, counts, name, channel[own].tolist(), N_NODE_SOURCES)
        result.layer[own] = part.layer
        result.channel[own] = part.channel
        result.influence[own] = part.influence
    return result


def to_networkx(layer_graph: LayerGraph, graph: ClassGraph, marks: Marks | None = None) -> "nx.DiGraph[Channel]":
    """The attribution graph as a network of `Channel` objects, edges from the input side to the output side.

    Parameters
    ----------
    layer_graph
        The one that the graph was made with.
    graph
        Of a class.
    marks
        What evidence says of it.

    Returns
    -------
    DiGraph
        Node attributes count and score; edge attributes influence and identity (whether an identity alone is the
        widest path); with marks also stability of both and effect of edges; graph attributes reached_p
        and valid, by name of the visible layer. In the order of the tables.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from summit_dask.facts.layergraph import Hop, Layer, Window
    >>> at = (1, 1, True, Window((1, 1), (1, 1), (0, 0)))
    >>> hop = Hop("up", "low", "high", range(1), None)
    >>> layer_graph = LayerGraph((Layer("low", 1, *at), Layer("high", 1, *at)), (hop,))
    >>> graph = class_graph(layer_graph, ClassCounts({}, {"up": csr_array([[7]])}), excluded={})
    >>> list(to_networkx(layer_graph, graph).edges(data="influence"))
    [(Channel(layer='low', index=0), Channel(layer='high', index=0), 7)]
    """
    import networkx as nx

    names = [layer.name for layer in layer_graph.visible]
    result: nx.DiGraph[Channel] = nx.DiGraph(
        reached_p=dict(zip(names, graph.reached_p.tolist(), strict=True)),
        valid=dict(zip(names, graph.valid.astype(bool).tolist(), strict=True)),
    )
    nodes = {"count": graph.node_count, "score": graph.node_score}
    edges = {"influence": graph.edge_influence, "identity": graph.edge_identity.astype(bool)}
    if marks is not None:
        nodes["stability"] = marks.node_stability
        edges |= {"stability": marks.edge_stability, "effect": marks.edge_effect}
    result.add_nodes_from(zip(graph.nodes(layer_graph), _rows(nodes), strict=True))
    ends = graph.edges(layer_graph)
    result.add_edges_from((*channels, values) for channels, values in zip(ends, _rows(edges), strict=True))
    return result


def _rows(columns: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, Any]]:
    """Values by name, of one row after the other."""
    return (dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True))
