"""An attribution graph as its drawing needs it: rows of nodes in an order that crosses little, pictures, paths."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.shown.examples import shown_examples
from dashboard.shown.union import Union, keys, united
from summit_dask.arrays.graph.attribution import ClassGraph, Marks, to_networkx
from summit_dask.arrays.graph.edges import ClassCounts, strongest_sources
from summit_dask.facts import encoded
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import PAPERS, Pair
from summit_dask.questions.graphtables import edge_table, node_table

#: Longest side in pixels and largest size in bytes of a node's picture.
NODE_PIXELS, NODE_BYTES = 128, 12_000

#: The same of the small pictures on a card.
CARD_PIXELS, CARD_BYTES = 64, 3_000

#: The same of a channel's picture beside its name.
LINE_PIXELS, LINE_BYTES = 48, 2_000

#: Nodes of a graph that have their cards in the browser before they are pointed at, those of highest score first.
MOST_CARDS = 250

#: Sweeps up and down in `ordered`.
SWEEPS = 4


def ordered(
    rows: Sequence[NDArray[np.int64]], source: NDArray[np.int64], target: NDArray[np.int64], weight: NDArray[Any]
) -> list[NDArray[np.int64]]:
    """Rows of nodes, reordered by the barycentre method so that edges cross little.

    Parameters
    ----------
    rows
        Nodes of each row, any order.
    source, target, weight : (edge,)
        Edges between nodes of different rows; heavier edges pull more.

    Returns
    -------
    list
        The same rows. A node without edges stays where it is; ties keep the order given.
    """
    x = np.zeros(1 + max((int(row.max(initial=0)) for row in rows), default=0))
    for row in rows:
        x[row] = _spread(len(row))
    result = [row.copy() for row in rows]
    for _ in range(SWEEPS):
        for k in range(len(rows)):
            _reorder(result, k, x, target, source, weight)
        for k in reversed(range(len(rows))):
            _reorder(result, k, x, source, target, weight)
    return result


def _spread(n: int) -> NDArray[np.float64]:
    """Positions of n nodes from 0 to 1, the ends left free."""
    return np.linspace(0, 1, n + 2)[1:-1]


def _reorder(
    rows: list[NDArray[np.int64]],
    k: int,
    x: NDArray[np.float64],
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    weight: NDArray[Any],
) -> None:
    """Put a row's nodes in the order of the mean position of their neighbours at the other end."""
    total = np.bincount(own, weight, len(x))
    pull = np.bincount(own, weight * x[other], len(x))
    centre = np.where(total > 0, pull / np.where(total > 0, total, 1), x)
    rows[k] = rows[k][np.argsort(centre[rows[k]], kind="stable")]
    x[rows[k]] = _spread(len(rows[k]))


@kept_with_store(2048)
def node_picture(data: StoreData, channel: Channel) -> str | None:
    """The channel's picture as a small data URL: the optimised one, else its strongest example, else None."""
    picture = _picture(data, channel)
    return data_url(shrunk(picture)) if picture else None


@kept_with_store(2048)
def small_picture(data: StoreData, channel: Channel) -> str | None:
    """The same for a line of text."""
    picture = _picture(data, channel)
    return data_url(shrunk(picture, LINE_PIXELS, LINE_BYTES)) if picture else None


def _picture(data: StoreData, channel: Channel) -> bytes:
    picture = data.pictures(channel).get("channel", b"")
    return picture or next((e.thumbnail for e in data.examples(channel) if e.thumbnail), b"")


@kept_with_store(1024)
def details(data: StoreData, channel: Channel) -> dict[str, Any]:
    """What a node's card shows beside its facts: diversity versions and examples."""
    pictures = data.pictures(channel)
    diversity = [pictures[kind] for kind in pictures if kind.startswith("diversity-")]
    examples = [
        {"picture": data_url(shrunk(e.picture, CARD_PIXELS, CARD_BYTES)), "label": e.label, "fires": e.fires}
        for e in shown_examples(data, channel)
        if e.picture
    ]
    return {
        "layer": channel.layer,
        "channel": channel.index,
        "picture": None,
        "diversity": [data_url(shrunk(picture, CARD_PIXELS, CARD_BYTES)) for picture in diversity],
        "examples": examples,
    }


def cards(data: StoreData, graph: ClassGraph) -> list[dict[str, Any]]:
    """The `details` of a graph's nodes; of a large graph, those of the highest scores alone."""
    best = np.argsort(-graph.node_score, kind="stable")[:MOST_CARDS]
    layers = data.layer_graph.layers
    nodes = zip(graph.node_layer[best].tolist(), graph.node_channel[best].tolist(), strict=True)
    return [details(data, Channel(layers[layer].name, channel)) for layer, channel in nodes]


