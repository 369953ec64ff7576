"""What belongs to a channel: the classes that use it, channels like it, its neighbours, how strongly it fires."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.shown import likeness
from dashboard.shown.channels import strongest_neighbours, summed_edges, users_of
from dashboard.shown.images import sampled
from dashboard.site.source import Source, rounded
from summit_dask.arrays.similarity import similarity
from summit_dask.facts.layergraph import Layer

#: Channels in one file.
BLOCK = 16

MOST_CLASSES, MOST_ALIKE, MOST_NEIGHBOURS, BINS = 20, 12, 8, 40

#: Of each channel (layer's place, index): the strongest neighbours, as rows of a file.
Neighbours = Mapping[tuple[int, int], list[list[int]]]


def all_neighbours(source: Source) -> dict[str, dict[str, Neighbours]]:
    """Sources and targets of all channels in the classes' graphs, by pair of measures."""
    found = {}
    for pair in source.data.pairs:
        edges = summed_edges(source.data, pair, source.classes.tolist())
        ends = {"sources": True, "targets": False}
        found[pair.name] = {
            name: _by_channel(strongest_neighbours(edges, s, MOST_NEIGHBOURS)) for name, s in ends.items()
        }
    return found


def _by_channel(table: pd.DataFrame) -> Neighbours:
    columns = ["own_layer", "own_channel", "layer", "channel", "influence", "classes"]
    result: dict[tuple[int, int], list[list[int]]] = {}
    for own_layer, own_channel, *row in table[columns].to_numpy().tolist():
        result.setdefault((own_layer, own_channel), []).append(row)
    return result


def channel_facts(
    source: Source, layer: Layer, neighbours: Mapping[str, Mapping[str, Neighbours]]
) -> Iterator[dict[str, Any]]:
    """What the files of a layer's channels hold, one channel after the other."""
    counts = source.counts.get(layer.name)
    if counts is None:
        counts = np.zeros((len(source.classes), layer.channels), np.int32)
    like = similarity(counts.T)
    values = _values(source, layer)
    place = source.index_of_layer[layer.name]
    for k in range(layer.channels):
        yield {
            **_users(counts[:, k]),
            "alike": _alike(like[k], k),
            "neighbours": {
                pair: {name: rows.get((place, k), []) for name, rows in ends.items()}
                for pair, ends in neighbours.items()
            },
            "values": None if values is None else _histogram(values[:, k]),
            "note": _why_left_out(source, layer, k),
        }


def _users(count: NDArray[np.int32]) -> dict[str, Any]:
    users = users_of(count)
    top = [[int(c), int(count[c])] for c in users[:MOST_CLASSES]]
    return {"n_classes": len(users), "n_images": int(count.sum()), "top": top}


def _alike(like: NDArray[np.float64], channel: int) -> list[list[float]]:
    best = likeness.largest(like, MOST_ALIKE, lambda k: k != channel)
    return [[k, round(float(like[k]), 4)] for k in best]


def _values(source: Source, layer: Layer) -> NDArray[Any] | None:
    if not source.data.has("activations", layer.name):
        return None
    values = sampled(source.data, layer.name)
    return values if len(values) else None


def _histogram(values: NDArray[Any]) -> dict[str, Any]:
    """Shares of the images in equal ranges."""
    shares, edges = np.histogram(values, BINS)
    first, step = rounded([edges[0], edges[1] - edges[0]], 6)
    return {"first": first, "step": step, "shares": rounded(shares / len(values))}


def _why_left_out(source: Source, layer: Layer, channel: int) -> str:
    excluded = source.data.options.excluded
    reasons = [part.reason for part in excluded if part.layer == layer.name and channel in part.channels]
    return f"This channel was left out of the counts: {'; '.join(reasons)}" if reasons else ""
