"""What was counted of classes, read from a store; which images count; and what single images use.

Values are read through `Read`, so that workers (zarr) and users (an open xarray tree) share the code.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.arrays.matrices import sources_by_hop
from summit_dask.arrays.resampling import ClassImages, SourcePairs
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


def read_images(
    read: Read,
    layer_graph: LayerGraph,
    rows: NDArray[np.bool_],
    mass: float,
    excluded: Mapping[str, Sequence[int]],
    pair: Pair = PAPERS,
) -> ClassImages:
    """What some readable images use, image by image, to be counted in samples of them.

    Parameters
    ----------
    rows
        Which images (image,).
    mass, excluded
        As in `select_channels`.
    """
    used = {
        layer.name: select_channels(read(node_values(layer.name, pair), rows), mass, excluded.get(layer.name, ()))
        for layer in layer_graph.visible
    }
    sources = {}
    for layer in layer_graph.influenced:
        source, by_hop = (read(address, rows) for address in edge_values(layer.name, pair))
        for index, hop in enumerate(layer_graph.incoming(layer.name)):
            own = sources_by_hop(source[:, hop.rows], by_hop[:, hop.rows], index)
            sources[hop.name] = SourcePairs.of(own, layer_graph.layer(hop.source).channels)
    return ClassImages(used, sources)


def readable_classes(read: Read, rows: slice) -> NDArray[np.int32]:
    """Class of each image, -1 for the unreadable ones."""
    status = read("images/status", rows)
    classes = read("images/class_index", rows)
    return np.where(status == schema.READ, classes, -1).astype(np.int32)
