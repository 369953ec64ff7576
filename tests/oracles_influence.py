"""Influence written as its definition reads, in float64 (section 3.3)."""

import numpy as np
from numpy.typing import NDArray

from summit_dask.layergraph import Convolution


def influences(maps: NDArray[np.float32], weight: NDArray[np.float32], convolution: Convolution) -> NDArray[np.float64]:
    """Influence of every source on every target, (image, target, source); -inf outside the target's group."""
    (py, px), (sy, sx), (dy, dx) = convolution.padding, convolution.stride, convolution.dilation
    n_targets, per_group, kh, kw = weight.shape
    n, _, _, n_sources = maps.shape
    padded = np.pad(maps.astype(np.float64), ((0, 0), (py, py), (px, px), (0, 0)))
    rows = range(0, padded.shape[1] - dy * (kh - 1), sy)
    columns = range(0, padded.shape[2] - dx * (kw - 1), sx)
    result = np.full((n, n_targets, n_sources), -np.inf)
    for target in range(n_targets):
        first = target // (n_targets // convolution.groups) * per_group
        for i in range(per_group):
            for y in rows:
                for x in columns:
                    patch = padded[:, y : y + dy * kh : dy, x : x + dx * kw : dx, first + i][:, :kh, :kw]
                    product = (patch * weight[target, i].astype(np.float64)).sum((1, 2))
                    result[:, target, first + i] = np.maximum(result[:, target, first + i], product)
    return result


def strongest(influence: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sources and values of the k largest influences above 0; ties to the lower source; -1 and 0 elsewhere."""
    order = np.argsort(-influence, axis=-1, kind="stable")[..., :k]
    value = np.take_along_axis(influence, order, -1)
    pad = [(0, 0)] * (influence.ndim - 1) + [(0, k - order.shape[-1])]
    source = np.pad(np.where(value > 0, order, -1), pad, constant_values=-1)
    return source, np.pad(np.where(value > 0, value, 0), pad)
