"""Evidence for the graph of one class: its halves make graphs for each other to test, and samples of it make others.

images ──┬── half a ── graph, rankings ── half b is run without them ──┐
         ├── half b ── graph, rankings ── half a is run without them ──┴── margins
         └── samples of all ── graphs ── stability of the stored one
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32
from numpy.typing import NDArray

from summit_dask.arrays.evidence import N_DRAWS, Mask, halves
from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.arrays.resampling import ClassImages, Stability, bootstrap_weights, stability
from summit_dask.facts import schema
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.pairs import Pair
from summit_dask.measure.ablation import Ablator
from summit_dask.measure.evidence import Choices, Margins, images_by_layer, measured
from summit_dask.measure.partition import Partition
from summit_dask.store.counts import read_images
from summit_dask.store.evidence import Settings
from summit_dask.store.graphs import read_graph
from summit_dask.store.store import Store

#: What random numbers are for; those for different things must not be the same.
HALVES, DRAWS, RATIOS, SAMPLES, OTHERS, MEANS = range(6)


@dataclass(frozen=True, eq=False)
class Job:
    """What all classes have in common.

    Attributes
    ----------
    replacement
        What the map of each channel becomes.
    rivals
        By class: the nearest and a random other one, -1 where there is none.
    shares
        As `Ablator.shares` gives them.
    """

    settings: Settings
    pair: Pair
    replacement: Float32[np.ndarray, " channel"]
    rivals: Int32[np.ndarray, "class rival"]
    shares: Sequence[float]


class Images(NamedTuple):
    """The readable images of a class: which of the store's they are, and what each uses."""

    rows: Int[np.ndarray, " image"]
    values: ClassImages


def class_images(store: Store, index: int, pair: Pair) -> Images:
    """Read what the images of a class use."""
    options = store.header.run.config
    rows = (store.read("images/status") == schema.READ) & (store.read("images/class_index") == index)
    values = read_images(store.read, store.layer_graph, rows, options.mass, options.excluded_by_layer(), pair)
    return Images(np.flatnonzero(rows), values)


def class_stability(store: Store, settings: Settings, pair: Pair, index: int, images: Images) -> Stability:
    """How much of a class's stored graph stays in samples of its images; needs no network."""
    options = store.header.run.config
    generator = np.random.default_rng([settings.seed, index, SAMPLES])
    weights = bootstrap_weights(settings.samples, len(images.rows), generator)
    graph = read_graph(cache(store.read), index, pair)
    return stability(store.layer_graph, graph, images.values, weights, options.excluded_by_layer(), options)


def as_columns(found: Stability) -> dict[str, NDArray[Any]]:
    """By variable of the group "evidence"."""
    return {
        "node_stability": found.node,
        "edge_stability": found.edge,
        "node_jaccard": np.array(found.node_jaccard),
        "edge_jaccard": np.array(found.edge_jaccard),
    }


def class_margins(store: Store, ablator: Ablator, job: Job, index: int, images: Images) -> Margins:
    """Run each half of a class's images without what the other half chose."""
    a, b = halves(len(images.rows), np.random.default_rng([job.settings.seed, index, HALVES]))
    parts = [Margins.none(len(store.layer_graph.with_maps))]
    for making, testing in ((a, b), (b, a)):
        if len(making) and len(testing):
            chosen = _choices(store, ablator, job, index, images, making)
            tested = _partition(store, images.rows[testing[: job.settings.images]], index)
            n_by_layer = images_by_layer(len(tested.files), job.shares)
            parts.append(measured(ablator, tested, chosen, job.replacement, n_by_layer))
    return Margins.joined(parts)


def _partition(store: Store, rows: Int[np.ndarray, " image"], index: int) -> Partition:
    paths = store.read("images/path")
    output = store.read("classes/output_index")[index]
    files = [store.images_root / str(paths[row]) for row in rows.tolist()]
    return Partition(files, np.full(len(rows), output, np.int32), store.header.n_outputs)


def _choices(
    store: Store, ablator: Ablator, job: Job, index: int, images: Images, making: Int[np.ndarray, " image"]
) -> Choices:
    """What half of a class's images choose."""
    graph, options = store.layer_graph, store.header.run.config
    excluded = options.excluded_by_layer()
    weights = np.zeros((1, len(images.rows)), np.int32)
    weights[0, making] = 1
    (counts,) = images.values.counts(weights)
    nearest, other = (_nodes_of(store, job.pair, rival) for rival in job.rivals[index].tolist())
    activation = _activation(store, images.rows[making])
    count = np.concatenate([counts.activation[layer.name] for layer in graph.with_maps])
    generator = np.random.default_rng([job.settings.seed, index, DRAWS])
    random = generator.random((N_DRAWS, len(count)))
    left_out = np.concatenate([np.isin(np.arange(n.channels), excluded.get(n.name, ())) for n in graph.with_maps])
    return Choices(
        graph=_nodes(graph, class_graph(graph, counts, excluded, options)),
        nearest=nearest,
        other=other,
        used=np.where(left_out, -1.0, count + _below_one(activation)),
        activation=np.where(left_out, -np.inf, activation),
        random=np.where(left_out, -1.0, random),
        bounds=ablator.bounds,
    )


def _below_one(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """In the same order, from 0 to less than 1: parts those of equal counts."""
    positive = np.maximum(values, 0)
    parts: NDArray[np.float64] = positive / (positive.max(initial=0) + 1)
    return parts


def _activation(store: Store, rows: Int[np.ndarray, " image"]) -> NDArray[np.float64]:
    """Mean activation of all channels over some images."""
    chosen = np.zeros(store.header.n_images, bool)
    chosen[rows] = True
    layers = store.layer_graph.with_maps
    return np.concatenate([store.read(f"activations/{x.name}/value", chosen).mean(0, np.float64) for x in layers])


def _nodes_of(store: Store, pair: Pair, index: int) -> Mask:
    """Channels of another class's stored graph; none if there is no other class."""
    if index < 0:
        return np.zeros(sum(layer.channels for layer in store.layer_graph.with_maps), bool)
    return _nodes(store.layer_graph, read_graph(cache(store.read), index, pair))


def _nodes(layer_graph: LayerGraph, graph: ClassGraph) -> Mask:
    """A graph's channels among those of all layers with maps."""
    masks = []
    for layer in layer_graph.with_maps:
        mask = np.zeros(layer.channels, bool)
        mask[graph.node_channel[graph.node_layer == layer_graph.layers.index(layer)]] = True
        masks.append(mask)
    return np.concatenate(masks)
