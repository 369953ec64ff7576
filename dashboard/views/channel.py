"""One channel: what it looks for, which classes use it, what it is made of and what it feeds."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.plain import layer_notes, notice
from dashboard.selection import STORED, Selection
from dashboard.shown import channels, figures, images, likeness, measures, naming, networks
from dashboard.shown.channels import counted_classes
from dashboard.shown.examples import shown_examples
from dashboard.shown.graphs import data_url, inhibitors, node_picture, sources
from summit_dask.facts import wording
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import Pair

MOST_CLASSES = 20
MOST_ALIKE = 12
BINS = 40
OUTLINED = (
    "The line runs where the channel is at half of its maximum: inside it fires. Below: how strongly, where in the "
    "whole picture, and in how much of it. Point at a picture to see it without the line."
)


def show() -> None:
    """The page."""
    data, wanted = session.opened()
    channel = _choose(data, wanted)
    class_index = data.index_of[wanted.class_ or ""]
    users = channels.classes_using(data, channel)
    _heading(data, channel, users)
    left, right = st.columns([1.15, 1], gap="large")
    with left:
        _pictures(data, channel)
        _examples(data, channel)
        _alike(data, channel)
        networks.matches(data, wanted, channel)
    with right:
        _users(data, channel, users)
        _neighbours(data, channel, class_index, wanted)
        _distribution(data, channel, class_index)


def _choose(data: StoreData, wanted: Selection) -> Channel:
    names = [layer.name for layer in data.layers]
    layer = data.layer_graph.layer(wanted.layer or names[-1])
    index = _usual(data, wanted, layer.name) if wanted.channel is None else min(wanted.channel, layer.channels - 1)
    if wanted.channel is not None and wanted.channel != index:
        has = f"{layer.name} has the channels 0 to {layer.channels - 1}"
        notice(f"{has}; channel {wanted.channel} does not exist. This is channel {index}.")
    st.session_state.update({"channel layer": layer.name, "channel index": index})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Layer", names, key="channel layer", width=260, on_change=_layer_chosen)
        st.number_input("Channel", 0, layer.channels - 1, key="channel index", width=180, on_change=_channel_chosen)
        naming.controls(data, Channel(layer.name, index))
    return Channel(layer.name, index)


def _usual(data: StoreData, wanted: Selection, layer: str) -> int:
    """The channel that the class's images use most; the first where that isn't known."""
    counts = data.counts(layer)
    return 0 if counts is None else int(counts[data.index_of[wanted.class_ or ""]].argmax())


def _layer_chosen() -> None:
    session.change(layer=st.session_state["channel layer"], channel=None)


def _channel_chosen() -> None:
    # The layer too: it may have been the usual one, which the address doesn't name.
    session.change(layer=st.session_state["channel layer"], channel=int(st.session_state["channel index"]))


def _heading(data: StoreData, channel: Channel, users: pd.DataFrame) -> None:
    facts = [
        ("Used by", f"{len(users):,} of {counted_classes(data.n_classes)}"),
        ("Images", f"{int(users['count'].sum()):,}"),
    ]
    reasons = [
        exclusion.reason
        for exclusion in data.options.excluded
        if exclusion.layer == channel.layer and channel.index in exclusion.channels
    ]
    note = f"This channel was left out of the counts: {'; '.join(reasons)}" if reasons else ""
    called = data.called(channel)
    title = f"{channel.layer} · channel {channel.index}{called.name and f' · {called.name}'}"
    components.facts("channel heading", title, facts, note="\n".join(filter(None, (called.note, note))))
    layer_notes(data.layer_graph, channel.layer)
    if data.counts_are_partial:
        st.caption("Of the counts, this store holds those of the classes' graphs alone.")


def _pictures(data: StoreData, channel: Channel) -> None:
    st.subheader("What it looks for", anchor=False)
    name = f"channel {channel.index} of {channel.layer}"
    made = channels.pictures(data, channel)
    items = [components.Item(url, kind, "", f"Picture of {name}: {kind}") for kind, url in made]
    if items:
        components.gallery("pictures", "Pictures of the channel", items, 150)
    else:
        st.caption(data.why_absent("pictures") if not data.has("pictures") else "No picture was made of this channel.")


def _examples(data: StoreData, channel: Channel) -> None:
    st.subheader("Images that excite it most", anchor=False)
    examples = shown_examples(data, channel)
    if not examples:
        st.caption(data.why_absent("examples"))
        return
    if any(example.fires for example in examples):
        st.caption(OUTLINED)
    items = [
        components.Item(
            picture=data_url(e.picture) if e.picture else None,
            title=e.title,
            text=e.text,
            alt=f"Example: {e.title}",
            open=e.image is not None,
            fires=e.fires,
        )
        for e in examples
    ]
    of_image = data.read("images/class_index")
    folders = data.classes["folder"]

    def opened(k: Any) -> None:
        session.go("classes", class_=folders.iloc[int(of_image[examples[int(k)].image])])

    components.gallery("examples", "Examples", items, 112, opened)


def _alike(data: StoreData, channel: Channel) -> None:
    st.subheader("Channels used by the same classes", anchor=False)
    counts = data.counts(channel.layer)
    if counts is None:
        st.caption(data.why_absent("matrices"))
        return
    like = likeness.like_channel(counts, channel.index)
    best = likeness.largest(like, MOST_ALIKE, lambda k: k != channel.index)
    shown = [Channel(channel.layer, k) for k in best]
    _channel_gallery(data, "alike", shown, [f"similarity {like[k]:.2f}" for k in best])


def _channel_gallery(data: StoreData, key: str, shown: list[Channel], texts: list[str]) -> None:
    items = [
        components.Item(node_picture(data, c), f"channel {c.index}", text, f"Channel {c.index} of {c.layer}", True)
        for c, text in zip(shown, texts, strict=True)
    ]

    def opened(k: Any) -> None:
        session.change(layer=shown[int(k)].layer, channel=shown[int(k)].index)

    if items:
        components.gallery(key, key, items, 84, opened)
    else:
        st.caption("None.")


def _users(data: StoreData, channel: Channel, users: pd.DataFrame) -> None:
    st.subheader("Classes that use it most", anchor=False)
    if users.empty:
        st.caption("No class uses this channel.")
        return
    st.caption("A click opens the graph of the class.")
    most = users.head(MOST_CLASSES)
    bars = [_user_bar(row) for row in most.itertuples()]
    folders = data.classes["folder"].to_numpy()[most["class_index"].to_numpy()]

    def opened(_: str, k: int) -> None:
        session.go("explore", class_=str(folders[k]), pinned=channel)

    components.bars("users", {"": bars}, float(most["count"].max()), opened, wide=True)


def _user_bar(row: Any) -> components.Bar:
    of = f"{row.count:,} of {wording.images(row.images)}" if row.images else wording.images(row.count)
    return components.Bar(row.label, row.count, f"{row.label}: {of} {'uses' if row.count == 1 else 'use'} it")


def _neighbours(data: StoreData, channel: Channel, class_index: int, wanted: Selection) -> None:
    if not data.has("graphs"):
        return
    st.subheader("What it is made of, and what it feeds", anchor=False)
    pair = measures.choose(data, wanted)
    alone = wanted.alone
    _whose_graphs(data, class_index, alone)
    for is_source, name in ((True, "Strongest sources"), (False, "Strongest targets")):
        strongest = channels.neighbours(data, channel, is_source, class_index if alone else None, pair=pair)
        st.caption(name)
        shown = [Channel(layer, int(k)) for layer, k in zip(strongest["layer"], strongest["channel"], strict=True)]
        counted = zip(strongest["layer"], strongest["influence"], strict=True)
        texts = [f"{layer}\n{wording.images(n)}" for layer, n in counted]
        if not alone:
            texts = [f"{text}\n{counted_classes(n)}" for text, n in zip(texts, strongest["classes"], strict=True)]
        _channel_gallery(data, name, shown, texts)
    if alone:
        _all_sources(data, channel, class_index, pair)


def _whose_graphs(data: StoreData, class_index: int, alone: bool) -> None:
    st.session_state["one class"] = alone
    st.toggle(
        "In the graph of the selected class alone",
        key="one class",
        on_change=lambda: session.change(alone=st.session_state["one class"]),
    )
    if alone:
        st.text(f"Class: {data.facts(class_index).label}")


def _all_sources(data: StoreData, channel: Channel, class_index: int, pair: Pair) -> None:
    graph = data.graph(class_index, STORED, pair)
    if graph is None:
        return
    rows, note = sources(data, class_index, graph, channel, pair)
    table = pd.DataFrame(rows, columns=["layer", "channel", "influence", "hidden", "through"])
    table["through"] = [t and f"{t['layer']} {t['channel']}" for t in table["through"]]
    st.caption(f"Strongest sources, whether or not they are in the graph. {note}")
    st.dataframe(table.drop(columns="hidden"), hide_index=True)
    if lowering := inhibitors(data, class_index, channel):
        st.caption("What lowers it most where it fires: images in which the source is among the most negative.")
        st.dataframe(pd.DataFrame(lowering)[["layer", "channel", "influence"]], hide_index=True)


def _distribution(data: StoreData, channel: Channel, class_index: int) -> None:
    st.subheader("How strongly images excite it", anchor=False)
    if not data.has("activations", channel.layer):
        st.caption(data.why_absent("activations"))
        return
    everything, own = images.channel_values(data, channel, class_index)
    if not len(everything):
        st.caption("No image was read yet.")
        return
    edges = np.histogram_bin_edges(np.concatenate([everything, own]), BINS)
    named = [("all images", everything), (data.facts(class_index).label, own)]
    parts = [
        pd.DataFrame({"value": edges[:-1], "share": np.histogram(values, edges)[0] / len(values), "images": name})
        for name, values in named
        if len(values)
    ]
    st.altair_chart(figures.distribution(pd.concat(parts), "Share of images per range of the channel's activation"))