def sources(
    data: StoreData, class_index: int, graph: ClassGraph, channel: Channel, pair: Pair = PAPERS
) -> tuple[list[dict[str, Any]], str]:
    """The strongest sources of a channel, whether or not they are in the graph, and what to say about them.

    From the counts; where the store has none, as its graphs hold them. A source in a hidden layer comes with its own
    strongest source, so that the way leads on to the visible layer below.
    """
    hops = data.layer_graph.incoming(channel.layer)
    if not hops:
        return [], "This is the lowest layer of the graph."
    if data.can_reselect:
        return counted_sources(data, data.class_counts(class_index, pair), channel), ""
    return held_sources(data, graph, channel)


def held_sources(data: StoreData, graph: ClassGraph, channel: Channel) -> tuple[list[dict[str, Any]], str]:
    """The sources of a channel that a graph holds, and what to say about them."""
    is_it = np.equal(keys(graph.node_layer, graph.node_channel), key(data, channel))
    if not is_it.any():
        return [], data.why_absent("matrices")
    columns = (graph.node_source_layer, graph.node_source_channel, graph.node_source_influence)
    rows = zip(*(column[is_it][0].tolist() for column in columns), strict=True)
    return [_source(data, *row) for row in rows if row[0] >= 0], "As imported; this store holds no influence counts."


def counted_sources(data: StoreData, counts: ClassCounts, channel: Channel) -> list[dict[str, Any]]:
    """The strongest sources of a channel by some counts."""
    return led_on(data, counts, _strongest(data, counts, channel, 3))


def led_on(data: StoreData, counts: ClassCounts, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sources, those in hidden layers with their own strongest source."""
    for row in rows:
        if row["hidden"]:
            below = _strongest(data, counts, Channel(row["layer"], row["channel"]), 1)
            row["through"] = next(iter(below), None)
    return rows


def inhibitors(data: StoreData, class_index: int, channel: Channel) -> list[dict[str, Any]]:
    """The sources that lower a channel most for a class, where it fires; none where the store has no contributions."""
    return lowered_by(data, data.lowering_counts(class_index), channel)


def lowered_by(data: StoreData, counts: ClassCounts | None, channel: Channel) -> list[dict[str, Any]]:
    """The sources that lower a channel most, by some counts; none without them."""
    if counts is None or not data.layer_graph.incoming(channel.layer):
        return []
    return _strongest(data, counts, channel, 3)


def _strongest(data: StoreData, counts: ClassCounts, channel: Channel, n: int) -> list[dict[str, Any]]:
    result = strongest_sources(data.layer_graph, counts, channel.layer, [channel.index], n)
    columns = (result.layer, result.channel, result.influence)
    return [_source(data, *row) for row in zip(*(c[0].tolist() for c in columns), strict=True) if row[0] >= 0]


def _source(data: StoreData, layer: int, channel: int, influence: int) -> dict[str, Any]:
    known = data.layer_graph.layers[layer]
    return {
        "layer": known.name,
        "channel": channel,
        "influence": influence,
        "hidden": not known.visible,
        "through": None,
    }


def with_pictures(data: StoreData, sources: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sources, those in visible layers with a small picture."""
    channels = [None if row["hidden"] else Channel(row["layer"], row["channel"]) for row in sources]
    pictures = [channel and small_picture(data, channel) for channel in channels]
    return [{**row, "picture": picture} for row, picture in zip(sources, pictures, strict=True)]


@kept_with_store(32)
def files(data: StoreData, graph: ClassGraph, name: str, marks: Marks | None = None) -> list[dict[str, str]]:
    """The graph as GraphML, where it bears the name, and as two tables; with what evidence says of it."""
    # Brings networkx, which takes a third of a second; what is waited for is on the page by now.
    from summit_dask.questions.graphml import graphml

    tables = {"nodes.csv": node_table, "edges.csv": edge_table}
    texts = {file: table(data.layer_graph, graph, marks).to_csv(index=False) for file, table in tables.items()}
    network = graphml(to_networkx(data.layer_graph, graph, marks), name)
    return [
        *({"name": file, "type": "text/csv", "text": text} for file, text in texts.items()),
        {"name": "graph.graphml", "type": "application/xml", "text": network},
    ]


def shrunk(picture: bytes, pixels: int = NODE_PIXELS, largest: int = NODE_BYTES) -> bytes:
    """An encoded picture, made smaller if it is larger than allowed."""
    if len(picture) <= largest:
        return picture
    image = Image.open(io.BytesIO(picture))
    image.draft("RGB", (pixels, pixels))
    image.thumbnail((pixels, pixels))
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=85)
    return file.getvalue()


