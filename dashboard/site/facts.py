"""What the pages know from the start: the classes, the layers, what there is and what is not."""

from typing import Any

import numpy as np

from dashboard.data import HISTOGRAM_BINS
from dashboard.evidence import evidence_of, why_untested
from dashboard.shown import sharing
from dashboard.shown.about import run_facts
from dashboard.shown.classtable import packed, relative
from dashboard.site.source import Source
from summit_dask.arrays.similarity import similarity
from summit_dask.arrays.usage import usage
from summit_dask.facts.layergraph import Channel, Layer
from summit_dask.facts.wording import notes_in_words

#: Parts of a store of whose absence pages speak.
ABSENT = ("embedding", "matrices", "pictures", "examples", "graphs", "activations")


def site_facts(source: Source, title: str, credit: str, pictured: frozenset[Channel]) -> dict[str, Any]:
    """The file `site`.

    Parameters
    ----------
    pictured
        Channels that have a file of pictures.
    """
    data, table = source.data, source.table
    histograms = data.histograms
    return {
        "title": title,
        "credit": credit,
        "facts": _run_facts(source),
        "folders": table["folder"].tolist(),
        "names": table["label"].tolist(),
        "synsets": table["synset"].tolist(),
        "accuracy": packed(table["accuracy"].to_numpy(np.float32)),
        "images": packed(table["n_images"].to_numpy(np.int32)),
        "bins": HISTOGRAM_BINS,
        "histograms": None if histograms is None else packed(relative(histograms[source.classes])),
        "layers": [_layer(source, layer, pictured) for layer in source.layers],
        "pairs": [
            {**p._asdict(), "name": p.name, "words": p.words, "largest": data.largest_node_count(p)} for p in data.pairs
        ],
        "called": [[source.index_of_layer[c.layer], c.index, *data.called(c)] for c in data.named],
        "nearest": _nearest(source),
        "basis": "similarity by the graphs' channels" if data.counts_are_partial else "",
        "partial": data.counts_are_partial,
        "has": {
            "counts": bool(source.counts),
            "embedding": data.has("embedding"),
            "pictures": data.has("pictures"),
            "examples": source.examples,
            "predictions": data.has_predictions,
        },
        "untested": {p.name: why_untested(data, p) for p in data.pairs if evidence_of(data, p) is None},
        "why": {part: data.why_absent(part) for part in ABSENT},
        "used": _used(source),
        "quarters": sharing.quarters(source.counts, table["accuracy"]).to_dict("records"),
    }


def _run_facts(source: Source) -> list[tuple[str, str]]:
    some = f"{len(source.classes):,} of {source.data.n_classes:,}"
    is_whole = len(source.classes) == source.data.n_classes
    return [(name, some if name == "Classes" and not is_whole else value) for name, value in run_facts(source.data)]


def _layer(source: Source, layer: Layer, pictured: frozenset[Channel]) -> dict[str, Any]:
    return {
        "name": layer.name,
        "channels": layer.channels,
        "shown": layer in source.data.layers,
        "of_class": layer.of_class,
        "hidden": not layer.visible,
        "pictures": sorted(channel.index for channel in pictured if channel.layer == layer.name),
        "notes": notes_in_words(source.data.layer_graph, layer.name) if layer in source.data.layers else "",
    }


def _nearest(source: Source) -> list[int]:
    """Of each class the one most like it in the top layer; -1 where there is no other."""
    n = len(source.classes)
    if n < 2:
        return [-1] * n
    like = similarity(next(reversed(source.counts.values()))) if source.counts else np.ones((n, n))
    np.fill_diagonal(like, -1)
    return [int(c) for c in like.argmax(axis=1)]


def _used(source: Source) -> list[dict[str, Any]]:
    n_images = source.table["n_images"].to_numpy(np.int32)
    return [
        {"layer": name, "kind": kind, "channels": n}
        for name, counts in reversed(source.counts.items())
        for kind, n in sharing.used_kinds(usage(counts, n_images)).items()
    ]
