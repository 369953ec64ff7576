"""From a store to files for other programs: the original's own, tables, GraphML and JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.arrays.graph.edges import layer_edges
from summit_dask.facts import schema
from summit_dask.facts.errors import StoreError
from summit_dask.formats import original_network
from summit_dask.formats.names import original_names
from summit_dask.formats.original_classes import ClassEntry, entry_json
from summit_dask.formats.original_graphs import graph_json
from summit_dask.formats.picture_files import export_pictures
from summit_dask.formats.tables import (
    Export,
    write_csv,
    write_graphml,
    write_json,
    write_parquet,
)
from summit_dask.questions.query import find_class
from summit_dask.store.counts import read_counts
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store

Format = Literal["summit", "csv", "parquet", "graphml", "json"]


@dataclass(frozen=True)
class ExportReport:
    """Files written, and a sentence for each part that the store does not hold."""

    n_files: int
    left_out: tuple[str, ...]


def export(
    path: Path,
    folder: Path,
    format: Format,
    classes: Sequence[str] | None = None,
    layers: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write a store's results in another program's format.

    Parameters
    ----------
    path
        The store.
    folder
        Where the files go; new or empty.
    format
        "summit": the original's imagenet.json, ag-N.json and pictures. "csv", "parquet": tidy tables, and for csv
        the original's A-<mass>-<layer>.csv. "graphml": a graph a class. "json": a graph a class, and the
        original's I_<layer>.json.
    classes
        Folder names, or names where unique; all by default.
    layers
        The original's name of each layer, in the files that are the original's. By default GoogLeNet's inception
        modules become mixed3a to mixed5b, other names stay.

    Returns
    -------
    ExportReport
        What was written and what the store does not hold.

    Raises
    ------
    StoreError
        If the folder holds something, or the store lacks what the format can't do without.
    ClassNotFoundError, LayerNotFoundError
        For a class or layer that doesn't exist.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StoreError(f"{folder} is not empty; files of two exports would mix. Give a new folder.")
    store = Store.open(path)
    tree = open_store(path)
    places = {find_class(tree, name) for name in classes} if classes else set(range(store.header.n_classes))
    made = Export(store, tuple(sorted(places)), original_names(store.layer_graph, layers), folder)
    folder.mkdir(parents=True, exist_ok=True)
    left_out = WRITERS[format](made)
    return ExportReport(sum(found.is_file() for found in folder.rglob("*")), tuple(left_out))


def _write_summit(made: Export) -> list[str]:
    store, targets, left_out = made.store, _targets(made.store), []
    _write_entries(made, targets)
    for part, needed in (("topChannels", "matrices"), ("embed", "embedding")):
        if needed not in store.group:
            left_out.append(f"{part} of imagenet.json: the store has no {needed}.")
    if not export_pictures(store, made.folder / "data/feature-vis", layer_table=made.names):
        left_out.append("feature-vis: the store has no pictures.")
    if "graphs" not in store.group:
        return [*left_out, "ag-N.json: the store has no graphs."]
    for place, graph in made.graphs():
        below = graph if made.imported else _sources_below(store, place, graph)
        made.write(f"data/ag/ag-{targets[place]}.json", graph_json(below, made.layer_graph))
    through = made.imported.sources_in_layer_below if made.imported else True
    if through or made.layer_graph != original_network.layer_graph():
        facts = {"layer_graph": json.loads(made.layer_graph.to_json()), "sources_in_layer_below": through}
        made.write("data/layers.json", facts)
    return left_out


def _targets(store: Store) -> list[int]:
    """The N of each class's ag-N.json: its output, or its place where outputs are unknown or shared."""
    outputs = store.read("classes/output_index").tolist()
    return outputs if len(set(outputs)) == len(outputs) and min(outputs) >= 0 else list(range(len(outputs)))


def _write_entries(made: Export, targets: Sequence[int]) -> None:
    """imagenet.json, an entry a line, by label."""
    reader, labels = _Entries.of(made.store), _labels(made)
    path = made.folder / "data/imagenet.json"
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8") as file:
        for count, place in enumerate(sorted(made.places, key=lambda place: labels[place])):
            entry = reader.entry(place, labels[place], targets[place], made.names)
            file.write("[\n" if count == 0 else ",\n")
            json.dump(entry_json(entry), file, allow_nan=False)
        file.write("\n]\n")


def _labels(made: Export) -> list[int]:
    labels = list(made.imported.labels) if made.imported else []
    return labels or list(range(1, made.store.header.n_classes + 1))


@dataclass(frozen=True)
class _Entries:
    """The arrays that imagenet.json is made of; A and the embedding are empty if the store has none."""

    classes: Mapping[str, Any]
    images: Mapping[str, Any]
    counts: Mapping[str, Any]
    embed: Mapping[str, Any]

    @classmethod
    def of(cls, store: Store) -> "_Entries":
        """Read them, each once."""
        names = [layer.name for layer in store.layer_graph.visible]
        has_counts, has_embed = (group in store.group for group in ("matrices", "embedding"))
        return cls(
            {"class": store.read("class")} | {n: store.read(f"classes/{n}") for n in ("name", "synset", "n_correct")},
            {name: store.read(f"images/{name}") for name in ("class_index", "status", "probability")},
            {name: store.read(f"matrices/{name}/activation_count") for name in names if has_counts},
            {name: [store.read(f"embedding/{name}/{axis}") for axis in "xy"] for name in names if has_embed},
        )

    def entry(self, place: int, label: int, target: int, names: Mapping[str, str]) -> ClassEntry:
        """One class; its folder name stands for a synset it does not have."""
        own = (self.images["class_index"] == place) & (self.images["status"] == schema.READ)
        return ClassEntry(
            str(self.classes["synset"][place]) or str(self.classes["class"][place]),
            label,
            str(self.classes["name"][place]),
            target,
            {names[layer]: counts[place] for layer, counts in self.counts.items()},
            {names[layer]: (float(x[place]), float(y[place])) for layer, (x, y) in self.embed.items()},
            self.images["probability"][own, 0],
            int(self.classes["n_correct"][place]),
        )


def _sources_below(store: Store, place: int, graph: ClassGraph) -> ClassGraph:
    """The graph with its nodes' strongest sources among the channels of the layer below, through the bottlenecks."""
    layer_graph = store.layer_graph
    counts = read_counts(store.read, layer_graph, slice(place, place + 1))[0]
    channel = np.full_like(graph.node_source_channel, -1)
    influence = np.zeros_like(graph.node_source_influence)
    for layer in np.unique(graph.node_layer).tolist():
        edges = layer_edges(layer_graph, counts, layer_graph.layers[layer].name)
        for node in np.flatnonzero(graph.node_layer == layer).tolist():
            row = slice(*edges.indptr[graph.node_channel[node] : graph.node_channel[node] + 2])
            order = np.argsort(-edges.data[row], kind="stable")[: schema.N_NODE_SOURCES]
            channel[node, : len(order)] = edges.indices[row][order]
            influence[node, : len(order)] = edges.data[row][order]
    return replace(graph, node_source_channel=channel, node_source_influence=influence)


WRITERS: Mapping[Format, Callable[[Export], list[str]]] = {
    "summit": _write_summit,
    "csv": write_csv,
    "parquet": write_parquet,
    "graphml": write_graphml,
    "json": write_json,
}
