"""What is measured on a CUDA device, as Triton kernels; apart, so that only CUDA devices need Triton.

extremes              one pass over the maps, wherever their channels lie in memory
fused_peaks           influence of every source on every target, summed and compared in registers
strongest_of_peaks    the k largest of each row of them
strongest_of_extremes the same of a 1x1 hop, whose influences are never written to memory
"""

from typing import no_type_check

import torch
import triton
from jaxtyping import Float32, Int32
from torch import Tensor
from triton import language as tl

from summit_dask.facts.layergraph import Convolution

#: Positions and targets that a program of `fused_peaks` handles at a time, and warps that work on it.
_POSITIONS = 64
_TARGETS = 64
_WARPS = 4

#: A product of float32 in three of TF32: nearly all of float32's digits, on the tensor cores.
_PRECISION = "tf32x3"

#: The least that a tensor core's product takes along each axis.
_LEAST = 16

#: Influences that a program holds while it ranks.
_RANKED = 2048

#: Values that a program looks at a time, neighbouring channels of them, and how many programs keep a GPU busy.
_VALUES = 2048
_CHANNELS = 32
_PROGRAMS = 2048


#: Source and value, (image, target, rank); -1 and 0 where there are fewer.
Ranked = tuple[Int32[Tensor, "image target rank"], Float32[Tensor, "image target rank"]]

#: Largest value, its lowest position, smallest value.
Extremes = tuple[Float32[Tensor, "image channel"], Int32[Tensor, "image channel"], Float32[Tensor, "image channel"]]


