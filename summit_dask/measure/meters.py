"""Measuring an activation where it lies: on the host by numba, on a GPU by Triton; the same numbers.

A meter turns a network's value into maps, finds their extremes once, and ranks the sources of every step whose input
it is. What the GPU finds stays there until the batch is through.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from summit_dask.arrays.activations import Extremes, channel_extremes
from summit_dask.arrays.influence.device import DeviceExtremes, DeviceStep, device_extremes
from summit_dask.arrays.influence.maximum import Strongest, needs_maps, prepare_step
from summit_dask.facts.layergraph import as_index
from summit_dask.network.traced import Step, Value


@dataclass
class Measured:
    """What was found in one batch: extremes by node, strongest sources by the step's place, what the network answers.

    Arrays where a host measured, tensors where a device did.
    """

    extremes: dict[str, Any] = field(default_factory=dict)
    strongest: dict[int, Any] = field(default_factory=dict)
    pooled: Any = None
    probabilities: Any = None
    finite: Any = None


@runtime_checkable
class Meter(Protocol):
    """Measures the values of one network."""

    def measure(self, value: Value, tensor: Tensor, steps: Sequence[int], found: Measured) -> None:
        """Note the extremes of a value and the strongest sources of the steps whose input it is."""


class HostMeter:
    """Measures tensors in main memory.

    Raises
    ------
    NumericalError
        On construction for a weight, while measuring for a step's input, that is NaN or infinite; names the step.
    """

    def __init__(self, steps: Sequence[Step], k: int) -> None:
        self._steps = steps
        self._kernels = [prepare_step(step.convolution, _array(step.weight), k, step.name) for step in steps]

    def measure(self, value: Value, tensor: Tensor, steps: Sequence[int], found: Measured) -> None:
        """See `Meter`."""
        maps = _channels_last(tensor, value.axis)
        extremes = found.extremes[value.node] = channel_extremes(maps)
        for i in steps:
            found.strongest[i] = self._kernels[i](*_ordered(self._steps[i], maps, extremes))


class DeviceMeter:
    """Measures tensors on a GPU, without waiting for it inside a batch.

    Raises
    ------
    NumericalError
        On construction, for a weight that is NaN or infinite; names the step.
    """

    def __init__(self, steps: Sequence[Step], k: int, device: torch.device) -> None:
        self._steps = [DeviceStep(step.convolution, step.weight, k, step.name, device) for step in steps]
        self._orders = [
            None if step.order is None else torch.tensor(tuple(step.order), device=device) for step in steps
        ]

    def measure(self, value: Value, tensor: Tensor, steps: Sequence[int], found: Measured) -> None:
        """See `Meter`."""
        maps = _channels_first(tensor, value.axis)
        extremes = found.extremes[value.node] = device_extremes(maps)
        for i in steps:
            order = self._orders[i]
            if order is None:
                found.strongest[i] = self._steps[i](maps, extremes)
            else:
                own = DeviceExtremes(*(part[:, order] for part in extremes))
                found.strongest[i] = self._steps[i](maps[:, order], own)


def answers_as_arrays(found: Measured) -> Measured:
    """What the network itself gave a host as arrays too."""
    pooled = None if found.pooled is None else found.pooled.numpy()
    return replace(found, pooled=pooled, probabilities=found.probabilities.numpy())


def tensors_of(found: Measured) -> list[Tensor]:
    """All that a device found, in a fixed order."""
    parts = [*found.extremes.values(), *found.strongest.values()]
    pooled = [] if found.pooled is None else [found.pooled]
    return [tensor for part in parts for tensor in part] + [*pooled, found.probabilities, found.finite]


def arrays_of(found: Measured, tensors: Iterable[Tensor], n_images: int) -> Measured:
    """The same as arrays of so many images, from tensors in main memory that lie as `tensors_of` gave them."""
    arrays = (tensor.numpy() for tensor in tensors)

    def next_of_images(number: int) -> Iterator[np.ndarray[Any, Any]]:
        return (next(arrays)[:n_images] for _ in range(number))

    extremes = {node: Extremes(*next_of_images(3)) for node in found.extremes}
    strongest = {i: Strongest(*next_of_images(2)) for i in found.strongest}
    pooled = None if found.pooled is None else next(arrays)[:n_images]
    return Measured(extremes, strongest, pooled, next(arrays)[:n_images], next(arrays))


def make_meter(steps: Sequence[Step], k: int, device: torch.device) -> Meter:
    """The meter for values that lie on a device."""
    return HostMeter(steps, k) if device.type == "cpu" else DeviceMeter(steps, k, device)


def _array(weight: Tensor | None) -> Float32[np.ndarray, "target source kh kw"] | None:
    return None if weight is None else weight.detach().cpu().numpy()


def _ordered(
    step: Step, maps: Float32[np.ndarray, "image height width channel"], extremes: Extremes
) -> tuple[Float32[np.ndarray, "image height width source"], Extremes]:
    """Maps and extremes with the channels in a step's own order; maps are left as they are where no one reads them."""
    if step.order is None:
        return maps, extremes
    own = as_index(step.order)
    if needs_maps(step.convolution):
        maps = np.ascontiguousarray(maps[..., own])
    return maps, Extremes(*(np.ascontiguousarray(part[:, own]) for part in extremes))


def _channels_first(tensor: Tensor, axis: int) -> Float32[Tensor, "image channel height width"]:
    if tensor.dim() == 2:
        return tensor[:, :, None, None]
    return tensor.movedim(axis, 1)


def _channels_last(tensor: Tensor, axis: int) -> Float32[np.ndarray, "image height width channel"]:
    return _channels_first(tensor, axis).permute(0, 2, 3, 1).contiguous().numpy()
