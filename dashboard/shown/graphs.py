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
    picture = data.pictures(channel).get("channel", b"")
    if not picture:
        picture = next((e.thumbnail for e in data.examples(channel) if e.thumbnail), b"")
    return data_url(shrunk(picture)) if picture else None


@kept_with_store(1024)
def details(data: StoreData, channel: Channel) -> dict[str, Any]:
    """What a node's card shows beside its facts: diversity versions and examples."""
    pictures = data.pictures(channel)
    diversity = [pictures[kind] for kind in pictures if kind.startswith("diversity-")]
    examples = [
        {"picture": data_url(shrunk(picture, CARD_PIXELS, CARD_BYTES)), "label": label}
        for label, picture in labelled_examples(data, channel, pictures)
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


def labelled_examples(data: StoreData, channel: Channel, pictures: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Examples with their class and value; those that were imported as pictures have only a number."""
    stored = [(f"{data.label_of_image(e.image)}, {e.value:.3g}", e.thumbnail) for e in data.examples(channel)]
    imported = [picture for kind, picture in pictures.items() if kind.startswith("dataset-p-")]
    result = stored or [(f"example {n}", picture) for n, picture in enumerate(imported, 1)]
    return [(label, picture) for label, picture in result if picture]


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
        return _counted_sources(data, class_index, channel, pair), ""
    is_it = _keys(graph.node_layer, graph.node_channel) == _key(data, channel)
    if not is_it.any():
        return [], data.why_absent("matrices")
    columns = (graph.node_source_layer, graph.node_source_channel, graph.node_source_influence)
    rows = zip(*(column[is_it][0].tolist() for column in columns), strict=True)
    return [_source(data, *row) for row in rows if row[0] >= 0], "As imported; this store holds no influence counts."


def _counted_sources(data: StoreData, class_index: int, channel: Channel, pair: Pair) -> list[dict[str, Any]]:
    counts = data.class_counts(class_index, pair)
    rows = _strongest(data, counts, channel, 3)
    for row in rows:
        if row["hidden"]:
            below = _strongest(data, counts, Channel(row["layer"], row["channel"]), 1)
            row["through"] = next(iter(below), None)
    return rows


def inhibitors(data: StoreData, class_index: int, channel: Channel) -> list[dict[str, Any]]:
    """The sources that lower a channel most for a class, where it fires; none where the store has no contributions."""
    counts = data.lowering_counts(class_index)
    return (
        [] if counts is None or not data.layer_graph.incoming(channel.layer) else _strongest(data, counts, channel, 3)
    )


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
    """
    visible = data.layer_graph.visible
    layers = [data.layer_graph.layers.index(layer) for layer in visible]
    nodes = {int(key): k for k, key in enumerate(_keys(graph.node_layer, graph.node_channel))}
    source = _node_numbers(nodes, _keys(graph.edge_source_layer, graph.edge_source_channel))
    target = _node_numbers(nodes, _keys(graph.edge_target_layer, graph.edge_target_channel))
    rows = ordered([np.flatnonzero(graph.node_layer == k) for k in layers], source, target, graph.edge_influence)
    names = [layer.name for layer in visible]
    return {
        "rows": [{"layer": n, "nodes": row.tolist()} for n, row in zip(names, rows, strict=True)][::-1],
        "nodes": [_node(data, graph, k, class_name) for k in range(len(graph.node_layer))],
        "edges": np.stack([source, target, graph.edge_influence, graph.edge_identity], axis=1).tolist(),
        "images": n_images,
        "largest": data.largest_node_count(pair),
        "measure": pair.edges,
        "marks": marks and {column.name: _known(getattr(marks, column.name)) for column in fields(marks)},
    }


def _known(values: NDArray[np.float64]) -> list[float | None]:
    """None for NaN, which JSON lacks."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _node_numbers(nodes: Mapping[int, int], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([nodes[key] for key in keys.tolist()], np.int64)


def _node(data: StoreData, graph: ClassGraph, k: int, class_name: str) -> dict[str, Any]:
    layer = data.layer_graph.layers[int(graph.node_layer[k])]
    channel = Channel(layer.name, int(graph.node_channel[k]))
    return {
        "layer": channel.layer,
        "channel": channel.index,
        "name": class_name if layer.of_class else "",
        "count": int(graph.node_count[k]),
        "score": float(graph.node_score[k]),
        "picture": node_picture(data, channel),
    }


def _key(data: StoreData, channel: Channel) -> int:
    return data.layer_graph.layers.index(data.layer_graph.layer(channel.layer)) << 32 | channel.index


def _keys(layer: NDArray[Any], channel: NDArray[Any]) -> NDArray[np.int64]:
    return np.asarray(layer.astype(np.int64) << 32 | channel)