def data_url(picture: bytes) -> str:
    """An encoded picture as the browser takes it."""
    return f"data:{encoded.media_type(picture)};base64,{base64.b64encode(picture).decode()}"


def drawing(
    data: StoreData,
    graph: ClassGraph,
    n_images: int,
    class_name: str = "",
    pair: Pair = PAPERS,
    marks: Marks | None = None,
    before: ClassGraph | None = None,
    pinned: Channel | None = None,
    used: Mapping[str, NDArray[Any]] | None = None,
    pictured: bool = True,
) -> dict[str, Any]:
    """What the graph component draws: rows from the top layer down, nodes, edges.

    Parameters
    ----------
    graph
        Of a class.
    n_images
        Images that were counted; 0 where it isn't known.
    class_name
        What the node in the row of the class is called.
    pair
        What the graph is measured by.
    marks
        What evidence says of it; None where there is none.
    before
        The graph of the same class whose channels keep their places, free where `graph` lacks them.
    pinned
        A channel that has a place even if the graph lacks it.
    used
        Images that use each channel (channel,), by layer: the counts of channels that the graph lacks.
    pictured
        Whether nodes come with their pictures.
    """
    graphs = [graph] if before is None else [before, graph]  # the places are those of the first
    union = united(graphs, [key(data, pinned)] if pinned else [])
    held, influence = union.held[-1].tolist(), union.influence[-1]
    counts = [_count(data, union, k, used or {}) for k in range(len(held))]
    nodes = [node(data, union, k, count, class_name, pictured) for k, count in enumerate(counts)]
    columns = (union.source, union.target, influence, union.identity)
    return {
        "rows": rows(data, union, [0]),
        "nodes": [{**known, "absent": not own} for known, own in zip(nodes, held, strict=True)],
        "edges": np.stack(columns, axis=1)[influence > 0].tolist(),
        "images": n_images,
        "largest": data.largest_node_count(pair),
        "measure": pair.edges,
        "marks": marks and {column.name: known(getattr(marks, column.name)) for column in fields(marks)},
    }


def _count(data: StoreData, union: Union, k: int, used: Mapping[str, NDArray[Any]]) -> int:
    """Images that use a node of the last graph, or a channel that it lacks."""
    of_layer = used.get(data.layer_graph.layers[int(union.layer[k])].name)
    if union.held[-1, k]:
        return int(union.count[-1, k])
    return int(union.count[:, k].max() if of_layer is None else of_layer[union.channel[k]])


def rows(data: StoreData, union: Union, leading: list[int]) -> list[dict[str, Any]]:
    """Layers from the top down: nodes of the leading graphs in an order that crosses little, then the others."""
    visible = data.layer_graph.visible
    leads = union.held[leading].any(axis=0)
    weight = union.influence[leading].sum(axis=0)
    own = weight > 0
    of_layer = [union.layer == data.layer_graph.layers.index(layer) for layer in visible]
    first = ordered([np.flatnonzero(own_layer & leads) for own_layer in of_layer], *_edges(union, own), weight[own])
    others = [np.flatnonzero(own_layer & ~leads) for own_layer in of_layer]
    return [
        {"layer": layer.name, "nodes": [*row.tolist(), *rest.tolist()], "centred": len(row)}
        for layer, row, rest in zip(visible, first, others, strict=True)
    ][::-1]


def _edges(union: Union, kept: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return union.source[kept], union.target[kept]


def known(values: NDArray[np.float64]) -> list[float | None]:
    """None for NaN, which JSON lacks."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def node(data: StoreData, union: Union, k: int, count: int, class_name: str, pictured: bool = True) -> dict[str, Any]:
    """A node as it is drawn; its score is that of the last graph that holds it."""
    layer = data.layer_graph.layers[int(union.layer[k])]
    channel = Channel(layer.name, int(union.channel[k]))
    scores = union.score[:, k][union.held[:, k]]
    return {
        "layer": channel.layer,
        "channel": channel.index,
        "name": class_name if layer.of_class else "",
        "called": data.called(channel).name,
        "count": count,
        "score": float(scores[-1]) if len(scores) else 0.0,
        "picture": node_picture(data, channel) if pictured else None,
    }


def key(data: StoreData, channel: Channel) -> int:
    """The number of a channel in a union of graphs."""
    return data.layer_graph.layers.index(data.layer_graph.layer(channel.layer)) << 32 | channel.index
