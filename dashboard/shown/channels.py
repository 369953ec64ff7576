"""What is known of a channel over all classes, and over the graphs of all classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.components import Bar
from dashboard.data import StoreData
from dashboard.shown.graphs import data_url, labelled_examples, shrunk
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import PAPERS, Pair

KINDS = {"channel": "the channel", "neuron": "its centre neuron", "negative": "against the channel"}


def classes_using(data: StoreData, channel: Channel) -> pd.DataFrame:
    """Classes by how many of their images use the channel, most first: class_index, label, count, images.

    Empty where nothing is known of the channel.
    """
    counts = data.counts(channel.layer)
    count = np.zeros(data.n_classes, np.int32) if counts is None else counts[:, channel.index]
    order = np.argsort(-count, kind="stable")
    order = order[count[order] > 0]
    labels = data.classes["label"].to_numpy()[order]
    images = data.classes["n_images"].to_numpy()[order]
    return pd.DataFrame({"class_index": order, "label": labels, "count": count[order], "images": images})


def neighbours(
    data: StoreData, channel: Channel, sources: bool, class_index: int | None, n: int = 8, pair: Pair = PAPERS
) -> pd.DataFrame:
    """Strongest sources (or targets) in the graphs of all classes, or of one: layer, channel, influence, classes.

    `influence` is summed over the classes whose graph holds the edge, `classes` is their number.
    """
    own, other = ("target", "source") if sources else ("source", "target")
    layer = data.layer_graph.layers.index(data.layer_graph.layer(channel.layer))
    edges = f"{pair.group}/edge"
    is_it = data.read(f"{edges}_{own}_layer") == layer
    is_it = is_it & (data.read(f"{edges}_{own}_channel") == channel.index)
    if class_index is not None:
        is_it = is_it & (data.read(f"{edges}_class") == class_index)
    columns = {name: data.read(f"{edges}_{other}_{name}")[is_it] for name in ("layer", "channel")}
    table = pd.DataFrame({**columns, "influence": data.read(f"{edges}_influence")[is_it]})
    result = table.groupby(["layer", "channel"])["influence"].agg(["sum", "size"]).reset_index()
    result.columns = pd.Index(["layer", "channel", "influence", "classes"])
    result["layer"] = [data.layer_graph.layers[int(k)].name for k in result["layer"]]
    return result.sort_values(["influence", "channel"], ascending=[False, True]).head(n).reset_index(drop=True)


def pictures(data: StoreData, channel: Channel) -> list[tuple[str, str]]:
    """The made pictures of a channel as (what it shows, data URL), in the order of their kinds."""
    stored = data.pictures(channel)
    made = [kind for kind in stored if not kind.startswith("dataset-")]
    return [(kind_name(kind), data_url(shrunk(stored[kind], 256, 60_000))) for kind in made]


def bars_of(counts: NDArray[Any], channels: Sequence[int]) -> list[Bar]:
    """A bar for each of some channels, as long as the number of images that use it."""
    return [Bar(str(k), int(counts[k]), f"channel {k}, used by {int(counts[k]):,} images") for k in channels]


def counted_classes(n: int) -> str:
    """A number of classes in words."""
    return "1 class" if n == 1 else f"{n:,} classes"


def kind_name(kind: str) -> str:
    """A kind of picture in words."""
    return KINDS.get(kind) or f"version {int(kind.removeprefix('diversity-')) + 1}"


def examples(data: StoreData, channel: Channel) -> list[dict[str, Any]]:
    """The images that excite a channel most: picture, title, text, and the image (None where it isn't known)."""
    stored = data.examples(channel)
    if not stored:
        labelled = labelled_examples(data, channel, data.pictures(channel))
        return [{"picture": data_url(p), "title": label, "text": "", "image": None} for label, p in labelled]
    return [
        {
            "picture": data_url(example.thumbnail) if example.thumbnail else None,
            "title": data.label_of_image(example.image),
            "text": f"{example.value:.3g}\n{_where(example.box)}",
            "image": example.image,
        }
        for example in stored
    ]


def _where(box: tuple[int, int, int, int]) -> str:
    top, left, bottom, right = box
    return f"x {left}–{right}, y {top}–{bottom}"
