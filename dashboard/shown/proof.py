"""Tables of what evidence says of a class and of all classes, in words that charts and tables show."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dashboard.data import StoreData
from dashboard.evidence import Evidence, evidence_of
from dashboard.kept import kept_with_store
from dashboard.selection import STORED
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import Pair

#: Classes in each table of weak ones.
WEAKEST = 6

#: What is taken away, in words; those of other classes say whose they are.
CHOICES = {
    "graph": "the graph's channels",
    "random": "random ones",
    "active_quarter": "random ones of the most active quarter",
    "most_active": "the most active ones",
    "highest_count": "those that most images use",
    "nearest": "the graph of the nearest class",
    "other": "the graph of another class",
}

#: Which channels of a layer are kept.
KEPT = {"most_used": "those that the class uses most", "random": "random ones"}

#: In the tables of weak classes: the column, its title, and whether small values are weak.
WEAKNESSES: Mapping[str, tuple[str, bool]] = {
    "necessity": ("Lowest necessity", True),
    "p_value": ("Largest p-value", False),
    "stability": ("Lowest stability", True),
}

#: Choices whose necessity stands in the table of pairs of measures, by the column's title.
COMPARED = {"necessity": "graph", "random": "random", "most active": "most_active"}


def choices(evidence: Evidence, index: int) -> pd.DataFrame:
    """Necessity of the class's graph and of the other choices: kind, value, low, high, own."""
    table = evidence.intervals("necessity", index)
    names = {**CHOICES, **_rivals(evidence, index)}
    table["kind"] = [names.get(choice, choice) for choice in table["choice"]]
    table["own"] = table["choice"] == "graph"
    return table.dropna(subset=["value"])


def _rivals(evidence: Evidence, index: int) -> dict[str, str]:
    """The graphs of other classes by whose they are."""
    labels = evidence.data.classes["label"]
    rivals = zip(evidence.labels("rival"), evidence.read("rival_class")[index].tolist(), strict=True)
    return {name: f"{CHOICES[name]}, {labels.iloc[rival]}" for name, rival in rivals if rival >= 0}


def by_layer(evidence: Evidence, index: int) -> pd.DataFrame:
    """Necessity of the graph's channels of single layers, and of random ones: layer, kind, value, low, high."""
    table = evidence.intervals("layer_necessity", index)
    return _named(table, "layer_choice", CHOICES)


def sufficiency(evidence: Evidence, index: int) -> pd.DataFrame:
    """What is brought back by a part of a layer's channels: layer, kind, share, value, low, high."""
    return _named(evidence.intervals("sufficiency", index), "kept", KEPT)


def _named(table: pd.DataFrame, column: str, names: Mapping[str, str]) -> pd.DataFrame:
    kinds = [names.get(name, name) for name in table[column]]
    known: pd.DataFrame = table.assign(kind=kinds).rename(columns={"map_layer": "layer"}).dropna(subset=["value"])
    return known


def truth(evidence: Evidence, index: int) -> pd.DataFrame:
    """How well measures find true sources: layer, measure, value, class_capture, rank_correlation, n_targets.

    `value` is the capture on single images. Empty where nothing was tested.
    """
    table = evidence.table("capture", index, "class_capture", "rank_correlation")
    n_measures = len(evidence.labels("measure"))
    table["n_targets"] = np.repeat(evidence.read("n_targets")[index], n_measures)
    known: pd.DataFrame = table.rename(columns={"ranked_layer": "layer"}).dropna(subset=["value"])
    return known


@kept_with_store(4)
def of_all(data: StoreData, pair: Pair) -> pd.DataFrame:
    """A row a class that was tested: class, index, necessity, random, specificity, p_value, stability, images.

    Specificity is against the nearest class; stability is that of the nodes.
    """
    evidence = evidence_of(data, pair)
    assert evidence is not None, "asked for only where there is evidence"
    necessity = dict(zip(evidence.labels("choice"), evidence.read("necessity").T, strict=True))
    specificity = dict(zip(evidence.labels("rival"), evidence.read("specificity").T, strict=True))
    table = pd.DataFrame(
        {
            "class": data.classes["label"],
            "index": np.arange(data.n_classes),
            "necessity": necessity["graph"],
            "random": necessity["random"],
            "specificity": specificity["nearest"],
            "p_value": evidence.read("p_value"),
            "stability": evidence.read("node_jaccard"),
            "images": evidence.read("n_tested"),
        }
    )
    tested: pd.DataFrame = table.dropna(subset=["necessity"]).reset_index(drop=True)
    return tested


def weakest(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The classes that are worst by a column of `of_all`, worst first, ties in the store's order."""
    _, ascending = WEAKNESSES[column]
    worst: pd.DataFrame = table.dropna(subset=[column]).sort_values(column, ascending=ascending, kind="stable")
    return worst.head(WEAKEST).reset_index(drop=True)


def side_by_side(data: StoreData, index: int) -> pd.DataFrame:
    """A row a pair of measures: what the class's graphs hold, and what evidence says of each (empty: not tested)."""
    return pd.DataFrame([_row(data, index, pair) for pair in data.pairs])


def _row(data: StoreData, index: int, pair: Pair) -> dict[str, Any]:
    evidence = evidence_of(data, pair)
    row: dict[str, Any] = {"graph": pair.words.capitalize(), "channels": len(channels_of(data, index, pair))}
    if evidence is None:
        return row
    shares = {title: evidence.share("necessity", index, name).value for title, name in COMPARED.items()}
    specific = evidence.share("specificity", index, "nearest").value
    return {**row, **shares, "specificity": specific, "stability": evidence.number("node_jaccard", index)}


def channels_of(data: StoreData, index: int, pair: Pair) -> list[Channel]:
    """The channels of a class's graph, highest score first; the class itself, in its own row, is none."""
    graph = data.graph(index, STORED, pair)
    assert graph is not None, "pairs of the store have graphs"
    nodes = graph.nodes(data.layer_graph)
    ranked = [nodes[k] for k in np.argsort(-graph.node_score, kind="stable").tolist()]
    return [channel for channel in ranked if not data.layer_graph.layer(channel.layer).of_class]
