"""Two attribution graphs side by side: what both hold, what one holds alone, and how often the images use it.

attribution_graph(tree, "garter snake") ─┐
                                         ├─ compare ── channels, edges, layers: a table of each
attribution_graph(tree, "water snake")  ─┘
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from summit_dask.arrays.comparison import difference
from summit_dask.arrays.similarity import similarity_to
from summit_dask.facts.errors import StoreMismatchError
from summit_dask.facts.layergraph import Channel, LayerGraph
from summit_dask.questions.groupgraphs import attribution_graphs
from summit_dask.questions.query import AttributionGraph, Counted, attribution_graph
from summit_dask.store.tree import open_store

#: Which graph holds a channel or an edge.
BOTH, ONLY_A, ONLY_B, NEITHER = "both", "a", "b", "neither"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two graphs have in common and what not.

    Attributes
    ----------
    channels
        A row for each channel that an image of either side uses or a graph holds, input side first: layer, channel,
        held_by (both, a, b or neither graph), share_a and share_b (of the side's images, those that use it),
        difference (a minus b) with low and high, the middle 90 % of bootstrap samples, is_clear (the interval
        leaves 0 out), and score_a and score_b in the graphs (NaN: not in it).
    edges
        A row for each edge of either graph: source_layer, source_channel, target_layer, target_channel, held_by, and
        share_a and share_b, of the side's images those in which it is among the strongest sources (NaN: not in it).
    layers
        A row for each visible layer, input side first: layer, similarity (cosine of the counts), n_both, n_a and n_b
        (channels that both graphs hold, and one alone).
    """

    channels: pd.DataFrame
    edges: pd.DataFrame
    layers: pd.DataFrame

    def to_networkx(self) -> "nx.DiGraph[Channel]":
        """The union of both graphs, with the tables' columns as attributes."""
        union: nx.DiGraph[Channel] = nx.DiGraph()
        held = self.channels[self.channels["held_by"] != NEITHER]
        union.add_nodes_from(zip(_ends(held, ""), _records(held.drop(columns=["layer", "channel"])), strict=True))
        ends = zip(_ends(self.edges, "source_"), _ends(self.edges, "target_"), strict=True)
        for (source, target), values in zip(ends, _records(self.edges[["held_by", "share_a", "share_b"]]), strict=True):
            union.add_edge(source, target, **values)
        return union


def _ends(table: pd.DataFrame, end: str) -> list[Channel]:
    """The channels that a table's rows name."""
    return [Channel(layer, index) for layer, index in zip(table[f"{end}layer"], table[f"{end}channel"], strict=True)]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as Python's own values."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def compare(a: "nx.DiGraph[Channel]", b: "nx.DiGraph[Channel]", seed: int = 0) -> Comparison:
    """Hold two graphs of one layer graph against each other, from one store or two.

    Parameters
    ----------
    a, b
        As `attribution_graph` gives them: of classes, or of any images, made with the same measures.
    seed
        Of the bootstrap samples.

    Raises
    ------
    StoreMismatchError
        If a graph was not made by `attribution_graph`, or the two are of other layers, measures or masses.

    Examples
    --------
    With the path of a finished store of 90 images of three classes:

    >>> from summit_dask import attribution_graph, open_store
    >>> tree = open_store(path)
    >>> found = compare(attribution_graph(tree, "ant"), attribution_graph(tree, "bee"))
    >>> found.layers["layer"].tolist()
    ['lower', 'upper', 'logit']
    >>> bool((found.layers["similarity"] < 1).any()), bool(found.channels["is_clear"].any())
    (True, True)
    """
    counted_a, counted_b = _counted(a, "a"), _counted(b, "b")
    _check_alike(counted_a, counted_b)
    layers = [layer.name for layer in counted_a.layer_graph.visible]
    channels = pd.concat([_channels(layer, a, b, counted_a, counted_b, seed) for layer in layers], ignore_index=True)
    edges = _edges(a, b, counted_a.n_images, counted_b.n_images)
    return Comparison(channels, edges, _layers(layers, channels, counted_a, counted_b))


def _counted(graph: "nx.DiGraph[Channel]", side: str) -> Counted:
    if not isinstance(graph, AttributionGraph) or graph.counted is None:
        raise StoreMismatchError(
            f"The graph {side} is of the type {type(graph).__name__} and doesn't know what was counted; give graphs as "
            "attribution_graph makes them, not copies or parts of them."
        )
    return graph.counted


def _check_alike(a: Counted, b: Counted) -> None:
    """See that the two sides can be held against each other."""
    if lines := other_layers(a.layer_graph, b.layer_graph):
        raise StoreMismatchError(
            f"The graphs are of networks with other layers: {lines}. Only graphs of one layer graph have channels to "
            "compare; make both stores with the same network and --layers."
        )
    for what in ("pair", "mass"):
        own, other = getattr(a, what), getattr(b, what)
        if own != other:
            own, other = (getattr(value, "words", value) for value in (own, other))
            raise StoreMismatchError(
                f"The graphs count other things: the {what} is {own} in a and {other} in b. Make both alike: "
                "attribution_graph takes nodes=, edges= and mass=."
            )


def other_layers(a: LayerGraph, b: LayerGraph) -> str:
    """The first difference of two networks' visible layers, in words; empty if there is none."""
    shapes_a, shapes_b = ({layer.name: layer.channels for layer in graph.visible} for graph in (a, b))
    for name in [*shapes_a, *shapes_b]:
        if shapes_a.get(name) != shapes_b.get(name):
            found = [f"{shape} channels" if shape else "none" for shape in (shapes_a.get(name), shapes_b.get(name))]
            return f"{name} has {found[0]} in a and {found[1]} in b"
    return ""


