"""What the graphs on a page are measured by: a choice among the pairs that the store has graphs of."""

import streamlit as st

from dashboard import session
from dashboard.data import StoreData
from dashboard.selection import Selection
from summit_dask.facts.pairs import Pair


def shown(data: StoreData, wanted: Selection) -> Pair:
    """The pair that is shown."""
    return wanted.pair or data.usual_pair


def choose(data: StoreData, wanted: Selection) -> Pair:
    """The pair that is shown; the choice is there only where the store has graphs of several."""
    pair = shown(data, wanted)
    if len(data.pairs) > 1:
        st.session_state["measures"] = pair
        st.selectbox(
            "What the graph is measured by",
            data.pairs,
            key="measures",
            width=330,
            label_visibility="collapsed",
            format_func=lambda pair: pair.words.capitalize(),
            on_change=lambda: session.change(pair=st.session_state["measures"]),
        )
    return pair
