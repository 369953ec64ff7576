"""What was counted of classes, read from a store; which images count; and what single images use.

Values are read through `Read`, so that workers (zarr) and users (an open xarray tree) share the code.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.arrays.matrices import sources_by_hop
from summit_dask.arrays.resampling import ClassImages, SourcePairs
from summit_dask.facts import schema
from summit_dask.facts.layergraph import Hop, LayerGraph
from summit_dask.facts.pairs import PAPERS, Pair

#: Values of an array, by its address; some rows of its first dim or all.
Read = Callable[[str, Any], NDArray[Any]]


def read_counts(
    read: Read, layer_graph: LayerGraph, classes: slice, pair: Pair = PAPERS, group: str = "matrices"
) -> list[ClassCounts]:
    """Counts of some neighbouring classes that graphs of a pair of measures are made of, each array read once.

    Parameters
    ----------
    group
        Of the store: that of the counts by class, or by other groups of images than classes.
    """
    nodes = {layer.name: read(node_counts(layer.name, pair, group), classes) for layer in layer_graph.visible}
    edges = {hop.name: read(edge_counts(hop.name, pair, group), classes) for hop in layer_graph.hops}
    return [
        ClassCounts(
            {name: counts[index] for name, counts in nodes.items()},
            {name: csr_array(counts[index]) for name, counts in edges.items()},
        )
        for index in range(classes.stop - classes.start)
    ]


def node_counts(layer: str, pair: Pair, group: str = "matrices") -> str:
    """Address of the counts of a layer's channels."""
    return f"{group}/{layer}/{pair.nodes}_count"


def edge_counts(hop: str, pair: Pair, group: str = "matrices") -> str:
    """Address of the counts of a hop's sources."""
    return f"{group}/{hop}/{pair.edges}_count"


def node_values(layer: str, pair: Pair) -> str:
    """Address of the single images' values that a layer's channels are selected by."""
    return f"{pair.nodes}s/{layer}/value"


def edge_values(layer: str, pair: Pair) -> tuple[str, str]:
    """Addresses of the single images' strongest sources of a layer's channels, and of the hops that these come by."""
    return f"{pair.edges}s/{layer}/source", f"{pair.edges}s/{layer}/hop"


def used_channels(
    read: Read,
    layer_graph: LayerGraph,
    rows: NDArray[np.bool_],
    mass: float,
    excluded: Mapping[str, Sequence[int]],
    pair: Pair = PAPERS,
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Which channels each of some readable images uses, (image, channel), by visible layer.

    Parameters
    ----------
    rows
        Which images (image,).
    mass, excluded
        As in `select_channels`.
    """
    for layer in layer_graph.visible:
        values = read(node_values(layer.name, pair), rows)
        yield layer.name, select_channels(values, mass, excluded.get(layer.name, ()))


def used_sources(
    read: Read, layer_graph: LayerGraph, rows: NDArray[np.bool_], pair: Pair = PAPERS
) -> Iterator[tuple[Hop, NDArray[np.int16]]]:
    """Strongest sources of each hop's targets in some images, (image, target, rank); -1 where they came another way."""
    for layer in layer_graph.influenced:
        source, by_hop = (read(address, rows) for address in edge_values(layer.name, pair))
        for index, hop in enumerate(layer_graph.incoming(layer.name)):
            yield hop, sources_by_hop(source[:, hop.rows], by_hop[:, hop.rows], index)


def read_images(
    read: Read,
    layer_graph: LayerGraph,
    rows: NDArray[np.bool_],
    mass: float,
    excluded: Mapping[str, Sequence[int]],
    pair: Pair = PAPERS,
) -> ClassImages:
    """What some readable images use, image by image, to be counted in samples of them; see `used_channels`."""
    sources = {
        hop.name: SourcePairs.of(own, layer_graph.layer(hop.source).channels)
        for hop, own in used_sources(read, layer_graph, rows, pair)
    }
    return ClassImages(dict(used_channels(read, layer_graph, rows, mass, excluded, pair)), sources)


def readable_classes(read: Read, rows: slice) -> NDArray[np.int32]:
    """Class of each image, -1 for the unreadable ones."""
    status = read("images/status", rows)
    classes = read("images/class_index", rows)
    return np.where(status == schema.READ, classes, -1).astype(np.int32)
