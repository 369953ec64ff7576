"""Channel extremes and strongest sources on a torch device: tensors in and out stay there (sections 3.1, 3.3).

The same numbers as `activations` and `influence` give, for maps laid out (image, channel, y, x). On a CUDA device a
Triton kernel sums and takes the maximum in registers; no tensor of every source, target and position is ever made.
Elsewhere a plain form does the same in small pieces. Sums are of float32 products, or nearly: no plain TF32, which
would change ranks. torch's own convolutions have to be kept from TF32 by the caller.
"""

from functools import cached_property
from importlib.util import find_spec
from typing import NamedTuple

import torch
from jaxtyping import Float32, Int, Int32
from torch import Tensor
from torch.nn import functional

from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import Convolution

#: Floats that one step of the plain form may make.
_PLAIN_ROOM = 1 << 22

Maps = Float32[Tensor, "image channel height width"]
Peaks = Float32[Tensor, "image target source_in_group"]


class DeviceExtremes(NamedTuple):
    """As `activations.Extremes`, on the device."""

    maximum: Float32[Tensor, "image channel"]
    position: Int32[Tensor, "image channel"]
    minimum: Float32[Tensor, "image channel"]


class DeviceStrongest(NamedTuple):
    """As `influence.Strongest`, on the device."""

    source: Int32[Tensor, "image target rank"]
    value: Float32[Tensor, "image target rank"]


def device_extremes(maps: Maps) -> DeviceExtremes:
    """Largest and smallest value of each channel; a NaN makes both NaN. Ties: the lowest position.

    Examples
    --------
    >>> maximum, position, minimum = device_extremes(torch.tensor([[[[1.0, 5, 2], [0, 5, -1]]]]))
    >>> maximum.item(), position.item(), minimum.item()
    (5.0, 1, -1.0)
    """
    if _fused(maps.device):
        from summit_dask.arrays.influence.triton import extremes

        return DeviceExtremes(*extremes(maps))
    flat = maps.flatten(2)
    maximum = flat.amax(2)
    n_positions = flat.shape[2]
    positions = torch.arange(n_positions, dtype=torch.int32, device=maps.device)
    # Which of several equal maxima `max` points at is not defined on a GPU.
    position = torch.where(flat == maximum[..., None], positions, n_positions).amin(2)
    return DeviceExtremes(maximum, position, flat.amin(2))


def _fused(device: torch.device) -> bool:
    """Whether our own kernels run there; Triton is made for Linux only."""
    return device.type == "cuda" and find_spec("triton") is not None


class DeviceContributions(NamedTuple):
    """As `contribution.Contributions`, on the device."""

    strongest: DeviceStrongest
    inhibitors: DeviceStrongest


