"""Texts that may hold names from outside, of classes, layers and files: shown letter by letter, whatever they hold."""

import html

import streamlit as st

from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.wording import notes_in_words


def letters(name: str) -> str:
    """A name in which Markdown finds nothing to format, for labels."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!|~$:&" else letter for letter in name)


def heading(title: str) -> None:
    """A heading as `st.subheader` makes it, but for Markdown and HTML in it."""
    st.html(f"<h3>{html.escape(title)}</h3>")


def notice(sentence: str) -> None:
    """A sentence in a frame."""
    with st.container(border=True):
        st.text(sentence)


def remark(sentence: str) -> None:
    """A sentence in small grey letters."""
    st.html(f"<small style='opacity: 0.65'>{html.escape(sentence)}</small>")


def layer_notes(graph: LayerGraph, layer: str) -> None:
    """What happens to maps on the way into a layer and depends on the image; nothing where there is nothing to say."""
    if notes := notes_in_words(graph, layer):
        remark(f"Influences into {layer} are measured behind what each image makes of the maps on the way: {notes}.")
