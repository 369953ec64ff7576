"""What evidence says of a class, and of all classes together."""

from typing import Any

import pandas as pd

from dashboard.evidence import Evidence, evidence_of
from dashboard.shown import badge, proof, proofwords
from dashboard.site.source import Source, rounded
from summit_dask.facts.pairs import Pair


def of_class(source: Source, place: int, pair: Pair) -> dict[str, Any] | None:
    """Of a class's graph of a pair of measures; None if it wasn't tested."""
    evidence = evidence_of(source.data, pair)
    if evidence is None or not evidence.share("necessity", place, "graph").is_known:
        return None
    truth = proof.truth(evidence, place)
    return {
        "choices": _rows(proof.choices(evidence, place), ["kind"], ["value", "low", "high"]),
        "by_layer": _rows(proof.by_layer(evidence, place), ["layer", "kind"], ["value", "low", "high"]),
        "enough": _rows(proof.sufficiency(evidence, place), ["layer", "kind"], ["share", "value", "low", "high"]),
        "truth": _rows(truth, ["layer", "measure"], ["value", "class_capture"]),
        "said": _said(evidence, place, truth),
    }


def _rows(table: pd.DataFrame, names: list[str], numbers: list[str]) -> list[list[Any]]:
    shown = [rounded(table[name].to_numpy(float)) for name in numbers]
    return [list(row) for row in zip(*(table[name] for name in names), *shown, strict=True)]


def _said(evidence: Evidence, place: int, truth: pd.DataFrame) -> dict[str, str]:
    """What stands below each chart."""
    return {
        "necessity": proofwords.necessity(evidence, place),
        "elsewhere": proofwords.elsewhere(evidence, place),
        "by_layer": proofwords.by_layer(evidence, place),
        "enough": proofwords.SUFFICIENCY,
        "truth": proofwords.TRUTH,
        "ranks": "" if truth.empty else proofwords.truth(truth),
    }


def by_measures(source: Source, place: int) -> dict[str, list[Any]] | None:
    """The class's graphs of all pairs of measures beside each other; None where there is but one pair."""
    if len(source.data.pairs) < 2:
        return None
    table = proof.side_by_side(source.data, place)
    shares = [name for name in table.columns if name not in ("graph", "channels")]
    readable = table.assign(**{name: table[name].map(badge.percent) for name in shares})
    return {"columns": list(readable.columns), "rows": readable.to_numpy(object).tolist()}


def of_all(source: Source, pair: Pair) -> dict[str, Any]:
    """Of each tested class of the site: its number, and the columns of `proof.of_all`."""
    table = proof.of_all(source.data, pair)
    table = table[table["index"].isin(source.classes)].sort_values("index", kind="stable")
    columns = ["necessity", "random", "specificity", "p_value", "stability", "images"]
    numbers = [source.number_of[int(place)] for place in table["index"]]
    rows = zip(numbers, *(rounded(table[name].to_numpy(float)) for name in columns), strict=True)
    return {"rows": [list(row) for row in rows], "said": [proofwords.ALL_CLASSES, proofwords.WEAKEST]}
