"""Influence of the channels below on each channel of a layer, exact and at full resolution (section 3.3).

The influence of source i on target j is the maximum over positions of the convolution of the source's map with
the kernel slice ``weight[j, i]``; of each target only its k strongest sources are kept.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, no_type_check, runtime_checkable

import numba
import numpy as np
from jaxtyping import Float32, Int32

from summit_dask.activations import Extremes, channel_extremes
from summit_dask.errors import NumericalError
from summit_dask.layergraph import Convolution


class Strongest(NamedTuple):
    """The k strongest sources of each target: descending influence, ties to the lower source, only above 0.

    Places without a source hold source -1 and value 0.
    """

    source: Int32[np.ndarray, "image target k"]
    value: Float32[np.ndarray, "image target k"]


@runtime_checkable
class HopKernel(Protocol):
    """Finds the strongest sources of a hop's targets for a batch of images.

    `maps` is the hop's real input, before the convolution's own zero padding; `extremes` those of `maps` if they
    are known.

    Raises
    ------
    NumericalError
        If `maps` holds NaN or infinity; names the hop.
    """

    def __call__(
        self, maps: Float32[np.ndarray, "image height width channel"], extremes: Extremes | None = None
    ) -> Strongest: ...


def prepare_hop(
    convolution: Convolution | None,
    weight: Float32[np.ndarray, "target source_in_group kh kw"] | None,
    n_sources: int,
    k: int,
    name: str,
) -> HopKernel:
    """The kernel that ranks the sources of a hop, its weights laid out once.

    Parameters
    ----------
    convolution
        Geometry; None for an identity hop, in which target i's only source is i, with the maximum of its map.
    weight
        Kernel with any batch norm folded in; None for an identity hop.
    n_sources
        Channels of the hop's input.
    k
        Sources kept per target; may exceed the number of sources.
    name
        Of the hop, for messages.

    Raises
    ------
    NumericalError
        If a weight is NaN or infinite.
    """
    if convolution is None or weight is None:
        return _Identity(k, name)
    if not np.isfinite(weight).all():
        raise NumericalError(f"Weights of {name} hold NaN or infinity; expected finite values. Check the weights file.")
    return _Plain(convolution, np.ascontiguousarray(weight, np.float32), k, name)


def _finite(maps: Float32[np.ndarray, "image height width channel"], extremes: Extremes | None, name: str) -> Extremes:
    extremes = extremes or channel_extremes(maps)
    bad = ~(np.isfinite(extremes.maximum) & np.isfinite(extremes.minimum))
    if bad.any():
        image, channel = np.argwhere(bad)[0]
        raise NumericalError(
            f"Input of {name} holds NaN or infinity in channel {channel} of image {image} of the batch; expected "
            "finite values. Check the weights and the preprocessing."
        )
    return extremes


def _nothing(images: int, targets: int, k: int) -> Strongest:
    shape = (images, targets, k)
    return Strongest(np.full(shape, -1, np.int32), np.zeros(shape, np.float32))


@dataclass(frozen=True)
class _Identity:
    k: int
    name: str

    def __call__(
        self, maps: Float32[np.ndarray, "image height width channel"], extremes: Extremes | None = None
    ) -> Strongest:
        maximum = _finite(maps, extremes, self.name).maximum
        strongest = _nothing(maximum.shape[0], maximum.shape[1], self.k)
        strongest.source[:, :, 0] = np.where(maximum > 0, np.arange(maximum.shape[1]), -1)
        strongest.value[:, :, 0] = np.maximum(maximum, 0)
        return strongest


@dataclass(frozen=True)
class _Plain:
    convolution: Convolution
    weight: Float32[np.ndarray, "target source_in_group kh kw"]
    k: int
    name: str

    def __call__(
        self, maps: Float32[np.ndarray, "image height width channel"], extremes: Extremes | None = None
    ) -> Strongest:
        _finite(maps, extremes, self.name)
        c = self.convolution
        py, px = c.padding
        padded = np.pad(maps, ((0, 0), (py, py), (px, px), (0, 0)))
        strongest = _nothing(len(maps), len(self.weight), self.k)
        _plain(padded, self.weight, c.stride, c.dilation, c.groups, strongest.source, strongest.value)
        return strongest


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _plain(maps, weight, stride, dilation, groups, source, value):
    images, height, width, _ = maps.shape
    targets, sources, kh, kw = weight.shape
    out_h = (height - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    out_w = (width - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    per_group = targets // groups
    taps = np.empty((kh, kw, per_group), np.float32)
    total, best = np.empty((2, per_group), np.float32)
    for n in range(images):
        for i in range(groups * sources):
            first = i // sources * per_group
            for j in range(per_group):
                taps[:, :, j] = weight[first + j, i % sources]
            best[:] = 0
            for y in range(out_h):
                for x in range(out_w):
                    total[:] = 0
                    for dy in range(kh):
                        for dx in range(kw):
                            v = maps[n, y * stride[0] + dy * dilation[0], x * stride[1] + dx * dilation[1], i]
                            if v != 0:
                                for j in range(per_group):
                                    total[j] += v * taps[dy, dx, j]
                    for j in range(per_group):
                        best[j] = total[j] if total[j] > best[j] else best[j]
            for j in range(per_group):
                _insert(source[n, first + j], value[n, first + j], i, best[j])


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _insert(sources, values, source, value):
    # Sources arrive in ascending order, so that > leaves ties to the lower one.
    if not value > values[-1]:
        return
    place = len(values) - 1
    while place > 0 and value > values[place - 1]:
        values[place], sources[place] = values[place - 1], sources[place - 1]
        place -= 1
    values[place], sources[place] = value, source
