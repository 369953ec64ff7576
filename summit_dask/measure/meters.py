"""Measuring an activation where it lies: on the host by numba, on a GPU by Triton and torch; the same numbers.

A meter turns a network's value into maps and does what the plan says of it: finds the extremes, ranks the sources of
every step whose input it is, and, at a layer, what the steps into it contribute where its channels are largest. What
a GPU finds stays there until the batch is through.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from summit_dask.arrays.activations import Extremes, channel_extremes
from summit_dask.arrays.influence.contribution import Contributions, prepare_contributions
from summit_dask.arrays.influence.device import DeviceExtremes, DeviceStep, device_extremes
from summit_dask.arrays.influence.maximum import Strongest, needs_maps, prepare_step
from summit_dask.facts.layergraph import Channels, as_index
from summit_dask.measure.plan import Plan
from summit_dask.network.traced import PreActivation, Value

HostMaps = Float32[np.ndarray, "image height width channel"]
DeviceMaps = Float32[Tensor, "image channel height width"]


@dataclass
class Measured:
    """What was found in one batch: extremes by node, sources by the step's place, what the network answers.

    Arrays where a host measured, tensors where a device did. `inputs` and `largest` are for the way: maps of steps
    whose target layer is still to come, and where channels are largest, of layers whose own map is a smaller one.
    """

    extremes: dict[str, Any] = field(default_factory=dict)
    strongest: dict[int, Any] = field(default_factory=dict)
    contributions: dict[int, Any] = field(default_factory=dict)
    relevance: dict[str, Any] = field(default_factory=dict)
    pooled: Any = None
    probabilities: Any = None
    finite: Any = None
    inputs: dict[int, Any] = field(default_factory=dict)
    largest: dict[str, list[tuple[PreActivation, Any]]] = field(default_factory=dict)


class Meter:
    """Measures the values of one network; how, depends on where they lie: see `HostMeter` and `DeviceMeter`.

    Raises
    ------
    NumericalError
        On construction for a weight that is NaN or infinite, on a host also for a step's input; names the step.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._larger: dict[str, list[tuple[str, PreActivation]]] = {}
        for layer, pres in plan.larger.items():
            for pre in pres:
                self._larger.setdefault(pre.value.node, []).append((layer, pre))

    def measure(self, value: Value, tensor: Tensor, found: Measured) -> None:
        """Note all that the plan wants of a value."""
        plan, node = self.plan, value.node
        maps = self._maps(tensor, value.axis)
        for layer, pre in self._larger.get(node, ()):
            found.largest.setdefault(layer, []).append((pre, self._largest(maps, pre)))
        if node not in plan.with_extremes:
            return
        extremes = found.extremes[node] = self._extremes(maps)
        for i in plan.inputs.get(node, ()):
            own, of_own = self._ordered(i, maps, extremes)
            if plan.influences:
                found.strongest[i] = self._influences(i, own, of_own)
            if plan.contributions:
                found.inputs[i] = own
        if node in plan.layers:
            position = self._position(extremes, found.largest.get(node, ()))
            for i in plan.layers[node]:
                found.contributions[i] = self._contributions(i, found.inputs.pop(i), position)

    def _maps(self, tensor: Tensor, axis: int) -> Any:
        raise NotImplementedError

    def _extremes(self, maps: Any) -> Any:
        raise NotImplementedError

    def _ordered(self, i: int, maps: Any, extremes: Any) -> tuple[Any, Any]:
        """Maps and extremes with the channels in a step's own order."""
        raise NotImplementedError

    def _influences(self, i: int, maps: Any, extremes: Any) -> Any:
        raise NotImplementedError

    def _largest(self, maps: Any, pre: PreActivation) -> Any:
        """Where the channels of a pre-activation are largest."""
        raise NotImplementedError

    def _position(self, extremes: Any, larger: Iterable[tuple[PreActivation, Any]]) -> Any:
        """Where the channels of a layer are largest, or those of larger maps; -1 where one doesn't fire."""
        raise NotImplementedError

    def _contributions(self, i: int, maps: Any, position: Any) -> Any:
        raise NotImplementedError


