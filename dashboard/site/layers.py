"""What belongs to a layer: its counts, where classes lie, which channels many share and which few."""

from typing import Any

import numpy as np

from dashboard.shown import likeness, sharing
from dashboard.shown.classtable import narrow, packed
from dashboard.shown.likeness import Matrix
from dashboard.site.files import deflated
from dashboard.site.source import Source
from summit_dask.arrays.usage import most_shared, most_specific, usage

TOP = 10


def layer_facts(source: Source, layer: str) -> dict[str, Any]:
    """The file of a layer."""
    places = source.data.embedding(layer)
    counts = source.counts.get(layer)
    return {
        "places": None if places is None else packed(places[source.classes].astype(np.float32)),
        "counts": None if counts is None else deflated(narrow(counts)),
        **({} if counts is None else _shared(source, counts)),
    }


def _shared(source: Source, counts: Matrix) -> dict[str, Any]:
    use = usage(counts, source.table["n_images"].to_numpy(np.int32))
    most = counts.argmax(axis=0)
    classes = use.class_count
    return {
        "rows": likeness.clustered(counts).tolist(),
        "columns": sharing.channel_order(counts).tolist(),
        "users": sharing.users(use).to_dict("records"),
        "shared": [[k, int(classes[k])] for k in most_shared(use, TOP)],
        "specific": [[k, int(classes[k]), int(most[k])] for k in most_specific(use, TOP)],
    }
