"""Influence of every source on every target as one Triton kernel; apart, so that only CUDA devices need Triton."""

from typing import no_type_check

import torch
import triton
from jaxtyping import Float32
from torch import Tensor
from triton import language as tl

from summit_dask.facts.layergraph import Convolution

#: Positions that a program handles at a time.
_POSITIONS = 64

#: Targets that a program handles.
_TARGETS = 32


def lay_out(
    weight: Float32[Tensor, "target source_in_group kh kw"], groups: int
) -> Float32[Tensor, "group source_in_group tap target_in_group"]:
    """A kernel as `fused_peaks` takes it: the targets that a program handles side by side.

    Examples
    --------
    >>> lay_out(torch.arange(4.0).reshape(2, 2, 1, 1), groups=1)[0, :, 0]  # source, target
    tensor([[0., 2.],
            [1., 3.]])
    """
    targets, sources, kh, kw = weight.shape
    return weight.reshape(groups, targets // groups, sources, kh * kw).permute(0, 2, 3, 1).contiguous()


def fused_peaks(
    maps: Float32[Tensor, "image channel height width"],
    laid_out: Float32[Tensor, "group source_in_group tap target_in_group"],
    convolution: Convolution,
) -> Float32[Tensor, "image target source_in_group"]:
    """Influence of every source of a target's group, in one Triton kernel; the weights are from `lay_out`."""
    c = convolution
    images, _, height, width = maps.shape
    groups, sources, _, per_group = laid_out.shape
    out_h = _positions(height, c, 0)
    out_w = _positions(width, c, 1)
    peaks = torch.empty(images, groups, per_group, sources, device=maps.device)
    grid = (images * groups * sources, triton.cdiv(per_group, _TARGETS))
    sizes = (height, width, out_h, out_w, groups * sources, per_group, sources)
    geometry = (*c.stride, *c.padding, *c.dilation, *c.kernel, _POSITIONS, _TARGETS)
    _sum_and_take_maximum[grid](maps.contiguous(), laid_out, peaks, *sizes, *geometry)
    return peaks.reshape(images, groups * per_group, sources)


def _positions(size: int, convolution: Convolution, axis: int) -> int:
    """Positions of the kernel along one axis of a map."""
    reach = convolution.dilation[axis] * (convolution.kernel[axis] - 1) + 1
    return (size + 2 * convolution.padding[axis] - reach) // convolution.stride[axis] + 1


@triton.jit
@no_type_check
def _sum_and_take_maximum(
    maps, weight, peaks, height, width, out_h, out_w, channels, targets, sources,
    stride_y: tl.constexpr, stride_x: tl.constexpr, pad_y: tl.constexpr, pad_x: tl.constexpr,
    dilation_y: tl.constexpr, dilation_x: tl.constexpr, kernel_h: tl.constexpr, kernel_w: tl.constexpr,
    positions: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """One source of one image (program 0) on a block of its group's targets (program 1)."""
    plane = tl.program_id(0).to(tl.int64)
    source = plane % channels
    lane = tl.program_id(1) * lanes + tl.arange(0, lanes)
    best = tl.full([lanes], float("-inf"), tl.float32)
    for start in range(0, out_h * out_w, positions):
        position = start + tl.arange(0, positions)
        exists = position < out_h * out_w
        y = position // out_w * stride_y - pad_y
        x = position % out_w * stride_x - pad_x
        total = tl.zeros([positions, lanes], tl.float32)
        # Every tap adds the outer product of its pixels, one a position, and its weights, one a target.
        for tap in tl.static_range(kernel_h * kernel_w):
            row = y + tap // kernel_w * dilation_y
            column = x + tap % kernel_w * dilation_x
            inside = exists & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            pixel = tl.load(maps + plane * height * width + row * width + column, mask=inside, other=0.0)
            taps = weight + (source * kernel_h * kernel_w + tap) * targets
            taken = tl.load(taps + lane, mask=lane < targets, other=0.0)
            total += pixel[:, None] * taken[None, :]
        # Positions past the last one are no maximum.
        total = tl.where(exists[:, None], total, float("-inf"))
        best = tl.maximum(best, tl.max(total, 0))
    # Planes are counted over image, group and source; so are the rows of `weight`, but for the image.
    group = plane // sources
    tl.store(peaks + (group * targets + lane) * sources + plane % sources, best, mask=lane < targets)
