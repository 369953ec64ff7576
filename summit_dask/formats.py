"""The original's attribution graphs, ag-N.json, and what all its files are checked with.

    {"mixed5b": [{"channel": 101, "count": 298, "layer": "mixed5b", "pagerank": 0.0012,
                  "prev_channels": [{"prev_channel": 1, "inf": 623}, ...],           edges down
                  "attr_channels": [{"prev_channel": "762", "inf": 1293}, ...]}]}    strongest sources

A source of the original indexes what its hop comes from, in the 3x3 and 5x5 branches the bottleneck. Files
written from our own runs name channels of the layer below instead.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.attribution import ClassGraph
from summit_dask.errors import FormatError
from summit_dask.layergraph import Layer, LayerGraph
from summit_dask.schema import N_NODE_SOURCES

_NODE_KEYS = ("channel", "count", "layer", "pagerank", "prev_channels", "attr_channels")
_SOURCE_KEYS = ("prev_channel", "inf")
_ATTRIBUTED = "prev_channel of attr_channels"
_LARGEST = 2**31 - 1


def fault(where: object, expected: str, found: object) -> FormatError:
    """The error for a file that is not what it should be; long values are cut."""
    text = repr(found)
    text = text if len(text) <= 80 else text[:77] + "..."
    return FormatError(f"{where}: expected {expected}, found {text}. Mend the file, or give --keep-going.")


def read_text(path: Path) -> str:
    """A file's text.

    Raises
    ------
    FormatError
        If there is no such file or it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FormatError(f"{path}: expected a file, found none. Restore it, or give --keep-going.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{path}: expected UTF-8 text, found {error}. Mend the file, or give --keep-going."
        ) from error


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    FormatError
        If it is missing, cut off or no JSON.
    """
    return _decoded(read_text(path), path)


def _decoded(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise fault(path, "JSON", f"{error.msg} at line {error.lineno}, column {error.colno}") from error


def graph_json(graph: ClassGraph, layer_graph: LayerGraph) -> dict[str, list[dict[str, Any]]]:
    """The content of an ag-N.json: layers from the top down, nodes, edges and sources in the tables' order."""
    names = [layer.name for layer in layer_graph.layers]
    result: dict[str, list[dict[str, Any]]] = {layer.name: [] for layer in reversed(layer_graph.visible)}
    edges: dict[tuple[int, int], list[dict[str, int]]] = defaultdict(list)
    columns = (graph.edge_target_layer, graph.edge_target_channel, graph.edge_source_channel, graph.edge_influence)
    for layer, channel, source, influence in zip(*(c.tolist() for c in columns), strict=True):
        edges[layer, channel].append({"prev_channel": source, "inf": influence})
    for place, (layer, channel) in enumerate(zip(graph.node_layer.tolist(), graph.node_channel.tolist(), strict=True)):
        result[names[layer]].append(
            {
                "channel": channel,
                "count": int(graph.node_count[place]),
                "layer": names[layer],
                "pagerank": float(graph.node_score[place]),
                "prev_channels": edges[layer, channel],
                "attr_channels": _sources_json(graph, place),
            }
        )
    return result


def _sources_json(graph: ClassGraph, place: int) -> list[dict[str, Any]]:
    pairs = zip(graph.node_source_channel[place].tolist(), graph.node_source_influence[place].tolist(), strict=True)
    return [{"prev_channel": str(channel), "inf": influence} for channel, influence in pairs if channel >= 0]


