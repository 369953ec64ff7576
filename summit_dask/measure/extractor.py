"""One forward pass: channel maxima, strongest sources of every channel, predictions.

The network runs operation by operation; as soon as a value exists, what is to be measured on it is measured, and the
value is dropped when the network no longer needs it. So memory is that of the forward pass, whatever the number of
images. Or it runs compiled, and then all that is to be measured of one batch is there at once.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int32, UInt8
from torch import Tensor

from summit_dask.arrays.activations import Extremes
from summit_dask.arrays.influence.maximum import Strongest
from summit_dask.arrays.influence.merge import Places, Ranking, empty_ranking, merge
from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure.batches import DeviceBatches
from summit_dask.measure.classrow import measure_class_row
from summit_dask.measure.memory import on_device
from summit_dask.measure.meters import DeviceMeter, Measured, answers_as_arrays, arrays_of, make_meter, tensors_of
from summit_dask.measure.normalise import Normaliser
from summit_dask.measure.plan import make_plan
from summit_dask.measure.probabilities import gives_probabilities
from summit_dask.measure.relevance import RelevanceRun
from summit_dask.measure.running import Run, compiled_run, interpreted_run
from summit_dask.network.traced import Step, TracedNetwork


@dataclass(frozen=True)
class Extraction:
    """What one batch gives: extremes by visible layer, sources by layer, probabilities of the outputs.

    Sources by influence, by contribution, and those that lower a channel most (sizes above 0); empty if not asked for.
    """

    extremes: Mapping[str, Extremes]
    rankings: Mapping[str, Ranking]
    contributions: Mapping[str, Ranking]
    inhibitors: Mapping[str, Ranking]
    relevances: Mapping[str, Float32[np.ndarray, "image channel"]]
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
    DeviceMemoryError
        If a batch doesn't fit on the GPU.

    Attributes
    ----------
    batch_size
        Images that a batch may hold; what is missing is filled up with zeros and cut off again.
    normalise
        Makes pixels what the network takes.
    """

    def __init__(
        self,
        network: TracedNetwork,
        preprocessing: Preprocessing,
        options: MeasureOptions,
        device: str = "cpu",
        compiled: bool = False,
    ) -> None:
        self._device = torch.device(device)
        self._on_device = partial(on_device, network, self._device)
        with self._on_device():
            self._set_up(network, preprocessing, options, compiled)

    def _set_up(
        self, network: TracedNetwork, preprocessing: Preprocessing, options: MeasureOptions, compiled: bool
    ) -> None:
        self.layer_graph, self._k = network.layer_graph, options.k
        self.batch_size = network.batch_size
        self.module = network.module.to(self._device).to(memory_format=torch.channels_last)
        self.normalise = Normaliser(preprocessing, network.batch_size, self._device)
        shape = (network.batch_size, *preprocessing.input_size)
        self._gives_probabilities = gives_probabilities(self.module, shape, self._device)
        self._values, self._class_step = network.values, network.class_step
        self._plan = make_plan(network, options)
        self._places = [_places(step) for step in self._plan.steps]
        self._meter = make_meter(self._plan, self._device)
        self._run = self._compiled() if compiled else interpreted_run(self.module, list(self._plan.values))
        self._relevance = None
        if options.relevance:
            layers = {layer.name: self._values[layer.name] for layer in self.layer_graph.with_maps}
            self._relevance = RelevanceRun(self.module, frozenset(self._plan.values), layers)
        self._batches = None
        if isinstance(self._meter, DeviceMeter):
            with self._no_gradients(), self._device_in_use():
                example = self.normalise.nothing(), torch.zeros(self.batch_size, dtype=torch.int32)
                self._batches = DeviceBatches(self._device_work, example, self._device)

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self._device.type == "cuda"

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
        missing = self.batch_size - len(pixels)
        own = np.zeros(len(pixels), np.int32) if outputs is None else outputs
        with self._on_device(), self._no_gradients(), self._device_in_use():
            fetch = self._begun(self.normalise.whole(pixels), torch.from_numpy(np.pad(own, (0, missing))), len(pixels))

        def answer() -> Extraction:
            found = fetch()
            answer = self._answer(found)
            if outputs is None or found.pooled is None:
                return answer
            return self._with_class_row(answer, found.pooled, outputs)

        return answer

    def _begun(self, batch: Tensor, outputs: Tensor, n_images: int) -> Callable[[], Measured]:
        """Measure at once, or have a device begin to; gives what waits for the arrays."""
        batches = self._batches
        if batches is None:
            found = self._measured_batch(batch, outputs, n_images)
            return lambda: answers_as_arrays(found)
        flat, done = batches(batch, outputs)

        def fetch() -> Measured:
            if done:
                done.synchronize()
            return arrays_of(self._template, batches.parts(flat), n_images)

        return fetch

    def _device_work(self, batch: Tensor, outputs: Tensor) -> list[Tensor]:
        """Measure on the device."""
        self._template = self._measured_batch(batch, outputs, self.batch_size)
        return tensors_of(self._template)

    def _measured_batch(
        self, batch: UInt8[Tensor, "image height width colour"], outputs: Int32[Tensor, " image"], n_images: int
    ) -> Measured:
        """All that is measured of the first images of a whole batch, arrays or tensors."""
        found = Measured()
        images = self.normalise(batch)
        look = partial(self._measure, n_images, found)
        if self._relevance is None:
            given = self._run(images, look)[:n_images]
        else:
            given, relevance = self._relevance(images, outputs, look)
            given = given[:n_images]
            found.relevance = {layer: values[:n_images] for layer, values in relevance.items()}
        found.finite = given.isfinite().all().int()
        found.probabilities = (given if self._gives_probabilities else given.softmax(1)).float()
        return found

    def _answer(self, found: Measured) -> Extraction:
        self._check_finite(found.extremes)  # names the layer that is not finite, before the outputs are looked at
        if not found.finite:
            raise NumericalError("The network's outputs hold NaN or infinity; check weights and preprocessing.")
        for layer, values in found.relevance.items():
            if not np.isfinite(values).all():
                raise NumericalError(
                    f"Relevance of {layer} holds NaN or infinity: an operation above it has no gradient at its value. "
                    "Run without --relevance."
                )
        names = [layer.name for layer in self.layer_graph.with_maps]
        extremes = {name: found.extremes[self._values[name].node] for name in names}
        n_images = len(found.probabilities)
        both = [{i: pair[side] for i, pair in found.contributions.items()} for side in (0, 1)]
        rankings, added, lowering = (self._rankings(n_images, own) for own in (found.strongest, *both))
        return Extraction(extremes, rankings, added, lowering, found.relevance, found.probabilities)

    def _with_class_row(
        self, measured: Extraction, pooled: Float32[np.ndarray, "image source"], outputs: Int32[np.ndarray, " image"]
    ) -> Extraction:
        """The row of the class beside what was measured."""
        assert self._class_step is not None
        name = self.layer_graph.visible[-1].name
        row = measure_class_row(self._class_step, pooled, outputs, self._k)
        logit = row.logit[:, None]
        extremes = Extremes(logit, np.zeros(logit.shape, np.int32), logit)
        influences = {name: row.ranking} if self._plan.influences else {}
        added, lowering = ({name: row.ranking}, {name: row.inhibitors}) if self._plan.contributions else ({}, {})
        return replace(
            measured,
            extremes={**measured.extremes, name: extremes},
            rankings={**measured.rankings, **influences},
            contributions={**measured.contributions, **added},
            inhibitors={**measured.inhibitors, **lowering},
            relevances={**measured.relevances, **({name: logit} if self._relevance else {})},
        )

    def _rankings(self, n_images: int, strongest: Mapping[int, Strongest]) -> dict[str, Ranking]:
        """Of every layer that hops lead to, the steps into it merged; none where nothing was ranked."""
        if not strongest:
            return {}
        rankings = {
            layer.name: empty_ranking(n_images, layer.channels, self._k)
            for layer in self.layer_graph.influenced
            if not layer.of_class
        }
        for i, step in enumerate(self._plan.steps):
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
        inputs = [f"the input of {step.name}" for step in self._plan.steps if step.input.node == node]
        return (layers + inputs + ["the input of the last linear layer"])[0]

    def _device_in_use(self) -> AbstractContextManager[Any]:
        """Triton starts its kernels on the thread's current GPU, whichever the tensors lie on."""
        return torch.cuda.device(self._device) if self.on_gpu else nullcontext()

    def _no_gradients(self) -> AbstractContextManager[Any]:
        """Tensors of inference mode can take part in no backward pass."""
        return torch.inference_mode() if self._relevance is None else torch.no_grad()

    def _compiled(self) -> Run:
        return compiled_run(self.module, list(self._plan.values), self.normalise(self.normalise.nothing()))

    def _measure(self, n_images: int, found: Measured, node: str, value: Tensor) -> None:
        if self._class_step is not None and node == self._class_step.input.node:
            found.pooled = value[:n_images]
        self._meter.measure(self._plan.values[node], value[:n_images], found)


def _places(step: Step) -> Places:
    return Places(np.array(step.targets, np.int64), step.hop.astype(np.int8), step.source)
