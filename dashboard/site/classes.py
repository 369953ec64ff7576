"""What belongs to a class: its graphs with the sources of their nodes, how often it uses each channel, predictions."""

from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Any

from dashboard.evidence import evidence_of, marks_of
from dashboard.selection import STORED
from dashboard.shown import badge, graphs, images
from dashboard.shown.union import keys
from dashboard.site.evidence import by_measures, of_class
from dashboard.site.source import Source, rounded
from summit_dask.arrays.graph.attribution import ClassGraph, Marks
from summit_dask.facts.pairs import Pair

#: Images of a class, those of lowest probability first; of 1300 a class the table alone would outweigh all else.
MOST_IMAGES = 50


def class_facts(source: Source, number: int) -> dict[str, Any]:
    """The file of a class, by its number in the site."""
    place = int(source.classes[number])
    return {
        "graphs": {pair.name: _graph(source, place, pair) for pair in source.data.pairs},
        "counts": {nodes: counts[number].tolist() for nodes, counts in source.used.items()},
        "predictions": _predictions(source, place),
        "evidence": {pair.name: of_class(source, place, pair) for pair in source.data.pairs},
        "by_measures": by_measures(source, place),
    }


def _graph(source: Source, place: int, pair: Pair) -> dict[str, Any]:
    data = source.data
    graph = data.graph(place, STORED, pair)
    assert graph is not None, "asked for the pairs that the store has"
    nodes = (graph.node_layer, graph.node_channel, graph.node_count, rounded(graph.node_score, 6))
    return {
        "nodes": [
            [int(layer), int(channel), int(count), score] for layer, channel, count, score in zip(*nodes, strict=True)
        ],
        "edges": _edges(graph),
        "marks": _marks(marks_of(data, place, pair)),
        "badge": _badge(source, place, pair),
        **_sources(source, place, graph, pair),
    }


def _edges(graph: ClassGraph) -> list[list[int]]:
    """Places of both ends among the nodes, influence, and whether it is an identity."""
    place = {key: k for k, key in enumerate(keys(graph.node_layer, graph.node_channel))}
    ends = [
        [place[key] for key in keys(layer, channel)]
        for layer, channel in (
            (graph.edge_source_layer, graph.edge_source_channel),
            (graph.edge_target_layer, graph.edge_target_channel),
        )
    ]
    columns = (*ends, graph.edge_influence.tolist(), graph.edge_identity.astype(int).tolist())
    return [list(edge) for edge in zip(*columns, strict=True)]


def _marks(marks: Marks | None) -> dict[str, list[Any]] | None:
    return None if marks is None else {field.name: rounded(getattr(marks, field.name)) for field in fields(marks)}


def _badge(source: Source, place: int, pair: Pair) -> dict[str, str] | None:
    evidence = evidence_of(source.data, pair)
    if evidence is None or not evidence.share("necessity", place, "graph").is_known:
        return None
    return {"sentence": badge.sentence(evidence, place), "meaning": badge.meaning(evidence, place)}


def _sources(source: Source, place: int, graph: ClassGraph, pair: Pair) -> dict[str, Any]:
    """The strongest sources of every node, and those that lower it most; what there is to say of them all."""
    data = source.data
    nodes = graph.nodes(data.layer_graph)
    held = [graphs.held_sources(data, graph, node) for node in nodes]  # whether or not they are in the graph
    found = [rows for rows, _ in held]
    if data.can_reselect:
        found = [graphs.led_on(data, data.class_counts(place, pair), rows) for rows in found]
    lowering = [graphs.inhibitors(data, place, node) for node in nodes]
    return {
        "sources": [[_row(source, row) for row in rows] for rows in found],
        "lowering": [[_row(source, row) for row in rows] for rows in lowering] if any(lowering) else [],
        "note": "" if data.can_reselect else next((note for _, note in held), ""),
    }


def _row(source: Source, row: dict[str, Any]) -> list[Any]:
    own = [source.index_of_layer[row["layer"]], row["channel"], row["influence"]]
    return [*own, _row(source, row["through"])] if row["through"] else own


def _predictions(source: Source, place: int) -> dict[str, Any] | None:
    data = source.data
    if not data.has_predictions or not data.facts(place).n_images:
        return None
    confused = images.confusions(data, place)
    table = images.of_class(data, place)
    names: dict[str, int] = {}
    rows = [_image(row, names) for row in table.head(MOST_IMAGES).to_dict("records")]
    return {
        "taken_for": [
            [row["name"], _number(source, row["output"]), row["images"], *rounded([row["probability"]])]
            for row in confused.to_dict("records")
        ],
        "names": list(names),
        "images": rows,
        "total": len(table),
    }


def _image(row: Mapping[Hashable, Any], names: dict[str, int]) -> list[Any]:
    """File, probability, whether it is right, and the predictions, each a place among the names and a probability."""
    ranks = sum(str(name).startswith("prediction ") for name in row)
    predicted = [
        [names.setdefault(row[f"prediction {k}"], len(names)), *rounded([row[f"probability {k}"]])]
        for k in range(1, ranks + 1)
    ]
    return [row["file"], *rounded([row["probability"]]), int(row["correct"]), predicted]


def _number(source: Source, output: int) -> int:
    """The number in the site of the class that an output stands for; -1 where it isn't there."""
    place = images.class_of_output(source.data, int(output))
    return -1 if place is None else source.number_of.get(place, -1)
