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
from summit_dask.arrays.influence import Strongest, prepare_hop
from summit_dask.arrays.influence_gpu import DeviceHop, check_finite, device_extremes
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

    def collected(self, found: Measured) -> Measured:
        """Everything as arrays on the host: `Extremes` and `Strongest`.

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

    def collected(self, found: Measured) -> Measured:
        """See `Meter`."""
        check_finite(found.extremes)
        host = {name: _on_host(e.maximum, e.position.int(), e.minimum) for name, e in found.extremes.items()}
        ranked = {hop: _on_host(s.source, s.value) for hop, s in found.strongest.items()}
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # once, for all copies; of the current device, as `Extractor` sets it
        extremes = {name: Extremes(*(part.numpy() for part in parts)) for name, parts in host.items()}
        return Measured(extremes, {hop: Strongest(*(part.numpy() for part in parts)) for hop, parts in ranked.items()})


def _on_host(*tensors: Tensor) -> list[Tensor]:
    """Copies that may still be under way; the caller synchronises."""
    return [tensor.to("cpu", non_blocking=True) for tensor in tensors]


def make_meter(graph: LayerGraph, weights: Mapping[str, Tensor], k: int, device: torch.device) -> Meter:
    """The meter for values that lie on a device."""
    return HostMeter(graph, weights, k) if device.type == "cpu" else DeviceMeter(graph, weights, k, device)


def _array(weight: Tensor | None) -> Float32[np.ndarray, "target source kh kw"] | None:
    return None if weight is None else weight.detach().numpy()


def _four_dims(value: Tensor) -> Tensor:
    return value if value.dim() == 4 else value[:, :, None, None]


def _channels_last(value: Tensor) -> Float32[np.ndarray, "image height width channel"]:
    return _four_dims(value).permute(0, 2, 3, 1).contiguous().numpy()
