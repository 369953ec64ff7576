"""A map of the classes for every layer: those that look alike to the network lie near each other."""

import warnings
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64, Int
from scipy.linalg import orthogonal_procrustes

from summit_dask.arrays.similarity import unit_rows

#: UMAP's neighbours per class; with fewer classes than one more, the map is a PCA.
_NEIGHBOURS = 15
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
    """
    places: dict[str, Float32[np.ndarray, "_ 2"]] = {}
    previous = None
    for layer, layer_counts in counts.items():
        place = _place(layer_counts, previous, seed)
        previous = place if previous is None else _turned(place, previous)
        places[layer] = previous.astype(np.float32)
    return places


def _place(
    counts: Int[np.ndarray, "class channel"], previous: Float64[np.ndarray, "class 2"] | None, seed: int
) -> Float64[np.ndarray, "class 2"]:
    if len(counts) <= _NEIGHBOURS:
        return _pca(unit_rows(counts))
    return _umap(counts, _pca(unit_rows(counts)) if previous is None else previous, seed % 2**32)


def _pca(rows: Float64[np.ndarray, "class channel"]) -> Float64[np.ndarray, "class 2"]:
    """The two components of largest variance; each one's entry of largest size, the first on ties, is positive."""
    left, size, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    place = np.zeros((len(rows), 2))
    found = (left * size)[:, :2]
    place[:, : found.shape[1]] = found
    largest = place[np.abs(place).argmax(axis=0), [0, 1]]
    place *= np.where(largest < 0, -1.0, 1.0)
    return place


def _turned(
    place: Float64[np.ndarray, "class 2"], towards: Float64[np.ndarray, "class 2"]
) -> Float64[np.ndarray, "class 2"]:
    """Rotated or mirrored to lie nearest to the other in squared distance; both centred."""
    turn, _ = orthogonal_procrustes(place, towards)
    turned: Float64[np.ndarray, "class 2"] = place @ turn
    return turned


def _umap(
    counts: Int[np.ndarray, "class channel"], start: Float64[np.ndarray, "class 2"], seed: int
) -> Float64[np.ndarray, "class 2"]:
    # UMAP divides by the extent of its start; a little noise gives one to classes on a line or at a point.
    start = start + np.random.default_rng(seed).normal(scale=1e-3, size=start.shape)
    with warnings.catch_warnings():
        # Its import warns that Tensorflow, which nothing here needs, is missing.
        warnings.simplefilter("ignore")
        from umap import UMAP

        model = UMAP(
            n_neighbors=_NEIGHBOURS, min_dist=_MIN_DIST, metric="cosine", init=start, random_state=seed, n_jobs=1
        )
        place: Float64[np.ndarray, "class 2"] = model.fit_transform(counts.astype(np.float32)).astype(np.float64)
    place -= place.mean(axis=0)
    return place
