"""An attribution graph as its drawing needs it: rows of nodes in an order that crosses little, pictures, paths."""

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dashboard.data import StoreData
from summit_dask import encoded
from summit_dask.attribution import ClassGraph
from summit_dask.layergraph import Channel

#: Longest side in pixels and largest size in bytes of a node's picture.
NODE_PIXELS, NODE_BYTES = 128, 12_000

#: Sweeps up and down in `ordered`.
SWEEPS = 4


def ordered(
    rows: Sequence[NDArray[np.int64]], source: NDArray[np.int64], target: NDArray[np.int64], weight: NDArray[Any]
) -> list[NDArray[np.int64]]:
    """Rows of nodes, reordered by the barycentre method so that edges between neighbouring rows cross little.

    Parameters
    ----------
    rows
        Nodes of each row, any order.
    source, target, weight : (edge,)
        Edges between nodes of neighbouring rows; heavier edges pull more.

    Returns
    -------
    list
        The same rows. A node without edges keeps its place; ties keep the order given.
    """
    place = np.zeros(1 + max((int(row.max(initial=0)) for row in rows), default=0))
    for row in rows:
        place[row] = np.linspace(0, 1, len(row) + 2)[1:-1]
    result = [row.copy() for row in rows]
    upwards = list(range(len(rows)))
    for sweep in range(2 * SWEEPS):
        ends = (target, source) if sweep % 2 == 0 else (source, target)
        for k in upwards if sweep % 2 == 0 else reversed(upwards):
            _reorder(result, k, place, *ends, weight)
    return result


def _reorder(
    rows: list[NDArray[np.int64]],
    k: int,
    place: NDArray[np.float64],
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    weight: NDArray[Any],
) -> None:
    total = np.bincount(own, weight, len(place))
    pull = np.bincount(own, weight * place[other], len(place))
    centre = np.where(total > 0, pull / np.where(total > 0, total, 1), place)
    rows[k] = rows[k][np.argsort(centre[rows[k]], kind="stable")]
    place[rows[k]] = np.linspace(0, 1, len(rows[k]) + 2)[1:-1]


def node_picture(data: StoreData, channel: Channel) -> str | None:
    """The channel's picture as a small data URL: the optimised one, else its strongest example, else None."""
    return _node_picture(data, channel)


@lru_cache(maxsize=8192)
def _node_picture(data: StoreData, channel: Channel) -> str | None:
    picture = data.picture(channel)
    if not picture:
        picture = next((e.thumbnail for e in data.examples(channel) if e.thumbnail), b"")
    return data_url(shrunk(picture)) if picture else None


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


def drawing(data: StoreData, graph: ClassGraph, n_images: int) -> dict[str, Any]:
    """What the graph component draws: rows from the top layer down, nodes, edges.

    Parameters
    ----------
    graph
        Of a class.
    n_images
        Images that were counted; 0 where it isn't known.
    """
    layers = [data.layer_graph.layers.index(layer) for layer in data.layers]
    bounds = {int(c): k for k, c in enumerate(_keys(graph.node_layer, graph.node_channel))}
    ends = (
        np.array([bounds[int(c)] for c in _keys(layer, channel)], np.int64)
        for layer, channel in (
            (graph.edge_source_layer, graph.edge_source_channel),
            (graph.edge_target_layer, graph.edge_target_channel),
        )
    )
    source, target = ends
    rows = ordered([np.flatnonzero(graph.node_layer == k) for k in layers], source, target, graph.edge_influence)
    names = [layer.name for layer in data.layers]
    return {
        "rows": [{"layer": n, "nodes": row.tolist()} for n, row in zip(names, rows, strict=True)][::-1],
        "nodes": [_node(data, graph, k) for k in range(len(graph.node_layer))],
        "edges": np.stack([source, target, graph.edge_influence], axis=1).tolist(),
        "images": n_images,
        "largest": data.largest_node_count,
    }


def _node(data: StoreData, graph: ClassGraph, k: int) -> dict[str, Any]:
    channel = Channel(data.layer_graph.layers[int(graph.node_layer[k])].name, int(graph.node_channel[k]))
    return {
        "layer": channel.layer,
        "channel": channel.index,
        "count": int(graph.node_count[k]),
        "score": float(graph.node_score[k]),
        "picture": node_picture(data, channel),
    }


def _keys(layer: NDArray[Any], channel: NDArray[Any]) -> NDArray[np.int64]:
    return np.asarray(layer.astype(np.int64) << 32 | channel)
