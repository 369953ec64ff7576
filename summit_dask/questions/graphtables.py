"""An attribution graph as tables, layers by name."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph, Marks
from summit_dask.facts.layergraph import LayerGraph


def node_table(layer_graph: LayerGraph, graph: ClassGraph, marks: Marks | None = None) -> pd.DataFrame:
    """A row a node, in the order of the graph: layer, channel, count, score; no rows for an empty graph.

    With what evidence says of the graph, also stability.
    """
    layer = _names(layer_graph)
    table = pd.DataFrame(
        {
            "layer": layer[graph.node_layer],
            "channel": graph.node_channel,
            "count": graph.node_count,
            "score": graph.node_score,
        }
    )
    return table if marks is None else table.assign(stability=marks.node_stability)


def edge_table(layer_graph: LayerGraph, graph: ClassGraph, marks: Marks | None = None) -> pd.DataFrame:
    """A row an edge, in the order of the graph: layer and channel of source and target, influence, identity.

    With what evidence says of the graph, also stability and effect.
    """
    layer = _names(layer_graph)
    table = pd.DataFrame(
        {
            "source_layer": layer[graph.edge_source_layer],
            "source_channel": graph.edge_source_channel,
            "target_layer": layer[graph.edge_target_layer],
            "target_channel": graph.edge_target_channel,
            "influence": graph.edge_influence,
            "identity": graph.edge_identity.astype(bool),
        }
    )
    return table if marks is None else table.assign(stability=marks.edge_stability, effect=marks.edge_effect)


def source_table(layer_graph: LayerGraph, graph: ClassGraph) -> pd.DataFrame:
    """A row a node and strongest source: layer and channel of both, rank from 1, influence."""
    layer = _names(layer_graph)
    node, rank = np.nonzero(graph.node_source_channel >= 0)
    return pd.DataFrame(
        {
            "layer": layer[graph.node_layer[node]],
            "channel": graph.node_channel[node],
            "rank": rank + 1,
            "source_layer": layer[graph.node_source_layer[node, rank]],
            "source_channel": graph.node_source_channel[node, rank],
            "influence": graph.node_source_influence[node, rank],
        }
    )


def selection_table(layer_graph: LayerGraph, graph: ClassGraph) -> pd.DataFrame:
    """A row a visible layer: the share p that was needed, and whether that joined the layer to one below."""
    visible = [layer.name for layer in layer_graph.visible]
    return pd.DataFrame({"layer": visible, "reached_p": graph.reached_p, "valid": graph.valid.astype(bool)})


def _names(layer_graph: LayerGraph) -> NDArray[np.object_]:
    return np.array([layer.name for layer in layer_graph.layers], object)
