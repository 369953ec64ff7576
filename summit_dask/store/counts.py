"""What was counted of classes, read from a store; and which images count.

Values are read through `Read`, so that workers (zarr) and users (an open xarray tree) share the code.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.facts import schema
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.pairs import PAPERS, Pair

#: Values of an array, by its address; some rows of its first dim or all.
Read = Callable[[str, Any], NDArray[Any]]


def read_counts(read: Read, layer_graph: LayerGraph, classes: slice, pair: Pair = PAPERS) -> list[ClassCounts]:
    """Counts of some neighbouring classes that graphs of a pair of measures are made of, each array read once."""
    nodes = {layer.name: read(node_counts(layer.name, pair), classes) for layer in layer_graph.visible}
    edges = {hop.name: read(edge_counts(hop.name, pair), classes) for hop in layer_graph.hops}
    return [
        ClassCounts(
            {name: counts[index] for name, counts in nodes.items()},
            {name: csr_array(counts[index]) for name, counts in edges.items()},
        )
        for index in range(classes.stop - classes.start)
    ]


def node_counts(layer: str, pair: Pair) -> str:
    """Address of the counts of a layer's channels."""
    return f"matrices/{layer}/{pair.nodes}_count"


def edge_counts(hop: str, pair: Pair) -> str:
    """Address of the counts of a hop's sources."""
    return f"matrices/{hop}/{pair.edges}_count"


def node_values(layer: str, pair: Pair) -> str:
    """Address of the single images' values that a layer's channels are selected by."""
    return f"{pair.nodes}s/{layer}/value"


def edge_values(layer: str, pair: Pair) -> tuple[str, str]:
    """Addresses of the single images' strongest sources of a layer's channels, and of the hops that these come by."""
    return f"{pair.edges}s/{layer}/source", f"{pair.edges}s/{layer}/hop"


def readable_classes(read: Read, rows: slice) -> NDArray[np.int32]:
    """Class of each image, -1 for the unreadable ones."""
    status = read("images/status", rows)
    classes = read("images/class_index", rows)
    return np.where(status == schema.READ, classes, -1).astype(np.int32)