def extremes(maps: Float32[Tensor, "image channel height width"]) -> Extremes:
    """Largest and smallest value of each channel; a NaN makes both NaN. Ties: the lowest position."""
    images, channels, _, width = maps.shape
    positions = maps[0, 0].numel()
    # A map of few channels is cut in bands, so that every part of the GPU has work:
    #   image, channels | band 0 | band 1 | ...      ->   the bands' extremes   ->   the map's
    blocks = images * triton.cdiv(channels, _CHANNELS)
    step = _VALUES // _CHANNELS
    bands = max(1, min(_PROGRAMS // blocks, triton.cdiv(positions, step)))
    band = triton.cdiv(triton.cdiv(positions, bands), step) * step
    shape = (bands, images, channels)
    high, low = (torch.empty(shape, device=maps.device) for _ in range(2))
    where = torch.empty(shape, device=maps.device, dtype=torch.int32)
    _extremes_of_bands[blocks, bands](
        maps, high, where, low, images, channels, positions, width, band, *maps.stride(), _CHANNELS, step
    )
    if bands == 1:
        return high[0], where[0], low[0]
    maximum = high.amax(0)
    return maximum, torch.where(high == maximum, where, positions).amin(0), low.amin(0)


def strongest_of_peaks(peaks: Float32[Tensor, "image target source_in_group"], groups: int, k: int) -> Ranked:
    """The k largest of each row, only those above 0; ties to the lower source."""
    images, targets, sources = peaks.shape
    found, grid, sizes = _ranking(images, targets, sources, groups, k, peaks)
    _rank_peaks[grid](peaks.contiguous(), *found, *sizes)
    return found


def strongest_of_extremes(
    high: Float32[Tensor, "image channel"],
    low: Float32[Tensor, "image channel"],
    weight: Float32[Tensor, "target source_in_group"],
    groups: int,
    k: int,
) -> Ranked:
    """Of a 1x1 hop: a source is strongest where it is largest, or smallest if the weight is negative."""
    targets, sources = weight.shape
    found, grid, sizes = _ranking(len(high), targets, sources, groups, k, high)
    _rank_extremes[grid](high.contiguous(), low.contiguous(), weight, *found, *sizes)
    return found


def _ranking(
    images: int, targets: int, sources: int, groups: int, k: int, like: Tensor
) -> tuple[Ranked, tuple[int], tuple[int, ...]]:
    """Room for what is found, the grid, and the sizes that both kernels take."""
    kept = min(k, sources)
    shape = (images, targets, kept)
    found = torch.empty(shape, dtype=torch.int32, device=like.device), torch.empty(shape, device=like.device)
    columns = triton.next_power_of_2(sources)
    rows = max(1, _RANKED // columns)
    sizes = (images * targets, targets, targets // groups, sources, groups * sources, kept, rows, columns)
    return found, (triton.cdiv(images * targets, rows),), sizes


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
    out_h, out_w = c.made((height, width))
    peaks = torch.empty(images, groups, per_group, sources, device=maps.device)
    taps, positions, lanes = _tile(c.kernel[0] * c.kernel[1], out_h * out_w, per_group)
    grid = (images * groups * sources, triton.cdiv(per_group, lanes))
    sizes = (height, width, out_h, out_w, groups * sources, per_group, sources)
    geometry = (*c.stride, *c.padding, *c.dilation, *c.kernel, taps, positions, lanes, _PRECISION)
    _sum_and_take_maximum[grid](maps.contiguous(), laid_out, peaks, *sizes, *geometry, num_warps=_WARPS)
    return peaks.reshape(images, groups * per_group, sources)


def _tile(taps: int, positions: int, targets: int) -> tuple[int, int, int]:
    """Taps, positions and targets of one product, each a power of 2."""
    wanted = (taps, min(positions, _POSITIONS), min(targets, _TARGETS))
    sizes = [max(_LEAST, triton.next_power_of_2(size)) for size in wanted]
    return sizes[0], sizes[1], sizes[2]


@triton.jit
@no_type_check
def _sum_and_take_maximum(
    maps, weight, peaks, height, width, out_h, out_w, channels, targets, sources,
    stride_y: tl.constexpr, stride_x: tl.constexpr, pad_y: tl.constexpr, pad_x: tl.constexpr,
    dilation_y: tl.constexpr, dilation_x: tl.constexpr, kernel_h: tl.constexpr, kernel_w: tl.constexpr,
    taps: tl.constexpr, positions: tl.constexpr, lanes: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """One source of one image (program 0) on a block of its group's targets (program 1).

             taps                 targets                      targets
    positions [ pixels of the ]  x  taps [ slices of ]  =  positions [ contribution ]   -> largest of each column
              [ source's map  ]          [ weights   ]               [ maps         ]
    """
    plane = tl.program_id(0).to(tl.int64)
    source = plane % channels
    lane = tl.program_id(1) * lanes + tl.arange(0, lanes)
    tap = tl.arange(0, taps)
    real_tap = tap < kernel_h * kernel_w
    slices = weight + (source * kernel_h * kernel_w + tap[:, None]) * targets + lane[None, :]
    taken = tl.load(slices, mask=real_tap[:, None] & (lane < targets)[None, :], other=0.0)
    best = tl.full([positions, lanes], float("-inf"), tl.float32)
    for start in range(0, out_h * out_w, positions):
        # Positions past the last one repeat it, so they are no maximum of their own.
        position = tl.minimum(start + tl.arange(0, positions), out_h * out_w - 1)
        row = (position // out_w * stride_y - pad_y)[:, None] + (tap // kernel_w * dilation_y)[None, :]
        column = (position % out_w * stride_x - pad_x)[:, None] + (tap % kernel_w * dilation_x)[None, :]
        inside = real_tap[None, :] & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        pixels = tl.load(maps + plane * height * width + row * width + column, mask=inside, other=0.0)
        best = tl.maximum(best, tl.dot(pixels, taken, input_precision=precision))
    # Planes are counted over image, group and source; so are the rows of `weight`, but for the image.
    group = plane // sources
    own = peaks + (group * targets + lane) * sources + plane % sources
    tl.store(own, tl.max(best, 0), mask=lane < targets)


@triton.jit
@no_type_check
def _extremes_of_bands(
    maps, high, where, low, images, channels, n_positions, width, band,
    image_stride, channel_stride, y_stride, x_stride, lanes: tl.constexpr, step: tl.constexpr,
):  # fmt: skip
    """Some channels of an image (program 0) in one band of its positions (program 1)."""
    blocks = tl.cdiv(channels, lanes)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    channel = tl.program_id(0) % blocks * lanes + tl.arange(0, lanes)
    real = channel < channels
    plane = maps + image * image_stride + channel.to(tl.int64) * channel_stride
    first = tl.program_id(1) * band
    # The best of each lane and place in a step; the places are compared at the end.
    most = tl.full([step, lanes], float("-inf"), tl.float32)
    least = tl.full([step, lanes], float("inf"), tl.float32)
    at = tl.full([step, lanes], n_positions, tl.int32)
    wrong = tl.zeros([step, lanes], tl.int32)
    for start in range(first, min(first + band, n_positions), step):
        position = start + tl.arange(0, step)
        there = (position < n_positions)[:, None] & real[None, :]
        offset = position // width * y_stride + position % width * x_stride
        value = tl.load(plane[None, :] + offset[:, None], mask=there, other=0.0)
        wrong |= (value != value).to(tl.int32)
        higher = there & (value > most)
        most = tl.where(higher, value, most)
        at = tl.where(higher, position[:, None], at)
        least = tl.where(there & (value < least), value, least)
    maximum = tl.max(most, 0)
    position = tl.min(tl.where(most == maximum[None, :], at, n_positions), 0)
    nan = tl.max(wrong, 0) > 0
    place = (tl.program_id(1) * images + image) * channels + channel
    tl.store(high + place, tl.where(nan, float("nan"), maximum), mask=real)
    tl.store(where + place, position, mask=real)
    tl.store(low + place, tl.where(nan, float("nan"), tl.min(least, 0)), mask=real)


@triton.jit
@no_type_check
def _rank_peaks(
    peaks, source, value, n_rows, targets, per_group, sources, channels,
    kept: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """Some rows; each is of one image and target."""
    row = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)
    column = tl.arange(0, columns)
    there = (row < n_rows)[:, None] & (column < sources)[None, :]
    found = tl.load(peaks + row[:, None] * sources + column[None, :], mask=there, other=0.0)
    first = row % targets // per_group * sources
    _keep(found, row, column, first, source, value, n_rows, kept, columns)


@triton.jit
@no_type_check
def _rank_extremes(
    high, low, weight, source, value, n_rows, targets, per_group, sources, channels,
    kept: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """Some rows; each is of one image and target."""
    row = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)
    column = tl.arange(0, columns)
    there = (row < n_rows)[:, None] & (column < sources)[None, :]
    target = row % targets
    first = target // per_group * sources
    w = tl.load(weight + target[:, None] * sources + column[None, :], mask=there, other=0.0)
    own = (row // targets * channels + first)[:, None] + column[None, :]
    best = tl.load(high + own, mask=there, other=0.0)
    worst = tl.load(low + own, mask=there, other=0.0)
    found = tl.maximum(w * best, w * worst)
    _keep(found, row, column, first, source, value, n_rows, kept, columns)


@triton.jit
@no_type_check
def _keep(found, row, column, first, source, value, n_rows, kept: tl.constexpr, columns: tl.constexpr):
    """Write the largest of each row, one after the other; of equal ones the first column."""
    for rank in tl.static_range(kept):
        largest = tl.max(found, 1)
        where = tl.min(tl.where(found == largest[:, None], column[None, :], columns), 1)
        real = largest > 0
        tl.store(value + row * kept + rank, tl.where(real, largest, 0.0), mask=row < n_rows)
        tl.store(source + row * kept + rank, tl.where(real, where + first, -1).to(tl.int32), mask=row < n_rows)
        found = tl.where(column[None, :] == where[:, None], float("-inf"), found)
