"""Two attribution graphs side by side as one drawing (SVG), the output on top, always on white.

      mixed4b  0.62     ┌ ─ ┐     ╔═══╗ ╔═══╗     ┌───┐      only in a, in both, only in b; similarity of the layer
                          3       ║ 7 ║ ║ 9 ║     │ 5 │
                        └ ─ ┘     ╚═══╝ ╚═══╝     └───┘
                        ▄▄|         ▄|▄  ▄▄|▄       |▄▄      share of the images that use it: of a left, of b right
                          \\         //             /
      mixed4a  0.97        ...                               an edge is drawn as the graph that holds it is

Solid lines are a's, dashed ones b's, double ones are in both, so that colour alone tells nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from summit_dask.facts.layergraph import Channel
from summit_dask.questions.compare import BOTH, NEITHER, ONLY_A, ONLY_B, Comparison

CELL, ROW, NODE = 58, 96, (44, 24)  # pixels that a node and a layer take, width and height of its frame
TOP, MARGIN, BAR = 118, 28, 6
INK, PAPER = "#1d2530", "#ffffff"
COLOUR = {ONLY_A: "#1f5fa8", ONLY_B: "#b3470f", BOTH: INK}
FONT = "font-family='Helvetica, Arial, sans-serif'"
ZONES = (ONLY_A, BOTH, ONLY_B)


@dataclass(frozen=True)
class Place:
    """Where a node is drawn: its middle in pixels."""

    x: float
    y: float


def drawing(found: Comparison, a: str, b: str) -> str:
    """Both graphs as SVG; a node's and an edge's numbers show under the pointer.

    Parameters
    ----------
    a, b
        What the two sides are called.
    """
    held = found.channels[found.channels["held_by"] != NEITHER]
    lefts, width = _zones(held)
    places = _places(held, found.layers["layer"].tolist(), lefts)
    height = TOP + ROW * len(found.layers) + MARGIN
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' "
            f"viewBox='0 0 {width:g} {height:g}' {FONT}>",
            f"<rect width='100%' height='100%' fill='{PAPER}'/>",
            *_heading(a, b),
            *_layers(found.layers),
            *_edges(found.edges, places),
            *_nodes(held, places),
            "</svg>\n",
        ]
    )


# Places


def _zones(held: pd.DataFrame) -> tuple[dict[str, float], float]:
    """Where each of the three zones begins, and where the last one ends."""
    longest = max((len(layer) for layer in held["layer"]), default=0)
    lefts, x = {}, 3.0 * MARGIN + 7 * (longest + 5)
    for zone in ZONES:
        lefts[zone] = x
        n_most = held.loc[held["held_by"] == zone, "layer"].value_counts().max()
        x += CELL * (n_most if n_most > 0 else 1) + MARGIN
    return lefts, max(x, 640.0)


def _places(held: pd.DataFrame, layers: list[str], lefts: Mapping[str, float]) -> dict[Channel, Place]:
    """In each zone the channels that most images of either side use stand first."""
    rows = {name: TOP + ROW * (len(layers) - 1 - number) + NODE[1] / 2 for number, name in enumerate(layers)}
    places = {}
    parts: Iterator[tuple[Any, pd.DataFrame]] = iter(held.groupby(["layer", "held_by"]))
    for (layer, zone), own in parts:
        most = own[["share_a", "share_b"]].max(axis=1).sort_values(ascending=False, kind="stable").index
        for number, channel in enumerate(own.loc[most, "channel"]):
            places[Channel(layer, channel)] = Place(lefts[zone] + CELL * (number + 0.5), rows[layer])
    return places


# What is drawn


def _rows(table: pd.DataFrame) -> list[Any]:
    return [*table.itertuples()]


def _text(x: int | float, y: int | float, text: str, size: int = 12, more: str = "") -> str:
    return f"<text x='{x:g}' y='{y:g}' font-size='{size}' fill='{INK}' {more}>{escape(text)}</text>"


def _heading(a: str, b: str) -> Iterator[str]:
    yield _text(MARGIN, 34, f"{a} and {b}", 18, "font-weight='bold'")
    x = float(MARGIN)
    for zone, name in ((ONLY_A, f"only {a}"), (BOTH, "both"), (ONLY_B, f"only {b}")):
        yield from _line(zone, f"M {x:g} 56 h 30", "")
        yield _text(x + 38, 60, name)
        x += 62 + 7 * len(name)
    yield _text(
        MARGIN,
        82,
        "Under a channel: the share of the images that use it, of the first to the left and of the second to the "
        "right. Beside a layer: how similar its channels are used.",
        11,
    )


def _layers(layers: pd.DataFrame) -> Iterator[str]:
    for number, row in enumerate(reversed(_rows(layers))):
        yield _text(MARGIN, TOP + ROW * number + NODE[1] / 2 + 4, f"{row.layer}  {row.similarity:.2f}", 12)


def _line(zone: str, way: str, title: str) -> Iterator[str]:
    """One line, dashed or double as its holder is."""
    told = f"<title>{escape(title)}</title>"
    dash = " stroke-dasharray='5 4'" if zone == ONLY_B else ""
    width = 4.5 if zone == BOTH else 1.5
    yield f"<path d='{way}' fill='none' stroke='{COLOUR[zone]}' stroke-width='{width}'{dash}>{told}</path>"
    if zone == BOTH:
        yield f"<path d='{way}' fill='none' stroke='{PAPER}' stroke-width='2'>{told}</path>"


def _edges(edges: pd.DataFrame, places: Mapping[Channel, Place]) -> Iterator[str]:
    for row in _rows(edges):
        ends = Channel(row.source_layer, row.source_channel), Channel(row.target_layer, row.target_channel)
        start, end = (places[channel] for channel in ends)
        y, stop = start.y - NODE[1] / 2, end.y + NODE[1] / 2 + BAR + 4
        bend = (y - stop) / 2
        way = f"M {start.x:g} {y:g} C {start.x:g} {y - bend:g} {end.x:g} {stop + bend:g} {end.x:g} {stop:g}"
        title = " to ".join(f"{channel.layer} {channel.index}" for channel in ends)
        yield from _line(str(row.held_by), way, f"{title}: {_shares(row.share_a, row.share_b)}")


def _nodes(held: pd.DataFrame, places: Mapping[Channel, Place]) -> Iterator[str]:
    for row in _rows(held):
        place = places[Channel(row.layer, row.channel)]
        x, y = place.x - NODE[0] / 2, place.y - NODE[1] / 2
        zone = str(row.held_by)
        frame = f"M {x:g} {y:g} h {NODE[0]} v {NODE[1]} h {-NODE[0]} Z"
        yield f"<path d='{frame}' fill='{PAPER}'/>"
        yield from _line(zone, frame, f"{row.layer} {row.channel}: {_shares(row.share_a, row.share_b)}")
        yield _text(place.x, place.y + 4, str(row.channel), 12, "text-anchor='middle' pointer-events='none'")
        yield from _bars(place, row.share_a, row.share_b)


def _bars(place: Place, share_a: float, share_b: float) -> Iterator[str]:
    y, half = place.y + NODE[1] / 2 + 4, NODE[0] / 2
    for zone, share in ((ONLY_A, share_a), (ONLY_B, share_b)):
        if share > 0:  # not NaN, either
            x = place.x - half * share if zone == ONLY_A else place.x
            size = f"width='{half * share:g}' height='{BAR}'"
            yield f"<rect x='{x:g}' y='{y:g}' {size} fill='{COLOUR[zone]}'/>"


def _shares(share_a: float, share_b: float) -> str:
    told = [f"{share:.0%}" if share == share else "not in it" for share in (share_a, share_b)]
    return f"{told[0]} and {told[1]}"
