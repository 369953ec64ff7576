"""What a channel loses without each of its sources, on one hop: no forward pass but the image's own (DESIGN 3.8).

real input of the steps into a channel ── contribution map of each source ── their sum with one replaced: t
                                                      └── its maximum; its value where the sum is largest
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor
from torch.nn import functional

from summit_dask.arrays.truth import Losses, source_keys
from summit_dask.measure.partial import PartialNetwork, Pixels, Values
from summit_dask.network.traced import Step


class SourceTester:
    """The steps of a network into each of its layers.

    Parameters
    ----------
    network
        Is run on whole images.
    """

    def __init__(self, network: PartialNetwork) -> None:
        self._network, self._traced = network, network.network
        traced = self._traced
        self.layers = tuple(layer.name for layer in traced.layer_graph.influenced if not layer.of_class)
        self._into = {
            layer: [step for step in (*traced.steps, *traced.unranked) if step.target == layer] for layer in self.layers
        }
        self._inputs = {step.input.node for steps in self._into.values() for step in steps}

    def input_means(self, pixels: Pixels) -> dict[str, Float64[np.ndarray, " _"]]:
        """By node of an input: mean of every channel over images and positions; at most `batch_size` images."""
        with self._network.at_work(), torch.inference_mode():
            values = self._network.whole(pixels, self._inputs)
            return {
                step.input.node: _maps(step, values)[: len(pixels)].double().mean((0, 2, 3)).cpu().numpy()
                for steps in self._into.values()
                for step in steps
            }

    def losses(
        self,
        pixels: Pixels,
        targets: Mapping[str, Sequence[int]],
        means: Mapping[str, Float64[np.ndarray, " _"]],
    ) -> Iterator[tuple[str, int, int, Losses]]:
        """What is lost without each source: layer, place of the target, of the image, and losses.

        Parameters
        ----------
        pixels
            At most `batch_size` images.
        targets
            Channels, by layer; those that don't fire on an image are left out.
        means
            What the map of a source becomes, as `input_means` gives it.
        """
        with self._network.at_work(), torch.inference_mode():
            values = self._network.whole(pixels, self._inputs)
            for layer, channels in targets.items():
                for place, channel in enumerate(channels):
                    for image, found in self._of_target(layer, channel, values, len(pixels), means):
                        yield layer, place, image, found

    def _of_target(
        self,
        layer: str,
        channel: int,
        values: Values,
        n_images: int,
        means: Mapping[str, Float64[np.ndarray, " _"]],
    ) -> Iterator[tuple[int, Losses]]:
        own = [step for step in self._into[layer] if channel in step.targets]
        terms = [_Term.of(step, list(step.targets).index(channel), means[step.input.node]) for step in own]
        key = np.concatenate([term.key for term in terms])
        bias = self._traced.bias[layer][channel].item()
        inputs = [_maps(step, values)[:n_images] for step in own]
        maps = _together(term.maps(images) for term, images in zip(terms, inputs, strict=True))
        replaced = _together(term.replaced(images) for term, images in zip(terms, inputs, strict=True))
        return _losses(maps, replaced, bias, key)


@dataclass(frozen=True, eq=False)
class _Term:
    """What one step adds to one channel: its sources, among the input's channels, and their weights."""

    step: Step
    channels: Tensor
    weight: Tensor
    mean: Tensor
    key: Int[np.ndarray, " source"]

    @classmethod
    def of(cls, step: Step, row: int, mean: Float64[np.ndarray, " channel"]) -> "_Term":
        """Of a row of the step's weight."""
        order = np.arange(len(step.source)) if step.order is None else np.asarray(step.order)
        if step.convolution is None:
            places = np.array([row])
            weight = torch.ones(1, 1, 1) if step.weight is None else step.weight[row]
        else:
            n_sources = len(order) // step.convolution.groups
            group = row // (len(step.targets) // step.convolution.groups)
            places = np.arange(group * n_sources, (group + 1) * n_sources)
            assert step.weight is not None
            weight = step.weight[row]
        channels = torch.from_numpy(order[places])
        means = torch.from_numpy(mean[order[places]]).float()
        return cls(step, channels, weight, means, source_keys(step.hop[places], step.source[places]))

    def maps(self, images: Float32[Tensor, "image channel y x"]) -> Float32[Tensor, "image source y x"]:
        """Contribution map of each source."""
        return self._weighted(images[:, self.channels.to(images.device)])

    def replaced(self, images: Float32[Tensor, "_ channel y x"]) -> Float32[Tensor, "1 source y x"]:
        """The same of maps that are the source's mean everywhere."""
        mean = self.mean.to(images.device)[None, :, None, None]
        return self._weighted(mean.expand(-1, -1, *images.shape[2:]).contiguous())

    def _weighted(self, sources: Float32[Tensor, "image source y x"]) -> Float32[Tensor, "image source y x"]:
        weight = self.weight.to(sources.device)
        geometry = self.step.convolution
        if geometry is None:
            return sources * weight
        return functional.conv2d(
            sources,
            weight[:, None],
            stride=geometry.stride,
            padding=geometry.padding,
            dilation=geometry.dilation,
            groups=sources.shape[1],
        )


def _together(maps: Iterable[Float32[Tensor, "_ _ _ _"]]) -> Float32[Tensor, "image source position"]:
    """Maps of several steps into the same channel; one without positions adds the same everywhere."""
    parts = list(maps)
    height, width = (max(part.shape[axis] for part in parts) for axis in (2, 3))
    return torch.cat([part.expand(-1, -1, height, width).flatten(2) for part in parts], 1)


def _maps(step: Step, values: Values) -> Float32[Tensor, "image channel y x"]:
    """The real input of a step, all of its channels."""
    value: Tensor = values[step.input.node]
    return value[:, :, None, None] if value.dim() == 2 else value.movedim(step.input.axis, 1)


def _losses(
    maps: Float32[Tensor, "image source position"],
    replaced: Float32[Tensor, "1 source position"],
    bias: float,
    key: Int[np.ndarray, " source"],
) -> Iterator[tuple[int, Losses]]:
    """Of one channel, by image; those are left out on which it doesn't fire."""
    whole = maps.sum(1) + bias
    largest, place = whole.max(1)
    lost = 1 - (whole[:, None] - maps + replaced).amax(2) / largest[:, None]
    contribution = maps.gather(2, place[:, None, None].expand(-1, maps.shape[1], 1))[:, :, 0]
    parts = torch.stack([lost, maps.amax(2), contribution], 1).double().cpu().numpy()[:, :, key >= 0]
    for image in np.flatnonzero((largest > 0).cpu().numpy()).tolist():
        yield image, Losses(key[key >= 0], *parts[image])
