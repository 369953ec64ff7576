"""The counts of DESIGN 3.2 and 3.3 and the similarity of 3.7, written from the text, slowly, in Python numbers."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def selected(values: NDArray[np.float32], mass: float, excluded: Sequence[int]) -> NDArray[np.bool_]:
    """Go through the channels from largest to smallest until the running sum of shares reaches the mass."""
    result = np.zeros(values.shape, np.bool_)
    for n, row in enumerate(values):
        clipped = [0.0 if c in excluded else max(float(v), 0.0) for c, v in enumerate(row)]
        total = sum(clipped)
        running = 0.0
        for c in sorted(range(len(clipped)), key=lambda c: (clipped[c], c), reverse=True):
            if running >= mass or clipped[c] == 0:
                break
            result[n, c] = True
            running += clipped[c] / total
    return result


def activation_count(used: NDArray[np.bool_], classes: Sequence[int], n_classes: int) -> NDArray[np.int64]:
    """A[class, channel]: number of the class's images that selected the channel."""
    counts = np.zeros((n_classes, used.shape[1]), np.int64)
    for k in range(n_classes):
        for c in range(used.shape[1]):
            counts[k, c] = sum(1 for n, own in enumerate(classes) if own == k and used[n, c])
    return counts


def influence_count(
    source: NDArray[np.int16], classes: Sequence[int], n_classes: int, n_sources: int
) -> NDArray[np.int64]:
    """I[class, target, source]: number of the class's images in which the source is among the target's k."""
    counts = np.zeros((n_classes, source.shape[1], n_sources), np.int64)
    for k, c, s in np.ndindex(*counts.shape):
        counts[k, c, s] = sum(1 for n, own in enumerate(classes) if own == k and s in source[n, c].tolist())
    return counts


def similarity(counts: NDArray[np.int32]) -> NDArray[np.float64]:
    """Cosine of each pair of rows; 0 where one of them is all zero."""
    rows = [[float(v) for v in row] for row in counts]
    norms = [math.sqrt(sum(v * v for v in row)) for row in rows]
    result = np.zeros((len(rows), len(rows)))
    for a, b in np.ndindex(*result.shape):
        if norms[a] and norms[b]:
            result[a, b] = sum(x * y for x, y in zip(rows[a], rows[b], strict=True)) / (norms[a] * norms[b])
    return result
