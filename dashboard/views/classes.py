"""One class: how well it is recognised, what it is taken for, its images, and the graph of some of them."""

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.evidence import marks_of
from dashboard.plain import notice
from dashboard.selection import STORED, VIEW, Selection
from dashboard.shown import graphs, images, measures, oneclass, photographs, strategies
from dashboard.versus import MOST_IMAGES, Kind, Versus
from summit_dask.arrays.graph.attribution import ClassGraph, Marks
from summit_dask.facts import wording
from summit_dask.facts.errors import SummitError
from summit_dask.facts.pairs import Pair

ROWS = 500

#: Pixels of a table's row.
ROW = 35


def show() -> None:
    """The page."""
    data, wanted = session.opened()
    class_index = data.index_of[wanted.class_ or ""]
    oneclass.choose(data, "classes class", wanted.class_, pinned=None)
    facts = data.facts(class_index)
    synset = [("Synset", facts.synset)] if facts.synset else []
    oneclass.header(data, class_index, [("Folder", facts.folder), *synset])
    if not data.has_predictions or not facts.n_images:
        st.info("This store holds no predictions of single images of this class.")
        return
    left, right = st.columns([1, 1.6], gap="large")
    with left:
        taken_for = _confusions(data, class_index)
    with right:
        chosen = _images(data, wanted, class_index, taken_for)
    strategies.show(data, class_index)
    _graphs(data, wanted, class_index, chosen)


def _confusions(data: StoreData, class_index: int) -> int | None:
    """The output that was chosen in the table."""
    st.subheader("What its images are taken for", anchor=False)
    table = images.confusions(data, class_index)
    if table.empty:
        st.caption("Every image of this class was recognised.")
        return None
    shown = table.rename(columns={"name": "taken for", "probability": "mean probability"})
    event: Any = st.dataframe(
        shown[["taken for", "images", "mean probability"]],
        hide_index=True,
        key=f"confusions {class_index}",
        on_select="rerun",
        selection_mode="single-row",
        column_config={"mean probability": st.column_config.ProgressColumn(min_value=0, max_value=1, format="%.2f")},
    )
    if not event.selection.rows:
        st.caption("Choose a row to see these images alone.")
        return None
    output = int(table["output"].iloc[event.selection.rows[0]])
    _other_class(data, output)
    return output


def _other_class(data: StoreData, output: int) -> None:
    other = images.class_of_output(data, output)
    if other is None:
        st.caption("The data set has no images of that output.")
    elif st.button("Go to that class"):
        session.open_page("classes", session.selection().but(class_=data.classes["folder"].iloc[other]))


def _images(data: StoreData, wanted: Selection, class_index: int, taken_for: int | None) -> list[int]:
    st.subheader("Its images, least probable first", anchor=False)
    table = images.of_class(data, class_index, taken_for)
    _photographs(data, table.head(photographs.MOST))
    shown = table.head(ROWS).rename(columns={"probability": "probability of the class"})
    event: Any = st.dataframe(
        shown.drop(columns="image"),
        hide_index=True,
        height=min(330, ROW * (len(shown) + 1) + 3),
        key=f"images {class_index} {taken_for}",
        on_select="rerun",
        selection_mode="multi-row",
    )
    if len(table) > ROWS:
        st.caption(f"The first {ROWS} of {wording.images(len(table))}.")
    st.session_state["misclassified"] = wanted.misclassified
    st.toggle(
        "Take all misclassified images of this table",
        key="misclassified",
        on_change=lambda: session.change(misclassified=st.session_state["misclassified"]),
    )
    if wanted.misclassified:
        return [int(k) for k in table["image"][~table["correct"]]]
    return [int(table["image"].iloc[k]) for k in event.selection.rows]


def _photographs(data: StoreData, table: pd.DataFrame) -> None:
    """Images of a class as pictures, each with what it was taken for."""
    taken = zip(table["correct"], table["prediction 1"], strict=True)
    titles = ["right" if is_right else name for is_right, name in taken]
    shares = zip(table["probability 1"], table["image"], strict=True)
    texts = [f"{share:.0%}\n{images.file_name(data, image)}" for share, image in shares]
    photographs.gallery(data, "photographs", "Images of the class", table["image"].tolist(), titles, texts)
    st.caption("With what each was taken for; a click holds an image against the class, in Explore.")


def _graphs(data: StoreData, wanted: Selection, class_index: int, chosen: list[int]) -> None:
    pair = measures.choose(data, wanted)
    whole = data.graph(class_index, STORED, pair)
    if whole is None:
        st.info(data.why_absent("graphs"))
        return
    identity = f"{data.stamp} {class_index} {pair.name}"
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("All images of the class", anchor=False)
        marks = marks_of(data, class_index, pair)
        _graph(data, wanted, "whole", whole, data.facts(class_index).n_images, identity, marks)
    with right:
        title = {0: "Chosen images", 1: "The chosen image"}.get(len(chosen), f"The {len(chosen)} chosen images")
        st.subheader(title, anchor=False)
        _part(data, wanted, chosen, pair)


def _part(data: StoreData, wanted: Selection, chosen: list[int], pair: Pair) -> None:
    if not data.has(f"{pair.nodes}s") or not data.has(f"{pair.edges}s"):
        st.caption(data.why_absent("activations"))
        return
    if not chosen:
        st.caption("Choose images in the table above to see their graph beside the class's.")
        return
    try:
        graph = images.graph_of(data, tuple(chosen), pair)
    except SummitError as error:
        notice(str(error))
        return
    _graph(data, wanted, "part", graph, len(chosen), f"{data.stamp} {chosen} {pair.name}")
    _compare(chosen)


def _compare(chosen: list[int]) -> None:
    if len(chosen) > MOST_IMAGES:
        return
    kind: Kind = "image" if len(chosen) == 1 else "images"
    against = Versus(kind, images=tuple(sorted(chosen)))
    label = f"Compare with {'its class' if kind == 'image' else 'its other images'}"
    st.button(label, key="compare chosen", on_click=lambda: session.go("explore", vs=against))


def _view(view: Any) -> None:
    """How both graphs are drawn; the least count is Explore's alone, as these graphs are of different sizes."""
    session.change(**{name: view[name] for name in VIEW if name != "least_count"})


def _graph(
    data: StoreData,
    wanted: Selection,
    key: str,
    graph: ClassGraph,
    n_images: int,
    identity: str,
    marks: Marks | None = None,
) -> None:
    note = "" if len(graph.node_layer) else "This graph is empty: none of the counts can be ranked."
    title = f"Attribution graph of {wording.images(n_images)}"
    label = data.facts(data.index_of[wanted.class_ or ""]).label
    drawn = {
        **graphs.drawing(data, graph, n_images, label, measures.shown(data, wanted), marks),
        "id": f"{key} {identity}",
        "title": title,
        "view": {**wanted.view, "least_count": 0},
        "pins": False,
        "pinned": None,
        "note": note,
    }

    def opened(node: Any) -> None:
        if not data.layer_graph.layer(node["layer"]).of_class:
            session.go("channel", layer=node["layer"], channel=int(node["channel"]))

    components.graph(key, drawn, lambda node: None, _view, opened)
    components.extras(f"{key} cards", {"id": drawn["id"], "files": graphs.files(data, graph, title, marks)})
