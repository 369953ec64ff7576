"""Explore: which classes are alike, what the network uses to recognise one, and how it connects."""

from functools import partial
from typing import Any

import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.evidence import marks_of
from dashboard.plain import notice
from dashboard.selection import STORED, VIEW, Selection
from dashboard.shown import (
    against,
    badge,
    channels,
    graphs,
    grouping,
    likeness,
    measures,
    oneclass,
    pairs,
    reselect,
    told,
)
from dashboard.shown.classtable import class_table
from dashboard.shown.sides import Side, sides
from dashboard.versus import Versus
from summit_dask.arrays.graph.attribution import ClassGraph, Marks
from summit_dask.facts.errors import SummitError
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import Pair

TOP = 5


def show() -> None:
    """The page."""
    data, wanted = session.opened()
    class_index = data.index_of[wanted.class_ or ""]
    left, right = st.columns([1, 2.75], gap="medium")
    # The graph goes out first: it is what one waits for.
    with right:
        both = _sides(data, wanted, class_index)
        with st.container(horizontal=True, vertical_alignment="center"):
            _header(data, wanted, class_index, both)
            versus = against.button(both is not None)
            pair = measures.choose(data, wanted)
            reselect.controls(data, wanted)
        graph = both[0].graph if both else _own_graph(data, wanted, class_index, pair)
        identity = f"{data.path} {data.stamp} {class_index} {wanted.how} {pair.name} {wanted.vs or ''}"
        if graph is not None:
            drawn = _pair(data, wanted, both) if both else _alone(data, wanted, class_index, graph)
            identity = f"{identity} {_unheld(drawn)}"
            _graph(data, wanted, drawn, identity)
    with left:
        grouping.choose(data, wanted)
        if not grouping.is_on(wanted):
            _classes(data, wanted, class_index)
    with versus:
        against.choices(data, wanted, class_index)
    with right:
        if graph is not None:
            _extras(data, wanted, class_index, graph, identity, both, drawn)
        if not grouping.is_on(wanted):
            _top_channels(data, class_index)
    # Takes seconds when a store's channels are first correlated, so that all else is on the page by then.
    if graph is not None and wanted.communities != "off":
        components.extras("communities", {"id": identity, "together": told.communities(data, drawn)})


def _sides(data: StoreData, wanted: Selection, class_index: int) -> tuple[Side, Side] | None:
    """What is compared; None where the class stands alone, or where it has to, which is said on the page."""
    if wanted.vs is None:
        return None
    try:
        if grouping.is_on(wanted):
            return grouping.sides(data, wanted.vs, measures.shown(data, wanted), wanted.how)
        return sides(data, wanted, wanted.vs, class_index)
    except SummitError as error:
        notice(str(error))
        return None


def _header(data: StoreData, wanted: Selection, class_index: int, both: tuple[Side, Side] | None) -> None:
    more = against.facts(*both) if both else []
    if grouping.is_on(wanted):
        grouping.header(wanted, more)
        if both:
            grouping.remarks(data, wanted)
    else:
        oneclass.header(data, class_index, more)


def _own_graph(data: StoreData, wanted: Selection, class_index: int, pair: Pair) -> ClassGraph | None:
    """The class's; none where groups of images were to be shown and can't be."""
    return None if grouping.is_on(wanted) else reselect.graph(data, class_index, wanted.how, pair)


def _classes(data: StoreData, wanted: Selection, class_index: int) -> None:
    folders = data.classes["folder"]
    other = data.index_of[wanted.vs.name] if wanted.vs and wanted.vs.kind == "class" else None
    components.classes(
        "classes",
        {**class_table(data, wanted, class_index), "against": other},
        on_select=lambda c: session.change(class_=folders.iloc[int(c)], vs=_kept(wanted.vs, folders.iloc[int(c)])),
        on_versus=lambda c: session.change(vs=Versus("class", folders.iloc[int(c)])),
        on_layer=lambda layer: session.change(layer=str(layer)),
        on_list=lambda given: session.change(sort=given["sort"], search=given["search"]),
    )


def _kept(vs: Versus | None, folder: str) -> Versus | None:
    """What another class is held against: what the last one was, but for some images of that one, and for itself."""
    is_bound = vs is not None and vs.kind in ("images", "strategy")
    return None if vs and (is_bound or vs == Versus("class", folder)) else vs


def _graph(data: StoreData, wanted: Selection, drawn: dict[str, Any], identity: str) -> None:
    pinned = wanted.pinned
    given = {
        **drawn,
        "id": identity,
        "view": wanted.view,
        "pins": True,
        "pinned": pinned and {"layer": pinned.layer, "channel": pinned.index},
        "edge": [{"layer": end.layer, "channel": end.index} for end in wanted.edge],
        "leaves_out": data.can_reselect,
        "communities": data.why_no_communities,
    }
    components.graph("graph", given, _pin, _view, partial(_open, data), _leave_out, _choose, _show_class, _compare)


