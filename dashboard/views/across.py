"""Across: the classes of several stores of one layer graph, as of checkpoints, or of clean and shifted images."""

import re
from collections.abc import Hashable
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import session
from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.plain import heading, letters, notice, remark
from dashboard.selection import Selection
from dashboard.shown import beside, figures, oneclass
from dashboard.versus import Versus
from summit_dask.facts.errors import SummitError
from summit_dask.facts.location import Location
from summit_dask.store.evidence import group_of, is_tested
from summit_dask.store.places import stamp

#: Classes whose lines are drawn, at most: as many as there are colours.
MOST = len(figures.COLOURS)

#: What is followed, and how it is called.
MEASURES = {
    "similarity": "similarity to this store",
    "accuracy": "accuracy",
    "necessity": "necessity of the class's graph",
}

MEANING = (
    "Similarity: of how many images use each channel, as cosine, mean over the layers. Necessity: the share of the "
    "class's margin that is lost without its graph's channels, where a store has evidence."
)


def show() -> None:
    """The page."""
    data, wanted = session.opened()
    st.header("Across stores: how each class changes from store to store", anchor=False)
    names = _choose(data, wanted)
    if not names:
        st.info("There is no other store in this folder whose graphs can be held against this one's.")
        return
    try:
        table = _followed(data, names)
    except SummitError as error:
        notice(str(error))
        return
    class_index = data.index_of[wanted.class_ or ""]
    st.caption(MEANING)
    _one_class(data, table, class_index)
    charts = st.container()
    ticked = _all_classes(data, table)
    with charts:
        _lines(table, ticked or _first(data, table, class_index))


def _choose(data: StoreData, wanted: Selection) -> tuple[str, ...]:
    """The other stores, in the order asked for; all that can be held against this one where none is asked for."""
    known = sorted(beside.alike(data), key=_natural)
    st.session_state["across"] = [name for name in wanted.across if name in known]
    with st.container(horizontal=True):
        oneclass.choose(data, "across class", wanted.class_)
        st.multiselect(
            f"After {data.path.name}, in this order",
            known,
            key="across",
            placeholder="All stores of this network's layers",
            on_change=lambda: session.change(across=tuple(st.session_state["across"])),
        )
    for name, why in beside.unlike(data).items():
        if why:
            remark(f"Without {name}: {why}.")
    return tuple(st.session_state["across"]) or tuple(known)


def _natural(name: str) -> tuple[Any, ...]:
    """Numbers in names by their size: epoch-2 before epoch-10."""
    return tuple(int(part) if k % 2 else part for k, part in enumerate(re.split("([0-9]+)", name)))


def _followed(data: StoreData, names: tuple[str, ...]) -> pd.DataFrame:
    paths = beside.others(data)
    return _table(data, tuple((name, paths[name], stamp(paths[name])) for name in names))


@kept_with_store(4)
def _table(data: StoreData, stores: tuple[tuple[str, Location, tuple[Hashable, ...]], ...]) -> pd.DataFrame:
    """As `across`, with labels of the classes and names of the stores."""
    from summit_dask.questions.across import across_all

    opened = [data, *(StoreData(path) for _, path, _ in stores)]
    names = [data.path.name, *(name for name, _, _ in stores)]
    table = across_all([_source(own) for own in opened])
    labels = [data.facts(data.index_of[folder]).label for folder in table["class"]]
    return table.assign(store=[names[number] for number in table["store"]], folder=table["class"], **{"class": labels})


def _source(data: StoreData) -> Any:
    from summit_dask.questions.across import Source

    pair = data.options.pair
    return Source(data.store.read, data.layer_graph, group_of(pair) if is_tested(data.store, pair) else None)


def _known(table: pd.DataFrame) -> list[str]:
    """What any store tells."""
    return [name for name in MEASURES if table[name].notna().any()]


def _one_class(data: StoreData, table: pd.DataFrame, class_index: int) -> None:
    facts = data.facts(class_index)
    own = table[table["folder"] == facts.folder]
    heading(f"{facts.label} in each store")
    columns = {name: st.column_config.NumberColumn(title, format="%.2f") for name, title in MEASURES.items()}
    shown = own[["store", "n_images", *_known(table)]]
    st.dataframe(shown, hide_index=True, height="content", column_config={"n_images": "images", **columns})
    with st.container(horizontal=True, gap="small"):
        for name in own["store"][1:]:
            st.button(f"Compare with {letters(name)}", key=f"across {name}", on_click=_compare, args=(name,))


def _compare(name: str) -> None:
    session.go("explore", vs=Versus("store", name))


def _first(data: StoreData, table: pd.DataFrame, class_index: int) -> list[str]:
    """The class that is shown, and those that change most."""
    own = data.facts(class_index).folder
    least = table.groupby("folder", sort=False)["similarity"].min().sort_values(kind="stable").index
    return [own, *(folder for folder in least if folder != own)][:MOST]


def _lines(table: pd.DataFrame, folders: list[str]) -> None:
    place = {name: k for k, name in enumerate(dict.fromkeys(table["store"]))}
    rows = pd.concat([table[table["folder"] == folder] for folder in folders])
    rows = rows.sort_values("store", key=lambda names: names.map(place), kind="stable")
    known = _known(table)
    for column, name in zip(st.columns(len(known), gap="large"), known, strict=True):
        with column:
            drawn = rows[["store", "class", name]].dropna()
            st.altair_chart(figures.lines(drawn, "store", name, "class", MEASURES[name], f"{name} of classes by store"))


def _all_classes(data: StoreData, table: pd.DataFrame) -> list[str]:
    """A row a class, those first that change most; the folders of those that are ticked."""
    st.subheader("All classes, those that change most first", anchor=False)
    grouped = table.groupby("folder", sort=False)
    shown = pd.DataFrame({"class": grouped["class"].first(), "least": grouped["similarity"].min()})
    for name in _known(table):
        shown[name] = [own.dropna().tolist() for _, own in grouped[name]]
    shown = shown.sort_values("least", kind="stable")
    ends = {name: figures.reach(table[name]) for name in MEASURES}  # the same in all rows
    lines = {
        name: st.column_config.LineChartColumn(title, y_min=ends[name][0], y_max=ends[name][1])
        for name, title in MEASURES.items()
    }
    event: Any = st.dataframe(
        shown,
        hide_index=True,
        key="across classes",
        on_select="rerun",
        selection_mode="multi-row",
        column_config={**lines, "least": st.column_config.NumberColumn("least similarity", format="%.2f")},
    )
    st.caption(
        f"Ticked classes are drawn above, at most {MOST}; without any the chosen class and those that change most."
    )
    return [str(folder) for folder in shown.index[event.selection.rows]][:MOST]
