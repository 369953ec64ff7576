"""Choosing what the class's graph is held against: beside the class's name, and in the header of a pair."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import session
from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.plain import letters, remark
from dashboard.selection import STORED, Selection
from dashboard.shown import beside, images, likeness, measures
from dashboard.shown.sides import Side, why_no_groups
from dashboard.versus import Versus
from summit_dask.facts import wording

#: Classes that have a button of their own, of each kind; images to choose from.
MOST, MOST_LISTED = 4, 500


def facts(a: Side, b: Side) -> list[tuple[str, str]]:
    """What is A and what is B, for the header of the class."""
    return [(name, _counted(side)) for name, side in (("A", a), ("B", b))]


def _counted(side: Side) -> str:
    return f"{side.label} ({wording.images(side.n_images)})" if side.n_images else side.label


def button(is_pair: bool) -> DeltaGenerator:
    """What opens the choices, and closes again once one is made."""
    label = "vs ⋯" if is_pair else "vs +"
    why = "Compare with another class, or with some images"
    return st.popover(label, help=why, key="versus", on_change="rerun")


def _choose(vs: Versus | None) -> None:
    st.session_state["versus"] = False
    session.change(vs=vs)


def choices(data: StoreData, wanted: Selection, class_index: int) -> None:
    """All that can stand on the other side."""
    if wanted.vs:
        _ends(wanted)
    with st.container(horizontal=True, gap="small"):
        for index, reasons in _likely(data, wanted, class_index).items():
            label = data.classes["label"].iloc[index]
            _button(" · ".join([letters(label), *reasons]), Versus("class", data.facts(index).folder))
    _any_class(data, class_index)
    _groups(data, wanted, class_index)
    if wanted.how != STORED:
        _button("The graph as it was stored", Versus("stored"))
    for name in beside.alike(data):
        _button(f"This class in {letters(name)}", Versus("store", name))


def _ends(wanted: Selection) -> None:
    with st.container(horizontal=True, gap="small"):
        if wanted.vs and wanted.vs.kind == "class":
            st.button("Swap A and B", on_click=_swap)
        st.button("End the comparison", on_click=_choose, args=(None,))


def _swap() -> None:
    st.session_state["versus"] = False
    now = session.selection()
    if now.vs and now.class_:
        session.change(class_=now.vs.name, vs=Versus("class", now.class_))


def _button(label: str, vs: Versus, why_not: str = "") -> None:
    st.button(label, key=f"vs {vs}", on_click=_choose, args=(vs,), disabled=bool(why_not), help=why_not or None)


def _likely(data: StoreData, wanted: Selection, class_index: int) -> dict[int, list[str]]:
    """The classes one would compare with first, and why."""
    found: dict[int, list[str]] = {}
    for index, why in [*_alike(data, wanted, class_index), *_confused(data, class_index)]:
        found.setdefault(index, []).append(why)
    return found


def _alike(data: StoreData, wanted: Selection, class_index: int) -> list[tuple[int, str]]:
    """The classes most similar in the layer that is shown."""
    similarity = data.similarity(wanted.layer or data.layers[-1].name, class_index)
    if similarity is None:
        return []
    best = likeness.largest(similarity, MOST, lambda k: k != class_index)
    return [(k, f"similarity {similarity[k]:.2f}") for k in best]


@kept_with_store(64)
def _confused(data: StoreData, class_index: int) -> list[tuple[int, str]]:
    """The classes that its images are most often taken for."""
    if not data.has_predictions:
        return []
    table = images.confusions(data, class_index).head(MOST)
    found = zip(table["output"].tolist(), table["images"].tolist(), strict=True)
    classes = [(images.class_of_output(data, output), n) for output, n in found]
    return [(k, f"{wording.images(n)} taken for it") for k, n in classes if k is not None]


def _any_class(data: StoreData, class_index: int) -> None:
    folders = [folder for k, folder in enumerate(data.classes["folder"]) if k != class_index]
    st.session_state["vs class"] = None
    st.selectbox(
        "Another class",
        folders,
        key="vs class",
        placeholder="Any other class",
        label_visibility="collapsed",
        format_func=lambda folder: data.classes["label"].iloc[data.index_of[folder]],
        on_change=lambda: _choose(Versus("class", st.session_state["vs class"])),
    )


def _groups(data: StoreData, wanted: Selection, class_index: int) -> None:
    """The class's own wrong images and right ones."""
    pair = measures.shown(data, wanted)
    if why := why_no_groups(data, pair):
        remark(f"Groups of images can't be compared. {why}")
        return
    own = data.images_of(class_index) & data.is_read
    n_right = int((own & data.is_correct).sum())
    n_wrong = int(own.sum()) - n_right
    why = "" if n_right and n_wrong else f"All images of this class are {'right' if n_right else 'wrong'}."
    with st.container(horizontal=True, gap="small"):
        _button(f"Its wrong images ({n_wrong:,}) against its right ones ({n_right:,})", Versus("wrong"), why)
    if st.session_state.get("versus"):  # listing them takes a while, for which the closed list need not wait
        _one_image(data, class_index)
    remark("Ticked images, and images that use the same channels: choose them on the page Class.")


def _one_image(data: StoreData, class_index: int) -> None:
    told = _images(data, class_index)
    st.session_state["vs image"] = None
    st.selectbox(
        "One of its images",
        [*told],
        key="vs image",
        placeholder="One of its images, least probable first",
        label_visibility="collapsed",
        format_func=told.__getitem__,
        on_change=lambda: _choose(Versus("image", images=(st.session_state["vs image"],))),
    )


@kept_with_store(16)
def _images(data: StoreData, class_index: int) -> dict[int, str]:
    """The class's least probable images, each with its file and what it was taken for."""
    table = images.of_class(data, class_index).head(MOST_LISTED)
    rows = zip(table["image"], table["file"], table["prediction 1"], table["probability 1"], strict=True)
    return {image: f"{file.rpartition('/')[2]}: {name}, {share:.0%}" for image, file, name, share in rows}
