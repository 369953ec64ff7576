"""Between a page and its visitor: the store that is open, and the selection in the address."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.navigation.page import Page

from dashboard.data import StoreData, open_data
from dashboard.plain import notice
from dashboard.selection import STORED, Selection
from dashboard.versus import Versus
from summit_dask.facts.errors import StoreError
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.location import OPTIONS_VARIABLE, Location, parsed_options, use_storage_options
from summit_dask.store.places import stores_in
from summit_dask.store.store import located


def folder() -> Location:
    """What the server was started with: a store, or a folder of stores; here or at an address.

    Raises
    ------
    StoreError
        If it begins with ~, and there is no home folder; or nothing known leads to its address.
    """
    return _resolved(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SUMMIT_DASK_STORE", ""))


@cache
def _resolved(given: str) -> Location:
    if options := os.environ.get(OPTIONS_VARIABLE):
        use_storage_options(parsed_options(options))
    place = located(given) if given else Path.cwd()
    try:
        return place.expanduser().resolve() if isinstance(place, Path) else place
    except RuntimeError as error:
        raise StoreError(f"{given}: this user has no home folder for ~ to stand for. Give the whole path.") from error


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


def chosen_store() -> Location | None:
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
    wanted, missing = within(selection(), data)
    for sentence in [*missing, data.why_outdated(), _why_changed(data), _why_unsettled(data)]:
        if sentence:
            notice(sentence)
    return data, wanted


def _why_changed(data: StoreData) -> str:
    """What became of the store since this visitor's last look at it; empty for nothing."""
    before = st.session_state.get("seen")
    st.session_state["seen"] = data.path, data.origin, data.stamp
    if before is None or before[0] != data.path or before[2] == data.stamp:
        return ""
    if before[1] != data.origin:
        return "Another store was put in the place of the one that was shown here; this is the new one."
    return "This store has changed since it was last shown here; this is what it holds now."


def _why_unsettled(data: StoreData) -> str:
    if data.store.is_consolidated:
        return ""
    return (
        "This store is being changed, or what changed it was stopped: it may lack what it will have. The page Run "
        "tells what is done."
    )


def within(wanted: Selection, data: StoreData) -> tuple[Selection, list[str]]:
    """A selection as far as it exists in a store, the first class and top layer where none is said.

    Returns
    -------
    Selection
        `class_` and `layer` are set.
    list
        A sentence for each thing that the address names and the store lacks.
    """
    missing: list[str] = []
    sizes = {layer.name: layer.channels for layer in data.layers}
    changes: dict[str, Any] = {}
    if wanted.class_ not in data.index_of:
        first = data.facts(0)
        changes["class_"] = first.folder
        missing += [f"There is no class {wanted.class_!r} in this store; this is {first.label}."] * bool(wanted.class_)
    if wanted.layer not in sizes:
        top = data.layers[-1].name
        changes["layer"] = top
        missing += [f"There is no layer {wanted.layer!r} in this store; this is {top}."] * bool(wanted.layer)
    if wanted.pair and wanted.pair not in data.pairs:
        changes["pair"] = None
        usual = data.usual_pair.words
        missing.append(f"This store has no graphs with {wanted.pair.words}; these are with {usual}.")
    if why := _why_not_against(wanted.vs, data):
        changes["vs"] = None
        missing.append(why)
    nodes = {layer.name: layer.channels for layer in data.layer_graph.visible}
    if wanted.pinned and not _exists(wanted.pinned, nodes):
        changes["pinned"] = None
    if len(wanted.edge) != 2 or not all(_exists(channel, nodes) for channel in wanted.edge):
        changes["edge"] = ()
    if wanted.communities != "off" and (why := data.why_no_communities):
        changes["communities"] = "off"
        missing.append(f"Channels that fire together can't be shown. {why}")
    left_out = tuple(channel for channel in wanted.how.left_out if _exists(channel, sizes))
    changes["how"] = replace(wanted.how, left_out=left_out)
    if changes["how"] != STORED and not data.can_reselect:
        changes["how"] = STORED
        missing.append(f"The address asks for another selection of the graph. {data.why_absent('matrices')}")
    return wanted.but(**changes), missing


def _why_not_against(vs: Versus | None, data: StoreData) -> str:
    """Why a graph can't be held against something, as far as this store alone tells; empty if it can."""
    if vs and vs.kind == "class" and vs.name not in data.index_of:
        return f"There is no class {vs.name!r} in this store to compare with; the class is shown alone."
    if vs and vs.images and vs.images[-1] >= data.store.header.n_images:
        n_images = data.store.header.n_images
        return f"The address compares with image {vs.images[-1]}; this store has the images 0 to {n_images - 1}."
    return ""


def _exists(channel: Channel, sizes: Mapping[str, int]) -> bool:
    return channel.index < sizes.get(channel.layer, 0)


def page(name: str) -> Page:
    """A page, for links."""
    result: Page = st.session_state["pages"][name]
    return result


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