class DeviceStep:
    """Ranks the sources of a linear step, its weights laid out on the device once.

    Parameters
    ----------
    convolution, weight
        Geometry and folded kernel, (target, source in group, y, x); of an identity None, and its scale or None.
    k
        Sources kept per target; may exceed the number of sources.
    name
        Of the step, for messages.
    device
        Where the maps will be.

    Raises
    ------
    NumericalError
        If a weight is NaN or infinite.

    Examples
    --------
    >>> weight = torch.tensor([2.0, -1]).reshape(1, 2, 1, 1)
    >>> step = DeviceStep(Convolution(), weight, k=2, name="step", device="cpu")
    >>> maps = torch.tensor([[3.0, 0], [1, 5]]).reshape(1, 2, 2, 1)  # image, channel, y, x
    >>> step(maps).source.tolist(), step(maps).value.tolist()
    ([[[0, -1]]], [[[6.0, 0.0]]])
    """

    def __init__(
        self,
        convolution: Convolution | None,
        weight: Float32[Tensor, "target source_in_group kh kw"] | None,
        k: int,
        name: str,
        device: torch.device | str,
    ) -> None:
        if weight is not None and not weight.isfinite().all():
            raise NumericalError(
                f"Weights of {name} hold NaN or infinity; expected finite values. Check the weights file."
            )
        self.convolution = convolution
        self.k = k
        self.weight = None if weight is None else weight.to(device)
        self._fused = _fused(torch.device(device))

    def __call__(self, maps: Maps, extremes: DeviceExtremes | None = None) -> DeviceStrongest:
        """The strongest sources; `extremes` are those of `maps`. Finite values are the caller's to check, once a batch.

        Descending influence, ties to the lower source, only above 0; elsewhere source -1 and value 0.
        """
        c = self.convolution
        if c is None:
            carried = self._carried(extremes or device_extremes(maps))
            return _ranked(carried[..., None], carried.shape[1], self.k)
        if c.kernel == (1, 1) and c.padding == (0, 0):
            if c.stride != (1, 1):
                maps, extremes = maps[:, :, :: c.stride[0], :: c.stride[1]], None
            return self._closed(extremes or device_extremes(maps), c.groups)
        return self._ranked(self._peaks(maps), c.groups)

    def contributions(self, maps: Maps, position: Int32[Tensor, "image target"]) -> DeviceContributions:
        """What the sources add to each target at its position on what the step makes; -1: nothing."""
        c = self.convolution
        height, width = maps.shape[2:]
        made = (height, width) if c is None else c.made((height, width))
        at = position.clamp(max=0) if made == (1, 1) else position
        if c is None:
            found = picked(maps, at.clamp(min=0)[:, :, None])[:, :, 0]
            found = found if self.weight is None else found * self.weight[:, 0, 0, 0]
            total, groups = torch.where(at < 0, 0, found)[..., None], maps.shape[1]
        else:
            assert self.weight is not None
            total, groups = contributions_at(maps, self.weight, c, at), c.groups
        return DeviceContributions(self._ranked(total, groups), self._ranked(-total, groups))

    def _carried(self, extremes: DeviceExtremes) -> Float32[Tensor, "image channel"]:
        """Of an identity: each channel's scaled maximum."""
        if self.weight is None:
            return extremes.maximum
        scale = self.weight[:, 0, 0, 0]
        return torch.maximum(scale * extremes.maximum, scale * extremes.minimum)

    def _closed(self, extremes: DeviceExtremes, groups: int) -> DeviceStrongest:
        """Of a 1x1 hop."""
        assert self.weight is not None
        weight = self.weight[:, :, 0, 0]
        if not self._fused:
            return _ranked(_closed(extremes, weight, groups), groups, self.k)
        from summit_dask.arrays.influence.triton import strongest_of_extremes

        return DeviceStrongest(*strongest_of_extremes(extremes.maximum, extremes.minimum, weight, groups, self.k))

    def _peaks(self, maps: Maps) -> Peaks:
        assert self.convolution is not None and self.weight is not None
        if self.weight.shape[1] == 1:  # a channel by itself: its contribution is the whole sum
            return device_extremes(convolved(maps, self.weight, self.convolution)).maximum[..., None]
        if not self._fused:
            return plain_peaks(maps, self.weight, self.convolution)
        from summit_dask.arrays.influence.triton import fused_peaks

        return fused_peaks(maps, self._laid_out, self.convolution)

    def _ranked(self, peaks: Peaks, groups: int) -> DeviceStrongest:
        if not self._fused:
            return _ranked(peaks, groups, self.k)
        from summit_dask.arrays.influence.triton import strongest_of_peaks

        return DeviceStrongest(*strongest_of_peaks(peaks, groups, self.k))

    @cached_property
    def _laid_out(self) -> Tensor:
        from summit_dask.arrays.influence.triton import lay_out

        assert self.convolution is not None and self.weight is not None
        return lay_out(self.weight, self.convolution.groups)


def _ranked(peaks: Peaks, groups: int, k: int) -> DeviceStrongest:
    """The k largest of each row."""
    # `topk` is far faster than a stable sort, but leaves ties open. Floats above 0 are ordered as their bits are, so
    # both go into one number:   bits of the influence | how many sources come after this one
    targets, sources = peaks.shape[1:]
    after = torch.arange(sources - 1, -1, -1, device=peaks.device)
    bits = torch.where(peaks > 0, peaks, 0).view(torch.int32).long()
    best = (bits << 32 | after).topk(min(k, sources), dim=2).values
    value = (best >> 32).int().view(torch.float32)
    column = sources - 1 - (best & 0xFFFFFFFF)
    first = torch.arange(targets, device=peaks.device) // (targets // groups) * sources
    source = torch.where(value > 0, column + first[:, None], -1).int()
    return DeviceStrongest(source, value)


