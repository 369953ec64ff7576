"""Charts, as Altair specifications with a description for whoever can't see them."""

from typing import Any

import altair as alt
import pandas as pd

#: Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, ORANGE, GREEN, RED, SKY, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#7F7F7F"


def top_channels(table: pd.DataFrame, n_images: int) -> Any:
    """Bars of the most used channels, one small chart per layer.

    Parameters
    ----------
    table
        Columns layer, channel, count; rows in the order to show.
    n_images
        Images of the class; the bars' full length.
    """
    layers = list(dict.fromkeys(table["layer"]))
    charts = [_channel_bars(table[table["layer"] == layer], layer, n_images) for layer in layers]
    return alt.concat(*charts, columns=3, spacing=18).configure_view(stroke=None)


def _channel_bars(table: pd.DataFrame, layer: str, n_images: int) -> Any:
    scale = alt.Scale(domain=[0, max(n_images, int(table["count"].max()) if len(table) else 1, 1)])
    return (
        alt.Chart(table, title=alt.Title(layer, anchor="start", fontSize=12))
        .mark_bar(color=BLUE, cornerRadiusEnd=2)
        .encode(
            x=alt.X("count:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, grid=False)),
            y=alt.Y("channel:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False)),
            tooltip=["layer", "channel", "count"],
        )
        .properties(width=200, height=alt.Step(18), description=f"Channels of {layer} that most images use")
    )
