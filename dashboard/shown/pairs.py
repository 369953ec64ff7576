"""Two attribution graphs as one drawing: what both hold, what one holds alone, and how the images of each use it."""

from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.data import StoreData
from dashboard.shown import graphs
from dashboard.shown.sides import Side
from dashboard.shown.union import Union, united
from summit_dask.arrays.comparison import difference
from summit_dask.arrays.similarity import similarity_to
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import Pair

#: Which graph holds a channel or an edge.
NEITHER, ONLY_A, ONLY_B, BOTH = "neither", "a", "b", "both"

#: Places of both sides' graphs in their union: as they were stored, whose channels keep their places, and as drawn.
BEFORE, NOW = [0, 1], [2, 3]

#: Channels in the table of what differs.
MOST = 40


def drawing(data: StoreData, a: Side, b: Side, pair: Pair, pinned: Channel | None = None) -> dict[str, Any]:
    """What the graph component draws of a pair: as `graphs.drawing`, and what tells the two apart.

    Parameters
    ----------
    pair
        What both graphs are measured by.
    pinned
        A channel that has a place even if no graph holds it.
    """
    union = united([a.before, b.before, a.graph, b.graph], [graphs.key(data, pinned)] if pinned else [])
    counts = [_node_counts(data, union, number, side) for number, side in zip(NOW, (a, b), strict=True)]
    own = np.any(union.influence[NOW], axis=0)
    influence = union.influence[NOW][:, own]
    held = np.where(union.held[NOW].any(axis=0), union.held[NOW], union.held[BEFORE])
    edges = np.stack([union.source[own], union.target[own], influence.max(axis=0), union.identity[own]], axis=1)
    return {
        "rows": graphs.rows(data, union, BEFORE),
        "nodes": [_node(data, union, k, counts, a, b) for k in range(len(union.layer))],
        "edges": edges.tolist(),
        "images": max(a.n_images, b.n_images),
        "largest": data.largest_node_count(pair),
        "measure": pair.edges,
        "marks": None,
        "pair": {
            "labels": [a.label, b.label],
            "images": [a.n_images, b.n_images],
            "held": _words(held),
            "counts": np.array(counts, object).T.tolist(),
            "edge_held": _words(influence > 0),
            "edge_counts": [[count or None for count in counts] for counts in influence.T.tolist()],
            "stability": _of_both(a, b, union.at, "node_stability", len(union.layer)),
            "edge_stability": [*compress(_of_both(a, b, union.edge_at, "edge_stability", len(own)), own)],
            "edge_effect": [*compress(_of_both(a, b, union.edge_at, "edge_effect", len(own)), own)],
            "similarity": [_similarity(layer.name, a, b) for layer in data.layer_graph.visible][::-1],
            "basis": "of the graphs' channels" if a.is_partial or b.is_partial else "",
            "differs": differs(data, a, b, union),
        },
    }


def _words(held: NDArray[np.bool_]) -> list[str]:
    """Which of two graphs hold what, of (graph, thing)."""
    words: list[str] = np.array([NEITHER, ONLY_A, ONLY_B, BOTH], object)[held[0] + 2 * held[1]].tolist()
    return words


def _node(
    data: StoreData, union: Union, k: int, counts: Sequence[Sequence[int | None]], a: Side, b: Side
) -> dict[str, Any]:
    names = [side.name for side, held in zip((a, b), union.held[NOW, k].tolist(), strict=True) if held]
    name = " | ".join(dict.fromkeys(names))
    largest = max((count for count in (counts[0][k], counts[1][k]) if count is not None), default=0)
    return {**graphs.node(data, union, k, largest, name), "absent": not union.held[NOW, k].any()}


def _node_counts(data: StoreData, union: Union, number: int, side: Side) -> list[int | None]:
    """Images of a side that use each node, None where that isn't known."""
    layers = data.layer_graph.layers
    result: list[int | None] = []
    for k, (layer, channel) in enumerate(zip(union.layer.tolist(), union.channel.tolist(), strict=True)):
        used = side.used.get(layers[layer].name)
        held = bool(union.held[number, k])
        if held:
            result.append(int(union.count[number, k]))
        else:
            result.append(None if used is None or side.is_partial else int(used[channel]))
    return result


def _of_both(a: Side, b: Side, at: list[list[int]], name: str, size: int) -> list[list[float | None]]:
    """What evidence says of each node or edge of the union on both sides; None where that isn't known."""
    result: list[list[float | None]] = [[None, None] for _ in range(size)]
    for k, (number, side) in enumerate(zip(NOW, (a, b), strict=True)):
        if side.marks is not None:
            for place, value in zip(at[number], graphs.known(getattr(side.marks, name)), strict=True):
                result[place][k] = value
    return result


