"""A layer graph as a drawing (SVG): the output on top, hidden layers beside the visible ones that they lead to.

        ┌─────────────┐
        │ inception4b │              a visible layer has a row of its own
        └─────────────┘
          │  │      \\
          │  │    ┌─────┐ ┌─────┐
          │  │    │ 3x3 │ │ 5x5 │    hidden layers lie in columns, each as long as something leads on from it
          │  │    └─────┘ └─────┘
          │  │      /    /
        ┌─────────────┐
        │ inception4a │              thick: convolutions; thin and straight: identities; dashed: gates or norms before
        └─────────────┘              a hop that passes over visible layers takes a way round on the left
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import count
from pathlib import Path

from summit_dask.facts.errors import FormatError
from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph
from summit_dask.facts.wording import hop_in_words

VISIBLE, HIDDEN = (210, 40), (150, 30)  # width and height of a layer's box
ROW, COLUMN, LANE, MARGIN, TITLE = 68, 176, 30, 28, 64
GAP, LABEL = 36.0, 30  # pixels between the hops at a box, and what a hop's label needs of them
BLUE, GREY, INK, PAPER = "#2f6db3", "#8a8f98", "#1d2530", "#ffffff"
FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass(frozen=True)
class Box:
    """Where a layer is drawn: its middle in pixels, its size."""

    x: float
    y: float
    width: int
    height: int


def draw(graph: LayerGraph, title: str, path: Path) -> None:
    """Write the drawing of a layer graph into a file.

    Raises
    ------
    FormatError
        If the file can't be written.
    """
    try:
        path.write_text(drawing(graph, title), encoding="utf-8")
    except OSError as error:
        raise FormatError(f"Can't write the drawing {path}: {error.strerror}. Choose another --svg.") from error


def drawing(graph: LayerGraph, title: str) -> str:
    """The drawing of a layer graph as SVG; a layer's or hop's whole name shows under the pointer."""
    lanes = _lanes(graph)
    boxes = _boxes(graph, left=MARGIN + LANE * (1.0 + max(lanes.values(), default=-1)))
    width = max(box.x + box.width / 2 for box in boxes.values()) + MARGIN
    height = max(box.y + box.height / 2 for box in boxes.values()) + MARGIN
    width = max(width, 460)
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' "
            f"viewBox='0 0 {width:g} {height:g}' {FONT}>",
            f"<rect width='100%' height='100%' fill='{PAPER}'/>",
            *_heading(title),
            *_lines(graph, boxes, lanes),
            *(_layer(layer, boxes[layer.name], graph) for layer in graph.layers),
            "</svg>\n",
        ]
    )


# Places


def _levels(graph: LayerGraph) -> dict[str, int]:
    """Row of each layer from below: above all that it comes from; each visible one has a row above those before it."""
    levels: dict[str, int] = {}
    free = 0
    for layer in graph.layers:
        levels[layer.name] = 1 + max((levels[hop.source] for hop in graph.incoming(layer.name)), default=-1)
        if layer.visible:
            levels[layer.name] = max(levels[layer.name], free)
            free = levels[layer.name] + 1
    return levels


def _columns(graph: LayerGraph, levels: dict[str, int]) -> dict[str, int]:
    """Column of each hidden layer from the left: that of the hidden layer below it, else the first that is free."""
    until = {hop.source: levels[hop.target] for hop in sorted(graph.hops, key=lambda hop: levels[hop.target])}
    taken: list[int] = []  # up to which row each column is
    columns: dict[str, int] = {}
    for layer in sorted((layer for layer in graph.layers if not layer.visible), key=lambda layer: levels[layer.name]):
        below = [columns[hop.source] for hop in graph.incoming(layer.name) if hop.source in columns]
        level = levels[layer.name]
        free = [column for column in (*below, *range(len(taken))) if taken[column] <= level]
        column = free[0] if free else len(taken)
        taken[column:] = [until.get(layer.name, level + 1), *taken[column + 1 :]]
        columns[layer.name] = column
    return columns


def _boxes(graph: LayerGraph, left: float) -> dict[str, Box]:
    levels = _levels(graph)
    columns = _columns(graph, levels)
    top = max(levels.values())
    first = left + VISIBLE[0] / 2
    boxes = {}
    for layer in graph.layers:
        y = TITLE + MARGIN + VISIBLE[1] / 2 + (top - levels[layer.name]) * ROW
        if layer.visible:
            boxes[layer.name] = Box(first, y, *VISIBLE)
        else:
            x = left + VISIBLE[0] + (columns[layer.name] + 0.5) * COLUMN
            boxes[layer.name] = Box(x, y, *HIDDEN)
    return boxes


def _lanes(graph: LayerGraph) -> dict[str, int]:
    """Hops between visible layers that pass over others, each with a lane to the left: short ones lie nearest."""
    place = {layer.name: number for number, layer in enumerate(graph.visible)}
    spans = {
        hop.name: (place[hop.source], place[hop.target])
        for hop in graph.hops
        if hop.source in place and hop.target in place and place[hop.target] - place[hop.source] > 1
    }
    lanes: dict[str, int] = {}
    for name, span in sorted(spans.items(), key=lambda item: item[1][1] - item[1][0]):
        meeting = {lanes[other] for other in lanes if _overlap(spans[other], span)}
        lanes[name] = next(lane for lane in count() if lane not in meeting)
    return lanes


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


# What is drawn


def _heading(title: str) -> Iterator[str]:
    yield f"<text x='{MARGIN}' y='34' font-size='18' font-weight='bold' fill='{INK}'>{escape(title)}</text>"
    x = MARGIN
    kinds = (("convolution", False, False), ("behind a gate or norm", False, True), ("identity", True, False))
    for name, identity, noted in kinds:
        yield f"<path d='M {x} 54 h 26' {_stroke(identity, noted)}/>"
        yield f"<text x='{x + 32}' y='58' font-size='12' fill='{INK}'>{name}</text>"
        x += 56 + 6 * len(name)


def _layer(layer: Layer, box: Box, graph: LayerGraph) -> str:
    colours = f"fill='#e6f0fb' stroke='{BLUE}'" if layer.visible else f"fill='#f5f6f7' stroke='{GREY}'"
    size = 13 if layer.visible else 11
    shape = "the image's own class" if layer.of_class else f"{layer.channels} × {layer.height} × {layer.width}"
    name = _short(layer.name if layer.visible else _own_name(layer.name, graph), int(box.width / (0.58 * size)))
    weight = "bold" if layer.visible else "normal"
    return (
        f"<g><title>{escape(layer.name)}: {shape}</title>"
        f"<rect x='{box.x - box.width / 2:g}' y='{box.y - box.height / 2:g}' width='{box.width}' "
        f"height='{box.height}' rx='5' stroke-width='1.4' {colours}/>"
        f"<text x='{box.x:g}' y='{box.y - 2:g}' text-anchor='middle' font-size='{size}' font-weight='{weight}' "
        f"fill='{INK}'>{escape(name)}</text>"
        f"<text x='{box.x:g}' y='{box.y + size - 1:g}' text-anchor='middle' font-size='{size - 2}' fill='{INK}'>"
        f"{shape}</text></g>"
    )


def _own_name(hidden: str, graph: LayerGraph) -> str:
    """A hidden layer's name without that of the visible layer it lies in."""
    inside = [layer.name for layer in graph.visible if hidden.startswith(f"{layer.name}.")]
    return hidden[len(max(inside, key=len, default="")) :].lstrip(".")


