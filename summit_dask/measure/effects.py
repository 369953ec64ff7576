"""Effects of a graph's edges: what an upper channel loses when the lower one is taken away (DESIGN 3.8).

    lower channel replaced ── everything between is run again ── largest value of the upper channel: how much less?

One run of an image for each lower channel shows all of its edges.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int
from torch import Tensor

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.measure.partial import PartialNetwork, Pixels, Values


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of a graph.

    Attributes
    ----------
    lower_layer, lower
        The lower end's layer, among those with maps, and its channel, among those of all of these.
    upper_layer
        Place of the upper end's layer among those with maps; -1: it is the class.
    upper
        The upper end's channel.
    """

    lower_layer: Int[np.ndarray, " edge"]
    lower: Int[np.ndarray, " edge"]
    upper_layer: Int[np.ndarray, " edge"]
    upper: Int[np.ndarray, " edge"]

    @classmethod
    def of(cls, layer_graph: LayerGraph, graph: ClassGraph) -> "Edges":
        """All edges of a class's graph, in its order."""
        with_maps = layer_graph.with_maps
        place = {layer: k for k, layer in enumerate(with_maps)}
        places = np.array([place.get(layer, -1) for layer in layer_graph.layers])
        first = np.cumsum([0, *(layer.channels for layer in with_maps)])
        lower_layer = places[graph.edge_source_layer]
        lower = first[lower_layer] + graph.edge_source_channel
        return cls(lower_layer, lower, places[graph.edge_target_layer], graph.edge_target_channel.astype(np.int64))


def effect_passes(edges: Edges, shares: Sequence[float]) -> float:
    """Forward passes that an image takes, those as it is included.

    Parameters
    ----------
    shares
        As `PartialNetwork.shares` gives them.
    """
    begins, ends = np.array(shares), np.append(shares, 0.0)  # the class, at place -1, is the end
    reach = dict[int, float]()
    for channel, first, last in zip(
        edges.lower.tolist(), begins[edges.lower_layer], ends[edges.upper_layer], strict=True
    ):
        reach[channel] = max(reach.get(channel, 0.0), float(first - last))
    return 1 + sum(reach.values())


def effects(
    network: PartialNetwork,
    pixels: Pixels,
    outputs: Int[np.ndarray, " image"],
    edges: Edges,
    replacement: Float32[np.ndarray, " channel"],
) -> Float64[np.ndarray, "image edge"]:
    """Share of the upper channel's maximum that each image loses without the lower one.

    Parameters
    ----------
    pixels, outputs
        At most `batch_size` images, and the network's output of each one's class.
    replacement
        What the map of a replaced channel is everywhere.

    Returns
    -------
    ndarray
        Above 0: the lower channel holds the upper one up; below 0: down. NaN where the upper one doesn't fire.
    """
    own = torch.as_tensor(outputs, dtype=torch.int64, device=network.device)
    values = torch.from_numpy(replacement).to(network.device)
    uppers = {_node(network, layer) for layer in edges.upper_layer.tolist()}
    without = np.full((len(pixels), len(edges.lower)), np.nan)
    with network.at_work(), torch.inference_mode():
        kept = network.whole(pixels, network.kept | uppers)
        plain = _maxima(network, kept, own, edges, np.ones(without.shape, bool))
        for begin, wanted, rows in _batches(network, edges, len(pixels)):
            image, lower = rows.T
            removed = lower[:, None] == np.arange(network.bounds[-1])
            run = network.part(begin, kept, image, removed, values, wanted)
            of_lower = lower[:, None] == edges.lower
            found = _maxima(network, run, own[torch.from_numpy(image).to(own.device)], edges, of_lower)
            row, edge = np.nonzero(of_lower)
            without[image[row], edge] = found[row, edge]
    fires = plain > 0
    return np.where(fires, 1 - without / np.where(fires, plain, 1), np.nan)


def _batches(
    network: PartialNetwork, edges: Edges, n_images: int
) -> Iterator[tuple[int, set[str], Int[np.ndarray, "row 2"]]]:
    """Layer to begin at, nodes of the upper ends, and rows: an image and a lower channel each."""
    for layer in np.unique(edges.lower_layer).tolist():
        own = edges.lower_layer == layer
        wanted = {_node(network, upper) for upper in edges.upper_layer[own].tolist()}
        rows = np.array(list(product(range(n_images), np.unique(edges.lower[own]))))
        for first in range(0, len(rows), network.batch_size):
            yield layer, wanted, rows[first : first + network.batch_size]


def _node(network: PartialNetwork, upper_layer: int) -> str:
    return network.logits if upper_layer < 0 else network.values[upper_layer].node


def _maxima(
    network: PartialNetwork, values: Values, own: Tensor, edges: Edges, wanted: Bool[np.ndarray, "row edge"]
) -> Float[np.ndarray, "row edge"]:
    """Largest values of the edges' upper channels, where they are wanted."""
    result = np.full(wanted.shape, np.nan)
    for layer in np.unique(edges.upper_layer[wanted.any(0)]).tolist():
        columns = np.flatnonzero(edges.upper_layer == layer)
        value = values[_node(network, layer)][: len(wanted)]
        if layer < 0:
            largest = value.flatten(1).gather(1, own[:, None]).expand(-1, len(columns))
        else:
            maps = value.movedim(network.values[layer].axis, 1)[:, torch.from_numpy(edges.upper[columns])]
            largest = maps.flatten(2).amax(2) if maps.dim() > 2 else maps
        result[:, columns] = largest.double().cpu().numpy()
    return result