def _unheld(drawn: dict[str, Any]) -> str:
    """The pinned channel where no graph holds it, as it has a place in the drawing for that reason alone."""
    nodes = [n for row in drawn["rows"] for n in row["nodes"]]
    return ",".join(f"{n}" for n in nodes if drawn["nodes"][n]["absent"])


def _alone(data: StoreData, wanted: Selection, class_index: int, graph: ClassGraph) -> dict[str, Any]:
    badge.show(data, wanted, class_index)
    facts = data.facts(class_index)
    pair = measures.shown(data, wanted)
    before = None if wanted.how == STORED else data.graph(class_index, STORED, pair)
    marks = _marks(data, wanted, class_index)
    used = data.counts_with(class_index, wanted.how, pair).activation
    return {
        **graphs.drawing(data, graph, facts.n_images, facts.label, pair, marks, before, wanted.pinned, used),
        "title": f"Attribution graph of {facts.label}",
        "note": "" if len(graph.node_layer) else "This class's graph is empty: none of its counts can be ranked.",
    }


def _pair(data: StoreData, wanted: Selection, both: tuple[Side, Side]) -> dict[str, Any]:
    a, b = both
    empty = [side.label for side in both if not len(side.graph.node_layer)]
    return {
        **pairs.drawing(data, a, b, measures.shown(data, wanted), wanted.pinned),
        "title": f"Attribution graphs of {a.label} and {b.label}",
        "note": f"The graph of {' and that of '.join(empty)} is empty." if empty else "",
    }


def _marks(data: StoreData, wanted: Selection, class_index: int) -> Marks | None:
    """What evidence says of the graph's nodes and edges; of a graph that is selected again it knows nothing."""
    return marks_of(data, class_index, measures.shown(data, wanted)) if wanted.how == STORED else None


def _extras(
    data: StoreData,
    wanted: Selection,
    class_index: int,
    graph: ClassGraph,
    identity: str,
    both: tuple[Side, Side] | None,
    drawn: dict[str, Any],
) -> None:
    if wanted.pinned:
        components.extras("pinned", {"id": identity, "pinned": _pinned(data, wanted.pinned, wanted, graph, both)})
    components.extras("holders", {"id": identity, "holders": _holders(data, wanted, class_index, drawn)})
    if both:
        files = pairs.files(drawn)
    else:
        files = graphs.files(data, graph, data.facts(class_index).label, _marks(data, wanted, class_index))
    details = [*graphs.cards(data, graph), *(graphs.cards(data, both[1].graph) if both else [])]
    components.extras("cards", {"id": identity, "details": details, "files": files})


def _pinned(
    data: StoreData, channel: Channel, wanted: Selection, graph: ClassGraph, both: tuple[Side, Side] | None
) -> dict[str, Any]:
    found = graphs.details(data, channel)
    if both is not None:
        return {**found, **_of_side(data, both[0], channel, ""), **_of_side(data, both[1], channel, "_b")}
    class_index = data.index_of[wanted.class_ or ""]
    rows, note = graphs.sources(data, class_index, graph, channel, measures.shown(data, wanted))
    lowering = graphs.inhibitors(data, class_index, channel)
    return {**found, **_pictured(data, {"sources": rows, "lowering": lowering}), "note": note}


def _of_side(data: StoreData, side: Side, channel: Channel, end: str) -> dict[str, Any]:
    """What one side of a pair says of a channel, under names with an end."""
    rows, note = pairs.sources(data, side, channel)
    lowering = graphs.lowered_by(data, side.lowering(channel.layer), channel)
    return {**_pictured(data, {f"sources{end}": rows, f"lowering{end}": lowering}), f"note{end}": note}


def _pictured(data: StoreData, lists: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {name: graphs.with_pictures(data, rows) for name, rows in lists.items()}


def _holders(data: StoreData, wanted: Selection, class_index: int, drawn: dict[str, Any]) -> dict[str, Any] | None:
    """The classes beside those shown that hold the drawing's edges; of groups of images, all classes."""
    other = data.index_of[wanted.vs.name] if wanted.vs and wanted.vs.kind == "class" else class_index
    own = () if grouping.is_on(wanted) else (class_index, other)
    return told.holders(data, drawn, measures.shown(data, wanted), own)


def _pin(node: Any) -> None:
    session.change(pinned=_channel(node) if node else None, edge=())


def _choose(ends: Any) -> None:
    session.change(edge=tuple(map(_channel, ends)), pinned=None)


def _channel(node: Any) -> Channel:
    return Channel(str(node["layer"]), int(node["channel"]))


def _show_class(folder: Any) -> None:
    session.change(class_=str(folder), vs=_kept(session.selection().vs, str(folder)))


def _compare(folder: Any) -> None:
    session.change(vs=Versus("class", str(folder)))


def _leave_out(node: Any) -> None:
    reselect.leave_out(_channel(node))


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
