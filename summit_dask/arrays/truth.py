"""How truly measures tell the sources that matter: what was kept, against what a channel loses without each source.

    losses of single images ─┬─ rank correlation with influence, with contribution
    kept sources ────────────┴─ capture: share of the best ones' losses, by image and over a class

A source is a hop and a channel (DESIGN 3.8).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.stats import rankdata

#: What ranks sources.
MEASURES = ("influence", "contribution")

#: Hop and channel as one number.
_BITS = 16


def source_keys(hop: Int[np.ndarray, "*shape"], source: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """Hop and channel as one number; -1 where there is none."""
    return np.where(hop < 0, -1, (hop.astype(np.int64) << _BITS) | source)


class Losses(NamedTuple):
    """Of one image and channel, by source (those that come from no layer are left out).

    Attributes
    ----------
    key
        As `source_keys` makes it.
    lost
        t: the share of the channel's maximum that is lost without the source.
    influence, contribution
        As they are defined (DESIGN 3.3), of all sources.
    """

    key: Int[np.ndarray, " source"]
    lost: Float64[np.ndarray, " source"]
    influence: Float64[np.ndarray, " source"]
    contribution: Float64[np.ndarray, " source"]


@dataclass(eq=False)
class _Target:
    """One channel of a layer, over the images of a class."""

    lost: Float64[np.ndarray, " source"]
    key: Int[np.ndarray, " source"]
    kept: dict[str, Float64[np.ndarray, " source"]]


class Truth:
    """Gathers losses of a class's images, and tells how well what was kept catches them.

    Parameters
    ----------
    layers
        All that are told of, in order.
    k
        Sources that are kept of a channel.
    """

    def __init__(self, layers: Sequence[str], k: int) -> None:
        self._layers, self._k = layers, k
        self._capture = {(layer, name): list[float]() for layer in layers for name in MEASURES}
        self._correlation = {(layer, name): list[float]() for layer in layers for name in MEASURES}
        self._targets = dict[tuple[str, int], _Target]()
        self._tested = dict.fromkeys(layers, 0)

    def add(self, layer: str, target: int, losses: Losses, kept: Mapping[str, Int[np.ndarray, " rank"]]) -> None:
        """One image's losses of a layer's target, and the keys of the sources that each measure keeps."""
        self._tested[layer] += 1
        known = self._targets.setdefault((layer, target), _Target(np.zeros(len(losses.lost)), losses.key, {}))
        known.lost += losses.lost
        for name in MEASURES:
            self._correlation[layer, name].append(rank_correlation(getattr(losses, name), losses.lost))
            if name in kept:
                is_kept = np.isin(losses.key, kept[name])
                self._capture[layer, name].append(capture(losses.lost, is_kept, self._k))
                known.kept[name] = known.kept.get(name, 0) + is_kept

    def found(self) -> dict[str, Float64[np.ndarray, "layer measure"] | Int[np.ndarray, " layer"]]:
        """By variable of the group "evidence"; NaN where nothing was tested, or nothing kept."""
        return {
            "capture": self._table(self._capture),
            "rank_correlation": self._table(self._correlation),
            "class_capture": self._table({key: list(self._of_class(*key)) for key in self._capture}),
            "n_targets": np.array(list(self._tested.values()), np.int32),
        }

    def _of_class(self, layer: str, measure: str) -> Iterator[float]:
        """Capture of the sources that are kept on most images, ties: the lower hop and source."""
        for (own, _), target in self._targets.items():
            if own == layer and measure in target.kept:
                order = np.lexsort((target.key, -target.kept[measure]))[: self._k]
                is_chosen = np.isin(np.arange(len(target.key)), order) & (target.kept[measure] > 0)
                yield capture(target.lost, is_chosen, self._k)

    def _table(self, values: Mapping[tuple[str, str], list[float]]) -> Float64[np.ndarray, "layer measure"]:
        return np.array([[_mean(values[layer, name]) for name in MEASURES] for layer in self._layers])


def capture(lost: Float64[np.ndarray, " source"], is_kept: Bool[np.ndarray, " source"], k: int) -> float:
    """Share of what the k sources of the largest losses lose that the kept ones do; NaN if nothing is lost.

    Examples
    --------
    >>> capture(np.array([0.5, 0.25, 0.5]), np.array([True, True, False]), k=2)
    0.75
    """
    best = np.maximum(np.sort(lost)[::-1][:k], 0).sum()
    return float(lost[is_kept].sum() / best) if best > 0 else np.nan


def rank_correlation(a: Float64[np.ndarray, " n"], b: Float64[np.ndarray, " n"]) -> float:
    """Spearman's; NaN if either is the same everywhere.

    Examples
    --------
    >>> round(rank_correlation(np.array([1.0, 2, 9]), np.array([0.0, 4, 5])), 9)
    1.0
    """
    ranks = np.stack([rankdata(a), rankdata(b)])
    ranks -= ranks.mean(1, keepdims=True)
    size = np.sqrt((ranks**2).sum(1)).prod()
    return float(ranks.prod(0).sum() / size) if size > 0 else np.nan


def _mean(values: Sequence[float]) -> float:
    known = np.array(values)[np.isfinite(values)] if values else np.empty(0)
    return float(known.mean()) if len(known) else np.nan