def parse_graph(data: Any, layer_graph: LayerGraph, where: object, through: bool = False) -> ClassGraph:
    """Nodes and edges of one class from the content of an ag-N.json, in the file's order.

    Parameters
    ----------
    data
        As `read_json` gives it.
    layer_graph
        Layers and hops that the file speaks of.
    where
        The file, for messages.
    through
        Sources name channels of the layer below, through the bottlenecks; otherwise what the node's hop comes from.

    Returns
    -------
    ClassGraph
        Values as in the file. The reached p is unknown: NaN. Every layer is valid, as the original went on until
        they were, but in a file without edges.

    Raises
    ------
    FormatError
        For another type or key, a layer or channel that doesn't exist, a channel that stands twice, or an edge
        that doesn't lead to a node of the layer below.
    """
    names = [layer.name for layer in layer_graph.visible]
    if not isinstance(data, dict) or set(data) != set(names):
        found = list(data) if isinstance(data, dict) else data
        raise fault(where, f"an object with the layers {', '.join(names)}", found)
    places = {layer.name: place for place, layer in enumerate(layer_graph.layers)}
    nodes = {name: _node_table(data[name], layer_graph.layer(name), f"{where}, {name}") for name in data}
    edge = np.concatenate([_edge_table(layer_graph, name, nodes, f"{where}, {name}") for name in data], axis=1)
    source = np.concatenate(
        [_source_table(nodes[name], _source_layers(layer_graph, name, through), f"{where}, {name}") for name in data]
    )
    return ClassGraph(
        np.concatenate([np.full(len(table.channel), places[name], np.int16) for name, table in nodes.items()]),
        np.concatenate([table.channel for table in nodes.values()]),
        np.concatenate([table.count for table in nodes.values()]),
        np.concatenate([table.score for table in nodes.values()]),
        source[..., 0].astype(np.int16),
        source[..., 1],
        source[..., 2],
        edge[0].astype(np.int16),
        edge[1],
        edge[2].astype(np.int16),
        edge[3],
        edge[4],
        np.full(len(names), np.nan),
        np.array([1] + [edge.size > 0] * (len(names) - 1), np.uint8),
    )


@dataclass(frozen=True)
class _Nodes:
    """Nodes of one layer; edges and sources as they stand in the file, a list for each node."""

    channel: NDArray[np.int32]
    count: NDArray[np.int32]
    score: NDArray[np.float64]
    edges: list[list[dict[str, Any]]]
    sources: list[list[dict[str, Any]]]


def _node_table(nodes: Any, layer: Layer, where: str) -> _Nodes:
    rows = check_rows(nodes, _NODE_KEYS, where)
    channel = integers([row["channel"] for row in rows], layer.channels, where, "channel")
    if len(np.unique(channel)) != len(channel):
        raise fault(where, "each channel once", sorted(channel.tolist()))
    if other := [row["layer"] for row in rows if row["layer"] != layer.name]:
        raise fault(where, f"the layer {layer.name!r} in each of its nodes", other[0])
    return _Nodes(
        channel,
        integers([row["count"] for row in rows], _LARGEST, where, "count"),
        numbers([row["pagerank"] for row in rows], where, "pagerank"),
        [check_rows(row["prev_channels"], _SOURCE_KEYS, where) for row in rows],
        [check_rows(row["attr_channels"], _SOURCE_KEYS, where) for row in rows],
    )


def _edge_table(layer_graph: LayerGraph, name: str, nodes: Mapping[str, _Nodes], where: str) -> NDArray[np.int32]:
    """Edges (5, edge): source layer, source channel, target layer, target channel, influence."""
    below, flat = layer_graph.below(name), [edge for edges in nodes[name].edges for edge in edges]
    if below is None:
        if flat:
            raise fault(where, "no prev_channels in the lowest layer", flat[0])
        return np.empty((5, 0), np.int32)
    source = integers([edge["prev_channel"] for edge in flat], below.channels, where, "prev_channel")
    influence = integers([edge["inf"] for edge in flat], _LARGEST, where, "inf")
    if (lost := source[~np.isin(source, nodes[below.name].channel)]).size:
        raise fault(where, f"each prev_channel among the nodes of {below.name}", int(lost[0]))
    target = np.repeat(nodes[name].channel, [len(edges) for edges in nodes[name].edges])
    if len(set(zip(target.tolist(), source.tolist(), strict=True))) != len(flat):
        raise fault(where, "each prev_channel of a node once", flat)
    names = [layer.name for layer in layer_graph.layers]
    ends = [np.full(len(flat), names.index(end), np.int32) for end in (below.name, name)]
    return np.stack([ends[0], source, ends[1], target, influence])


