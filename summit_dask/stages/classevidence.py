"""Evidence for the graph of one class: its halves make graphs for each other to test, and samples of it make others.

images ──┬── half a ── graph, rankings ── half b is run without them ──┐
         ├── half b ── graph, rankings ── half a is run without them ──┴── margins
         ├── some ── the stored graph's lower channels taken away ── effects of its edges
         ├── a few ── sources of some channels taken away ── truth of what was kept
         └── samples of all ── graphs ── stability of the stored one
images of other classes ── run without the stored graph's channels ── loss elsewhere
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32
from numpy.typing import NDArray

from summit_dask.arrays.evidence import N_DRAWS, Bounds, Mask, first_of, halves
from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.arrays.resampling import ClassImages, Stability, bootstrap_weights, stability
from summit_dask.arrays.truth import MEASURES, Truth, source_keys
from summit_dask.facts import schema
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.pairs import Pair
from summit_dask.measure.effects import Edges, effects
from summit_dask.measure.evidence import (
    Choices,
    Margins,
    found_elsewhere,
    images_by_layer,
    measured,
    measured_elsewhere,
    n_elsewhere,
    pixels_of,
)
from summit_dask.measure.partial import PartialNetwork
from summit_dask.measure.partition import Partition
from summit_dask.measure.sources import SourceTester
from summit_dask.store.counts import read_images
from summit_dask.store.evidence import Settings
from summit_dask.store.graphs import ReadWhole, read_graph
from summit_dask.store.imagefiles import ImageFiles
from summit_dask.store.store import Store

#: What random numbers are for; those for different things must not be the same.
HALVES, DRAWS, RATIOS, SAMPLES, OTHERS, MEANS, EFFECTS, ELSEWHERE, RATIOS_ELSEWHERE, TRUTH = range(1, 11)

#: Images of a class that its sources are tested on, and channels of each layer whose sources are tested.
TRUTH_IMAGES, TRUTH_TARGETS = 10, 4


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
        As `PartialNetwork.shares` gives them.
    input_means
        As `SourceTester.input_means` gives them: what a source becomes.
    """

    settings: Settings
    pair: Pair
    replacement: Float32[np.ndarray, " channel"]
    rivals: Int32[np.ndarray, "class rival"]
    shares: Sequence[float]
    input_means: Mapping[str, Float64[np.ndarray, " _"]]


class Opened(NamedTuple):
    """A store, and its tables of all images, classes and graphs, each of which is read once for all classes."""

    store: Store
    table: ReadWhole

    @classmethod
    def of(cls, store: Store) -> "Opened":
        """Nothing is read yet."""
        return cls(store, cache(store.read))

    def graph(self, index: int, pair: Pair) -> ClassGraph:
        """The stored graph of a class."""
        return read_graph(self.table, index, pair)

    def readable(self) -> Bool[np.ndarray, " image"]:
        """Which images were read."""
        return np.equal(self.table("images/status"), schema.READ)


class Images(NamedTuple):
    """The readable images of a class: which of the store's they are, and what each uses."""

    rows: Int[np.ndarray, " image"]
    values: ClassImages


def class_images(opened: Opened, index: int, pair: Pair) -> Images:
    """Read what the images of a class use."""
    store, options = opened.store, opened.store.header.run.config
    rows = opened.readable() & (opened.table("images/class_index") == index)
    values = read_images(store.read, store.layer_graph, rows, options.mass, options.excluded_by_layer(), pair)
    return Images(np.flatnonzero(rows), values)


def class_stability(opened: Opened, settings: Settings, pair: Pair, index: int, images: Images) -> Stability:
    """How much of a class's stored graph stays in samples of its images; needs no network."""
    options = opened.store.header.run.config
    generator = np.random.default_rng([settings.seed, SAMPLES, index])
    weights = bootstrap_weights(settings.samples, len(images.rows), generator)
    graph, excluded = opened.graph(index, pair), options.excluded_by_layer()
    return stability(opened.store.layer_graph, graph, images.values, weights, excluded, options)


