"""From a store to a folder of the original's files, as its front end reads them.

    DIR/data/imagenet.json     classes, A, embedding, probabilities
    DIR/data/ag/ag-N.json      attribution graph of each class
    DIR/data/feature-vis/...   pictures, and examples of the channels that the graphs use
    DIR/data/layers.json       layer graph, where it is another than the original's

What `front_end` changes in them lets the front end show a run of our own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.arrays.graph.edges import edges_between
from summit_dask.facts import schema
from summit_dask.formats import front_end, original_network
from summit_dask.formats.exported_classes import class_table, targets
from summit_dask.formats.graph_parts import without_class
from summit_dask.formats.job import Job, Remarks
from summit_dask.formats.original_classes import ClassEntry, entry_json, name_text
from summit_dask.formats.original_graphs import graph_json, layer_below, leads_past
from summit_dask.formats.picture_files import Pictures, own_examples, write_singles
from summit_dask.store.counts import read_counts
from summit_dask.store.pictures import read_pictures
from summit_dask.store.progress import Progress

#: What the front end shows of each channel: the folders of pictures, and the kinds that must be there.
_SHOWN_PICTURES: Mapping[str, Sequence[str]] = {
    "channel": ("channel",),
    "diversity-0 to 3": front_end.DIVERSITY,
    "dataset-p": ("dataset-p-0",),
}


def write_summit(job: Job) -> Remarks:
    """All of the original's files that the store has something for."""
    table, of_table = class_table(job)
    entries = [table.entry(index) for index in sorted(job.classes, key=table.label.__getitem__)]
    _write_entries(job, entries)
    parts = [of_table]
    if job.has_graphs:
        parts.append(_write_graphs(job))
    else:
        parts.append(Remarks(["ag-N.json: the store has no graphs; the original's front end has nothing to draw."]))
    _write_layers(job)
    parts.append(_write_pictures(job))
    if job.front_end:
        parts.append(front_end.remarks(job.layer_graph, [name_text(entry.name) for entry in entries]))
    return Remarks(
        [text for part in parts for text in part.left_out],
        [text for part in parts for text in part.notes],
    )


def _write_entries(job: Job, entries: Sequence[ClassEntry]) -> None:
    """imagenet.json, an entry a line."""
    path = job.folder / "data/imagenet.json"
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8") as file:
        file.write("[\n")
        for number, entry in enumerate(entries):
            shown = front_end.shown_entry(entry) if job.front_end else entry
            file.write(",\n" if number else "")
            json.dump(entry_json(shown), file, allow_nan=False)
        file.write("\n]\n")


def _write_graphs(job: Job) -> Remarks:
    """The graphs' strongest sources are named through the bottlenecks, but for imported ones, which stay.

    Edges that lead past a layer have no place in the files; how many there are is said.
    """
    number = targets(job.store)
    n_images = job.store.read("classes/n_images").tolist()
    n_edges = n_past = 0
    for index, whole in job.graphs():
        stored = without_class(whole, job.store.layer_graph)
        n_edges += stored.edge_influence.size
        n_past += int(leads_past(stored, job.store.layer_graph).sum())
        graph = stored if job.imported else _sources_below(job, index, stored)
        if job.front_end:
            shown = front_end.shown_graph(graph, job.layer_graph, n_images[index])
            data = front_end.all_layers(graph_json(shown, job.layer_graph))
        else:
            data = graph_json(graph, job.layer_graph)
        job.write_json(f"data/ag/ag-{number[index]}.json", data)
    past = (
        f"ag-N.json: {n_past} of {n_edges} edges, which lead past a layer; its form knows the layer just below alone."
    )
    return Remarks([past] if n_past else [])


def _sources_below(job: Job, index: int, graph: ClassGraph) -> ClassGraph:
    """The graph with its nodes' strongest sources in the layer just below, through the bottlenecks."""
    layer_graph = job.store.layer_graph
    counts = read_counts(job.store.read, layer_graph, slice(index, index + 1), job.pair)[0]
    source_layer = np.full_like(graph.node_source_layer, -1)
    source = np.full_like(graph.node_source_channel, -1)
    influence = np.zeros_like(graph.node_source_influence)
    for layer in np.unique(graph.node_layer).tolist():
        name = layer_graph.layers[layer].name
        below = layer_below(layer_graph, name)
        if below is None:
            continue
        edges = edges_between(layer_graph, counts, name, below.name).weight
        for node in np.flatnonzero(graph.node_layer == layer).tolist():
            target = graph.node_channel[node]
            row = slice(edges.indptr[target], edges.indptr[target + 1])
            strongest = np.argsort(-edges.data[row], kind="stable")[: schema.N_NODE_SOURCES]
            source_layer[node, : len(strongest)] = layer_graph.layers.index(below)
            source[node, : len(strongest)] = edges.indices[row][strongest]
            influence[node, : len(strongest)] = edges.data[row][strongest]
    return replace(graph, node_source_layer=source_layer, node_source_channel=source, node_source_influence=influence)


def _write_layers(job: Job) -> None:
    """layers.json, without which an import takes the files for the original's own network."""
    through = job.imported.sources_in_layer_below if job.imported else True
    is_original = not through and job.layer_graph == original_network.layer_graph()
    if is_original and not job.front_end:
        return
    facts = {
        "layer_graph": json.loads(job.layer_graph.to_json()),
        "sources_in_layer_below": through,
        "front_end": job.front_end,
    }
    job.write_json("data/layers.json", facts)


def _write_pictures(job: Job) -> Remarks:
    """All pictures of the store, and examples of the channels that the exported graphs use."""
    used = _used_channels(job)
    missing = dict.fromkeys(_SHOWN_PICTURES, 0)
    n_files = 0
    n_examples = 0
    with Progress("export", "layers", len(job.names)) as progress:
        for layer, name in job.names.items():
            channels = used.get(layer, [])
            pictures = {**own_examples(job.store, layer, channels), **read_pictures(job.store, layer)}
            if job.front_end:
                n_examples += front_end.add_stand_ins(pictures, channels)
            n_files += write_singles(pictures, name, job.folder / "data/feature-vis")
            for folder, kinds in _SHOWN_PICTURES.items():
                missing[folder] += sum(not _has(pictures, channel, kinds) for channel in channels)
            progress.add(1)
    if not n_files:
        return Remarks(["feature-vis: the store has no pictures."])
    n_used = sum(map(len, used.values()))
    left_out = [
        f"feature-vis/{folder}: no pictures of {n_missing} of the {n_used} channels that the graphs use."
        for folder, n_missing in missing.items()
        if n_missing
    ]
    notes = [f"feature-vis/channel: the strongest example stands for {n_examples} channels."] if n_examples else []
    return Remarks(left_out, notes)


def _used_channels(job: Job) -> dict[str, list[int]]:
    """Channels of each layer that are nodes of an exported graph; empty if the store has no graphs."""
    if not job.has_graphs:
        return {}
    of_class, *columns = (job.store.read(f"{job.pair.group}/node_{name}") for name in ("class", "layer", "channel"))
    node_layer, node_channel = (column[np.isin(of_class, job.classes)] for column in columns)
    layers = job.store.layer_graph.layers
    return {
        layer.name: np.unique(node_channel[node_layer == index]).tolist()
        for index, layer in enumerate(layers)
        if layer.visible
    }


def _has(pictures: Pictures, channel: int, kinds: Sequence[str]) -> bool:
    return all((channel, kind) in pictures for kind in kinds)
