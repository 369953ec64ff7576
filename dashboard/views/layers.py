"""Layers: how the classes share a layer's channels, and what changes from layer to layer."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.plain import heading, layer_notes
from dashboard.selection import Selection
from dashboard.shown import channels, figures, likeness, networks, oneclass, sharing, together
from dashboard.shown.channels import counted_classes
from dashboard.shown.classtable import narrow, packed
from dashboard.shown.graphs import node_picture
from summit_dask.arrays.usage import Usage, most_shared, most_specific, usage
from summit_dask.facts.layergraph import Channel

TOP = 10
ALIKE = 5


def show() -> None:
    """The page."""
    data, wanted = session.opened()
    st.header("Layers: how classes share channels", anchor=False)
    class_index = data.index_of[wanted.class_ or ""]
    layer = _choose(data, wanted)
    layer_notes(data.layer_graph, layer)
    counts = data.counts(layer)
    if counts is None:
        st.info(data.why_absent("matrices"))
        return
    if data.counts_are_partial:
        st.caption(
            "Of the counts, this store holds those of the classes' graphs alone; other channels count as unused."
        )
    _top(data, layer, counts, class_index)
    left, right = st.columns(2, gap="large")
    with left:
        _used(data)
    with right:
        _users(data, layer)
    _shared(data, layer, counts)
    together.fires_together(data, layer)
    _heatmap(data, layer, counts)
    _changes(data, layer, class_index)
    networks.alike_layers(data, wanted)


def _choose(data: StoreData, wanted: Selection) -> str:
    names = [layer.name for layer in data.layers]
    st.session_state["layers layer"] = wanted.layer
    with st.container(horizontal=True):
        st.selectbox(
            "Layer",
            names,
            key="layers layer",
            width=260,
            on_change=lambda: session.change(layer=st.session_state["layers layer"]),
        )
        oneclass.choose(data, "layers class", wanted.class_)
    return wanted.layer or names[-1]


def _top(data: StoreData, layer: str, counts: Any, class_index: int) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        heading(f"Most used for {data.facts(class_index).label}")
        _top_bars(layer, "top of class", counts[class_index])
    with right:
        st.subheader("Most used over all classes", anchor=False)
        _top_bars(layer, "top of all", counts.sum(axis=0))


def _top_bars(layer: str, key: str, values: Any) -> None:
    best = likeness.largest(values, TOP)

    def opened(_: str, k: int) -> None:
        session.go("channel", layer=layer, channel=best[k])

    if best:
        components.bars(key, {"": channels.bars_of(values, best)}, float(values.max()), opened, wide=True)
    else:
        st.caption("None.")


def _used(data: StoreData) -> None:
    st.subheader("How many channels are used at all", anchor=False)
    known = [layer for layer in reversed(data.layers) if data.counts(layer.name) is not None]
    rows = [
        {"layer": layer.name, "kind": kind, "channels": n, "order": k}
        for layer in known
        for k, (kind, n) in enumerate(sharing.used_kinds(_usage(data, layer.name)).items())
    ]
    st.altair_chart(figures.stacked(pd.DataFrame(rows), "Channels of each layer that classes use"))


@kept_with_store(None)
def _usage(data: StoreData, layer: str) -> Usage:
    return usage(_counts(data, layer), data.classes["n_images"].to_numpy(np.int32))


def _counts(data: StoreData, layer: str) -> NDArray[np.int32]:
    counts = data.counts(layer)
    assert counts is not None, "asked for only where there are counts"
    return counts


def _users(data: StoreData, layer: str) -> None:
    st.subheader("How many classes share a channel", anchor=False)
    table = sharing.users(_usage(data, layer))
    st.altair_chart(figures.users(table, "Number of channels by how many classes use them"))


def _shared(data: StoreData, layer: str, counts: Any) -> None:
    use = _usage(data, layer)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Shared by most classes", anchor=False)
        shared = most_shared(use, TOP)
        _channels(data, layer, "shared", shared, [counted_classes(use.class_count[k]) for k in shared])
    with right:
        st.subheader("Most specific to few classes", anchor=False)
        specific = most_specific(use, TOP)
        most = data.classes["label"].to_numpy()[counts.argmax(axis=0)]
        texts = [f"{most[k]}\n{counted_classes(use.class_count[k])}" for k in specific]
        _channels(data, layer, "specific", specific, texts)


def _channels(data: StoreData, layer: str, key: str, shown: list[int], texts: list[str]) -> None:
    items = [
        components.Item(node_picture(data, Channel(layer, k)), f"channel {k}", text, f"Channel {k} of {layer}", True)
        for k, text in zip(shown, texts, strict=True)
    ]
    components.gallery(key, key, items, 84, lambda k: session.go("channel", layer=layer, channel=shown[int(k)]))


def _heatmap(data: StoreData, layer: str, counts: Any) -> None:
    heading(f"All classes and channels of {layer}")
    st.caption("Like classes and like channels stand together; a click opens the channel. Ctrl and the wheel zoom.")
    rows = _class_order(data, layer)
    columns = _channel_order(data, layer)
    used = counts[np.ix_(rows, columns)]

    def opened(cell: Any) -> None:
        session.go("channel", layer=layer, channel=int(columns[int(cell["column"])]))

    shown = {
        "label": f"Images of each class (rows) that use each channel of {layer} (columns)",
        "rows": data.classes["label"].to_numpy()[rows].tolist(),
        "columns": [str(k) for k in columns.tolist()],
        "column": "channel ",
        "values": packed(narrow(used)),
        "largest": max(1, int(used.max(initial=0))),
        "gamma": 0.5,  # a channel that few images use is seen too
        "unit": "image",
    }
    components.heatmap("heat", shown, opened)


@kept_with_store(32)
def _class_order(data: StoreData, layer: str) -> NDArray[np.int64]:
    """The classes, like ones together."""
    return likeness.clustered(_counts(data, layer))


@kept_with_store(32)
def _channel_order(data: StoreData, layer: str) -> NDArray[np.int64]:
    """The channels that any class uses, like ones together."""
    return sharing.channel_order(_counts(data, layer))


def _changes(data: StoreData, layer: str, class_index: int) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        _most_alike(data, layer, class_index)
    with right:
        _nearest(data)


def _most_alike(data: StoreData, layer: str, class_index: int) -> None:
    label = data.facts(class_index).label
    heading(f"The classes most like {label} in {layer}, in every layer")
    table = _alike(data, layer, class_index)
    if table.empty:
        st.caption("No other class uses any of its channels.")
        return
    title = f"Similarity to {label}"
    st.altair_chart(figures.lines(table, "layer", "similarity", "class", "similarity", title))


def _nearest(data: StoreData) -> None:
    st.subheader("Similarity to the nearest class, by accuracy", anchor=False)
    table = _quarters(data)
    if table.empty:
        st.caption("The accuracy of these classes isn't known.")
        return
    title = "Nearest class by accuracy"
    st.altair_chart(figures.lines(table, "layer", "similarity", "classes", "mean similarity", title))


def _alike(data: StoreData, layer: str, class_index: int) -> pd.DataFrame:
    similarity = {layer.name: data.similarity(layer.name, class_index) for layer in data.layers}
    known = {name: values for name, values in similarity.items() if values is not None}
    best = likeness.largest(known[layer], ALIKE, lambda k: k != class_index)
    labels = data.classes["label"]
    rows = [
        {"layer": name, "class": labels.iloc[k], "similarity": float(values[k])}
        for name, values in known.items()
        for k in best
    ]
    return pd.DataFrame(rows, columns=["layer", "class", "similarity"])


@kept_with_store(1)
def _quarters(data: StoreData) -> pd.DataFrame:
    """Mean similarity to the nearest class, per layer and quarter of the classes by accuracy."""
    known = [layer.name for layer in data.layers if data.counts(layer.name) is not None]
    return sharing.quarters({name: _counts(data, name) for name in known}, data.classes["accuracy"])
