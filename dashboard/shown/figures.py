"""Charts, as Altair specifications with a description for whoever can't see them."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

#: Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, ORANGE, GREEN, RED, SKY, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#8A8F98"

#: Above the chart, where long class names have room.
LEGEND = alt.Legend(
    title=None,
    orient="top",
    columns=3,
    labelLimit=240,
    labelFontSize=12,
    symbolSize=60,
    symbolOpacity=1,
    rowPadding=0,
    offset=4,
)

#: For as many lines or kinds of bars as a chart has.
COLOURS = [BLUE, ORANGE, GREEN, RED, SKY, "#CC79A7"]


def distribution(table: pd.DataFrame, description: str) -> Any:
    """Lines of the share of images per range of a channel's activation; columns value, share, images."""
    return (
        alt.Chart(table)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X("value:Q", title="strongest activation in an image"),
            y=alt.Y("share:Q", title="share of images", axis=alt.Axis(format="%")),
            color=alt.Color("images:N", sort=None, scale=alt.Scale(range=COLOURS), legend=LEGEND),
            strokeDash=alt.StrokeDash("images:N", sort=None, legend=LEGEND),
        )
        .properties(height=230, description=description)
    )


def stacked(table: pd.DataFrame, description: str) -> Any:
    """One bar per layer, parted by kind; columns layer, kind, channels."""
    return (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=alt.X("channels:Q", title="channels"),
            y=alt.Y("layer:N", sort=None, title=None, axis=alt.Axis(labelOverlap=False)),
            color=alt.Color("kind:N", sort=None, legend=LEGEND, scale=alt.Scale(range=[BLUE, SKY, "#C9CED6"])),
            order=alt.Order("order:Q"),
            tooltip=["layer", "kind", "channels"],
        )
        .properties(height=22 * max(1, table["layer"].nunique()) + 130, description=description)
    )


def lines(table: pd.DataFrame, x: str, y: str, line: str, title: str, description: str) -> Any:
    """A line per value of a column over places in their order, layers or stores; from 0 to 1, or what is beyond."""
    return (
        alt.Chart(table)
        .mark_line(point=True, strokeWidth=2)
        .encode(
            x=alt.X(f"{x}:N", sort=None, title=None, axis=alt.Axis(labelAngle=-30)),
            y=alt.Y(f"{y}:Q", title=title, scale=alt.Scale(domain=reach(table[y]))),
            color=alt.Color(f"{line}:N", sort=None, legend=LEGEND, scale=alt.Scale(range=COLOURS)),
            tooltip=list(table.columns),
        )
        .properties(height=280, description=description)
    )


def reach(values: "pd.Series[float]") -> list[float]:
    """Ends of an axis: 0 and 1, or what is beyond; NaN counts for nothing."""
    return [float(np.nanmin([0.0, *values])), float(np.nanmax([1.0, *values]))]


def users(table: pd.DataFrame, description: str) -> Any:
    """How many channels have so many classes that use them; columns classes (a number or a range), channels."""
    return (
        alt.Chart(table)
        .mark_bar(color=BLUE)
        .encode(
            x=alt.X("classes:O", sort=None, title="classes that use a channel", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("channels:Q", title="channels"),
            tooltip=["classes", "channels"],
        )
        .properties(height=270, description=description)
    )


def layer_graph(layers: pd.DataFrame, hops: pd.DataFrame) -> Any:
    """Layers as named boxes, hops as lines; columns x, y, name, channels, kind; x, y, x2, y2, name, kind."""
    reach = max(3, int(layers["x"].abs().max()) + 1)
    line = alt.Chart(hops).mark_rule(strokeWidth=1.5, opacity=0.6)
    drawn = line.encode(
        x=alt.X("x:Q", axis=None, scale=alt.Scale(domain=[-1, reach])),
        y=alt.Y("y:Q", axis=None),
        x2="x2:Q",
        y2="y2:Q",
        color=alt.Color(
            "kind:N", legend=LEGEND, scale=alt.Scale(domain=["convolution", "identity"], range=[BLUE, GREY])
        ),
        tooltip=["name", "kind"],
    )
    box = alt.Chart(layers).mark_circle(size=130, opacity=1)
    colour = alt.Scale(domain=["visible layer", "hidden layer"], range=[BLUE, SKY])
    boxes = box.encode(
        x="x:Q", y="y:Q", color=alt.Color("kind:N", scale=colour, legend=LEGEND), tooltip=["name", "channels"]
    )
    text = alt.Chart(layers[layers["kind"] == "visible layer"])
    text = text.mark_text(align="right", dx=-12, fontSize=12, color=GREY)
    names = text.encode(x="x:Q", y="y:Q", text="label:N")
    hidden = alt.Chart(layers[layers["kind"] == "hidden layer"]).mark_text(dy=16, fontSize=10, color=GREY)
    names += hidden.encode(x="x:Q", y="y:Q", text="label:N")
    height = 52 * max(2, layers["y"].nunique())
    chart = (drawn + boxes + names).resolve_scale(color="independent")
    return chart.properties(height=height, description="Layers of the network and the hops between them")


def intervals(table: pd.DataFrame, title: str, description: str) -> Any:
    """A point with its interval for each kind; columns kind, value, low, high, own (whether it stands out)."""
    n = max(1, len(table))
    base = alt.Chart(table).encode(
        y=alt.Y("kind:N", sort=None, title=None, axis=alt.Axis(labelLimit=360, labelFlush=False))
    )
    colour = alt.condition("datum.own", alt.value(BLUE), alt.value(GREY))
    reach = base.mark_rule(strokeWidth=3, opacity=0.45).encode(x=_share("low", title), x2="high:Q", color=colour)
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=_share("value", title), color=colour, tooltip=_tooltip("kind", "value", "low", "high")
    )
    return (reach + points).properties(height=30 * n + 50, description=description)