def _closed(extremes: DeviceExtremes, weight: Float32[Tensor, "target source_in_group"], groups: int) -> Peaks:
    """Of a 1x1 hop: a source is strongest where it is largest, or smallest if the weight is negative."""
    targets, sources = weight.shape
    images = len(extremes.maximum)
    high = extremes.maximum.reshape(images, groups, 1, sources)
    low = extremes.minimum.reshape(images, groups, 1, sources)
    grouped = weight.reshape(groups, targets // groups, sources)
    return torch.maximum(grouped * high, grouped * low).reshape(images, targets, sources)


def contributions_at(
    maps: Maps, weight: Tensor, convolution: Convolution, position: Int32[Tensor, "image target"]
) -> Peaks:
    """What every source of a target's group adds to it at the target's own position; 0 where that is -1."""
    c = convolution
    images, channels, height, width = maps.shape
    targets, sources, kh, kw = weight.shape
    row, column = position // c.made((height, width))[1], position % c.made((height, width))[1]
    by_group = maps.reshape(images * c.groups, channels // c.groups, height, width)
    total = torch.zeros(images, targets, sources, device=maps.device)
    for ky in range(kh):
        for kx in range(kw):
            y = row * c.stride[0] - c.padding[0] + ky * c.dilation[0]
            x = column * c.stride[1] - c.padding[1] + kx * c.dilation[1]
            inside = (position >= 0) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
            at = torch.where(inside, y * width + x, 0).reshape(images * c.groups, 1, -1)
            pixels = picked(by_group, at).transpose(1, 2).reshape(images, targets, sources)
            total += torch.where(inside[..., None], pixels * weight[:, :, ky, kx], 0)
    return total


def picked(maps: Maps, position: Int[Tensor, " image #channel target"]) -> Float32[Tensor, "image channel target"]:
    """Values of each channel at some positions of its map."""
    index = position.long().expand(-1, maps.shape[1], -1)
    return maps.flatten(2).gather(2, index)


def convolved(
    maps: Maps, weight: Tensor, convolution: Convolution
) -> Float32[Tensor, "image target out_height out_width"]:
    """The hop's own sum over sources, without bias."""
    c = convolution
    if maps.shape[1] == 1:
        # By channels last, torch 2.15 gets wrong sums on a CPU for one channel that is narrower than the kernel.
        maps = maps.flatten().reshape(maps.shape)
    return functional.conv2d(maps, weight, None, c.stride, c.padding, c.dilation, c.groups)


def plain_peaks(maps: Maps, weight: Tensor, convolution: Convolution) -> Peaks:
    """Influence of every source of a target's group, by products of unfolded maps, a few sources at a time.

    Parameters
    ----------
    maps
        The hop's input.
    weight
        (target, source in group, y, x).
    convolution
        Geometry.

    Examples
    --------
    >>> maps = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> plain_peaks(maps, torch.ones(1, 1, 2, 2), Convolution((2, 2)))  # the lower right square: 4 + 5 + 7 + 8
    tensor([[[24.]]])
    """
    c = convolution
    targets, sources, kh, kw = weight.shape
    # Of each source the kernel slices of its group's targets, (source, target in group, tap).
    grouped = weight.reshape(c.groups, targets // c.groups, sources, kh * kw)
    slices = grouped.transpose(1, 2).flatten(0, 1)
    return torch.stack([_plain_peaks(image, slices, c).reshape(targets, sources) for image in maps.split(1)])


def _plain_peaks(
    image: Float32[Tensor, "1 channel height width"],
    slices: Float32[Tensor, "channel target_in_group tap"],
    convolution: Convolution,
) -> Float32[Tensor, "group target_in_group source_in_group"]:
    """Of one image."""
    c = convolution
    some = max(1, _PLAIN_ROOM // (slices.shape[1] * image[0, 0].numel()))
    peaks = []
    for sources, weight in zip(image.split(some, 1), slices.split(some), strict=True):
        patches = functional.unfold(sources, c.kernel, c.dilation, c.padding, c.stride)
        products = weight @ patches.reshape(len(weight), weight.shape[2], -1)
        peaks.append(products.amax(2))
    # (source of a group, target of the group) -> (group, target, source)
    by_source = torch.cat(peaks).reshape(c.groups, -1, slices.shape[1])
    return by_source.transpose(1, 2)