def as_columns(found: Stability) -> dict[str, NDArray[Any]]:
    """By variable of the group "evidence"."""
    return {
        "node_stability": found.node,
        "edge_stability": found.edge,
        "node_jaccard": np.array(found.node_jaccard),
        "edge_jaccard": np.array(found.edge_jaccard),
    }


def class_margins(opened: Opened, network: PartialNetwork, job: Job, index: int, images: Images) -> Margins:
    """Run each half of a class's images without what the other half chose."""
    a, b = halves(len(images.rows), np.random.default_rng([job.settings.seed, HALVES, index]))
    parts = [Margins.none(len(opened.store.layer_graph.with_maps))]
    for making, testing in ((a, b), (b, a)):
        if len(making) and len(testing):
            chosen = _choices(opened, job, index, images, making)
            tested = _partition(opened, images.rows[testing[: job.settings.images]])
            n_by_layer = images_by_layer(len(tested.files), job.shares)
            parts.append(measured(network, tested, chosen, job.replacement, n_by_layer))
    return Margins.joined(parts)


def class_elsewhere(opened: Opened, network: PartialNetwork, job: Job, index: int) -> dict[str, NDArray[Any]]:
    """What images of other classes lose without the channels of a class's graph; by variable of "evidence"."""
    generator = np.random.default_rng([job.settings.seed, ELSEWHERE, index])
    others = opened.readable() & (opened.table("images/class_index") != index)
    n_own = min(int(opened.table("classes/n_images")[index]), 2 * job.settings.images)
    rows = generator.permutation(np.flatnonzero(others))[: n_elsewhere(n_own)]
    graph, bounds = _nodes_of(opened, job.pair, index), _bounds(opened.store.layer_graph)
    ranking = np.where(_left_out(opened.store), -1.0, generator.random(len(graph)))
    random = first_of(ranking, np.add.reduceat(graph.astype(int), bounds[:-1]), bounds)
    margins = measured_elsewhere(network, _partition(opened, rows), (graph, random), job.replacement)
    return found_elsewhere(margins, [job.settings.seed, RATIOS_ELSEWHERE, index])


def class_effects(
    opened: Opened, network: PartialNetwork, job: Job, index: int, images: Images
) -> Float64[np.ndarray, " edge"]:
    """Median effect of the edges of a class's stored graph over some of its images; NaN: the upper end never fires."""
    edges = Edges.of(opened.store.layer_graph, opened.graph(index, job.pair))
    generator = np.random.default_rng([job.settings.seed, EFFECTS, index])
    tested = _partition(opened, generator.permutation(images.rows)[: job.settings.images])
    parts = [np.empty((0, len(edges.lower)))]
    for start, pixels in pixels_of(network, tested.files):
        outputs = tested.outputs[start : start + len(pixels)]
        parts.append(effects(network, pixels, outputs, edges, job.replacement))
    values = np.concatenate(parts)
    fires = np.isfinite(values).any(0)
    result = np.full(len(edges.lower), np.nan)
    result[fires] = np.nanmedian(values[:, fires], axis=0)
    return result


def class_truth(
    opened: Opened, tester: SourceTester, network: PartialNetwork, job: Job, index: int, images: Images
) -> dict[str, NDArray[Any]]:
    """How much the sources that were kept matter, on a few of a class's images; by variable of "evidence"."""
    store, options = opened.store, opened.store.header.run.config
    generator = np.random.default_rng([job.settings.seed, TRUTH, index])
    rows = np.sort(generator.permutation(images.rows)[:TRUTH_IMAGES])
    kept = {layer: _kept_sources(store, layer, rows) for layer in tester.layers}
    targets = {layer: _targets(next(iter(kept[layer].values())), generator) for layer in tester.layers}
    truth = Truth(tester.layers, options.k)
    for start, pixels in pixels_of(network, _partition(opened, rows).files):
        for layer, place, image, losses in tester.losses(pixels, targets, job.input_means):
            own = {name: keys[start + image, targets[layer][place]] for name, keys in kept[layer].items()}
            truth.add(layer, place, losses, own)
    return truth.found()


