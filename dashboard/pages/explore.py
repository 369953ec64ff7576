"""Explore: a class, what the network uses to recognise it, and how it connects."""

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import components, figures, session
from dashboard.data import StoreData
from dashboard.graphs import drawing
from dashboard.selection import Selection
from summit_dask.attribution import ClassGraph
from summit_dask.layergraph import Channel

TOP = 5


def main() -> None:
    """The page."""
    data, wanted = session.opened()
    place = data.place_of[wanted.class_ or ""]
    _choose(data, place)
    _facts(data, place)
    _graph(data, wanted, place)
    _top_channels(data, place)


def _choose(data: StoreData, place: int) -> None:
    folders = data.classes["folder"].tolist()
    st.session_state["class"] = folders[place]
    st.selectbox(
        "Class",
        folders,
        key="class",
        format_func=lambda folder: data.classes["label"][data.place_of[folder]],
        on_change=lambda: session.change(class_=st.session_state["class"], pinned=None),
    )


def _facts(data: StoreData, place: int) -> None:
    facts = data.facts(place)
    with st.container(horizontal=True):
        st.metric("Accuracy", "–" if facts.accuracy is None else f"{facts.accuracy:.1%}")
        st.metric("Images", facts.n_images or "–")


def _graph(data: StoreData, wanted: Selection, place: int) -> None:
    graph = data.graph(place, wanted.how)
    if graph is None:
        st.info(data.why_absent("graphs"))
        return
    components.graph("graph", _graph_data(data, wanted, place, graph), _pin, _view, _open)


def _graph_data(data: StoreData, wanted: Selection, place: int, graph: ClassGraph) -> dict[str, Any]:
    facts = data.facts(place)
    pinned = wanted.pinned
    return {
        **drawing(data, graph, facts.n_images),
        "id": f"{data.stamp} {place} {wanted.how}",
        "title": f"Attribution graph of {facts.label}",
        "view": {n: getattr(wanted, n) for n in ("least_count", "width", "height", "scale")},
        "pinned": pinned and {"layer": pinned.layer, "channel": pinned.index},
        "note": "" if len(graph.node_layer) else "This class's graph is empty: none of its counts can be ranked.",
    }


def _pin(node: Any) -> None:
    session.change(pinned=Channel(str(node["layer"]), int(node["channel"])) if node else None)


def _view(view: Any) -> None:
    session.change(**view)


def _open(node: Any) -> None:
    session.change(layer=node["layer"], channel=node["channel"])


def _top_channels(data: StoreData, place: int) -> None:
    rows = []
    for layer in reversed(data.layers):
        counts = data.counts(layer.name)
        if counts is None:
            st.info(data.why_absent("matrices"))
            return
        best = (-counts[place]).argsort(kind="stable")[:TOP]
        rows += [{"layer": layer.name, "channel": str(c), "count": int(counts[place, c])} for c in best]
    st.subheader("Channels that most images use")
    st.altair_chart(figures.top_channels(pd.DataFrame(rows), data.facts(place).n_images))


main()
