"""Selecting a class's graph again: with another share of the scores, another mass, other channels left out."""

from dataclasses import replace
from typing import Any

import streamlit as st

from dashboard import session
from dashboard.data import StoreData
from dashboard.plain import notice
from dashboard.selection import SHARES, STORED, Reselection, Selection
from dashboard.shown import measures
from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.errors import SummitError
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import Pair


def graph(data: StoreData, class_index: int, how: Reselection, pair: Pair) -> ClassGraph | None:
    """The class's graph of a pair of measures; says on the page why there is none."""
    if how == STORED and not data.has("graphs"):
        st.info(data.why_absent("graphs"))
        return None
    try:
        return data.graph(class_index, how, pair)
    except SummitError as error:
        notice(str(error))
        return None


def controls(data: StoreData, wanted: Selection) -> None:
    """A button that opens the options; they are disabled, with the reason, where the store lacks what they need."""
    changed = wanted.how != STORED
    with st.popover("Selection •" if changed else "Selection", help="How the graph's channels are selected"):
        _options(data, wanted.how, measures.shown(data, wanted))
        if changed and st.button("As stored"):
            session.change(how=STORED)
            st.rerun()


def _options(data: StoreData, how: Reselection, pair: Pair) -> None:
    reason = None if data.can_reselect else data.why_absent("matrices")
    _slider("p", "Share of a layer's scores to select first (p)", how.p or data.options.p, reason)
    no_mass = reason or (None if data.has(f"{pair.nodes}s") else data.why_absent("activations"))
    mass = how.mass or data.options.mass
    _slider("mass", "Share of an image's activation that makes a channel used (mass)", mass, no_mass)
    _excluded(data, how, reason)
    for sentence in dict.fromkeys(filter(None, [reason, no_mass])):
        st.caption(sentence)


def _slider(name: str, label: str, value: float, reason: str | None) -> None:
    key = f"reselect {name}"
    least, most = SHARES
    st.session_state[key] = round(min(max(value, least), most), 3)

    def changed() -> None:
        _change(**{name: st.session_state[key]})

    st.slider(label, least, most, step=0.005, format="%.3f", key=key, disabled=bool(reason), on_change=changed)


def _excluded(data: StoreData, how: Reselection, reason: str | None) -> None:
    own = data.options.excluded_by_layer()
    if own:
        st.session_state["reselect keep"] = how.keep_excluded
        listed = "; ".join(f"{layer} {', '.join(map(str, channels))}" for layer, channels in own.items())
        st.toggle(
            "Let the channels that the run excluded take part",
            key="reselect keep",
            disabled=bool(reason),
            on_change=lambda: _change(keep_excluded=st.session_state["reselect keep"]),
        )
        st.text(f"Excluded: {listed}")
    with st.form("leave out", border=False):
        layer = st.selectbox("Leave out a channel of", [known.name for known in data.layers], disabled=bool(reason))
        channel = st.number_input("Channel", 0, step=1, disabled=bool(reason))
        if st.form_submit_button("Leave it out", disabled=bool(reason)) and layer is not None:
            _leave_out(data, Channel(layer, int(channel)))
    for left_out in how.left_out:
        _left_out(how, left_out)


def _left_out(how: Reselection, channel: Channel) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(f"{channel.layer} · channel {channel.index} is left out")
        if st.button("Take it back", key=f"back {channel.layer} {channel.index}"):
            _change(left_out=tuple(other for other in how.left_out if other != channel))
            st.rerun()


def _leave_out(data: StoreData, channel: Channel) -> None:
    size = data.layer_graph.layer(channel.layer).channels
    if channel.index >= size:
        notice(f"{channel.layer} has the channels 0 to {size - 1}.")
        return
    leave_out(channel)
    st.rerun()


def leave_out(channel: Channel) -> None:
    """Leave a channel out besides those that are already."""
    left_out = session.selection().how.left_out
    _change(left_out=tuple(dict.fromkeys((*left_out, channel))))


def _change(**changes: Any) -> None:
    session.change(how=replace(session.selection().how, **changes))
