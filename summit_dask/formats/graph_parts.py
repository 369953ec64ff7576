"""Parts of a class's graph: what files that know fewer channels or layers can hold of it."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.layergraph import LayerGraph


def without_class(graph: ClassGraph, layer_graph: LayerGraph) -> ClassGraph:
    """The graph without the row of the class, which the original doesn't know."""
    return within(graph, np.array([0 if layer.of_class else layer.channels for layer in layer_graph.layers]))


def within(graph: ClassGraph, limit: NDArray[np.int64]) -> ClassGraph:
    """The graph of the channels below each layer's limit."""
    is_node = graph.node_channel < limit[graph.node_layer]
    is_source = graph.node_source_channel < limit[graph.node_source_layer]
    is_edge = graph.edge_source_channel < limit[graph.edge_source_layer]
    is_edge &= graph.edge_target_channel < limit[graph.edge_target_layer]
    known = replace(graph, node_source_channel=np.where(is_source, graph.node_source_channel, -1))
    return replace(known, **_rows(known, "node_", is_node), **_rows(known, "edge_", is_edge))


def _rows(graph: ClassGraph, prefix: str, kept: NDArray[np.bool_]) -> dict[str, Any]:
    """Some rows of all columns of a table."""
    names = [field.name for field in fields(graph) if field.name.startswith(prefix)]
    return {name: getattr(graph, name)[kept] for name in names}
