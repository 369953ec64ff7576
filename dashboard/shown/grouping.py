"""Groups of all images in place of classes, two at a time: by prediction, right and wrong, or a manifest's column."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.plain import remark
from dashboard.selection import Reselection, Selection
from dashboard.shown import images, measures
from dashboard.shown.sides import Side, why_no_groups
from dashboard.versus import Versus
from summit_dask.facts.errors import StoreIncompleteError, SummitError
from summit_dask.facts.pairs import Pair

if TYPE_CHECKING:
    from summit_dask.questions.groupgraphs import GroupGraphs

#: Images up to which groups are counted when they are asked for; above it the store has to have their counts.
MOST_COUNTED = 20_000

NAMES = {"class": "Class", "predicted": "Predicted class", "correct": "Right and wrong"}


def is_on(wanted: Selection) -> bool:
    """Whether groups are shown."""
    return wanted.vs is not None and wanted.vs.kind == "groups"


def choose(data: StoreData, wanted: Selection) -> None:
    """By what images are grouped, and, where that isn't the class, the two groups."""
    if why_no_groups(data, measures.shown(data, wanted)):
        return
    column = wanted.vs.grouped[0] if wanted.vs and is_on(wanted) else "class"
    st.session_state["grouped by"] = column
    st.selectbox(
        "Grouped by",
        _columns(data),
        key="grouped by",
        format_func=lambda name: NAMES.get(name, name),
        on_change=lambda: _group(data, st.session_state["grouped by"]),
    )
    if wanted.vs and is_on(wanted):
        _choose_groups(data, wanted.vs)


def _columns(data: StoreData) -> list[str]:
    from summit_dask.store.groups import manifest_columns

    return [*NAMES, *manifest_columns(data.store)]


def _group(data: StoreData, column: str) -> None:
    """Show the first two groups; what makes no groups is told by the page."""
    try:
        names = [] if column == "class" else [*_groups(data, column).names]
    except SummitError:
        names = [""]
    session.change(vs=Versus.of_groups(column, names[0], names[1 % len(names)]) if names else None)


def _choose_groups(data: StoreData, vs: Versus) -> None:
    column, *chosen = vs.grouped
    try:
        groups = _groups(data, column)
    except SummitError:
        return  # said where the graph would be
    n_images = dict(zip(groups.names, groups.n_images.tolist(), strict=True))

    def changed() -> None:
        session.change(vs=Versus.of_groups(column, *(st.session_state[f"group {side}"] or "" for side in "AB")))

    for side, own in zip("AB", chosen, strict=True):
        st.session_state[f"group {side}"] = own if own in n_images else None
        st.selectbox(
            side,
            groups.names,
            key=f"group {side}",
            format_func=lambda name: f"{name} ({n_images[name]:,})",
            on_change=changed,
        )


@kept_with_store(8)
def _groups(data: StoreData, column: str) -> Any:
    from summit_dask.store.groups import groups_of_store

    return groups_of_store(data.store, column)


def header(wanted: Selection, more: list[tuple[str, str]]) -> None:
    """In place of a class's."""
    column = wanted.vs.grouped[0] if wanted.vs else ""
    components.facts("class", f"Images by {NAMES.get(column, column).lower()}", more)


def sides(data: StoreData, vs: Versus, pair: Pair, how: Reselection) -> tuple[Side, Side]:
    """The two groups.

    Raises
    ------
    SummitError
        If there is no such column or group, or its counts have to be made first; says what to do.
    """
    column, a, b = vs.grouped
    if why := why_no_groups(data, pair):
        raise StoreIncompleteError(why)
    return _side(data, column, a, pair, how), _side(data, column, b, pair, how)


@kept_with_store(16)
def _side(data: StoreData, column: str, name: str, pair: Pair, how: Reselection) -> Side:
    graphs = _graphs(data, column, pair, how)
    index = graphs.groups.find(name)
    if graphs.group is None and data.store.header.n_images > MOST_COUNTED:
        raise StoreIncompleteError(
            f"Counting {data.store.header.n_images:,} images by {column} takes a while; have the store keep the counts "
            f"with 'summit-dask reduce {data.path} --by {column}'."
        )
    counts = graphs.counts(name)
    graph = data.selected(counts, how)
    side = Side(name, name, graph, graph, counts, int(graphs.groups.n_images[index]))
    own = tuple(np.flatnonzero(graphs.groups.index == index).tolist())
    return side if len(own) > MOST_COUNTED else replace(side, lowering=partial(images.lowering_of, data, own))


def _graphs(data: StoreData, column: str, pair: Pair, how: Reselection) -> "GroupGraphs":
    from summit_dask.questions.groupgraphs import GroupGraphs
    from summit_dask.store.groups import counted_groups

    left_out = data.left_out(how)
    as_stored = how.mass is None and left_out == data.options.excluded_by_layer()
    stored = counted_groups(data.store).get(column) if as_stored else None
    options = data.options.replaced(**pair._asdict(), mass=how.mass or data.options.mass)
    groups = stored or _groups(data, column)
    return GroupGraphs(data.store.read, data.layer_graph, groups, options, left_out, stored.address if stored else None)


def remarks(data: StoreData, wanted: Selection) -> None:
    """A sentence for each group of few images."""
    if not wanted.vs or not is_on(wanted):
        return
    column, *names = wanted.vs.grouped
    for name in dict.fromkeys(names):
        if told := _few_images(data, column, name, measures.shown(data, wanted), wanted.how):
            remark(told)


@kept_with_store(16)
def _few_images(data: StoreData, column: str, name: str, pair: Pair, how: Reselection) -> str:
    return _graphs(data, column, pair, how).few_images(name)