def _kept_sources(store: Store, layer: str, rows: Int[np.ndarray, " image"]) -> dict[str, NDArray[np.int64]]:
    """Keys of the sources that were kept of some images' channels, by measure."""
    chosen = np.zeros(store.header.n_images, bool)
    chosen[rows] = True
    stored = [name for name in MEASURES if store.has(f"{name}s/{layer}/source")]
    read = {name: [store.read(f"{name}s/{layer}/{part}", chosen) for part in ("hop", "source")] for name in stored}
    return {name: source_keys(*parts) for name, parts in read.items()}


def _targets(keys: Int[np.ndarray, "image channel rank"], generator: np.random.Generator) -> list[int]:
    """Channels that have sources on most images; ties at random."""
    often = (keys[:, :, 0] >= 0).sum(0)
    order = np.lexsort((generator.random(len(often)), -often))
    return sorted(order[:TRUTH_TARGETS][often[order[:TRUTH_TARGETS]] > 0].tolist())


def _partition(opened: Opened, rows: Int[np.ndarray, " image"]) -> Partition:
    outputs = opened.table("classes/output_index")[opened.table("images/class_index")[rows]]
    files = ImageFiles.of(opened.store, lambda address: opened.table(address)[rows]).all()
    return Partition(files, outputs.astype(np.int32), opened.store.header.n_outputs)


def _choices(opened: Opened, job: Job, index: int, images: Images, making: Int[np.ndarray, " image"]) -> Choices:
    """What half of a class's images choose."""
    store, options = opened.store, opened.store.header.run.config
    graph, excluded = store.layer_graph, options.excluded_by_layer()
    weights = np.zeros((1, len(images.rows)), np.int32)
    weights[0, making] = 1
    (counts,) = images.values.counts(weights)
    nearest, other = (_nodes_of(opened, job.pair, rival) for rival in job.rivals[index].tolist())
    activation = _activation(store, images.rows[making])
    count = np.concatenate([counts.activation[layer.name] for layer in graph.with_maps])
    generator = np.random.default_rng([job.settings.seed, DRAWS, index])
    random = generator.random((N_DRAWS, len(count)))
    left_out = _left_out(store)
    return Choices(
        graph=_nodes(graph, class_graph(graph, counts, excluded, options)),
        nearest=nearest,
        other=other,
        used=np.where(left_out, -1.0, count + _below_one(activation)),
        activation=np.where(left_out, -np.inf, activation),
        random=np.where(left_out, -1.0, random),
        bounds=_bounds(graph),
    )


def _bounds(layer_graph: LayerGraph) -> Bounds:
    return np.cumsum([0, *(layer.channels for layer in layer_graph.with_maps)])


def _left_out(store: Store) -> Mask:
    """Excluded channels."""
    excluded = store.header.run.config.excluded_by_layer()
    layers = store.layer_graph.with_maps
    return np.concatenate([np.isin(np.arange(layer.channels), excluded.get(layer.name, ())) for layer in layers])


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


def _nodes_of(opened: Opened, pair: Pair, index: int) -> Mask:
    """Channels of a class's stored graph; none if there is no such class."""
    layer_graph = opened.store.layer_graph
    if index < 0:
        return np.zeros(_bounds(layer_graph)[-1], bool)
    return _nodes(layer_graph, opened.graph(index, pair))


def _nodes(layer_graph: LayerGraph, graph: ClassGraph) -> Mask:
    """A graph's channels among those of all layers with maps."""
    masks = []
    for layer in layer_graph.with_maps:
        mask = np.zeros(layer.channels, bool)
        mask[graph.node_channel[graph.node_layer == layer_graph.layers.index(layer)]] = True
        masks.append(mask)
    return np.concatenate(masks)
