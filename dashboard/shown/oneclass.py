"""One class: choosing it, and its header."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.shown.classtable import relative


def choose(data: StoreData, key: str, folder: str | None, **changes: Any) -> None:
    """A list of all classes, by their folders; a choice changes the address, and with it some other fields."""
    st.session_state[key] = folder
    st.selectbox(
        "Class",
        data.classes["folder"].tolist(),
        key=key,
        width=400,
        format_func=lambda folder: data.classes["label"].iloc[data.index_of[folder]],
        on_change=lambda: session.change(class_=st.session_state[key], **changes),
    )


def header(data: StoreData, class_index: int, more: Sequence[tuple[str, str]] = ()) -> None:
    """A class's name, accuracy, number of images, more facts, and the histogram of its probability."""
    facts = data.facts(class_index)
    accuracy = "–" if facts.accuracy is None else f"{facts.accuracy:.1%}"
    n_images = f"{facts.n_images:,}" if facts.n_images else "–"
    shown = [("Accuracy", accuracy), ("Images", n_images), *more]
    components.facts("class", facts.label, shown, histogram=_histogram(data, class_index))


def _histogram(data: StoreData, class_index: int) -> tuple[str, list[float]] | None:
    if data.histograms is None:
        return None
    bars = relative(data.histograms[class_index : class_index + 1])[0] / 255
    return "Probability, 0 to 1", bars.tolist()