def _short(name: str, n: int) -> str:
    return name if len(name) <= n else f"…{name[1 - n :]}"


def _lines(graph: LayerGraph, boxes: dict[str, Box], lanes: dict[str, int]) -> Iterator[str]:
    starts, ends = dict[str, float](), dict[str, float]()
    for layer in graph.layers:
        outgoing = [hop for hop in graph.hops if hop.source == layer.name]
        starts |= _ports(boxes[layer.name], {hop.name: _side(hop, boxes[hop.target], lanes) for hop in outgoing})
        incoming = graph.incoming(layer.name)
        ends |= _ports(boxes[layer.name], {hop.name: _side(hop, boxes[hop.source], lanes) for hop in incoming})
    for hop in graph.hops:
        start = starts[hop.name], boxes[hop.source].y - boxes[hop.source].height / 2
        end = ends[hop.name], boxes[hop.target].y + boxes[hop.target].height / 2
        yield (
            f"<path d='{_way(start, end, hop, lanes)}' {_stroke(hop.convolution is None, bool(hop.notes))}>"
            f"<title>{escape(hop.name)}: {escape(hop_in_words(hop, graph))}</title></path>"
        )
        if hop.convolution is not None and _gap(boxes[hop.target], len(graph.incoming(hop.target))) >= LABEL:
            yield _label(hop.convolution, *end)


def _side(hop: Hop, other: Box, lanes: dict[str, int]) -> float:
    """Where a hop's other end lies from left to right; the ways round lie leftmost."""
    return -lanes[hop.name] - 1.0 if hop.name in lanes else other.x


def _ports(box: Box, sides: dict[str, float]) -> dict[str, float]:
    """Where hops touch a box, from left to right as their other ends lie."""
    gap = _gap(box, len(sides))
    order = sorted(sides, key=sides.__getitem__)
    return {name: box.x + (number - (len(order) - 1) / 2) * gap for number, name in enumerate(order)}


def _gap(box: Box, n_hops: int) -> float:
    return min(GAP, 0.9 * box.width / max(n_hops, 1))


def _label(shape: Convolution, x: float, y: float) -> str:
    """A kernel's size beside a hop's end, with its stride, as in 3×3/2."""
    size, step = ("×".join(map(str, pair)) for pair in (shape.kernel, shape.stride))
    stride = "" if shape.stride == (1, 1) else f"/{shape.stride[0] if len({*shape.stride}) == 1 else step}"
    return (
        f"<text x='{x + 3:g}' y='{y + 12:g}' font-size='10' fill='{INK}' stroke='{PAPER}' stroke-width='3' "
        f"paint-order='stroke'>{size}{stride}</text>"
    )


def _way(start: tuple[float, float], end: tuple[float, float], hop: Hop, lanes: dict[str, int]) -> str:
    (x, y), (x2, y2) = start, end
    if hop.name in lanes:
        lane = MARGIN + LANE * (max(lanes.values()) - lanes[hop.name] + 0.5)
        turn = ROW / 2
        return (
            f"M {x:g} {y:g} C {x:g} {y - turn:g} {lane:g} {y:g} {lane:g} {y - turn:g} V {y2 + turn:g} "
            f"C {lane:g} {y2:g} {x2:g} {y2 + turn:g} {x2:g} {y2:g}"
        )
    if hop.convolution is None or x == x2:
        return f"M {x:g} {y:g} L {x2:g} {y2:g}"
    bend = min(ROW * 0.45, (y - y2) / 2)
    return f"M {x:g} {y:g} C {x:g} {y - bend:g} {x2:g} {y2 + bend:g} {x2:g} {y2:g}"


def _stroke(identity: bool, noted: bool) -> str:
    colour, width = (GREY, 1) if identity else (BLUE, 1.8)
    return f"fill='none' stroke='{colour}' stroke-width='{width}'" + " stroke-dasharray='5 4'" * noted
