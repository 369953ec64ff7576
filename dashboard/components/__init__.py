"""Streamlit components of our own: drawn by the bundles in ``bundle/``, which 'npm run build' makes from ``src/``."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_BUNDLE = Path(__file__).parent / "bundle"


def graph(
    key: str,
    data: Mapping[str, Any],
    on_pin: Callable[[Any], None],
    on_view: Callable[[Any], None],
    on_open: Callable[[Any], None],
) -> None:
    """An attribution graph.

    Parameters
    ----------
    data
        What `dashboard.graphs.drawing` makes, and id, title, view, pinned, note.
    on_pin
        Takes the layer and channel of the node that was pinned, or None.
    on_view
        Takes the changed controls of the drawing.
    on_open
        Takes the layer and channel whose page is wanted.
    """
    _mount("graph", key, data, pin=on_pin, view=on_view, open=on_open)


def extras(key: str, data: Mapping[str, Any]) -> None:
    """More about a graph on the page (by its id), sent after it; shows nothing itself."""
    _mount("extras", key, data)


def _mount(name: str, key: str, data: Mapping[str, Any], **events: Callable[[Any], None]) -> None:
    def told(event: str) -> Callable[[], None]:
        return lambda: events[event](getattr(st.session_state[key], event))

    _renderer(name)(key=key, data=dict(data), **{f"on_{event}_change": told(event) for event in events})


@cache
def _renderer(name: str) -> Any:
    css = _BUNDLE / f"{name}.css"
    return st.components.v2.component(
        f"summit_dask.{name}",
        js=(_BUNDLE / f"{name}.js").read_text(),
        css=css.read_text() if css.exists() else None,
    )
