"""One forward pass: channel maxima, strongest sources of every channel, predictions.

The network runs node by node; as soon as a node's value exists, what is to be measured on it is
measured, and the value is dropped when the network no longer needs it. So memory is that of the
forward pass, whatever the number of images.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from torch import fx

from summit_dask.arrays.activations import Extremes
from summit_dask.arrays.influence.maximum import Strongest
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure.meters import Measured, make_meter, to_host
from summit_dask.measure.probabilities import gives_probabilities
from summit_dask.network.trace import TracedNetwork


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
        self._gives_probabilities = gives_probabilities(self.module, preprocessing.input_size, self._device)
        self._mean = torch.tensor(preprocessing.mean, device=self._device).view(1, -1, 1, 1)
        self._std = torch.tensor(preprocessing.std, device=self._device).view(1, -1, 1, 1)
        self._meter = make_meter(self.layer_graph, network.weight, k, self._device)
        self._hops_at = _hops_by_node(network)
        self._name_of = _names_by_node(network)

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
            probabilities = outputs if self._gives_probabilities else outputs.softmax(1)
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
