"""Measuring an activation where it lies: on the host by numba, on a GPU by Triton; the same numbers.

A meter turns a network's value into maps, finds their extremes once, and ranks the sources of every step whose input
it is. What the GPU finds stays there until the batch is through.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from summit_dask.arrays.activations import Extremes, channel_extremes
from summit_dask.arrays.influence.device import DeviceExtremes, DeviceStep, DeviceStrongest, device_extremes
from summit_dask.arrays.influence.maximum import Strongest, needs_maps, prepare_step
from summit_dask.facts.layergraph import as_index
from summit_dask.network.traced import Step, Value


@dataclass
class Measured:
    """What was found in one batch: extremes by node, strongest sources by the step's place, pooled channels."""

    extremes: dict[str, Any] = field(default_factory=dict)
    strongest: dict[int, Any] = field(default_factory=dict)
    pooled: Tensor | None = None


@runtime_checkable
class Meter(Protocol):
    """Measures the values of one network."""

    def measure(self, value: Value, tensor: Tensor, steps: Sequence[int], found: Measured) -> None:
        """Note the extremes of a value and the strongest sources of the steps whose input it is."""

    def fetch(self, found: Measured) -> Measured:
        """Begin to bring everything into main memory; whoever looks at it waits for the device first."""
        ...

    def collected(self, found: Measured) -> Measured:
        """What was fetched as arrays: `Extremes` and `Strongest`."""
        ...


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

    def fetch(self, found: Measured) -> Measured:
        """See `Meter`; nothing to do."""
        return found

    def collected(self, found: Measured) -> Measured:
        """See `Meter`."""
        return found


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

    def fetch(self, found: Measured) -> Measured:
        """See `Meter`."""
        extremes = {node: DeviceExtremes(*map(to_host, parts)) for node, parts in found.extremes.items()}
        return Measured(extremes, {i: DeviceStrongest(*map(to_host, parts)) for i, parts in found.strongest.items()})

    def collected(self, found: Measured) -> Measured:
        """See `Meter`."""
        extremes = {
            node: Extremes(e.maximum.numpy(), e.position.int().numpy(), e.minimum.numpy())
            for node, e in found.extremes.items()
        }
        strongest = {i: Strongest(s.source.numpy(), s.value.numpy()) for i, s in found.strongest.items()}
        return Measured(extremes, strongest)


def to_host(tensor: Tensor) -> Tensor:
    """A copy in main memory that may still be under way; whoever looks at it waits for the device first."""
    return tensor.to("cpu", non_blocking=True)


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
