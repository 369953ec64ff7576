"""How the classes share a layer's channels, from counts A, (class, channel)."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.shown import likeness
from dashboard.shown.likeness import Matrix
from summit_dask.arrays.usage import N_TOP, Usage

MOST_BINS = 24

QUARTERS = ("least accurate quarter", "second", "third", "most accurate quarter")


def used_kinds(use: Usage) -> dict[str, int]:
    """A layer's channels by how they are used."""
    used = int((use.class_count > 0).sum())
    strongest = int((use.top_class_count > 0).sum())
    return {
        f"among the {N_TOP} strongest of a class": strongest,
        "used by a class": used - strongest,
        "used by none": len(use.class_count) - used,
    }


def users(use: Usage) -> pd.DataFrame:
    """Channels by how many classes use them: classes (a number or a range), channels."""
    most = int(use.class_count.max()) + 1
    edges = np.unique(np.linspace(0, most, MOST_BINS + 1).astype(int))
    names = [str(a) if b - a == 1 else f"{a}–{b - 1}" for a, b in pairwise(edges.tolist())]
    return pd.DataFrame({"classes": names, "channels": np.histogram(use.class_count, edges)[0]})


def channel_order(counts: Matrix) -> NDArray[np.int64]:
    """The channels that any class uses, like ones together."""
    used = np.flatnonzero(counts.any(axis=0))
    return used[likeness.clustered(counts[:, used].T)]


def quarters(counts: Mapping[str, Matrix], accuracy: "pd.Series[float]") -> pd.DataFrame:
    """Mean similarity to the nearest class, per layer and quarter of the classes by accuracy.

    Columns layer, classes, similarity; empty where the accuracy of too few classes is known.
    """
    n = len(QUARTERS)
    if accuracy.notna().sum() < n:
        return pd.DataFrame()
    # From just above 0 to just below 4; -1 for a class without accuracy.
    position = accuracy.rank(method="first", pct=True) * n - 1e-9
    quarter = np.minimum(position.fillna(-1), n - 1).astype(int)
    rows: list[dict[str, Any]] = []
    for layer, own in counts.items():
        near = likeness.nearest(own)
        rows += [
            {"layer": layer, "classes": name, "similarity": float(np.nanmean(near[quarter == k]))}
            for k, name in enumerate(QUARTERS)
        ]
    return pd.DataFrame(rows)
