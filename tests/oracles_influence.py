"""Influence written as its definition reads, in float64 (section 3.3)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts.layergraph import Convolution


def influences(maps: NDArray[np.float32], weight: NDArray[np.float32], convolution: Convolution) -> NDArray[np.float64]:
    """Influence of every source on every target, (image, target, source); -inf outside the target's group."""
    c = convolution
    targets, sources, kh, kw = weight.shape
    (py, px), (dy, dx) = c.padding, c.dilation
    padded = np.pad(maps.astype(np.float64), ((0, 0), (py, py), (px, px), (0, 0)))
    result = np.full((len(maps), targets, c.groups * sources), -np.inf)
    for group in range(c.groups):
        to = slice(group * targets // c.groups, (group + 1) * targets // c.groups)
        own = slice(group * sources, (group + 1) * sources)
        for y in range(0, padded.shape[1] - dy * (kh - 1), c.stride[0]):
            for x in range(0, padded.shape[2] - dx * (kw - 1), c.stride[1]):
                patch = padded[:, y : y + dy * (kh - 1) + 1 : dy, x : x + dx * (kw - 1) + 1 : dx, own]
                products = np.einsum("nyxi,jiyx->nji", patch, weight[to].astype(np.float64))
                result[:, to, own] = np.maximum(result[:, to, own], products)
    return result


def strongest(influence: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sources and values of the k largest influences above 0; ties to the lower source; -1 and 0 elsewhere."""
    order = np.argsort(-influence, axis=-1, kind="stable")[..., :k]
    value = np.take_along_axis(influence, order, -1)
    pad = [(0, 0)] * (influence.ndim - 1) + [(0, k - order.shape[-1])]
    source = np.pad(np.where(value > 0, order, -1), pad, constant_values=-1)
    return source, np.pad(np.where(value > 0, value, 0), pad)


def merged(
    steps: Sequence[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int8], NDArray[np.int16]]],
    channels: int,
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Hop, source and value of each channel's k largest influences above 0; ties to the lower hop, then source.

    Of a step its influences (image, target, input), its target channels, and hop and source of each input channel.
    """
    images = len(steps[0][0])
    hop, source = np.full((2, images, channels, k), -1)
    value = np.zeros((images, channels, k))
    for n, channel in np.ndindex(images, channels):
        found = [
            (-influence[n, j, i], hops[i], sources[i])
            for influence, targets, hops, sources in steps
            for j in np.flatnonzero(targets == channel)
            for i in np.flatnonzero(influence[n, j] > 0)
        ]
        for rank, (negative, *place) in enumerate(sorted(found)[:k]):
            hop[n, channel, rank], source[n, channel, rank] = place
            value[n, channel, rank] = -negative
    return hop, source, value


def contributions(
    maps: NDArray[np.float32], weight: NDArray[np.float32], convolution: Convolution, position: NDArray[np.int32]
) -> NDArray[np.float64]:
    """What every source adds to a target at the target's own position, (image, target, source); 0 for position -1."""
    c = convolution
    targets, sources, kh, kw = weight.shape
    (py, px), (dy, dx) = c.padding, c.dilation
    padded = np.pad(maps.astype(np.float64), ((0, 0), (py, py), (px, px), (0, 0)))
    _, width = c.made(maps.shape[1:3])
    result = np.zeros((len(maps), targets, c.groups * sources))
    for n, j in np.argwhere(position >= 0):
        group = j * c.groups // targets
        own = slice(group * sources, (group + 1) * sources)
        y, x = np.multiply(np.divmod(position[n, j], width), c.stride)
        patch = padded[n, y : y + dy * (kh - 1) + 1 : dy, x : x + dx * (kw - 1) + 1 : dx, own]
        result[n, j, own] = np.einsum("yxi,iyx->i", patch, weight[j].astype(np.float64))
    return result
