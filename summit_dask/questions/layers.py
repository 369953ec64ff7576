"""What can be said of a network without any images: its layers and hops, what a run costs, whether all is there."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from summit_dask.facts.addresses import bytes_per_image
from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.layergraph import Hop, Layer, LayerGraph
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.facts.wording import hop_in_words, layer_size, n_sources, times
from summit_dask.measure.extractor import Extractor
from summit_dask.network.build import look_into
from summit_dask.network.completeness import TOLERANCE, Completeness, check_completeness
from summit_dask.network.load import find_network
from summit_dask.network.traced import TracedNetwork
from summit_dask.network.zoos.untrained import find_untrained, is_from_zoo
from summit_dask.stages.workers import prepare_process
from summit_dask.store.progress import size


@dataclass(frozen=True)
class Cost:
    """What an image costs in a run: bytes of the store before compression, seconds of one thread."""

    bytes: int
    bare_pass: float
    measured_pass: float

    @property
    def passes(self) -> float:
        """The same as a number of bare forward passes."""
        return self.measured_pass / self.bare_pass


@dataclass(frozen=True)
class NetworkReport:
    """A network's layers.

    Attributes
    ----------
    model
        What it was called.
    untrained
        Whether its weights are random, because none were given.
    input_size
        Channels, height and width of an image.
    completeness
        What the check found of each layer; None where it was not asked for.
    """

    model: str
    untrained: bool
    input_size: tuple[int, int, int]
    layer_graph: LayerGraph
    cost: Cost
    completeness: tuple[Completeness, ...] | None

    @property
    def complete(self) -> bool:
        """Whether nothing is known to be missing."""
        return all(layer.complete for layer in self.completeness or ())


def look_at_network(options: MeasureOptions, check: bool) -> NetworkReport:
    """Load and trace a network, measure a batch of noise, and check completeness if wanted.

    Raises
    ------
    ModelError, ConfigError
        If it can't be loaded or traced, or there is nothing to show of it.
    NumericalError
        If it gives NaN or infinity.
    """
    prepare_process()
    untrained = options.weights is None and is_from_zoo(options.model)
    if untrained:
        found = find_untrained(options.model)
    else:
        found = find_network(options.model, options.weights, options.weights_key, options.transform_input)
    network = look_into(found, options)
    return NetworkReport(
        model=options.model,
        untrained=untrained,
        input_size=network.preprocessing.input_size,
        layer_graph=network.traced.layer_graph,
        completeness=check_completeness(network.loaded.module, network.traced) if check else None,
        cost=_cost(network.traced, network.preprocessing, options),
    )


def _cost(traced: TracedNetwork, preprocessing: Preprocessing, options: MeasureOptions) -> Cost:
    """A bare and a measured pass over one batch of noise."""
    each = bytes_per_image(traced.layer_graph, options)
    extractor = Extractor(traced, preprocessing, options)
    colours, height, width = preprocessing.input_size
    shape = (options.batch_size, height, width, colours)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
    with torch.inference_mode():
        extractor(pixels)  # compiles, and asks for memory
        bare, measured = _seconds(lambda: extractor.module(images)), _seconds(lambda: extractor(pixels))
    return Cost(each, bare / options.batch_size, measured / options.batch_size)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# As plain facts


def plain(report: NetworkReport) -> dict[str, Any]:
    """The report as JSON can hold it; layers input side first, each with the hops into it."""
    cost, graph = report.cost, report.layer_graph
    facts = {
        "model": report.model,
        "untrained": report.untrained,
        "input": list(report.input_size),
        "layers": [
            {**asdict(layer), "hops": [_plain_hop(hop, graph) for hop in graph.incoming(layer.name)]}
            for layer in graph.layers
        ],
        "cost": {
            "bytes_per_image": cost.bytes,
            "seconds_of_bare_pass": cost.bare_pass,
            "seconds_of_measured_pass": cost.measured_pass,
            "forward_passes": cost.passes,
        },
    }
    if report.completeness is not None:
        facts["complete"] = report.complete
        facts["completeness"] = [_plain_check(layer) for layer in report.completeness]
    return facts


def _plain_hop(hop: Hop, graph: LayerGraph) -> dict[str, Any]:
    return {
        "name": hop.name,
        "source": hop.source,
        "identity": hop.convolution is None,
        "convolution": hop.convolution and asdict(hop.convolution),
        "n_targets": hop.channels,
        "n_sources": n_sources(hop, graph),
        "notes": list(hop.notes),
    }


def _plain_check(layer: Completeness) -> dict[str, Any]:
    difference = layer.difference if np.isfinite(layer.difference) else None
    return {**asdict(layer), "difference": difference, "complete": layer.complete}


# As text


def printed(report: NetworkReport) -> str:
    """The report as text for people; layers output side first, hidden ones indented below those they lead to."""
    return "\n".join(_lines(report))


def _lines(report: NetworkReport) -> Iterator[str]:
    graph = report.layer_graph
    hidden = len(graph.layers) - len(graph.visible)
    yield f"{report.model}: {len(graph.visible)} layers, {hidden} hidden, {len(graph.hops)} hops"
    if report.untrained:
        yield "No weights were given, so they are random: this is the structure, which no weights change."
    yield ""
    for layer in reversed(graph.layers):
        yield from _layer_lines(layer, graph, report.input_size)
    yield ""
    yield from _cost_lines(report.cost)
    yield from _check_lines(report)


def _layer_lines(layer: Layer, graph: LayerGraph, input_size: tuple[int, int, int]) -> Iterator[str]:
    indent = "" if layer.visible else "    "
    if layer.of_class:
        yield f"{layer.name}: that of the image's own class"
    else:
        yield f"{indent}{layer.name}: {layer_size(layer)}, sees {_sight(layer, input_size)}"
    yield from (f"{indent}  from {hop.source}: {hop_in_words(hop, graph)}" for hop in graph.incoming(layer.name))


def _sight(layer: Layer, input_size: tuple[int, int, int]) -> str:
    """The receptive field, as far as there is an image."""
    whole = all(own >= side for own, side in zip(layer.window.size, input_size[1:], strict=True))
    return "the whole image" if whole else f"{times(*layer.window.size)} pixels"


def _cost_lines(cost: Cost) -> Iterator[str]:
    yield f"An image takes at most {size(cost.bytes)} of the store, before compression."
    yield (
        f"Measuring it takes about {cost.measured_pass * 1000:.3g} ms of one core, {cost.passes:.2g} times the "
        f"network's bare forward pass ({cost.bare_pass * 1000:.3g} ms)."
    )


def _check_lines(report: NetworkReport) -> Iterator[str]:
    if report.completeness is None:
        return
    worst = max((layer.difference for layer in report.completeness), default=0.0)
    if report.complete:
        yield (
            f"Complete: in all {len(report.completeness)} layers with hops, contributions plus bias add up to what the "
            f"network computes (largest difference {worst:.1g} of the largest value)."
        )
    for layer in report.completeness:
        yield from wrong_of(layer)


def wrong_of(layer: Completeness) -> Iterator[str]:
    """What is wrong with a layer, in words."""
    if layer.difference > TOLERANCE:
        where = " and ".join(path or "the network" for path in layer.compared) or "nothing that could be compared"
        yield (
            f"INCOMPLETE: the contributions into {layer.layer} differ from the output of {where} by "
            f"{layer.difference:.2g} of its largest value, expected at most {TOLERANCE:g}."
        )
    yield from (f"WRONG SOURCE: in {layer.layer}, {text}." for text in layer.misplaced)
