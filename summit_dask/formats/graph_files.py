"""A store's attribution graphs as GraphML and JSON, and the counts of influence as the original wrote them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph, to_networkx
from summit_dask.facts.layergraph import Hop, LayerGraph
from summit_dask.formats.job import Job, Remarks
from summit_dask.formats.tidy import tidy_tables
from summit_dask.questions.graphml import graphml
from summit_dask.store.progress import Progress


def write_graphml(job: Job) -> Remarks:
    """A graph a class; what Gephi calls label and weight is among the attributes."""
    names = job.store.read("classes/name")
    for index, graph in job.graphs():
        network = to_networkx(job.store.layer_graph, graph)
        job.write_text(f"{job.file_name(index)}.graphml", graphml(network, str(names[index])))
    return Remarks()


def write_json(job: Job) -> Remarks:
    """A graph a class, and I_<layer>.json: counts nested by class, channel and source.

    Hidden layers below a visible one are called I_<layer>_1, I_<layer>_2 ... Sources of a channel into which
    hops of several layers lead are named layer-channel.
    """
    classes = next(tidy_tables(job.store, range(job.store.header.n_classes))["classes"].chunks())
    for index, graph in job.graphs():
        facts = json.loads(classes.iloc[index].to_json())
        job.write_json(f"graphs/{job.file_name(index)}.json", {**facts, **_record(job.store.layer_graph, graph)})
    hops = job.store.layer_graph.hops
    if not hops or f"matrices/{hops[0].name}/influence_count" not in job.store.group:
        return Remarks(["I_<layer>.json: the store has no counts of influence."])
    files = _influence_files(job.store.layer_graph, job.names)
    with Progress("export", "layers", len(files)) as progress:
        for layer, name in files.items():
            _write_influence(job, layer, job.folder / f"I_{name}.json")
            progress.add(1)
    return Remarks()


def _record(layer_graph: LayerGraph, graph: ClassGraph) -> dict[str, Any]:
    network = to_networkx(layer_graph, graph)
    nodes = [{"layer": node.layer, "channel": node.index, **values} for node, values in network.nodes.data()]
    edges = [
        {
            "source": {"layer": source.layer, "channel": source.index},
            "target": {"layer": target.layer, "channel": target.index},
            **values,
        }
        for source, target, values in network.edges.data()
    ]
    return {"nodes": nodes, "edges": edges}


def _influence_files(layer_graph: LayerGraph, names: Mapping[str, str]) -> dict[str, str]:
    """What the counts of each layer are called, for all layers that hops lead to.

    Hidden layers are numbered when the visible layer above them comes:

        4a    4b.reduce3    4b.reduce5    4b
        4a    4b_1          4b_2          4b
    """
    files: dict[str, str] = {}
    hidden: list[str] = []
    for layer in layer_graph.layers:
        if not layer.visible:
            hidden.append(layer.name)
            continue
        own = names.get(layer.name, layer.name)  # the row of the class has no other name
        for number, name in enumerate(hidden, 1):
            files[name] = f"{own}_{number}"
        files[layer.name] = own
        hidden = []
    return {layer.name: files[layer.name] for layer in layer_graph.influenced if layer.name in files}


def _write_influence(job: Job, layer: str, path: Path) -> None:
    """One class after the other, so that one class's counts are held."""
    hops = job.store.layer_graph.incoming(layer)
    channels = job.store.layer_graph.layer(layer).channels
    with path.open("w", encoding="utf-8") as file:
        file.write("[\n")
        for number, index in enumerate(job.classes):
            file.write(",\n" if number else "")
            counts = [_influence(job, hop, index) for hop in hops]
            json.dump(_nested(hops, counts, channels), file)
        file.write("\n]\n")


def _influence(job: Job, hop: Hop, index: int) -> NDArray[np.int32]:
    """Counts of a hop in one class, (channel, source)."""
    counts: NDArray[np.int32] = job.store.read(f"matrices/{hop.name}/influence_count", slice(index, index + 1))[0]
    return counts


def _nested(hops: tuple[Hop, ...], counts: list[NDArray[np.int32]], n_channels: int) -> list[dict[str, int]]:
    """Of each channel, the count of each of its sources; a source that comes by several hops counts once."""
    result: list[dict[str, int]] = [{} for _ in range(n_channels)]
    source_layers: list[set[str]] = [set() for _ in range(n_channels)]
    for hop in hops:
        for channel in hop.targets:
            source_layers[channel].add(hop.source)
    for hop, matrix in zip(hops, counts, strict=True):
        rows, sources = np.nonzero(matrix)
        for row, source in zip(rows.tolist(), sources.tolist(), strict=True):
            channel = hop.targets[row]
            key = str(source) if len(source_layers[channel]) == 1 else f"{hop.source}-{source}"
            result[channel][key] = max(int(matrix[row, source]), result[channel].get(key, 0))
    return result
