"""Streamlit components of our own: drawn by the bundles in ``bundle/``, which 'npm run build' makes from ``src/``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import streamlit as st

#: What `npm run build` makes.
BUNDLE = Path(__file__).parent / "bundle"


def graph(
    key: str,
    data: Mapping[str, Any],
    on_pin: Callable[[Any], None],
    on_view: Callable[[Any], None],
    on_open: Callable[[Any], None],
    on_leave: Callable[[Any], None] = lambda node: None,
    on_edge: Callable[[Any], None] = lambda ends: None,
    on_class: Callable[[Any], None] = lambda folder: None,
    on_versus: Callable[[Any], None] = lambda folder: None,
) -> None:
    """An attribution graph, or a pair of them.

    Parameters
    ----------
    data
        What `dashboard.shown.graphs.drawing` or `dashboard.shown.pairs.drawing` makes, and id, title, view, pins,
        pinned, note, leaves_out (whether channels can be left out), edge (source and target of the chosen one; None
        where none can be), communities (why those can't be shown, empty if they can).
    on_pin
        Takes the layer and channel of the node that was pinned, or None.
    on_view
        Takes the changed controls of the drawing.
    on_open
        Takes the layer and channel whose page is wanted.
    on_leave
        Takes the layer and channel to be left out.
    on_edge
        Takes source and target of the chosen edge, or nothing.
    on_class, on_versus
        Take the folder of the class to show, or to compare with.
    """
    events = {"pin": on_pin, "view": on_view, "open": on_open, "leave": on_leave, "edge": on_edge}
    _mount("graph", key, data, **events, **{"class": on_class}, versus=on_versus)


def classes(
    key: str,
    data: Mapping[str, Any],
    on_select: Callable[[Any], None],
    on_versus: Callable[[Any], None],
    on_layer: Callable[[Any], None],
    on_list: Callable[[Any], None],
) -> None:
    """The embedding and the list of all classes.

    Parameters
    ----------
    data
        What `dashboard.shown.classtable.class_table` makes, and against (index of the class that is B, or None).
    on_select
        Takes the index of the chosen class.
    on_versus
        Takes the index of the class to compare with.
    on_layer
        Takes the name of the chosen layer.
    on_list
        Takes the order ("sort") and the words that are searched for ("search").
    """
    _mount("classes", key, data, select=on_select, versus=on_versus, layer=on_layer, list=on_list)


def facts(
    key: str,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    level: Literal[1, 2] = 2,
    note: str = "",
    histogram: tuple[str, Sequence[float]] | None = None,
) -> None:
    """A heading with facts beside it, as plain text; `histogram` has a label and heights from 0 to 1."""
    bars = histogram and {"label": histogram[0], "heights": list(histogram[1])}
    _mount("facts", key, {"title": title, "facts": facts, "level": level, "note": note, "histogram": bars})


@dataclass(frozen=True)
class Item:
    """A picture of a gallery; `picture` is a data URL, None where there is none; `fires` as of `Shown`."""

    picture: str | None
    title: str
    text: str
    alt: str
    open: bool = False
    fires: Mapping[str, Any] | None = None


def gallery(
    key: str, label: str, items: Sequence[Item], size: int = 112, on_open: Callable[[Any], None] | None = None
) -> None:
    """Pictures with text; `on_open` takes the index of the one that was clicked."""
    events = {"open": on_open} if on_open else {}
    _mount("gallery", key, {"label": label, "size": size, "items": [asdict(item) for item in items]}, **events)


@dataclass(frozen=True)
class Bar:
    """A bar of a chart, and what to say of it."""

    name: str
    value: int
    label: str


def bars(
    key: str,
    charts: Mapping[str, Sequence[Bar]],
    full: float,
    on_open: Callable[[str, int], None],
    wide: bool = False,
) -> None:
    """Charts of horizontal bars, from top to bottom.

    Parameters
    ----------
    charts
        Bars by the title of their chart; "" for none.
    full
        What a bar of full length stands for.
    on_open
        Takes the title of the chart and the index of the bar that was clicked.
    wide
        One chart below the other, with room for long names.
    """
    drawn = [{"title": title, "bars": [asdict(bar) for bar in own]} for title, own in charts.items()]
    titles = list(charts)

    def opened(which: Any) -> None:
        on_open(titles[int(which["chart"])], int(which["bar"]))

    _mount("bars", key, {"charts": drawn, "full": full, "wide": wide}, open=opened)


def heatmap(key: str, data: Mapping[str, Any], on_open: Callable[[Any], None]) -> None:
    """A matrix as a picture.

    Parameters
    ----------
    data
        label, rows and columns (their names), column (what stands before a column's name where a cell is told), values
        (packed), largest (what the full shade stands for), gamma (a shade is the share of the largest to this power),
        unit (of a value, in the singular; empty for a number from 0 to 1).
    on_open
        Takes the row and the column that was clicked.
    """
    _mount("heatmap", key, data, open=on_open)


def extras(key: str, data: Mapping[str, Any]) -> None:
    """More about a graph on the page (by its id), sent after it; shows nothing itself."""
    _mount("extras", key, data)


def _mount(name: str, key: str, data: Mapping[str, Any], **events: Callable[[Any], None]) -> None:
    def told(event: str) -> Callable[[], None]:
        return lambda: events[event](getattr(st.session_state[key], event))

    _renderer(name)(key=key, data=dict(data), **{f"on_{event}_change": told(event) for event in events})


@cache
def _renderer(name: str) -> Any:
    css = BUNDLE / f"{name}.css"
    return st.components.v2.component(
        f"summit_dask.{name}",
        js=(BUNDLE / f"{name}.js").read_text(),
        css=css.read_text() if css.exists() else None,
    )
