"""One channel: what it looks for, which classes use it, what it is made of and what it feeds."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.selection import Selection
from dashboard.shown import channels, figures, images, likeness
from dashboard.shown.graphs import node_picture, sources
from summit_dask.facts.layergraph import Channel

MOST_CLASSES, MOST_ALIKE, BINS = 20, 12, 40


def show() -> None:
    """The page."""
    data, wanted = session.opened()
    channel = _choose(data, wanted)
    place = data.place_of[wanted.class_ or ""]
    users = channels.classes_using(data, channel)
    _heading(data, channel, users)
    left, right = st.columns([1.15, 1], gap="large")
    with left:
        _pictures(data, channel)
        _examples(data, channel)
        _alike(data, channel)
    with right:
        _users(data, channel, users)
        _neighbours(data, channel, place, wanted.alone)
        _distribution(data, channel, place)


def _choose(data: StoreData, wanted: Selection) -> Channel:
    names = [layer.name for layer in data.layers]
    layer = data.layer_graph.layer(wanted.layer or names[-1])
    index = _usual(data, wanted, layer.name) if wanted.channel is None else min(wanted.channel, layer.channels - 1)
    if wanted.channel is not None and wanted.channel != index:
        has = f"{layer.name} has the channels 0 to {layer.channels - 1}"
        session.notice(f"{has}; channel {wanted.channel} does not exist. This is channel {index}.")
    st.session_state.update({"channel layer": layer.name, "channel index": index})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Layer", names, key="channel layer", width=260, on_change=_layer_chosen)
        st.number_input("Channel", 0, layer.channels - 1, key="channel index", width=180, on_change=_channel_chosen)
    return Channel(layer.name, index)


def _usual(data: StoreData, wanted: Selection, layer: str) -> int:
    """The channel that the class's images use most; the first where that isn't known."""
    counts = data.counts(layer)
    return 0 if counts is None else int(counts[data.place_of[wanted.class_ or ""]].argmax())


def _layer_chosen() -> None:
    session.change(layer=st.session_state["channel layer"], channel=None)


def _channel_chosen() -> None:
    # The layer too: it may have been the usual one, which the address doesn't name.
    session.change(layer=st.session_state["channel layer"], channel=int(st.session_state["channel index"]))


def _heading(data: StoreData, channel: Channel, users: pd.DataFrame) -> None:
    reason = next(
        (
            exclusion.reason
            for exclusion in data.options.excluded
            if exclusion.layer == channel.layer and channel.index in exclusion.channels
        ),
        None,
    )
    facts = [("Used by", f"{len(users)} of {data.n_classes} classes"), ("Images", f"{int(users['count'].sum()):,}")]
    note = f"This channel was left out of the counts: {reason}" if reason is not None else ""
    components.facts("channel heading", f"{channel.layer} · channel {channel.index}", facts, note=note)
    if data.counts_are_partial:
        st.caption("Of the counts, this store holds those of the classes' graphs alone.")


def _pictures(data: StoreData, channel: Channel) -> None:
    components.facts("pictures heading", "What it looks for")
    found = channels.pictures(data, channel)
    name = f"channel {channel.index} of {channel.layer}"
    items = [components.Item(url, kind, "", f"Picture of {name}: {kind}") for kind, url in found]
    if items:
        components.gallery("pictures", "Pictures of the channel", items, 150)
    else:
        st.caption(data.why_absent("pictures") if not data.has("pictures") else "No picture was made of this channel.")


def _examples(data: StoreData, channel: Channel) -> None:
    components.facts("examples heading", "Images that excite it most")
    found = channels.examples(data, channel)
    if not found:
        st.caption(data.why_absent("examples"))
        return
    items = [
        components.Item(e["picture"], e["title"], e["text"], f"Example: {e['title']}", e["image"] is not None)
        for e in found
    ]
    of_image = data.read("images/class_index")
    folders = data.classes["folder"]

    def opened(k: Any) -> None:
        session.go("classes", class_=folders.iloc[int(of_image[found[int(k)]["image"]])])

    components.gallery("examples", "Examples", items, 112, opened)


def _alike(data: StoreData, channel: Channel) -> None:
    components.facts("alike heading", "Channels used by the same classes")
    counts = data.counts(channel.layer)
    if counts is None:
        st.caption(data.why_absent("matrices"))
        return
    like = likeness.like_channel(counts, channel.index)
    best = likeness.largest(like, MOST_ALIKE, lambda k: k != channel.index)
    found = [Channel(channel.layer, k) for k in best]
    _channel_gallery(data, "alike", found, [f"similarity {like[k]:.2f}" for k in best])


def _channel_gallery(data: StoreData, key: str, found: list[Channel], texts: list[str]) -> None:
    items = [
        components.Item(node_picture(data, c), f"channel {c.index}", text, f"Channel {c.index} of {c.layer}", True)
        for c, text in zip(found, texts, strict=True)
    ]

    def opened(k: Any) -> None:
        session.change(layer=found[int(k)].layer, channel=found[int(k)].index)

    if items:
        components.gallery(key, key, items, 84, opened)
    else:
        st.caption("None.")


def _users(data: StoreData, channel: Channel, users: pd.DataFrame) -> None:
    components.facts("users heading", "Classes that use it most", note="A click opens the graph of the class.")
    if users.empty:
        st.caption("No class uses this channel.")
        return
    most = users.head(MOST_CLASSES)
    columns = (most["label"].tolist(), most["count"].tolist(), most["images"].tolist())
    bars = [
        components.Bar(label, count, f"{label}: {count:,}{f' of {images:,}' if images else ''} images use it")
        for label, count, images in zip(*columns, strict=True)
    ]
    folders = data.classes["folder"].to_numpy()[most["place"].to_numpy()]

    def opened(_: str, k: int) -> None:
        session.go("explore", class_=str(folders[k]), pinned=channel)

    components.bars("users", {"": bars}, float(most["count"].max()), opened, wide=True)


def _neighbours(data: StoreData, channel: Channel, place: int, alone: bool) -> None:
    if not data.has("graphs"):
        return
    components.facts("neighbours heading", "What it is made of, and what it feeds")
    _whose_graphs(data, place, alone)
    for is_source, name in ((True, "Strongest sources"), (False, "Strongest targets")):
        found = channels.neighbours(data, channel, is_source, place if alone else None)
        st.caption(f"{name}, in {found['layer'].iloc[0]}" if len(found) else name)
        texts = [
            f"{i:,} images" if alone else f"{i:,} images\n{c} class{'es' if c > 1 else ''}"
            for i, c in zip(found["influence"], found["classes"], strict=True)
        ]
        pairs = [Channel(layer, int(index)) for layer, index in zip(found["layer"], found["channel"], strict=True)]
        _channel_gallery(data, name, pairs, texts)
    if alone:
        _all_sources(data, channel, place)


def _whose_graphs(data: StoreData, place: int, alone: bool) -> None:
    st.session_state["one class"] = alone
    st.toggle(
        "In the graph of the selected class alone",
        key="one class",
        on_change=lambda: session.change(alone=st.session_state["one class"]),
    )
    if alone:
        st.text(f"Class: {data.facts(place).label}")


def _all_sources(data: StoreData, channel: Channel, place: int) -> None:
    graph = data.graph(place)
    if graph is None:
        return
    rows, note = sources(data, place, graph, channel)
    table = pd.DataFrame(rows, columns=["layer", "channel", "influence", "hidden", "through"])
    table["through"] = [t and f"{t['layer']} {t['channel']}" for t in table["through"]]
    st.caption(f"Strongest sources, whether or not they are in the graph. {note}")
    st.dataframe(table.drop(columns="hidden"), hide_index=True)


def _distribution(data: StoreData, channel: Channel, place: int) -> None:
    components.facts("distribution heading", "How strongly images excite it")
    if not data.has("activations", channel.layer):
        st.caption(data.why_absent("activations"))
        return
    everything, own = images.channel_values(data, channel, place)
    if not len(everything):
        st.caption("No image was read yet.")
        return
    edges = np.histogram_bin_edges(np.concatenate([everything, own]), BINS)
    parts = [
        pd.DataFrame({"value": edges[:-1], "share": np.histogram(v, edges)[0] / len(v), "images": name})
        for name, v in (("all images", everything), (data.facts(place).label, own))
        if len(v)
    ]
    st.altair_chart(figures.distribution(pd.concat(parts), "Share of images per range of the channel's activation"))