def _channels(
    layer: str, a: "nx.DiGraph[Channel]", b: "nx.DiGraph[Channel]", counted_a: Counted, counted_b: Counted, seed: int
) -> pd.DataFrame:
    """Channels of one layer."""
    used_a, used_b = counted_a.used[layer], counted_b.used[layer]
    found = difference(used_a, counted_a.n_images, used_b, counted_b.n_images, seed)
    score_a, score_b = (_scores(graph, layer, len(used_a)) for graph in (a, b))
    table = pd.DataFrame(
        {
            "layer": layer,
            "channel": np.arange(len(used_a)),
            "held_by": _held_by(~np.isnan(score_a), ~np.isnan(score_b)),
            "share_a": found.share_a,
            "share_b": found.share_b,
            "difference": found.value,
            "low": found.low,
            "high": found.high,
            "is_clear": found.is_clear,
            "score_a": score_a,
            "score_b": score_b,
        }
    )
    return table[(used_a > 0) | (used_b > 0) | (table["held_by"] != NEITHER)]


def _scores(graph: "nx.DiGraph[Channel]", layer: str, n_channels: int) -> NDArray[np.float64]:
    """Of each channel of a layer, NaN where the graph doesn't hold it."""
    scores = np.full(n_channels, np.nan)
    for node, score in graph.nodes(data="score"):
        if node.layer == layer:
            scores[node.index] = score
    return scores


def _held_by(in_a: NDArray[np.bool_], in_b: NDArray[np.bool_]) -> NDArray[np.object_]:
    words = np.array([NEITHER, ONLY_A, ONLY_B, BOTH], object)
    return words[in_a.astype(np.int64) + 2 * in_b]


def _edges(a: "nx.DiGraph[Channel]", b: "nx.DiGraph[Channel]", n_a: int, n_b: int) -> pd.DataFrame:
    """Edges of either graph, those of a first."""
    rows = []
    for source, target in dict.fromkeys([*a.edges, *b.edges]):
        shares = [_share(graph, source, target, n) for graph, n in ((a, n_a), (b, n_b))]
        rows.append((source.layer, source.index, target.layer, target.index, *shares))
    ends = ["source_layer", "source_channel", "target_layer", "target_channel"]
    table = pd.DataFrame(rows, columns=[*ends, "share_a", "share_b"])
    held = _held_by(*(table[side].notna().to_numpy() for side in ("share_a", "share_b")))
    table.insert(4, "held_by", held)
    return table


def _share(graph: "nx.DiGraph[Channel]", source: Channel, target: Channel, n: int) -> float:
    held: dict[str, Any] | None = graph.get_edge_data(source, target)
    return held["influence"] / n if held is not None and n else np.nan


def _layers(layers: list[str], channels: pd.DataFrame, a: Counted, b: Counted) -> pd.DataFrame:
    held = pd.crosstab(channels["layer"], channels["held_by"]).reindex(index=layers, columns=[BOTH, ONLY_A, ONLY_B])
    numbers = held.fillna(0).astype(int)
    return pd.DataFrame(
        {
            "layer": layers,
            "similarity": [similarity_to(np.stack([a.used[layer], b.used[layer]]), 0)[1] for layer in layers],
            **{name: numbers[word].to_numpy() for name, word in (("n_both", BOTH), ("n_a", ONLY_A), ("n_b", ONLY_B))},
        }
    )


def compare_classes(stores: Sequence[Path | str], a: str, b: str) -> Comparison:
    """The stored classes `a` of the first store and `b` of the last, with the options of each store's run."""
    trees = open_store(stores[0]), open_store(stores[-1])
    return compare(attribution_graph(trees[0], a), attribution_graph(trees[1], b))


def compare_groups(
    stores: Sequence[Path | str], a: str, b: str, by: Sequence[str]
) -> tuple[Comparison, tuple[str, ...]]:
    """As `compare_classes`, of groups of images by some columns; with a sentence for each group of few images."""
    of_a, of_b = (attribution_graphs(open_store(place), by) for place in (stores[0], stores[-1]))
    found = compare(of_a[a], of_b[b])
    return found, tuple(filter(None, (of_a.few_images(a), of_b.few_images(b))))


#: Channels that `printed` shows.
N_SHOWN = 20


def printed(found: Comparison, a: str, b: str) -> str:
    """A comparison to read: the layers from the input side on, and the channels that differ most."""
    layers = [
        f"  {row.layer}: similarity {row.similarity:.2f}; "
        f"channels in both {row.n_both}, only in a {row.n_a}, only in b {row.n_b}"
        for row in found.layers.itertuples()
    ]
    clear = found.channels[found.channels["is_clear"]]
    order = clear["difference"].abs().sort_values(ascending=False, kind="stable").index[:N_SHOWN]
    channels = [
        f"  {row.layer} {row.channel}: {row.share_a:.0%} of a, {row.share_b:.0%} of b{_WHERE[str(row.held_by)]}"
        for row in clear.loc[order].itertuples()
    ]
    unclear = len(found.channels) - len(clear)
    return "\n".join(
        [
            f"a: {a}, b: {b}",
            "Layers, input side first:",
            *layers,
            f"Channels by difference of the images that use them ({len(order)} of {len(clear)}; of {unclear} more the "
            "difference may be chance):",
            *channels,
        ]
    )


_WHERE = {BOTH: ", in both graphs", ONLY_A: ", in a's graph", ONLY_B: ", in b's graph", NEITHER: ", in no graph"}


def plain(found: Comparison) -> dict[str, list[dict[str, Any]]]:
    """A comparison as JSON can hold it, NaN as None."""
    return {field.name: _without_nan(getattr(found, field.name)) for field in fields(found)}


def _without_nan(table: pd.DataFrame) -> list[dict[str, Any]]:
    return _records(table.astype(object).where(table.notna(), None))
