"""Likeness of classes and of channels by their counts A, (class, channel)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.similarity import similarity, similarity_to

Matrix = NDArray[np.int32]


def like_channel(counts: Matrix, channel: int) -> NDArray[np.float64]:
    """Cosine over the classes of one channel's counts and each channel's, (channel,); 0 for a channel unused."""
    return similarity_to(counts.T, channel)


def nearest(counts: Matrix) -> NDArray[np.float64]:
    """Similarity of each class to the other class most like it, (class,); NaN where there is no other."""
    if len(counts) < 2:
        return np.full(len(counts), np.nan)
    like = similarity(counts)
    np.fill_diagonal(like, -np.inf)
    return np.asarray(like.max(axis=1))


def clustered(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Order of the rows in which like ones stand together (average linkage of the cosine), (row,)."""
    if len(rows) < 3:
        return np.arange(len(rows))
    # Slow to import; only the heat map needs it.
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distance = 1 - similarity(rows)
    np.fill_diagonal(distance, 0)
    return np.asarray(leaves_list(linkage(squareform(distance, checks=False), "average")), np.int64)


def largest(values: NDArray[Any], n: int, keep: Callable[[int], bool] = lambda _: True) -> list[int]:
    """Indices of the n largest values above 0, descending, ties to the lower index; NaN counts as none."""
    known = np.nan_to_num(np.asarray(values, np.float64), nan=0.0)
    order = np.argsort(-known, kind="stable").tolist()
    return [int(k) for k in order if known[k] > 0 and keep(k)][:n]