class HostMeter(Meter):
    """Measures tensors in main memory."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        steps = [(step, _array(step.weight)) for step in plan.steps]
        self._influence = [
            prepare_step(step.convolution, weight, plan.k, step.name) for step, weight in steps if plan.influences
        ]
        self._contribution = [
            prepare_contributions(step.convolution, weight, plan.k, step.name)
            for step, weight in steps
            if plan.contributions
        ]

    def _maps(self, tensor: Tensor, axis: int) -> HostMaps:
        return channels_first(tensor, axis).permute(0, 2, 3, 1).contiguous().numpy()

    def _extremes(self, maps: HostMaps) -> Extremes:
        return channel_extremes(maps)

    def _ordered(
        self, i: int, maps: HostMaps, extremes: Extremes
    ) -> tuple[Float32[np.ndarray, "image height width source"], Extremes]:
        step = self.plan.steps[i]
        if step.order is None:
            return maps, extremes
        own = as_index(step.order)
        if self.plan.contributions or needs_maps(step.convolution):  # else no one reads them
            maps = np.ascontiguousarray(maps[..., own])
        return maps, Extremes(*(np.ascontiguousarray(part[:, own]) for part in extremes))

    def _influences(self, i: int, maps: HostMaps, extremes: Extremes) -> Strongest:
        return self._influence[i](maps, extremes)

    def _largest(self, maps: HostMaps, pre: PreActivation) -> Int32[np.ndarray, "image target"]:
        signed = maps[..., as_index(pre.channels)] * np.sign(pre.scale.numpy()).astype(np.float32)
        return channel_extremes(np.ascontiguousarray(signed)).position

    def _position(
        self, extremes: Extremes, larger: Iterable[tuple[PreActivation, Any]]
    ) -> Int32[np.ndarray, "image channel"]:
        position = extremes.position.copy()
        for pre, own in larger:
            position[:, as_index(pre.targets)] = own
        return np.where(extremes.maximum > 0, position, np.int32(-1))

    def _contributions(self, i: int, maps: HostMaps, position: Int32[np.ndarray, "image target"]) -> Contributions:
        own = np.ascontiguousarray(position[:, as_index(self.plan.steps[i].targets)])
        return self._contribution[i](maps, own)


class DeviceMeter(Meter):
    """Measures tensors on a GPU, without waiting for it inside a batch."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        super().__init__(plan)
        self._steps = [DeviceStep(step.convolution, step.weight, plan.k, step.name, device) for step in plan.steps]
        self._orders = [None if step.order is None else _index(step.order, device) for step in plan.steps]
        self._targets = [_index(step.targets, device) for step in plan.steps]
        pres = [pre for pres in plan.larger.values() for pre in pres]
        self._signs = {pre: pre.scale.sign().float().view(1, -1, 1, 1).to(device) for pre in pres}
        self._channels = {pre: _index(pre.channels, device) for pre in pres}
        self._reached = {pre: _index(pre.targets, device) for pre in pres}

    def _maps(self, tensor: Tensor, axis: int) -> DeviceMaps:
        return channels_first(tensor, axis)

    def _extremes(self, maps: DeviceMaps) -> DeviceExtremes:
        return device_extremes(maps)

    def _ordered(
        self, i: int, maps: DeviceMaps, extremes: DeviceExtremes
    ) -> tuple[Float32[Tensor, "image source height width"], DeviceExtremes]:
        order = self._orders[i]
        if order is None:
            return maps, extremes
        return maps[:, order], DeviceExtremes(*(part[:, order] for part in extremes))

    def _influences(self, i: int, maps: DeviceMaps, extremes: DeviceExtremes) -> Any:
        return self._steps[i](maps, extremes)

    def _largest(self, maps: DeviceMaps, pre: PreActivation) -> Int32[Tensor, "image target"]:
        return device_extremes(maps[:, self._channels[pre]] * self._signs[pre]).position

    def _position(
        self, extremes: DeviceExtremes, larger: Iterable[tuple[PreActivation, Any]]
    ) -> Int32[Tensor, "image channel"]:
        position = extremes.position.clone()
        for pre, own in larger:
            position[:, self._reached[pre]] = own
        return torch.where(extremes.maximum > 0, position, -1)

    def _contributions(self, i: int, maps: DeviceMaps, position: Int32[Tensor, "image target"]) -> Any:
        return self._steps[i].contributions(maps, position[:, self._targets[i]])


def answers_as_arrays(found: Measured) -> Measured:
    """What the network itself gave a host as arrays too."""
    pooled = None if found.pooled is None else found.pooled.numpy()
    relevance = {layer: values.numpy() for layer, values in found.relevance.items()}
    return replace(found, relevance=relevance, pooled=pooled, probabilities=found.probabilities.numpy())


def tensors_of(found: Measured) -> list[Tensor]:
    """All that a device found, in a fixed order."""
    parts = [*found.extremes.values(), *found.strongest.values()]
    parts += [ranking for both in found.contributions.values() for ranking in both]
    pooled = [] if found.pooled is None else [found.pooled]
    whole = [*found.relevance.values(), *pooled, found.probabilities, found.finite]
    return [tensor for part in parts for tensor in part] + whole


def arrays_of(found: Measured, tensors: Iterable[Tensor], n_images: int) -> Measured:
    """The same as arrays of so many images, from tensors in main memory that lie as `tensors_of` gave them."""
    arrays = (tensor.numpy() for tensor in tensors)

    def next_of_images(number: int) -> Iterator[np.ndarray[Any, Any]]:
        return (next(arrays)[:n_images] for _ in range(number))

    return Measured(
        extremes={node: Extremes(*next_of_images(3)) for node in found.extremes},
        strongest={i: Strongest(*next_of_images(2)) for i in found.strongest},
        contributions={
            i: Contributions(Strongest(*next_of_images(2)), Strongest(*next_of_images(2))) for i in found.contributions
        },
        relevance={layer: next(arrays)[:n_images] for layer in found.relevance},
        pooled=None if found.pooled is None else next(arrays)[:n_images],
        probabilities=next(arrays)[:n_images],
        finite=next(arrays),
    )


def make_meter(plan: Plan, device: torch.device) -> Meter:
    """The meter for values that lie on a device."""
    return HostMeter(plan) if device.type == "cpu" else DeviceMeter(plan, device)


def _array(weight: Tensor | None) -> Float32[np.ndarray, "target source kh kw"] | None:
    return None if weight is None else weight.detach().cpu().numpy()


def _index(channels: Channels, device: torch.device) -> Tensor:
    return torch.tensor(tuple(channels), device=device)


def channels_first(tensor: Tensor, axis: int) -> Float32[Tensor, "image channel height width"]:
    """A value as maps; one without positions has maps of one."""
    if tensor.dim() == 2:
        return tensor[:, :, None, None]
    return tensor.movedim(axis, 1)
