"""The classes as the embedding and the list show them."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.data import HISTOGRAM_BINS, StoreData
from dashboard.kept import kept_with_store
from dashboard.selection import Selection


def class_table(data: StoreData, wanted: Selection, class_index: int) -> dict[str, Any]:
    """All classes, where the layer's embedding has them, and their similarity to one class there."""
    layer = wanted.layer or data.layers[-1].name
    positions = data.embedding(layer)
    similarity = data.similarity(layer, class_index)
    return {
        **_unchanging(data),
        "layer": layer,
        "places": None if positions is None else packed(positions.astype(np.float32)),
        "similarity": None if similarity is None else packed(similarity.astype(np.float32)),
        "selected": class_index,
        "sort": wanted.sort if similarity is not None or wanted.sort != "similarity" else "name",
        "search": wanted.search,
        "basis": "similarity by the graphs' channels" if data.counts_are_partial else "",
        "why": {"places": data.why_absent("embedding"), "similarity": data.why_absent("matrices")},
    }


@kept_with_store(1)
def _unchanging(data: StoreData) -> dict[str, Any]:
    return {
        "store": f"{data.path} {data.stamp}",
        "names": data.classes["label"].tolist(),
        "accuracy": packed(data.classes["accuracy"].to_numpy(np.float32)),
        "images": packed(data.classes["n_images"].to_numpy(np.int32)),
        "bins": HISTOGRAM_BINS,
        "histograms": None if data.histograms is None else packed(relative(data.histograms)),
        "layers": [known.name for known in data.layers],
    }


def relative(histograms: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Heights from 0 to 255, the fullest bin of each class being 255, (class, bin)."""
    fullest = np.maximum(histograms.max(axis=1, keepdims=True), 1)
    return np.asarray(np.ceil(255 * histograms / fullest), np.uint8)


def packed(values: NDArray[Any]) -> dict[str, str]:
    """An array's dtype and bytes, for the browser (C order, little-endian)."""
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    return {"dtype": str(values.dtype), "base64": base64.b64encode(little.tobytes()).decode()}


def narrow(counts: NDArray[Any]) -> NDArray[Any]:
    """Counts in as few bytes as the largest one needs."""
    largest = int(counts.max(initial=0))
    return counts.astype(np.uint8 if largest < 2**8 else np.uint16 if largest < 2**16 else np.int32)