def _similarity(layer: str, a: Side, b: Side) -> float | None:
    """Cosine of both sides' counts in a layer; None where it has none, as that of the class."""
    if layer not in a.used or layer not in b.used:
        return None
    return float(similarity_to(np.stack([a.used[layer], b.used[layer]]), 0)[1])


def files(drawn: dict[str, Any]) -> list[dict[str, str]]:
    """Nodes and edges of a drawing as two tables, with the images of each side and which graph holds them."""
    channels = [(node["layer"], node["channel"]) for node in drawn["nodes"]]
    pair = drawn["pair"]
    nodes = pd.DataFrame(channels, columns=["layer", "channel"])
    ends = [(*channels[source], *channels[target]) for source, target, *_ in drawn["edges"]]
    edges = pd.DataFrame(ends, columns=["source_layer", "source_channel", "target_layer", "target_channel"])
    there = [not node["absent"] for node in drawn["nodes"]]
    tables = {
        "nodes.csv": _with_sides(nodes, pair, "held", "counts")[there],
        "edges.csv": _with_sides(edges, pair, "edge_held", "edge_counts"),
    }
    return [{"name": name, "type": "text/csv", "text": table.to_csv(index=False)} for name, table in tables.items()]


def _with_sides(table: pd.DataFrame, pair: dict[str, Any], held: str, counts: str) -> pd.DataFrame:
    both = pd.DataFrame(pair[counts], columns=["images_a", "images_b"], dtype="Int64")
    return table.assign(held_by=pair[held], **both, of_a=pair["images"][0], of_b=pair["images"][1])


def sources(data: StoreData, side: Side, channel: Channel) -> tuple[list[dict[str, Any]], str]:
    """The strongest sources of a channel for one side, and what to say about them."""
    if not data.layer_graph.incoming(channel.layer):
        return [], "This is the lowest layer of the graph."
    if side.is_partial:
        return graphs.held_sources(data, side.graph, channel)
    return graphs.counted_sources(data, side.counts, channel), ""


def differs(data: StoreData, a: Side, b: Side, union: Union) -> list[dict[str, Any]]:
    """The channels whose use differs most, those first whose difference is clear.

    `is_clear` is None where the number of images isn't known, so that chance can't be told.
    """
    layers = [layer for layer in data.layer_graph.visible if layer.name in a.used and layer.name in b.used]
    table = pd.concat([_used(layer.name, a, b) for layer in layers], ignore_index=True)
    scales = [side.n_images or int(max(used.max(initial=1) for used in side.used.values())) for side in (a, b)]
    table["difference"] = table["a"] / max(scales[0], 1) - table["b"] / max(scales[1], 1)
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index[:MOST]
    best = table.loc[order]
    best = best[best["difference"] != 0]
    if a.n_images and b.n_images:
        found = difference(best["a"].to_numpy(), a.n_images, best["b"].to_numpy(), b.n_images)
        best = best.assign(is_clear=found.is_clear).sort_values("is_clear", ascending=False, kind="stable")
    else:
        best = best.assign(is_clear=None)
    held = _held_by(data, union)
    columns = (best[name].tolist() for name in ("layer", "channel", "a", "b", "is_clear"))
    return [
        _differing(Channel(layer, channel), (in_a, in_b), clear, held, (a, b))
        for layer, channel, in_a, in_b, clear in zip(*columns, strict=True)
    ]


def _used(layer: str, a: Side, b: Side) -> pd.DataFrame:
    """Channels of a layer that either side uses."""
    used = np.stack([a.used[layer], b.used[layer]]).astype(np.int64)
    some = np.flatnonzero(used.any(axis=0))
    return pd.DataFrame({"layer": layer, "channel": some, "a": used[0, some], "b": used[1, some]})


def _held_by(data: StoreData, union: Union) -> dict[Channel, str]:
    layers = data.layer_graph.layers
    nodes = zip(union.layer.tolist(), union.channel.tolist(), strict=True)
    channels = [Channel(layers[layer].name, channel) for layer, channel in nodes]
    return dict(zip(channels, _words(union.held[NOW]), strict=True))


def _differing(
    channel: Channel, counts: tuple[int, int], clear: bool | None, held: dict[Channel, str], both: tuple[Side, Side]
) -> dict[str, Any]:
    where = held.get(channel, NEITHER)
    own = [where in (word, BOTH) for word in (ONLY_A, ONLY_B)]
    known = [
        None if side.is_partial and not holds else count for count, holds, side in zip(counts, own, both, strict=True)
    ]
    return {"layer": channel.layer, "channel": channel.index, "counts": known, "held": where, "clear": clear}
