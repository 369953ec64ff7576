"""A map of the classes for every layer: those that look alike to the network lie near each other."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from jaxtyping import Float32, Float64, Int
from scipy.linalg import orthogonal_procrustes

from summit_dask.arrays.similarity import unit_rows

#: UMAP's neighbours per class; with fewer classes than one more, the map is a PCA.
_NEIGHBOURS = 15

#: UMAP's least distance between classes.
_MIN_DIST = 0.1


def embed_layers(counts: Mapping[str, Int[np.ndarray, "_ _"]], seed: int) -> dict[str, Float32[np.ndarray, "_ 2"]]:
    """Place of each class among similar ones, x and y, for every layer (DESIGN 3.7; the paper's section 6.1).

    From 16 classes on: UMAP of A, started from the layer before. With fewer: PCA of A's rows scaled to length 1.
    Each layer is then turned or mirrored, never scaled, to lie nearest to the layer before.

    Parameters
    ----------
    counts
        A of each layer, (class, channel), at least one class; in the order in which the layers follow each other.
    seed
        Of UMAP; the same seed gives the same bytes.

    Returns
    -------
    dict
        Finite coordinates without units, centred at 0. Classes of equal counts lie at the same place in a PCA and
        near each other in UMAP; a single class lies at 0.

    Examples
    --------
    Two classes of one kind and one of another, whose channels are others, lie on a line.

    >>> places = embed_layers({"conv": np.array([[4, 0], [0, 9], [0, 3]])}, seed=0)
    >>> places["conv"][:, 0].round(3)
    array([ 0.943, -0.471, -0.471], dtype=float32)
    """
    placed: dict[str, Float32[np.ndarray, "_ 2"]] = {}
    previous = None
    for layer, layer_counts in counts.items():
        points = _place(layer_counts, previous, seed)
        previous = points if previous is None else _turned(points, previous)
        placed[layer] = previous.astype(np.float32)
    return placed


def _place(
    counts: Int[np.ndarray, "class channel"], previous: Float64[np.ndarray, "class 2"] | None, seed: int
) -> Float64[np.ndarray, "class 2"]:
    if len(counts) <= _NEIGHBOURS:
        return _pca(unit_rows(counts))
    start = _pca(unit_rows(counts)) if previous is None else previous
    return _umap(counts, start, seed % 2**32)


def _pca(rows: Float64[np.ndarray, "class channel"]) -> Float64[np.ndarray, "class 2"]:
    """The two components of largest variance; each one's entry of largest size, the first on ties, is positive.

    Sizes that differ by rounding alone are ties: else which way a map lies would depend on the machine.
    """
    # Of a singular value decomposition, rows = left * size @ right; the sizes descend.
    left, size, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    components = (left * size)[:, :2]
    points = np.zeros((len(rows), 2))
    points[:, : components.shape[1]] = components  # one class or one channel has a single component
    length = np.abs(points)
    first = (length >= length.max(axis=0) * (1 - 1e-9)).argmax(axis=0)
    largest = points[first, [0, 1]]
    points *= np.where(largest < 0, -1.0, 1.0)
    return points


def _turned(
    points: Float64[np.ndarray, "class 2"], towards: Float64[np.ndarray, "class 2"]
) -> Float64[np.ndarray, "class 2"]:
    """Rotated or mirrored to lie nearest to the other in squared distance; both centred."""
    turn, _ = orthogonal_procrustes(points, towards)
    turned: Float64[np.ndarray, "class 2"] = points @ turn
    return turned


def _umap(
    counts: Int[np.ndarray, "class channel"], start: Float64[np.ndarray, "class 2"], seed: int
) -> Float64[np.ndarray, "class 2"]:
    # UMAP divides by the extent of its start; a little noise gives one to classes on a line or at a point.
    start = start + np.random.default_rng(seed).normal(scale=1e-3, size=start.shape)
    with warnings.catch_warnings():
        # Its import warns that Tensorflow, which nothing here needs, is missing.
        warnings.simplefilter("ignore")
        with _keeping_compiled():
            from umap import UMAP

        model = UMAP(
            n_neighbors=_NEIGHBOURS, min_dist=_MIN_DIST, metric="cosine", init=start, random_state=seed, n_jobs=1
        )
        points: Float64[np.ndarray, "class 2"] = model.fit_transform(counts.astype(np.float32)).astype(np.float64)
    points -= points.mean(axis=0)
    return points


@contextmanager
def _keeping_compiled() -> Iterator[None]:
    """Functions for numba that are defined in the block are compiled once and kept on disk.

    Those of UMAP and of its search for neighbours take half a minute, and their authors have them compiled anew in each
    process.
    """
    compiling: Any = numba.njit
    numba.njit = lambda *given, **named: compiling(*given, **{**named, "cache": True})
    try:
        yield
    finally:
        numba.njit = compiling
