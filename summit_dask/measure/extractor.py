"""One forward pass: channel maxima, strongest sources of every channel, predictions.

The network runs operation by operation; as soon as a value exists, what is to be measured on it is measured, and the
value is dropped when the network no longer needs it. So memory is that of the forward pass, whatever the number of
images. Or it runs compiled, and then all that is to be measured of one batch is there at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int32, UInt8
from numpy.typing import NDArray

from summit_dask.arrays.activations import Extremes
from summit_dask.arrays.influence.maximum import Strongest
from summit_dask.arrays.influence.merge import Places, Ranking, empty_ranking, merge
from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure.classrow import measure_class_row
from summit_dask.measure.meters import Measured, make_meter, to_host
from summit_dask.measure.probabilities import gives_probabilities
from summit_dask.measure.running import Run, compiled_run, interpreted_run
from summit_dask.network.traced import Step, TracedNetwork, Value


@dataclass(frozen=True)
class Extraction:
    """What one batch gives: extremes by visible layer, strongest sources by layer, probabilities of the outputs."""

    extremes: Mapping[str, Extremes]
    rankings: Mapping[str, Ranking]
    probabilities: Float32[np.ndarray, "image output"]


class Extractor:
    """A traced network made ready: channels last, one kernel a step. Calls may come from several threads.

    Parameters
    ----------
    options
        k and identity matter here.
    device
        Where the network runs and is measured: "cpu" or "cuda:0".
    compiled
        Whether it runs compiled; on the CPU alone.

    Raises
    ------
    ModelError
        If it can't be compiled here.

    Attributes
    ----------
    batch_size
        Images that a batch may hold; what is missing is filled up with zeros and cut off again.
    """

    def __init__(
        self,
        network: TracedNetwork,
        preprocessing: Preprocessing,
        options: MeasureOptions,
        device: str = "cpu",
        compiled: bool = False,
    ) -> None:
        self.layer_graph, self._device = network.layer_graph, torch.device(device)
        self.batch_size, self._k = network.batch_size, options.k
        self.module = network.module.to(self._device).to(memory_format=torch.channels_last)
        shape = (network.batch_size, *preprocessing.input_size)
        self._gives_probabilities = gives_probabilities(self.module, shape, self._device)
        self._mean = torch.tensor(preprocessing.mean, device=self._device).view(1, -1, 1, 1)
        self._std = torch.tensor(preprocessing.std, device=self._device).view(1, -1, 1, 1)
        self._values, self._class_step = network.values, network.class_step
        self._steps = [step for step in network.steps if options.identity or step.convolution is not None]
        self._places = [_places(step) for step in self._steps]
        self._meter = make_meter(self._steps, options.k, self._device)
        self._measured = {value.node: value for value in self._values_to_measure()}
        self._steps_at = _steps_by_node(self._steps)
        self._run = self._compiled(preprocessing) if compiled else interpreted_run(self.module, list(self._measured))

    def __call__(
        self, pixels: UInt8[np.ndarray, "image height width colour"], outputs: Int32[np.ndarray, " image"] | None = None
    ) -> Extraction:
        """Measure a batch; `outputs` as in `begin`.

        Raises
        ------
        NumericalError
            If an activation, an influence or an output is NaN or infinite; names the layer or the step.
        """
        return self.begin(pixels, outputs)()

    def begin(
        self, pixels: UInt8[np.ndarray, "image height width colour"], outputs: Int32[np.ndarray, " image"] | None = None
    ) -> Callable[[], Extraction]:
        """Begin to measure a batch of at most `batch_size` images.

        A GPU works on, and copies, while the caller does something else.

        Parameters
        ----------
        pixels
            Of the images.
        outputs
            The network's output of each image's class; what the row of the class is measured for, if there is one.

        Returns
        -------
        Callable
            Waits for the batch, then gives what `__call__` gives and raises what it raises.
        """
        found, n_images = Measured(), len(pixels)
        with torch.inference_mode(), self._device_in_use():
            images = self._normalised(pixels)
            given = self._run(images, lambda node, value: self._measure(node, value, n_images, found))[:n_images]
            fetched = self._meter.fetch(found)
            probabilities = given if self._gives_probabilities else given.softmax(1)
            last = [to_host(part) for part in (given.isfinite().all(), probabilities.float())]
            pooled = found.pooled if found.pooled is None else to_host(found.pooled)
            done = self._mark()

        def answer() -> Extraction:
            if done:
                done.synchronize()
            answer = self._answer(self._meter.collected(fetched), *last)
            return answer if pooled is None or outputs is None else self._with_class_row(answer, pooled, outputs)

        return answer

    def _answer(self, found: Measured, finite: torch.Tensor, probabilities: torch.Tensor) -> Extraction:
        self._check_finite(found.extremes)  # names the layer that is not finite, before the outputs are looked at
        if not finite:
            raise NumericalError("The network's outputs hold NaN or infinity; check weights and preprocessing.")
        names = [layer.name for layer in self.layer_graph.with_maps]
        extremes = {name: found.extremes[self._values[name].node] for name in names}
        return Extraction(extremes, self._rankings(len(probabilities), found.strongest), probabilities.numpy())

    def _with_class_row(
        self, measured: Extraction, pooled: torch.Tensor, outputs: Int32[np.ndarray, " image"]
    ) -> Extraction:
        """The row of the class beside what was measured."""
        assert self._class_step is not None
        name = self.layer_graph.visible[-1].name
        row = measure_class_row(self._class_step, pooled.numpy(), outputs, self._k)
        logit = row.logit[:, None]
        extremes = Extremes(logit, np.zeros(logit.shape, np.int32), logit)
        return replace(
            measured,
            extremes={**measured.extremes, name: extremes},
            rankings={**measured.rankings, name: row.ranking},
        )

    def _rankings(self, n_images: int, strongest: Mapping[int, Strongest]) -> dict[str, Ranking]:
        """Of every layer that hops lead to, the steps into it merged."""
        rankings = {
            layer.name: empty_ranking(n_images, layer.channels, self._k)
            for layer in self.layer_graph.influenced
            if not layer.of_class
        }
        for i, step in enumerate(self._steps):
            merge(strongest[i], self._places[i], rankings[step.target])
        return rankings

    def _check_finite(self, extremes: Mapping[str, Extremes]) -> None:
        for node, found in extremes.items():
            if not (np.isfinite(found.maximum).all() and np.isfinite(found.minimum).all()):
                raise NumericalError(
                    f"Activations of {self._name(node)} hold NaN or infinity; expected finite values. Check the "
                    "network's weights and the preprocessing."
                )

    def _name(self, node: str) -> str:
        """What a measured node is called in messages: the layer whose value it is, or the step that it feeds."""
        layers = [name for name, value in self._values.items() if value.node == node]
        inputs = [f"the input of {step.name}" for step in self._steps if step.input.node == node]
        return (layers + inputs + ["the input of the last linear layer"])[0]

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

    def _compiled(self, preprocessing: Preprocessing) -> Run:
        colours, height, width = preprocessing.input_size
        images = self._normalised(np.zeros((self.batch_size, height, width, colours), np.uint8))
        return compiled_run(self.module, list(self._measured), images)

    def _normalised(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """A whole batch as the network takes it, zeros where images are missing."""
        missing = self.batch_size - len(pixels)
        host = torch.from_numpy(np.pad(pixels, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else pixels)
        if self._device.type == "cuda":
            host = host.pin_memory()  # else copying would wait for the batch before
        colours = host.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        return colours.sub_(self._mean).div_(self._std)

    def _values_to_measure(self) -> Iterator[Value]:
        yield from (self._values[layer.name] for layer in self.layer_graph.with_maps)
        if self._class_step is not None:
            yield self._class_step.input
        yield from (step.input for step in self._steps)

    def _measure(self, node: str, value: torch.Tensor, n_images: int, found: Measured) -> None:
        if self._class_step is not None and node == self._class_step.input.node:
            found.pooled = value[:n_images]
        self._meter.measure(self._measured[node], value[:n_images], self._steps_at.get(node, ()), found)


def _steps_by_node(steps: Sequence[Step]) -> dict[str, list[int]]:
    """Places of the steps whose input each node is."""
    places: dict[str, list[int]] = {}
    for i, step in enumerate(steps):
        places.setdefault(step.input.node, []).append(i)
    return places


def _places(step: Step) -> Places:
    return Places(np.array(step.targets, np.int64), step.hop.astype(np.int8), step.source)
