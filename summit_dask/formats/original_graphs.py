"""The original's attribution graphs, ag-N.json, and what all its files are checked with.

    {"mixed5b": [{"channel": 101, "count": 298, "layer": "mixed5b", "pagerank": 0.0012,
                  "prev_channels": [{"prev_channel": 1, "inf": 623}, ...],           edges down
                  "attr_channels": [{"prev_channel": "762", "inf": 1293}, ...]}]}    strongest sources

A source of the original indexes what its hop comes from, in the 3x3 and 5x5 branches the bottleneck. Files
written from our own runs name channels of the layer below instead.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.errors import FormatError
from summit_dask.facts.layergraph import Layer, LayerGraph
from summit_dask.facts.schema import N_NODE_SOURCES

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


@dataclass(frozen=True)
class _LayerFacts:
    """What a layer's nodes are held against; the sources of each channel lie in a layer of that place and size."""

    layer: Layer
    place: int
    below: Layer | None
    below_place: int
    source_place: NDArray[np.int32]
    source_size: NDArray[np.int32]

    @classmethod
    def of(cls, layer_graph: LayerGraph, layer: Layer, through: bool) -> "_LayerFacts":
        """Sources through the bottlenecks lie in the layer below, others where the channel's hop comes from."""
        places = {layer.name: place for place, layer in enumerate(layer_graph.layers)}
        below = layer_graph.below(layer.name)
        below_place = places[below.name] if below else -1
        source_place = np.full(layer.channels, below_place, np.int32)
        for hop in () if through else reversed(layer_graph.incoming(layer.name)):
            source_place[hop.start : hop.stop] = places[hop.source]
        sizes = np.array([*(layer.channels for layer in layer_graph.layers), 0], np.int32)
        return cls(layer, places[layer.name], below, below_place, source_place, sizes[source_place])


class GraphReader:
    """Reads ag-N.json files that speak of one layer graph.

    Parameters
    ----------
    layer_graph
        Layers and hops that the files speak of.
    through
        Sources name channels of the layer below, through the bottlenecks; otherwise what the node's hop comes from.
    """

    def __init__(self, layer_graph: LayerGraph, through: bool = False) -> None:
        self._facts = {layer.name: _LayerFacts.of(layer_graph, layer, through) for layer in layer_graph.visible}

    def parse(self, data: Any, where: object) -> ClassGraph:
        """Nodes and edges of one class from the content of a file, in the file's order.

        Parameters
        ----------
        data
            As `read_json` gives it.
        where
            The file, for messages.

        Returns
        -------
        ClassGraph
            Values as in the file. The reached p is unknown: NaN. Every layer is valid, as the original went on
            until they were, but in a file without edges.

        Raises
        ------
        FormatError
            For another type or key, a layer or channel that doesn't exist, a channel that stands twice, or an edge
            that doesn't lead to a node of the layer below.
        """
        if not isinstance(data, dict) or set(data) != set(self._facts):
            found = list(data) if isinstance(data, dict) else data
            raise fault(where, f"an object with the layers {', '.join(self._facts)}", found)
        facts = [self._facts[name] for name in data]
        nodes = {name: _node_table(data[name], self._facts[name].layer, f"{where}, {name}") for name in data}
        edge = np.concatenate([_edge_table(fact, nodes, where) for fact in facts], axis=1)
        source = np.concatenate([_source_table(fact, nodes[fact.layer.name], where) for fact in facts])
        tables = list(nodes.values())
        return ClassGraph(
            np.repeat(np.array([fact.place for fact in facts], np.int16), [len(table.channel) for table in tables]),
            np.concatenate([table.channel for table in tables]),
            np.concatenate([table.count for table in tables]),
            np.concatenate([table.score for table in tables]),
            source[..., 0].astype(np.int16),
            source[..., 1],
            source[..., 2],
            edge[0].astype(np.int16),
            edge[1],
            edge[2].astype(np.int16),
            edge[3],
            edge[4],
            np.full(len(facts), np.nan),
            np.array([1] + [edge.size > 0] * (len(facts) - 1), np.uint8),
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
        _check_lists([row["prev_channels"] for row in rows], _SOURCE_KEYS, where),
        _check_lists([row["attr_channels"] for row in rows], _SOURCE_KEYS, where),
    )


def _edge_table(fact: _LayerFacts, nodes: Mapping[str, _Nodes], where: object) -> NDArray[np.int32]:
    """Edges (5, edge): source layer, source channel, target layer, target channel, influence."""
    where, own = f"{where}, {fact.layer.name}", nodes[fact.layer.name]
    flat = [edge for edges in own.edges for edge in edges]
    if fact.below is None:
        if flat:
            raise fault(where, "no prev_channels in the lowest layer", flat[0])
        return np.empty((5, 0), np.int32)
    source = integers([edge["prev_channel"] for edge in flat], fact.below.channels, where, "prev_channel")
    influence = integers([edge["inf"] for edge in flat], _LARGEST, where, "inf")
    if (lost := source[~np.isin(source, nodes[fact.below.name].channel)]).size:
        raise fault(where, f"each prev_channel among the nodes of {fact.below.name}", int(lost[0]))
    target = np.repeat(own.channel, [len(edges) for edges in own.edges])
    if len(set(zip(target.tolist(), source.tolist(), strict=True))) != len(flat):
        raise fault(where, "each prev_channel of a node once", flat)
    lower, upper = (np.full(len(flat), place, np.int32) for place in (fact.below_place, fact.place))
    return np.stack([lower, source, upper, target, influence])


def _source_table(fact: _LayerFacts, nodes: _Nodes, where: object) -> NDArray[np.int32]:
    """Strongest sources (node, rank, 3): layer, channel, influence; -1, -1, 0 where there are no more."""
    where = f"{where}, {fact.layer.name}"
    lengths = np.array([len(rows) for rows in nodes.sources], np.int64)
    flat = [row for rows in nodes.sources for row in rows]
    if lengths.max(initial=0) > N_NODE_SOURCES:
        raise fault(where, f"at most {N_NODE_SOURCES} attr_channels", int(lengths.max()))
    target = np.repeat(nodes.channel, lengths)
    channel = integers(digits([row["prev_channel"] for row in flat]), _LARGEST, where, _ATTRIBUTED)
    if (lost := np.flatnonzero(channel >= fact.source_size[target])).size:
        size, found = fact.source_size[target][lost[0]], int(channel[lost[0]])
        raise fault(f"{where}, channel {target[lost[0]]}", f"{_ATTRIBUTED} below {size}", found)
    table = np.tile(np.array([-1, -1, 0], np.int32), (len(lengths), N_NODE_SOURCES, 1))
    influence = integers([row["inf"] for row in flat], _LARGEST, where, "inf")
    table[np.arange(N_NODE_SOURCES) < lengths[:, None]] = np.stack(
        [fact.source_place[target], channel, influence], axis=1
    )
    return table


def _check_lists(values: list[Any], keys: Sequence[str], where: str) -> list[list[dict[str, Any]]]:
    """The values, if each is a list of objects that have all the keys."""
    if wrong := [value for value in values if not isinstance(value, list)]:
        raise fault(where, "a list", wrong[0])
    check_rows([row for value in values for row in value], keys, where)
    return values


def digits(values: Iterable[Any]) -> list[Any]:
    """The numbers that texts of digits say; anything else becomes a text that `integers` refuses."""
    return [int(v) if isinstance(v, str) and v.isdecimal() else f"{v!r}, no text of digits" for v in values]


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
