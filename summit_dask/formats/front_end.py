"""What the original's front end (github.com/fredhohman/summit) needs to show a run, beyond the form of its files.

    the front end                                             so here
    draws an edge 6 * inf / 1300 pixels wide                  counts become those of 1300 images a class
    compares classes by vectors of its own layers' lengths    channels beyond them go: mixed4a has 508
    takes all that it draws from nine layers                  layers that the network lacks are empty
    shows diversity-0 to 3 while a channel is pointed at      copies of the channel's picture stand there
    starts with the class white_wolf                          where none is called so, that is said

An export that was changed like this is for looking at; it can't be imported again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.layergraph import Layer, LayerGraph
from summit_dask.formats import original_network
from summit_dask.formats.graph_parts import within
from summit_dask.formats.job import Remarks
from summit_dask.formats.original_classes import ClassEntry

#: Channels of the layers that the front end draws, input side first.
LAYERS: Mapping[str, int] = {layer.name: layer.channels for layer in original_network.layer_graph().visible}

#: Images of a class for which its widths and sizes were chosen.
IMAGES = 1300

#: Name of the class that the front end starts with.
FIRST_CLASS = "white_wolf"

#: Kinds of pictures that it shows while a channel is pointed at.
DIVERSITY = tuple(f"diversity-{number}" for number in range(4))


def scaled(counts: NDArray[np.int32], n_images: int) -> NDArray[np.int32]:
    """Counts over some images as counts over 1300.

    Parameters
    ----------
    counts
        Any shape.
    n_images
        Images that were counted; 0 if unknown: nothing is changed then.

    Returns
    -------
    int32
        The nearest whole numbers, ties to the even one; what is above 0 stays so.

    Examples
    --------
    >>> scaled(np.array([0, 1, 4], np.int32), n_images=8)
    array([  0, 162, 650], dtype=int32)
    """
    if n_images == 0:
        return counts
    nearest = np.rint(counts.astype(np.float64) * IMAGES / n_images)
    return np.maximum(nearest, counts > 0).astype(np.int32)


def shown_channels(layer: Layer) -> int:
    """Channels of a layer that the front end can show, the first ones."""
    return min(layer.channels, LAYERS.get(layer.name, layer.channels))


def shown_entry(entry: ClassEntry) -> ClassEntry:
    """The entry of imagenet.json that the front end can show."""
    n_images = len(entry.probability)
    counts = {name: scaled(c, n_images)[: LAYERS.get(name, len(c))] for name, c in entry.counts.items()}
    no_counts = {name: np.zeros(0, np.int32) for name in LAYERS}
    nowhere = dict.fromkeys(LAYERS, (0.0, 0.0))
    return replace(entry, counts={**no_counts, **counts}, embed={**nowhere, **entry.embed})


def shown_graph(graph: ClassGraph, layer_graph: LayerGraph, n_images: int) -> ClassGraph:
    """The graph of a class that the front end can show.

    Parameters
    ----------
    graph
        Of the class.
    layer_graph
        In the original's names.
    n_images
        Images of the class; 0 if unknown.
    """
    shown = within(graph, np.array([shown_channels(layer) for layer in layer_graph.layers]))
    return replace(
        shown,
        node_count=scaled(shown.node_count, n_images),
        node_source_influence=scaled(shown.node_source_influence, n_images),
        edge_influence=scaled(shown.edge_influence, n_images),
    )


def all_layers(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an ag-N.json with every layer that the front end asks for."""
    nothing: dict[str, Any] = {name: [] for name in reversed([*LAYERS])}
    return {**nothing, **graph}


def counts_of_nodes(graphs: Sequence[ClassGraph], layer_graph: LayerGraph) -> dict[str, NDArray[np.int32]]:
    """Of each visible layer (class, channel): counts of the graphs' nodes, 0 for all other channels.

    Stands for A, of which an imported store may hold nothing else.
    """
    counts = {layer.name: np.zeros((len(graphs), layer.channels), np.int32) for layer in layer_graph.visible}
    for index, graph in enumerate(graphs):
        for layer, channel, count in zip(graph.node_layer, graph.node_channel, graph.node_count, strict=True):
            counts[layer_graph.layers[layer].name][index, channel] = count
    return counts


def add_stand_ins(pictures: dict[tuple[int, str], bytes], channels: Iterable[int]) -> int:
    """Give channels the pictures that the front end asks for: copies of their own, else of their strongest example.

    Parameters
    ----------
    pictures
        Of a layer, by channel and kind; those that are missing are added.
    channels
        That it draws; one that has neither picture nor example stays without.

    Returns
    -------
    int
        Channels for which an example stands.
    """
    n_examples = 0
    for channel in channels:
        picture = pictures.get((channel, "channel"))
        if picture is None:
            picture = pictures.get((channel, "dataset-p-0"))
            n_examples += picture is not None
        if picture is not None:
            for kind in ("channel", *DIVERSITY):
                pictures.setdefault((channel, kind), picture)
    return n_examples


def remarks(layer_graph: LayerGraph, class_names: Sequence[str]) -> Remarks:
    """What the front end can't show, and what keeps it from starting.

    Parameters
    ----------
    layer_graph
        In the original's names.
    class_names
        As imagenet.json has them.
    """
    left_out = [
        f"{layer.name}: channels {shown_channels(layer)} to {layer.channels - 1}; the front end knows "
        f"{shown_channels(layer)} of its {layer.channels}."
        for layer in layer_graph.visible
        if shown_channels(layer) < layer.channels
    ]
    notes = []
    if FIRST_CLASS not in class_names:
        notes.append(
            f"no class is called {FIRST_CLASS}, which the front end starts with: it stays empty. Write another name "
            "into its js/class-sidebar.js and build it again."
        )
    names = [layer.name for layer in layer_graph.visible]
    if not _is_stretch(names):
        notes.append(
            f"the front end draws {', '.join(LAYERS)}, each joined to the one before; the store's layers are called "
            f"{', '.join(names)}. Give --layers with such names for layers that follow each other."
        )
    return Remarks(left_out, notes)


def _is_stretch(names: Sequence[str]) -> bool:
    """Whether the names that the front end knows follow each other, here as there."""
    known = [name for name in names if name in LAYERS]
    return bool(known) and _follow(known, names) and _follow(known, list(LAYERS))


def _follow(some: Sequence[str], names: Sequence[str]) -> bool:
    start = names.index(some[0])
    return list(names[start : start + len(some)]) == list(some)
