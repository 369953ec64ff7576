"""The dashboard: navigation, the choice of a store, and what to say when there is none."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData, open_data
from dashboard.selection import Selection
from dashboard.shown.about import run_facts
from dashboard.shown.fault import explained
from summit_dask.facts.errors import SummitError
from summit_dask.store.places import stores_in

PAGES = {
    "explore": "Explore",
    "channel": "Channel",
    "layers": "Layers",
    "classes": "Class",
    "evidence": "Evidence",
    "across": "Across",
    "run": "Run",
}

_STYLE = Path(__file__).with_name("style.css")


def main() -> None:
    """Show the chosen page of the chosen store, or what is in the way."""
    st.set_page_config(page_title="summit-dask", page_icon="🏔", layout="wide", initial_sidebar_state="collapsed")
    st.html(_STYLE)
    pages = {
        name: st.Page(_shower(name), title=title, default=name == "explore", url_path=name)
        for name, title in PAGES.items()
    }
    st.session_state["pages"] = pages
    chosen = st.navigation(list(pages.values()), position="hidden")
    with explained():
        path = session.chosen_store()
        if path is None:
            _choose_store()
            return
        session.follow()
        data = open_data(path)
        st.set_page_config(page_title=_title(data, chosen.title))
        _header(data)
        chosen.run()


def _shower(name: str) -> Callable[[], None]:
    # A page is imported when it is first shown: Altair, which Explore does without, takes half a second.
    return lambda: import_module(f"dashboard.views.{name}").show()


def _title(data: StoreData, page: str) -> str:
    """What a browser's tab is called: what the page is about, the page, and the store."""
    wanted, _ = session.within(session.selection(), data)
    label = data.facts(data.index_of[wanted.class_ or ""]).label
    if wanted.vs and wanted.vs.kind == "class":
        label = f"{label} vs {data.facts(data.index_of[wanted.vs.name]).label}"
    shown = label if page in ("Explore", "Class", "Evidence") else wanted.layer if page in ("Channel", "Layers") else ""
    channel = str(wanted.channel or 0) if page == "Channel" else ""
    return " · ".join(filter(None, [shown, channel, page, data.path.name]))


def _header(data: StoreData) -> None:
    wanted = session.selection()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="top"):
        components.facts("header", "Summit", run_facts(data), level=1)
        are_several = len(stores_in(session.folder())) > 1
        for name, title in PAGES.items():
            if name != "across" or are_several:
                st.page_link(session.page(name), label=title, query_params=wanted.to_query())
        if are_several:
            st.button("Stores", type="tertiary", on_click=lambda: session.show(Selection()))


def _choose_store() -> None:
    components.facts("header", "Summit", level=1, note="Several stores lie in this folder; choose one.")
    for path in stores_in(session.folder()):
        with st.container(border=True):
            try:
                data = open_data(path)
            except SummitError as error:
                components.facts(f"store {path.name}", path.name, note=f"Can't be shown: {error}")
                continue
            components.facts(f"store {path.name}", path.name, run_facts(data))
            # No link: one to the page that is shown already leaves the browser's address as it was.
            chosen = Selection(store=path.name)
            st.button("Explore this store", key=f"choose {path.name}", on_click=session.show, args=(chosen,))
