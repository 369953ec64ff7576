"""Images of a class parted by what they use: those that use the same channels belong together.

used (image, channel) of each layer ── cosine distance, mean over layers ── Ward's linkage ── 2 to 4 groups

Ward's linkage, as average linkage takes single images off one after the other: outliers, not ways to see a class.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int32, Int64
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_samples

from summit_dask.arrays.similarity import similarity

#: How many groups are tried.
FEWEST, MOST = 2, 4


def cluster_images(
    used: Sequence[Bool[np.ndarray, "image _channel"]],
) -> tuple[Int64[np.ndarray, " image"], Bool[np.ndarray, " image"]]:
    """Part images by the channels that they use, in as many ways as part them best (Rousseeuw's silhouette, 1987).

    Parameters
    ----------
    used
        Which channels each image uses, of each layer; every layer counts alike. At least three images.

    Returns
    -------
    group, is_odd
        Of each image: the group, the largest first, of equal ones that of the lower image; and whether the image is
        nearer to another group than to its own. One group, and none odd, where all images use the same.

    Examples
    --------
    >>> used = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]], bool)
    >>> group, is_odd = cluster_images([used])
    >>> group.tolist(), is_odd.any().item()
    ([0, 0, 1, 0, 1], False)
    """
    apart = np.mean([1 - similarity(layer.astype(np.int64)) for layer in used], axis=0)
    np.fill_diagonal(apart, 0.0)
    # Ward's linkage takes Euclidean distances: rows of length 1 are apart by the square root of twice this.
    joined = linkage(squareform(np.sqrt(2 * np.maximum(apart, 0.0)), checks=False), "ward")
    tried = [fcluster(joined, n, "maxclust") for n in range(FEWEST, min(MOST, len(apart) - 1) + 1)]
    parted = [groups for groups in tried if len(np.unique(groups)) >= FEWEST]
    if not parted:  # all use the same
        return np.zeros(len(apart), np.int64), np.zeros(len(apart), bool)
    widths = [silhouette_samples(apart, groups, metric="precomputed") for groups in parted]
    best = int(np.argmax([width.mean() for width in widths]))
    return _numbered(parted[best]), widths[best] < 0


def _numbered(labels: Int32[np.ndarray, " image"]) -> Int64[np.ndarray, " image"]:
    """Groups from 0 on, by size."""
    values, first, back, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(values), np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(len(values))
    numbered: Int64[np.ndarray, " image"] = rank[back]
    return numbered