def layered_intervals(table: pd.DataFrame, title: str, description: str) -> Any:
    """A line with intervals per kind over the layers in their order; columns layer, kind, value, low, high."""
    base = alt.Chart(table).encode(
        x=alt.X("layer:N", sort=None, title=None, axis=alt.Axis(labelAngle=-30)),
        color=alt.Color("kind:N", sort=None, legend=LEGEND, scale=alt.Scale(range=[BLUE, ORANGE])),
    )
    reach = base.mark_rule(strokeWidth=3, opacity=0.4).encode(y=_share_up("low", title), y2="high:Q")
    line = base.mark_line(point=True, strokeWidth=2).encode(
        y=_share_up("value", title), tooltip=_tooltip("layer", "kind", "value", "low", "high")
    )
    return (reach + line).properties(height=280, description=description)


def curves(table: pd.DataFrame, columns: int, description: str) -> Any:
    """Small curves with bands, one chart a layer; columns layer, kind, share, value, low, high."""
    base = alt.Chart(table).encode(
        x=alt.X("share:Q", title="kept of the layer", axis=alt.Axis(format="%", values=[0.1, 0.3, 0.5])),
        color=alt.Color("kind:N", sort=None, legend=LEGEND, scale=alt.Scale(range=[BLUE, ORANGE])),
    )
    band = base.mark_area(opacity=0.2).encode(y=_share_up("low", "brought back"), y2="high:Q")
    line = base.mark_line(point=True, strokeWidth=2).encode(
        y=_share_up("value", "brought back"), tooltip=_tooltip("layer", "kind", "share", "value", "low", "high")
    )
    small = (band + line).properties(width=190, height=130)
    layers = table["layer"].drop_duplicates().tolist()
    facet = alt.Facet("layer:N", sort=layers, title=None)
    return small.facet(facet=facet, columns=columns, spacing=18).properties(description=description)


def all_classes(table: pd.DataFrame, description: str) -> Any:
    """A point a class, which can be chosen; columns class, index, necessity, specificity, p_value, chosen."""
    return (
        alt.Chart(table)
        .mark_point(filled=True)
        .encode(
            x=_share("necessity", "necessity of the class's graph"),
            y=_share_up("specificity", "more than the nearest class's graph"),
            color=alt.condition("datum.chosen", alt.value(ORANGE), alt.value(BLUE)),
            size=alt.condition("datum.chosen", alt.value(220), alt.value(70)),
            opacity=alt.condition("datum.chosen", alt.value(1), alt.value(0.9)),
            tooltip=[
                *_tooltip("class", "necessity", "specificity"),
                alt.Tooltip("p_value:Q", title="p-value", format=".3f"),
            ],
        )
        .add_params(alt.selection_point("classes", fields=["index"]))
        .properties(height=380, description=description)
    )


def _share(column: str, title: str) -> alt.X:
    axis = alt.Axis(format="%", tickCount=10, titleAnchor="end")  # a long title has room at the left
    return alt.X(f"{column}:Q", title=title, axis=axis, scale=alt.Scale(padding=10))


def _share_up(column: str, title: str) -> alt.Y:
    return alt.Y(f"{column}:Q", title=title, axis=alt.Axis(format="%"))


def _tooltip(*columns: str) -> list[alt.Tooltip]:
    """Names as they are, shares in per cent."""
    names = {"kind", "layer", "class"}
    return [alt.Tooltip(f"{name}:N") if name in names else alt.Tooltip(f"{name}:Q", format=".0%") for name in columns]