@dataclass(frozen=True)
class _SourceLayers:
    """Where the sources of each channel of a layer lie: place in the layer graph and size; (channel,)."""

    place: NDArray[np.int32]
    size: NDArray[np.int32]


def _source_layers(layer_graph: LayerGraph, name: str, through: bool) -> _SourceLayers:
    names = [layer.name for layer in layer_graph.layers]
    below, target = layer_graph.below(name), layer_graph.layer(name)
    place = np.full(target.channels, names.index(below.name) if below else -1, np.int32)
    for hop in () if through else reversed(layer_graph.incoming(name)):
        place[hop.start : hop.stop] = names.index(hop.source)
    sizes = np.array([*(layer.channels for layer in layer_graph.layers), 0], np.int32)
    return _SourceLayers(place, sizes[place])


def _source_table(nodes: _Nodes, layers: _SourceLayers, where: str) -> NDArray[np.int32]:
    """Strongest sources (node, rank, 3): layer, channel, influence; -1, -1, 0 where there are no more."""
    lengths = np.array([len(rows) for rows in nodes.sources], np.int64)
    flat = [row for rows in nodes.sources for row in rows]
    if lengths.max(initial=0) > N_NODE_SOURCES:
        raise fault(where, f"at most {N_NODE_SOURCES} attr_channels", int(lengths.max()))
    target = np.repeat(nodes.channel, lengths)
    channel = integers([digits(row["prev_channel"]) for row in flat], _LARGEST, where, _ATTRIBUTED)
    if (lost := np.flatnonzero(channel >= layers.size[target])).size:
        size, found = layers.size[target][lost[0]], int(channel[lost[0]])
        raise fault(f"{where}, channel {target[lost[0]]}", f"{_ATTRIBUTED} below {size}", found)
    table = np.tile(np.array([-1, -1, 0], np.int32), (len(lengths), N_NODE_SOURCES, 1))
    influence = integers([row["inf"] for row in flat], _LARGEST, where, "inf")
    table[np.arange(N_NODE_SOURCES) < lengths[:, None]] = np.stack([layers.place[target], channel, influence], axis=1)
    return table


def digits(value: Any) -> Any:
    """The number that a text of digits says; anything else becomes a text that `integers` refuses."""
    return int(value) if isinstance(value, str) and value.isdecimal() else f"{value!r}, no text of digits"


def check_rows(value: Any, keys: Sequence[str], where: object) -> list[dict[str, Any]]:
    """The value, if it is a list of objects that have all the keys.

    Raises
    ------
    FormatError
        If it isn't; names the place.
    """
    if not isinstance(value, list):
        raise fault(where, "a list", value)
    for row in value:
        if not isinstance(row, dict) or any(key not in row for key in keys):
            raise fault(where, f"objects with {', '.join(keys)}", row)
    return value


def integers(values: list[Any], limit: int, where: object, what: str) -> NDArray[np.int32]:
    """The values as an array, if they are whole numbers from 0 to below the limit.

    Raises
    ------
    FormatError
        If one isn't; names the first.
    """
    if wrong := [v for v in values if type(v) is not int or not 0 <= v < limit]:
        raise fault(where, f"{what} as a whole number from 0 to {limit - 1}", wrong[0])
    return np.array(values, np.int32)


def numbers(values: list[Any], where: object, what: str) -> NDArray[np.float64]:
    """The values as an array, if they are finite numbers.

    Raises
    ------
    FormatError
        If one isn't; names the first.
    """
    if wrong := [v for v in values if type(v) not in (int, float) or not np.isfinite(v)]:
        raise fault(where, f"{what} as a number", wrong[0])
    return np.array(values, np.float64)
