"""One forward pass: channel maxima, strongest sources of every channel, predictions.

The network runs node by node; as soon as a node's value exists, what is to be measured on it is
measured, and the value is dropped when the network no longer needs it. So memory is that of the
forward pass, whatever the number of images.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int32, UInt8
from numpy.typing import NDArray
from torch import fx

from summit_dask.arrays.activations import Extremes
from summit_dask.arrays.influence.maximum import Strongest
from summit_dask.facts import schema
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import Hop, LayerGraph
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import decode
from summit_dask.measure.meters import Measured, make_meter, to_host
from summit_dask.network.trace import TracedNetwork

#: Values by (group template, layer or group name, variable), as `Store.write` takes them.
Arrays = dict[tuple[str, str, str], NDArray[Any]]

DECODING_THREADS = 2
BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Extraction:
    """What one batch gives: extremes by visible layer, strongest sources by hop, probabilities of the outputs."""

    extremes: Mapping[str, Extremes]
    strongest: Mapping[str, Strongest]
    probabilities: Float32[np.ndarray, "image output"]


class Extractor:
    """A traced network made ready: channels last, one kernel a hop. Calls may come from several threads.

    Parameters
    ----------
    device
        Where the network runs and is measured: "cpu" or "cuda:0".
    """

    def __init__(self, network: TracedNetwork, preprocessing: Preprocessing, k: int, device: str = "cpu") -> None:
        self.layer_graph, self._device = network.layer_graph, torch.device(device)
        self.module = network.module.to(self._device).to(memory_format=torch.channels_last)
        self._mean = torch.tensor(preprocessing.mean, device=self._device).view(1, -1, 1, 1)
        self._std = torch.tensor(preprocessing.std, device=self._device).view(1, -1, 1, 1)
        self._meter = make_meter(self.layer_graph, network.weight, k, self._device)
        self._hops_at = _hops_by_node(network)
        self._name_of = _names_by_node(network)
        self._ends_in_softmax = ends_in_softmax(network.module)

    def __call__(self, pixels: UInt8[np.ndarray, "image height width colour"]) -> Extraction:
        """Measure a batch.

        Raises
        ------
        NumericalError
            If an activation, an influence or an output is NaN or infinite; names the layer.
        """
        return self.begin(pixels)()

    def begin(self, pixels: UInt8[np.ndarray, "image height width colour"]) -> Callable[[], Extraction]:
        """Begin to measure a batch: a GPU works on, and copies, while the caller does something else.

        Returns
        -------
        Callable
            Waits for the batch, then gives what `__call__` gives and raises what it raises.
        """
        found = Measured()
        with torch.inference_mode(), self._device_in_use():
            outputs = _Runner(self.module, lambda node, value: self._measure(node, value, found)).run(
                self._normalised(pixels)
            )
            fetched = self._meter.fetch(found)
            probabilities = outputs if self._ends_in_softmax else outputs.softmax(1)
            last = [to_host(part) for part in (outputs.isfinite().all(), probabilities.float())]
            done = self._mark()

        def answer() -> Extraction:
            if done:
                done.synchronize()
            return self._answer(fetched, *last)

        return answer

    def _answer(self, fetched: Measured, finite: torch.Tensor, probabilities: torch.Tensor) -> Extraction:
        found = self._meter.collected(fetched)  # names the layer that is not finite, before the outputs are looked at
        if not finite:
            raise NumericalError("The network's outputs hold NaN or infinity; check weights and preprocessing.")
        extremes = {layer.name: found.extremes[layer.name] for layer in self.layer_graph.visible}
        return Extraction(extremes, found.strongest, probabilities.numpy())

    def _mark(self) -> torch.cuda.Event | None:
        """A mark in the GPU's work, to wait for; None where there is nothing to wait for."""
        if self._device.type != "cuda":
            return None
        event = torch.cuda.Event()
        event.record()
        return event

    def _device_in_use(self) -> AbstractContextManager[Any]:
        """Triton starts its kernels on the thread's current GPU, whichever the tensors lie on."""
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()

    def _normalised(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        host = torch.from_numpy(pixels)
        if self._device.type == "cuda":
            host = host.pin_memory()  # else copying would wait for the batch before
        colours = host.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        return colours.sub_(self._mean).div_(self._std)

    def _measure(self, node: str, value: torch.Tensor, found: Measured) -> None:
        if node in self._hops_at:
            self._meter.measure(self._name_of[node], value, self._hops_at[node], found)


class _Runner(fx.Interpreter):
    """Runs the network and shows each node's value to a callback, before anything can change it in place."""

    def __init__(self, module: fx.GraphModule, measure: Callable[[str, Any], None]) -> None:
        super().__init__(module)
        self.extra_traceback = False  # torch would add lines of its own to our messages
        self._measure = measure

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self._measure(n.name, value)
        return value


def _hops_by_node(network: TracedNetwork) -> dict[str, tuple[str, ...]]:
    """Hops that start at each node to be measured; none at a node that is a visible layer's value alone."""
    graph = network.layer_graph
    places: dict[str, tuple[str, ...]] = {network.value_node[layer.name]: () for layer in graph.visible}
    for hop in graph.hops:
        node = network.input_node[hop.name]
        places[node] = (*places.get(node, ()), hop.name)
    return places


def _names_by_node(network: TracedNetwork) -> dict[str, str]:
    """What a measured node is called in messages: the layer whose value it is, or the hop that it feeds."""
    inputs = {node: f"the input of {hop}" for hop, node in network.input_node.items()}
    return inputs | {node: layer for layer, node in network.value_node.items()}


def ends_in_softmax(module: fx.GraphModule) -> bool:
    """Whether the network's outputs are probabilities already."""
    last = next(n for n in reversed(module.graph.nodes) if n.op == "output").args[0]
    if not isinstance(last, fx.Node):
        return False
    if last.op == "call_module":
        return isinstance(module.get_submodule(str(last.target)), torch.nn.Softmax)
    return last.target in (torch.softmax, torch.nn.functional.softmax, "softmax")


@dataclass(frozen=True)
class Partition:
    """The images to measure: their files, and the network's output of each one's class."""

    files: Sequence[Path]
    outputs: Int32[np.ndarray, " image"]


def extract_partition(
    extractor: Extractor, preprocessing: Preprocessing, partition: Partition, options: Mapping[str, Any]
) -> Arrays:
    """Measure a partition in fixed batches, decoding in threads while the network computes.

    An unreadable image keeps its place in the batch, as zeros, so that its neighbours' values don't depend on it.

    Parameters
    ----------
    options
        The run's batch_size, k and influence_values.

    Returns
    -------
    Arrays
        Every variable of the partition as the registry describes it. Unreadable images have fill values
        and a reason.

    Raises
    ------
    NumericalError
        For NaN, infinity, or an influence beyond float16.
    """
    arrays = _Buffers(extractor.layer_graph, partition.outputs, options)
    begun: deque[tuple[int, NDArray[np.bool_], Callable[[], Extraction]]] = deque()
    for start, pixels, reasons in decoded_batches(preprocessing, partition.files, options["batch_size"]):
        readable = np.array([not reason for reason in reasons])
        arrays.note_reading(start, readable, reasons)
        if readable.any():
            begun.append((start, readable, extractor.begin(pixels)))
        if len(begun) > 1:  # a GPU has work while the batch before is taken down
            arrays.fill(*begun.popleft())
    for batch in begun:
        arrays.fill(*batch)
    return arrays.values


class _Buffers:
    """The arrays of one partition, filled batch by batch."""

    def __init__(self, graph: LayerGraph, outputs: NDArray[np.int32], options: Mapping[str, Any]) -> None:
        self.graph, self.outputs = graph, outputs
        self.values: Arrays = {}
        ranks = {"image": len(outputs), "rank": options["k"], "prediction_rank": 0}
        for name in ("status", "reason", "true_probability"):
            self._add("images", "images", name, ranks)
        for layer in graph.visible:
            for name in ("value", "position"):
                self._add("activations/{layer}", layer.name, name, {**ranks, "channel": layer.channels})
        for layer in graph.influenced:
            for name in ("hop", "source", "value")[: 3 if options["influence_values"] else 2]:
                self._add("influences/{layer}", layer.name, name, {**ranks, "channel": layer.channels})

    def _add(self, template: str, group: str, name: str, lengths: Mapping[str, int]) -> None:
        known = schema.variable(template, name)
        shape = schema.sizes(known, lengths)
        self.values[template, group, name] = np.full(shape, known.fill, known.numpy_dtype)

    def note_reading(self, start: int, readable: NDArray[np.bool_], reasons: Sequence[str]) -> None:
        """Status and reason of a batch."""
        rows = slice(start, start + len(readable))
        self.values["images", "images", "status"][rows] = np.where(readable, schema.READ, schema.UNREADABLE)
        self.values["images", "images", "reason"][rows] = np.array(reasons, schema.STRING)

    def fill(self, start: int, readable: NDArray[np.bool_], measured: Callable[[], Extraction]) -> None:
        """Values of a batch's readable images, once they are there."""
        found = measured()
        rows = start + np.flatnonzero(readable)
        for name, extremes in found.extremes.items():
            self.values["activations/{layer}", name, "value"][rows] = extremes.maximum[readable]
            self.values["activations/{layer}", name, "position"][rows] = extremes.position[readable]
        for layer in self.graph.influenced:
            for place, hop in enumerate(self.graph.incoming(layer.name)):
                self._fill_hop(rows, readable, place, hop, found.strongest[hop.name])
        self._fill_predictions(rows, found.probabilities[readable])

    def _fill_hop(
        self, rows: NDArray[np.int64], readable: NDArray[np.bool_], place: int, hop: Hop, strongest: Strongest
    ) -> None:
        key, channels = ("influences/{layer}", hop.target), slice(hop.start, hop.stop)
        source = strongest.source[readable]
        self.values[*key, "source"][rows, channels] = source
        self.values[*key, "hop"][rows, channels] = np.where(source >= 0, place, -1)
        if (*key, "value") in self.values:
            self.values[*key, "value"][rows, channels] = _as_half(strongest.value[readable], hop.name)

    def _fill_predictions(self, rows: NDArray[np.int64], probabilities: NDArray[np.float32]) -> None:
        count = min(schema.N_PREDICTIONS, probabilities.shape[1])
        for name in ("predicted", "probability"):
            if ("images", "images", name) not in self.values:
                self._add("images", "images", name, {"image": len(self.outputs), "prediction_rank": count})
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        self.values["images", "images", "predicted"][rows] = best
        self.values["images", "images", "probability"][rows] = np.take_along_axis(probabilities, best, 1)
        own = self.outputs[rows]
        self.values["images", "images", "true_probability"][rows] = probabilities[np.arange(len(rows)), own]


def _as_half(values: NDArray[np.float32], hop: str) -> NDArray[np.float16]:
    if values.size and (largest := float(values.max())) > float(np.finfo(np.float16).max):
        raise NumericalError(
            f"An influence of hop {hop} is {largest:g}, more than float16 holds (65504); "
            "run with --no-influence-values, which keeps the sources alone."
        )
    return values.astype(np.float16)


def decoded_batches(
    preprocessing: Preprocessing, files: Sequence[Path], batch_size: int
) -> Iterator[tuple[int, UInt8[np.ndarray, "image height width colour"], list[str]]]:
    """Pixels of the files in batches, decoded ahead in threads.

    Yields
    ------
    start, pixels, reasons
        Place of the batch's first image; zeros and a reason where a file is unreadable, else an empty reason.
    """
    with ThreadPoolExecutor(DECODING_THREADS, "decode") as pool:
        waiting: deque[list[Future[Any]]] = deque()
        starts = range(0, len(files), batch_size)
        ahead = iter(starts)
        for start in starts:
            while len(waiting) <= BATCHES_AHEAD and (upcoming := next(ahead, None)) is not None:
                batch = files[upcoming : upcoming + batch_size]
                waiting.append([pool.submit(_decoded, preprocessing, file) for file in batch])
            pixels, reasons = zip(*(item.result() for item in waiting.popleft()), strict=True)
            yield start, np.stack(pixels), list(reasons)


def _decoded(preprocessing: Preprocessing, file: Path) -> tuple[NDArray[np.uint8], str]:
    try:
        return decode(preprocessing, file), ""
    except Exception as error:  # Pillow's plugins raise whatever they like on damaged files
        colours, height, width = preprocessing.input_size
        return np.zeros((height, width, colours), np.uint8), f"{type(error).__name__}: {error}".replace(str(file), "")
