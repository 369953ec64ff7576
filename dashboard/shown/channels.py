"""What is known of a channel over all classes, and over the graphs of all classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.components import Bar
from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.shown.graphs import data_url, shrunk
from summit_dask.facts import wording
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import PAPERS, Pair

KINDS = {"channel": "the channel", "neuron": "its centre neuron", "negative": "against the channel"}


def classes_using(data: StoreData, channel: Channel) -> pd.DataFrame:
    """Classes by how many of their images use the channel, most first: class_index, label, count, images.

    Empty where nothing is known of the channel.
    """
    counts = data.counts(channel.layer)
    count = np.zeros(data.n_classes, np.int32) if counts is None else counts[:, channel.index]
    order = users_of(count)
    labels = data.classes["label"].to_numpy()[order]
    images = data.classes["n_images"].to_numpy()[order]
    return pd.DataFrame({"class_index": order, "label": labels, "count": count[order], "images": images})


def users_of(count: NDArray[Any]) -> NDArray[np.int64]:
    """Classes of which any image uses a channel, by how many do, most first; ties to the lower class."""
    order = np.argsort(-count, kind="stable")
    return np.asarray(order[count[order] > 0])


def neighbours(
    data: StoreData, channel: Channel, sources: bool, class_index: int | None, n: int = 8, pair: Pair = PAPERS
) -> pd.DataFrame:
    """Strongest sources (or targets) in the graphs of all classes, or of one: layer, channel, influence, classes.

    `influence` is summed over the classes whose graph holds the edge, `classes` is their number.
    """
    edges = _edges_of_all(data, pair) if class_index is None else summed_edges(data, pair, [class_index])
    own = "target" if sources else "source"
    layer = data.layer_graph.layers.index(data.layer_graph.layer(channel.layer))
    is_it = (edges[f"{own}_layer"] == layer) & (edges[f"{own}_channel"] == channel.index)
    result = strongest_neighbours(edges[is_it], sources, n)
    result["layer"] = [data.layer_graph.layers[int(k)].name for k in result["layer"]]
    return result[["layer", "channel", "influence", "classes"]].reset_index(drop=True)


def strongest_neighbours(edges: pd.DataFrame, sources: bool, n: int) -> pd.DataFrame:
    """The strongest sources (or targets) of each channel: own_layer, own_channel, layer, channel, influence, classes.

    Strongest first; ties to the lower channel, then the lower layer.

    Parameters
    ----------
    edges
        As `summed_edges` makes them.
    """
    own, other = ("target", "source") if sources else ("source", "target")
    names = {f"{own}_{part}": f"own_{part}" for part in ("layer", "channel")}
    names |= {f"{other}_{part}": part for part in ("layer", "channel")}
    table = edges.rename(columns=names).sort_values(["influence", "channel", "layer"], ascending=[False, True, True])
    result: pd.DataFrame = table.groupby(["own_layer", "own_channel"], sort=False).head(n)
    return result


@kept_with_store(4)
def _edges_of_all(data: StoreData, pair: Pair) -> pd.DataFrame:
    return summed_edges(data, pair, range(data.n_classes))


def summed_edges(data: StoreData, pair: Pair, classes: Sequence[int]) -> pd.DataFrame:
    """The edges of some classes' graphs, summed: source_layer, source_channel, target_layer, target_channel, influence,
    classes (how many have the edge). Layers as places in the layer graph.
    """
    ends = [f"{end}_{part}" for end in ("source", "target") for part in ("layer", "channel")]
    is_theirs = np.isin(data.read(f"{pair.group}/edge_class"), np.asarray(classes))
    table = pd.DataFrame({name: data.read(f"{pair.group}/edge_{name}")[is_theirs] for name in [*ends, "influence"]})
    return table.groupby(ends)["influence"].agg(influence="sum", classes="size").reset_index()


def pictures(data: StoreData, channel: Channel) -> list[tuple[str, str]]:
    """The made pictures of a channel as (what it shows, data URL), in the order of their kinds."""
    stored = data.pictures(channel)
    made = [kind for kind in stored if not kind.startswith("dataset-")]
    return [(kind_name(kind), data_url(shrunk(stored[kind], 256, 60_000))) for kind in made]


def bars_of(counts: NDArray[Any], channels: Sequence[int]) -> list[Bar]:
    """A bar for each of some channels, as long as the number of images that use it."""
    return [Bar(str(k), int(counts[k]), f"channel {k}, used by {wording.images(int(counts[k]))}") for k in channels]


def counted_classes(n: int) -> str:
    """A number of classes in words."""
    return wording.counted(int(n), "class", "classes")


def kind_name(kind: str) -> str:
    """A kind of picture in words."""
    return KINDS.get(kind) or f"version {int(kind.removeprefix('diversity-')) + 1}"
