"""Explore: which classes are alike, what the network uses to recognise one, and how it connects."""

from typing import Any

import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.selection import Selection
from dashboard.shown import channels, graphs, likeness, reselect
from dashboard.shown.classtable import class_table, relative
from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.layergraph import Channel

TOP = 5


def show() -> None:
    """The page."""
    data, wanted = session.opened()
    place = data.place_of[wanted.class_ or ""]
    left, right = st.columns([1, 2.75], gap="medium")
    # The graph goes out first: it is what one waits for.
    with right:
        with st.container(horizontal=True, vertical_alignment="center"):
            class_facts(data, place)
            reselect.controls(data, wanted)
        graph = reselect.graph(data, place, wanted.how)
        identity = f"{data.path} {data.stamp} {place} {wanted.how}"
        if graph is not None:
            components.graph("graph", _drawing(data, wanted, place, graph, identity), _pin, _view, _open)
    with left:
        _classes(data, wanted, place)
    with right:
        if graph is not None:
            _extras(data, wanted, place, graph, identity)
        _top_channels(data, place)


def _classes(data: StoreData, wanted: Selection, place: int) -> None:
    folders = data.classes["folder"]
    components.classes(
        "classes",
        class_table(data, wanted, place),
        on_select=lambda c: session.change(class_=folders.iloc[int(c)], pinned=None),
        on_layer=lambda layer: session.change(layer=str(layer)),
        on_list=lambda given: session.change(sort=given["sort"], search=given["search"]),
    )


def class_facts(data: StoreData, place: int) -> None:
    """A class's name, accuracy and histogram."""
    facts = data.facts(place)
    accuracy = "–" if facts.accuracy is None else f"{facts.accuracy:.1%}"
    shown = [("Accuracy", accuracy), ("Images", f"{facts.n_images:,}" if facts.n_images else "–")]
    bars = None if data.histograms is None else relative(data.histograms[place : place + 1])[0] / 255
    histogram = None if bars is None else ("Probability, 0 to 1", bars.tolist())
    components.facts("class", facts.label, shown, histogram=histogram)


def _drawing(data: StoreData, wanted: Selection, place: int, graph: ClassGraph, identity: str) -> dict[str, Any]:
    facts, pinned = data.facts(place), wanted.pinned
    return {
        **graphs.drawing(data, graph, facts.n_images),
        "id": identity,
        "title": f"Attribution graph of {facts.label}",
        "view": {name: getattr(wanted, name) for name in ("least_count", "width", "height", "scale")},
        "pins": True,
        "pinned": pinned and {"layer": pinned.layer, "channel": pinned.index},
        "note": "" if len(graph.node_layer) else "This class's graph is empty: none of its counts can be ranked.",
    }


def _extras(data: StoreData, wanted: Selection, place: int, graph: ClassGraph, identity: str) -> None:
    if wanted.pinned:
        rows, note = graphs.sources(data, place, graph, wanted.pinned)
        pinned = {**graphs.details(data, wanted.pinned), "sources": rows, "note": note}
        components.extras("pinned", {"id": identity, "pinned": pinned})
    cards, files = graphs.cards(data, graph), graphs.files(data, graph)
    components.extras("cards", {"id": identity, "details": cards, "files": files})


def _pin(node: Any) -> None:
    session.change(pinned=Channel(str(node["layer"]), int(node["channel"])) if node else None)


def _view(view: Any) -> None:
    names = ("least_count", "width", "height", "scale")
    session.change(**{name: view[name] for name in names})


def _open(node: Any) -> None:
    session.go("channel", layer=str(node["layer"]), channel=int(node["channel"]))


def _top_channels(data: StoreData, place: int) -> None:
    found = {layer.name: data.counts(layer.name) for layer in reversed(data.layers)}
    rows = {name: counts[place] for name, counts in found.items() if counts is not None}
    if not rows:
        return
    best = {name: likeness.largest(row, TOP) for name, row in rows.items()}
    charts = {name: channels.bars_of(rows[name], best[name]) for name in rows}
    full = max(data.facts(place).n_images, *(int(row.max(initial=1)) for row in rows.values()))

    def opened(layer: str, k: int) -> None:
        session.go("channel", layer=layer, channel=best[layer][k])

    components.facts("top heading", "Channels that most images of this class use")
    components.bars("top channels", charts, full, opened)
