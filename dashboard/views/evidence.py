"""Evidence: what the network loses without a class's graph, how stable the graph is, and how all classes compare."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.evidence import Evidence, evidence_of, why_untested
from dashboard.plain import heading
from dashboard.selection import Selection
from dashboard.shown import badge, figures, measures, oneclass, proof, proofwords
from dashboard.shown.graphs import node_picture
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import Pair

#: Small charts beside each other.
COLUMNS = 5

#: Channels of a gallery.
MOST_CHANNELS = 24


def show() -> None:
    """The page."""
    data, wanted = session.opened()
    st.header("Evidence: do the graphs hold when the network is touched?", anchor=False)
    class_index = data.index_of[wanted.class_ or ""]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        oneclass.choose(data, "evidence class", wanted.class_)
        pair = measures.choose(data, wanted)
    evidence = evidence_of(data, pair)
    if evidence is None:
        st.info(why_untested(data, pair))
    else:
        _one_class(evidence, class_index)
        _all_classes(evidence, class_index)
    _two_measures(data, wanted, class_index)


# One class


def _one_class(evidence: Evidence, index: int) -> None:
    heading(f"Without the channels of {evidence.data.facts(index).label}")
    if not evidence.share("necessity", index, "graph").is_known:
        st.text(proofwords.UNTESTED)
        return
    st.caption(badge.sentence(evidence, index), help=badge.meaning(evidence, index))
    left, right = st.columns(2, gap="large")
    with left:
        _necessity(evidence, index)
    with right:
        _by_layer(evidence, index)
    _sufficiency(evidence, index)
    _truth(evidence, index)


def _necessity(evidence: Evidence, index: int) -> None:
    st.subheader("Is it these channels that matter?", anchor=False, help=f"{badge.MARGIN}\n\n{badge.HALVES}")
    title = "share of the margin that is lost without them"
    st.altair_chart(figures.intervals(proof.choices(evidence, index), title, "Necessity of the graph and of others"))
    st.caption(proofwords.necessity(evidence, index))
    if elsewhere := proofwords.elsewhere(evidence, index):
        st.caption(elsewhere)


def _by_layer(evidence: Evidence, index: int) -> None:
    st.subheader("In which layer?", anchor=False)
    title = "share that is lost"
    st.altair_chart(figures.layered_intervals(proof.by_layer(evidence, index), title, "Necessity layer by layer"))
    st.caption(proofwords.by_layer(evidence, index))


def _sufficiency(evidence: Evidence, index: int) -> None:
    st.subheader("How few channels of a layer are enough?", anchor=False)
    st.caption(proofwords.SUFFICIENCY)
    table = proof.sufficiency(evidence, index)
    st.altair_chart(
        figures.curves(table, COLUMNS, "Share of the margin that a part of each layer's channels brings back")
    )


def _truth(evidence: Evidence, index: int) -> None:
    table = proof.truth(evidence, index)
    if table.empty:
        return
    st.subheader("Are a channel's strongest sources its true ones?", anchor=False)
    st.caption(proofwords.TRUTH)
    left, right = st.columns(2, gap="large")
    for column, name, title in ((left, "value", "capture, single images"), (right, "class_capture", "capture, class")):
        with column:
            shown = table.dropna(subset=[name])[["layer", "measure", name, "rank_correlation", "n_targets"]]
            shown = shown.rename(
                columns={name: "capture", "rank_correlation": "rank correlation", "n_targets": "tested"}
            )
            st.altair_chart(figures.lines(shown, "layer", "capture", "measure", title, f"Truth of sources: {title}"))
    st.caption(proofwords.truth(table))


# All classes


def _all_classes(evidence: Evidence, index: int) -> None:
    table = proof.of_all(evidence.data, evidence.pair)
    if table.empty:
        return
    _scatter(evidence, table, index)
    _weakest(evidence, table, index)


def _scatter(evidence: Evidence, table: pd.DataFrame, index: int) -> None:
    st.subheader("All classes: how necessary, how specific", anchor=False)
    shown = table.assign(chosen=table["index"] == index).sort_values("chosen", kind="stable")
    key = f"classes {index} {evidence.pair.name}"
    folders = evidence.data.classes["folder"]

    def chosen() -> None:
        points = st.session_state[key].selection["classes"]
        if points:
            session.change(class_=str(folders.iloc[int(points[0]["index"])]))

    chart = figures.all_classes(shown, "Necessity of each class's graph, and how much more than another's")
    st.altair_chart(chart, key=key, on_select=chosen)
    st.caption(proofwords.ALL_CLASSES)


def _weakest(evidence: Evidence, table: pd.DataFrame, index: int) -> None:
    st.subheader("The weakest classes", anchor=False)
    st.caption(proofwords.WEAKEST)
    columns = st.columns(len(proof.WEAKNESSES), gap="medium")
    for column, name in zip(columns, proof.WEAKNESSES, strict=True):
        with column:
            _weakest_by(evidence, name, table, index)


def _weakest_by(evidence: Evidence, name: str, table: pd.DataFrame, index: int) -> None:
    weak = proof.weakest(table, name)
    title, _ = proof.WEAKNESSES[name]
    key = f"weakest {name} {index} {evidence.pair.name}"
    shown = weak[["class", name, "images"]].assign(**{name: _readable(weak, name)})
    st.dataframe(
        shown.rename(columns={"class": title, name: name.replace("_", "-"), "images": "images tested"}),
        hide_index=True,
        height="content",
        key=key,
        on_select=partial(_row_chosen, key, evidence.data.classes["folder"].iloc[weak["index"]].tolist()),
        selection_mode="single-row",
    )


def _readable(table: pd.DataFrame, name: str) -> list[str]:
    """P-values as numbers, all others in per cent."""
    written = (lambda value: f"{value:.3f}") if name == "p_value" else badge.percent
    return [written(value) for value in table[name]]


def _row_chosen(key: str, folders: Sequence[str]) -> None:
    rows = st.session_state[key].selection["rows"]
    if rows:
        session.change(class_=folders[rows[0]])


# Two measures


def _two_measures(data: StoreData, wanted: Selection, index: int) -> None:
    """The graphs of all pairs of measures; nothing where the store has but one."""
    if len(data.pairs) < 2:
        return
    heading(f"{data.facts(index).label} by each pair of measures")
    table = proof.side_by_side(data, index)
    shares = [name for name in table.columns if name not in ("graph", "channels")]
    readable = {name: table[name].map(badge.percent) for name in shares}
    st.dataframe(table.assign(**readable), hide_index=True, height="content", column_config=_columns())
    shown = measures.shown(data, wanted)
    for other in data.pairs:
        if other != shown:
            _compared(data, index, shown, other)


def _columns() -> dict[str, Any]:
    """What each column of the table of pairs says, for whoever points at its title."""
    lost = "share of the margin that is lost without"
    return {
        "channels": st.column_config.NumberColumn(help="channels of the graph"),
        "graph": st.column_config.TextColumn(help="what nodes and edges are measured by"),
    } | {
        name: st.column_config.TextColumn(help=text)
        for name, text in {
            "necessity": f"{lost} the graph's channels; –: not tested",
            "random": f"{lost} as many random channels",
            "most active": f"{lost} as many of the most active channels",
            "specificity": "how much more is lost than without the nearest class's graph",
            "stability": "mean Jaccard index of the nodes with those of resampled sets of images",
        }.items()
    }


def _compared(data: StoreData, index: int, shown: Pair, other: Pair) -> None:
    own, others = (proof.channels_of(data, index, pair) for pair in (shown, other))
    n_shared = len(set(own) & set(others))
    channels = "1 channel is" if n_shared == 1 else f"{n_shared} channels are"
    st.text(f"{channels} in both graphs: that with {shown.words}, and that with {other.words}.")
    left, right = st.columns(2, gap="large")
    for column, pair, mine, theirs in ((left, shown, own, others), (right, other, others, own)):
        with column:
            _only(data, pair, other, [channel for channel in mine if channel not in set(theirs)])


def _only(data: StoreData, pair: Pair, other: Pair, channels: Sequence[Channel]) -> None:
    """Channels that one graph alone holds, highest score first; a click opens one."""
    st.caption(f"{len(channels)} only with {pair.words}")
    items = [
        components.Item(
            node_picture(data, channel),
            f"channel {channel.index}",
            channel.layer,
            f"Channel {channel.index} of {channel.layer}",
            True,
        )
        for channel in channels[:MOST_CHANNELS]
    ]

    def opened(k: Any) -> None:
        session.go("channel", layer=channels[int(k)].layer, channel=channels[int(k)].index, pair=pair)

    if items:
        components.gallery(f"only {pair.words} beside {other.words}", f"Only with {pair.words}", items, 84, opened)
    if len(channels) > MOST_CHANNELS:
        st.caption(f"The {MOST_CHANNELS} of highest score.")
