"""Texts that may hold names from outside, of classes, layers and files: shown letter by letter, whatever they hold."""

import html

import streamlit as st


def heading(title: str) -> None:
    """A heading as `st.subheader` makes it, but for Markdown and HTML in it."""
    st.html(f"<h3>{html.escape(title)}</h3>")


def notice(sentence: str) -> None:
    """A sentence in a frame."""
    with st.container(border=True):
        st.text(sentence)
