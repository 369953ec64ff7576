"""Layers: how the classes share a layer's channels, and what changes from layer to layer."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.selection import Selection
from dashboard.shown import channels, figures, likeness
from dashboard.shown.classtable import packed
from dashboard.shown.graphs import node_picture
from summit_dask.arrays.usage import N_TOP, Usage, most_shared, most_specific, usage
from summit_dask.facts.layergraph import Channel

TOP, ALIKE, QUARTERS, MOST_BINS = 10, 5, 4, 24


def show() -> None:
    """The page."""
    data, wanted = session.opened()
    components.facts("layers", "Layers: how classes share channels")
    place, layer = data.place_of[wanted.class_ or ""], _choose(data, wanted)
    counts = data.counts(layer)
    if counts is None:
        st.info(data.why_absent("matrices"))
        return
    if data.counts_are_partial:
        st.caption(
            "Of the counts, this store holds those of the classes' graphs alone; other channels count as unused."
        )
    _top(data, layer, counts, place)
    left, right = st.columns(2, gap="large")
    with left:
        _used(data)
    with right:
        _users(data, layer)
    _shared(data, layer, counts)
    _heatmap(data, layer, counts)
    _changes(data, layer, place)


def _choose(data: StoreData, wanted: Selection) -> str:
    names = [layer.name for layer in data.layers]
    folders = data.classes["folder"].tolist()
    st.session_state.update({"layers layer": wanted.layer, "layers class": wanted.class_})
    with st.container(horizontal=True):
        st.selectbox(
            "Layer",
            names,
            key="layers layer",
            width=260,
            on_change=lambda: session.change(layer=st.session_state["layers layer"]),
        )
        st.selectbox(
            "Class",
            folders,
            key="layers class",
            width=360,
            format_func=lambda folder: data.classes["label"].iloc[data.place_of[folder]],
            on_change=lambda: session.change(class_=st.session_state["layers class"]),
        )
    return wanted.layer or names[-1]


def _top(data: StoreData, layer: str, counts: Any, place: int) -> None:
    left, right = st.columns(2, gap="large")
    for column, title, key, values in (
        (left, f"Most used for {data.facts(place).label}", "top of class", counts[place]),
        (right, "Most used over all classes", "top of all", counts.sum(axis=0)),
    ):
        with column:
            _top_bars(layer, title, key, values)


def _top_bars(layer: str, title: str, key: str, values: Any) -> None:
    best = likeness.largest(values, TOP)

    def opened(_: str, k: int) -> None:
        session.go("channel", layer=layer, channel=best[k])

    components.facts(f"{key} heading", title)
    if best:
        components.bars(key, {"": channels.bars_of(values, best)}, float(values.max()), opened, wide=True)
    else:
        st.caption("None.")


def _used(data: StoreData) -> None:
    components.facts("used heading", "How many channels are used at all")
    rows = []
    for layer in reversed(data.layers):
        if data.counts(layer.name) is None:
            continue
        found = _usage(data, layer.name)
        used, strongest = int((found.class_count > 0).sum()), int((found.top_class_count > 0).sum())
        kinds = (
            (f"among the {N_TOP} strongest of a class", strongest),
            ("used by a class", used - strongest),
            ("used by none", layer.channels - used),
        )
        rows += [{"layer": layer.name, "kind": k, "channels": n, "order": o} for o, (k, n) in enumerate(kinds)]
    st.altair_chart(figures.stacked(pd.DataFrame(rows), "Channels of each layer that classes use"))


def _usage(data: StoreData, layer: str) -> Usage:
    counts = data.counts(layer)
    assert counts is not None, "asked for only where there are counts"
    return usage(counts, data.classes["n_images"].to_numpy(np.int32))


def _users(data: StoreData, layer: str) -> None:
    components.facts("users heading", "How many classes share a channel")
    classes = _usage(data, layer).class_count
    edges = np.unique(np.linspace(0, int(classes.max()) + 1, MOST_BINS + 1).astype(int))
    names = [str(a) if b - a == 1 else f"{a}–{b - 1}" for a, b in pairwise(edges.tolist())]
    table = pd.DataFrame({"classes": names, "channels": np.histogram(classes, edges)[0]})
    st.altair_chart(figures.users(table, "Number of channels by how many classes use them"))


def _shared(data: StoreData, layer: str, counts: Any) -> None:
    use = _usage(data, layer)
    shared = most_shared(use, TOP)
    specific = most_specific(use, TOP)
    most = data.classes["label"].to_numpy()[counts.argmax(axis=0)]
    left, right = st.columns(2, gap="large")
    with left:
        _channels(data, layer, "Shared by most classes", shared, [_classes(use.class_count[k]) for k in shared])
    with right:
        texts = [f"{most[k]}\n{_classes(use.class_count[k])}" for k in specific]
        _channels(data, layer, "Most specific to few classes", specific, texts)


def _classes(n: int) -> str:
    return "1 class" if n == 1 else f"{n} classes"


def _channels(data: StoreData, layer: str, title: str, found: list[int], texts: list[str]) -> None:
    components.facts(f"{title} heading", title)
    items = [
        components.Item(node_picture(data, Channel(layer, k)), f"channel {k}", text, f"Channel {k} of {layer}", True)
        for k, text in zip(found, texts, strict=True)
    ]
    components.gallery(title, title, items, 84, lambda k: session.go("channel", layer=layer, channel=found[int(k)]))


def _heatmap(data: StoreData, layer: str, counts: Any) -> None:
    components.facts(
        "heat heading",
        f"All classes and channels of {layer}",
        note="Like classes and like channels stand together; a click opens the channel.",
    )
    rows, columns = _orders(data, layer)
    used = counts[np.ix_(rows, columns)]
    largest = max(1, int(used.max(initial=0)))
    shade = np.ceil(255 * np.sqrt(used / largest)).astype(np.uint8)
    labels = data.classes["label"].to_numpy()[rows].tolist()

    def opened(cell: Any) -> None:
        session.go("channel", layer=layer, channel=int(columns[int(cell["column"])]))

    shown = {"label": f"Images of each class (rows) that use each channel of {layer} (columns)", "rows": labels}
    shown |= {"columns": columns.tolist(), "values": packed(shade), "largest": largest, "unit": "images"}
    components.heatmap("heat", shown, opened)


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs={StoreData: lambda data: (data.path, data.stamp)})
def _orders(data: StoreData, layer: str) -> tuple[Any, Any]:
    """Order of the classes, and of the channels that any class uses."""
    counts = data.counts(layer)
    assert counts is not None, "asked for only where there are counts"
    used = np.flatnonzero(counts.any(axis=0))
    return likeness.clustered(counts), used[likeness.clustered(counts[:, used].T)]


def _changes(data: StoreData, layer: str, place: int) -> None:
    left, right = st.columns(2, gap="large")
    label = data.facts(place).label
    with left:
        components.facts("alike heading", f"The classes most like {label} in {layer}, in every layer")
        st.altair_chart(
            figures.lines(
                _alike(data, layer, place), "layer", "similarity", "class", "similarity", f"Similarity to {label}"
            )
        )
    with right:
        components.facts("quarters heading", "Similarity to the nearest class, by accuracy")
        table = _quarters(data)
        if table.empty:
            st.caption("The accuracy of these classes isn't known.")
            return
        st.altair_chart(
            figures.lines(table, "layer", "similarity", "classes", "mean similarity", "Nearest class by accuracy")
        )


def _alike(data: StoreData, layer: str, place: int) -> pd.DataFrame:
    similarity = {layer.name: data.similarity(layer.name, place) for layer in data.layers}
    known = {name: values for name, values in similarity.items() if values is not None}
    best = likeness.largest(known[layer], ALIKE, lambda k: k != place)
    labels = data.classes["label"]
    rows = [
        {"layer": name, "class": labels.iloc[k], "similarity": float(values[k])}
        for name, values in known.items()
        for k in best
    ]
    return pd.DataFrame(rows, columns=["layer", "class", "similarity"])


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs={StoreData: lambda data: (data.path, data.stamp)})
def _quarters(data: StoreData) -> pd.DataFrame:
    """Mean similarity to the nearest class, per layer and quarter of the classes by accuracy."""
    accuracy = data.classes["accuracy"]
    if accuracy.notna().sum() < QUARTERS:
        return pd.DataFrame()
    quarter = np.minimum((accuracy.rank(method="first", pct=True) * QUARTERS - 1e-9).fillna(-1), QUARTERS - 1).astype(
        int
    )
    names = ["least accurate quarter", "second", "third", "most accurate quarter"]
    rows = []
    for layer in data.layers:
        counts = data.counts(layer.name)
        if counts is not None:
            near = likeness.nearest(counts)
            rows += [
                {"layer": layer.name, "classes": names[k], "similarity": float(np.nanmean(near[quarter == k]))}
                for k in range(QUARTERS)
            ]
    return pd.DataFrame(rows)
