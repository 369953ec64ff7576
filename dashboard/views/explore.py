"""Explore: which classes are alike, what the network uses to recognise one, and how it connects."""

from functools import partial
from typing import Any

import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.evidence import marks_of
from dashboard.selection import STORED, VIEW, Selection
from dashboard.shown import badge, channels, graphs, likeness, measures, oneclass, reselect
from dashboard.shown.classtable import class_table
from summit_dask.arrays.graph.attribution import ClassGraph, Marks
from summit_dask.facts.layergraph import Channel

TOP = 5


def show() -> None:
    """The page."""
    data, wanted = session.opened()
    class_index = data.index_of[wanted.class_ or ""]
    left, right = st.columns([1, 2.75], gap="medium")
    # The graph goes out first: it is what one waits for.
    with right:
        with st.container(horizontal=True, vertical_alignment="center"):
            oneclass.header(data, class_index)
            pair = measures.choose(data, wanted)
            reselect.controls(data, wanted)
        graph = reselect.graph(data, class_index, wanted.how, pair)
        identity = f"{data.path} {data.stamp} {class_index} {wanted.how} {pair.name}"
        if graph is not None:
            badge.show(data, wanted, class_index)
            components.graph(
                "graph", _drawing(data, wanted, class_index, graph, identity), _pin, _view, partial(_open, data)
            )
    with left:
        _classes(data, wanted, class_index)
    with right:
        if graph is not None:
            _extras(data, wanted, class_index, graph, identity)
        _top_channels(data, class_index)


def _classes(data: StoreData, wanted: Selection, class_index: int) -> None:
    folders = data.classes["folder"]
    components.classes(
        "classes",
        class_table(data, wanted, class_index),
        on_select=lambda c: session.change(class_=folders.iloc[int(c)], pinned=None),
        on_layer=lambda layer: session.change(layer=str(layer)),
        on_list=lambda given: session.change(sort=given["sort"], search=given["search"]),
    )


def _drawing(data: StoreData, wanted: Selection, class_index: int, graph: ClassGraph, identity: str) -> dict[str, Any]:
    facts = data.facts(class_index)
    pinned = wanted.pinned
    pair = measures.shown(data, wanted)
    return {
        **graphs.drawing(data, graph, facts.n_images, facts.label, pair, _marks(data, wanted, class_index)),
        "id": identity,
        "title": f"Attribution graph of {facts.label}",
        "view": wanted.view,
        "pins": True,
        "pinned": pinned and {"layer": pinned.layer, "channel": pinned.index},
        "note": "" if len(graph.node_layer) else "This class's graph is empty: none of its counts can be ranked.",
    }


def _marks(data: StoreData, wanted: Selection, class_index: int) -> Marks | None:
    """What evidence says of the graph's nodes and edges; of a graph that is selected again it knows nothing."""
    return marks_of(data, class_index, measures.shown(data, wanted)) if wanted.how == STORED else None


def _extras(data: StoreData, wanted: Selection, class_index: int, graph: ClassGraph, identity: str) -> None:
    if wanted.pinned:
        rows, note = graphs.sources(data, class_index, graph, wanted.pinned, measures.shown(data, wanted))
        pinned = {**graphs.details(data, wanted.pinned), "sources": rows, "note": note}
        pinned["lowering"] = graphs.inhibitors(data, class_index, wanted.pinned)
        components.extras("pinned", {"id": identity, "pinned": pinned})
    files = graphs.files(data, graph, data.facts(class_index).label, _marks(data, wanted, class_index))
    components.extras("cards", {"id": identity, "details": graphs.cards(data, graph), "files": files})


def _pin(node: Any) -> None:
    session.change(pinned=Channel(str(node["layer"]), int(node["channel"])) if node else None)


def _view(view: Any) -> None:
    session.change(**{name: view[name] for name in VIEW})


def _open(data: StoreData, node: Any) -> None:
    """A channel's own page; that of the class for the class itself."""
    if data.layer_graph.layer(str(node["layer"])).of_class:
        session.go("classes")
    else:
        session.go("channel", layer=str(node["layer"]), channel=int(node["channel"]))


def _top_channels(data: StoreData, class_index: int) -> None:
    counts_of = {layer.name: data.counts(layer.name) for layer in reversed(data.layers)}
    rows = {name: counts[class_index] for name, counts in counts_of.items() if counts is not None}
    if not rows:
        return
    best = {name: likeness.largest(row, TOP) for name, row in rows.items()}
    charts = {name: channels.bars_of(rows[name], best[name]) for name in rows}
    full = max(data.facts(class_index).n_images, *(int(row.max(initial=1)) for row in rows.values()))

    def opened(layer: str, k: int) -> None:
        session.go("channel", layer=layer, channel=best[layer][k])

    st.subheader("Channels that most images of this class use", anchor=False)
    components.bars("top channels", charts, full, opened)
