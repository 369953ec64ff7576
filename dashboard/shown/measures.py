"""What the graphs on a page are measured by: a choice among the pairs that the store has graphs of."""

import streamlit as st

from dashboard import session
from dashboard.data import StoreData
from dashboard.selection import Selection
from summit_dask.facts.pairs import Pair

#: What each measure says, for whoever chooses.
MEANINGS = {
    "activation": "how strongly a channel fires",
    "relevance": "what a channel does to the class's own output",
    "influence": "what a channel can pass on at best, anywhere in the image",
    "contribution": "what a channel adds where the one above it fires most",
}


def shown(data: StoreData, wanted: Selection) -> Pair:
    """The pair that is shown."""
    return wanted.pair or data.usual_pair


def choose(data: StoreData, wanted: Selection) -> Pair:
    """The pair that is shown; the choice is there only where the store has graphs of several."""
    pair = shown(data, wanted)
    if len(data.pairs) > 1:
        label = f"{pair.nodes.capitalize()}, {pair.edges}"
        with st.popover(label, help="What the graph's nodes and edges are measured by"):
            _choice(data, pair)
    return pair


def _choice(data: StoreData, pair: Pair) -> None:
    st.session_state["measures"] = pair
    st.radio(
        "What the graph is measured by",
        data.pairs,
        key="measures",
        label_visibility="collapsed",
        format_func=lambda pair: pair.words.capitalize(),
        on_change=lambda: session.change(pair=st.session_state["measures"]),
    )
    measures = dict.fromkeys(measure for known in data.pairs for measure in known)
    st.caption("; ".join(f"{measure}: {MEANINGS[measure]}" for measure in measures).capitalize() + ".")
