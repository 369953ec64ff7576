"""Measuring an activation where it lies: on the host by numba, on a GPU by Triton; the same numbers.

A meter turns a network's value into maps, finds their extremes once, and ranks the sources of every
hop that starts there. What the GPU finds stays there until the batch is through.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from summit_dask.arrays.activations import Extremes, channel_extremes
from summit_dask.arrays.influence.device import (
    DeviceExtremes,
    DeviceHop,
    DeviceStrongest,
    check_finite,
    device_extremes,
)
from summit_dask.arrays.influence.maximum import Strongest, prepare_hop
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import LayerGraph


@dataclass
class Measured:
    """What was found in one batch: extremes by the name of the value, strongest sources by hop."""

    extremes: dict[str, Any] = field(default_factory=dict)
    strongest: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Meter(Protocol):
    """Measures the values of one network."""

    def measure(self, name: str, value: Tensor, hops: tuple[str, ...], found: Measured) -> None:
        """Note the extremes of a value and the strongest sources of the hops that start at it."""

    def fetch(self, found: Measured) -> Measured:
        """Begin to bring everything into main memory; whoever looks at it waits for the device first."""
        ...

    def collected(self, found: Measured) -> Measured:
        """What was fetched as arrays: `Extremes` and `Strongest`.

        Raises
        ------
        NumericalError
            If a value was NaN or infinite; names the value or the hop.
        """
        ...


class HostMeter:
    """Measures tensors in main memory."""

    def __init__(self, graph: LayerGraph, weights: Mapping[str, Tensor], k: int) -> None:
        self._kernels = {
            hop.name: prepare_hop(
                hop.convolution, _array(weights.get(hop.name)), graph.layer(hop.source).channels, k, hop.name
            )
            for hop in graph.hops
        }

    def measure(self, name: str, value: Tensor, hops: tuple[str, ...], found: Measured) -> None:
        """See `Meter`."""
        maps = _channels_last(value)
        extremes = found.extremes[name] = channel_extremes(maps)
        for hop in hops:
            found.strongest[hop] = self._kernels[hop](maps, extremes)

    def fetch(self, found: Measured) -> Measured:
        """See `Meter`; nothing to do."""
        return found

    def collected(self, found: Measured) -> Measured:
        """See `Meter`."""
        for name, extremes in found.extremes.items():
            if not (np.isfinite(extremes.maximum).all() and np.isfinite(extremes.minimum).all()):
                raise NumericalError(
                    f"Activations of {name} hold NaN or infinity; expected finite values. Check the network's weights "
                    "and the preprocessing."
                )
        return found


class DeviceMeter:
    """Measures tensors on a GPU, without waiting for it inside a batch."""

    def __init__(self, graph: LayerGraph, weights: Mapping[str, Tensor], k: int, device: torch.device) -> None:
        self._hops = {
            hop.name: DeviceHop(hop.convolution, weights.get(hop.name), k, hop.name, device) for hop in graph.hops
        }

    def measure(self, name: str, value: Tensor, hops: tuple[str, ...], found: Measured) -> None:
        """See `Meter`."""
        maps = _four_dims(value)
        extremes = found.extremes[name] = device_extremes(maps)
        for hop in hops:
            found.strongest[hop] = self._hops[hop](maps, extremes)

    def fetch(self, found: Measured) -> Measured:
        """See `Meter`."""
        extremes = {name: DeviceExtremes(*map(to_host, parts)) for name, parts in found.extremes.items()}
        return Measured(
            extremes, {hop: DeviceStrongest(*map(to_host, parts)) for hop, parts in found.strongest.items()}
        )

    def collected(self, found: Measured) -> Measured:
        """See `Meter`."""
        check_finite(found.extremes)
        extremes = {
            name: Extremes(e.maximum.numpy(), e.position.int().numpy(), e.minimum.numpy())
            for name, e in found.extremes.items()
        }
        strongest = {hop: Strongest(s.source.numpy(), s.value.numpy()) for hop, s in found.strongest.items()}
        return Measured(extremes, strongest)


def to_host(tensor: Tensor) -> Tensor:
    """A copy in main memory that may still be under way; whoever looks at it waits for the device first."""
    return tensor.to("cpu", non_blocking=True)


def make_meter(graph: LayerGraph, weights: Mapping[str, Tensor], k: int, device: torch.device) -> Meter:
    """The meter for values that lie on a device."""
    return HostMeter(graph, weights, k) if device.type == "cpu" else DeviceMeter(graph, weights, k, device)


def _array(weight: Tensor | None) -> Float32[np.ndarray, "target source kh kw"] | None:
    return None if weight is None else weight.detach().numpy()


def _four_dims(value: Tensor) -> Tensor:
    return value if value.dim() == 4 else value[:, :, None, None]


def _channels_last(value: Tensor) -> Float32[np.ndarray, "image height width channel"]:
    return _four_dims(value).permute(0, 2, 3, 1).contiguous().numpy()
