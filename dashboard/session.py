"""Between a page and its visitor: the store that is open, and the selection in the address."""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.navigation.page import Page

from dashboard.data import StoreData, open_data
from dashboard.selection import Selection
from summit_dask.store.places import stores_in


def folder() -> Path:
    """What the server was started with: a store, or a folder of stores."""
    return _resolved(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SUMMIT_DASK_STORE", ""))


@cache
def _resolved(given: str) -> Path:
    return Path(given).expanduser().resolve() if given else Path.cwd()


def selection() -> Selection:
    """What the address says."""
    return Selection.from_query({name: st.query_params.get_all(name) for name in st.query_params})


def show(wanted: Selection) -> None:
    """Put a selection into the address; the page follows with the next run of the script."""
    query = wanted.to_query()
    if query != {name: st.query_params.get_all(name) for name in st.query_params}:
        st.query_params.from_dict(query)


def change(**changes: Any) -> None:
    """Change some fields of the selection in the address."""
    show(selection().but(**changes))


def chosen_store() -> Path | None:
    """The store that the address names, or the only one there is; None where there is a choice.

    Raises
    ------
    StoreError
        If there is no store at all.
    """
    stores = stores_in(folder())
    if len(stores) == 1:
        return stores[0]
    return next((path for path in stores if path.name == selection().store), None)


def opened() -> tuple[StoreData, Selection]:
    """The open store and what is shown of it; says on the page what the address names in vain."""
    path = chosen_store()
    assert path is not None, "app.py runs a page only once a store is chosen"
    data = open_data(path)
    wanted, missing = selection().within(data)
    for sentence in [*missing, data.why_outdated()]:
        if sentence:
            notice(sentence)
    return data, wanted


def notice(sentence: str) -> None:
    """A sentence that may hold names from outside, hence as plain text."""
    with st.container(border=True):
        st.text(sentence)


def page(name: str) -> Page:
    """A page, for links."""
    found: Page = st.session_state["pages"][name]
    return found


def go(name: str, **changes: Any) -> None:
    """Go to another page with some fields changed, before the next run of the page. For callbacks."""
    st.session_state["go"] = (name, selection().but(**changes))


def follow() -> None:
    """Go where a callback asked to."""
    if asked := st.session_state.pop("go", None):
        open_page(*asked)


def open_page(name: str, wanted: Selection) -> None:
    """Go to another page. Not for callbacks: Streamlit allows it in a page's own run alone."""
    st.switch_page(page(name), query_params=wanted.to_query())
