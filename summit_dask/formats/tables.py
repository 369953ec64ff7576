"""A store's results as tables (CSV, Parquet), GraphML and JSON, and the matrices as the original wrote them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph, to_networkx
from summit_dask.facts.layergraph import Channel, Hop, LayerGraph
from summit_dask.facts.run import Imported
from summit_dask.formats.names import renamed
from summit_dask.formats.tidy import tidy_tables
from summit_dask.store.graphs import read_graphs
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store

_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Export:
    """What is exported where; `names` are the layers' names in the original's files."""

    store: Store
    places: tuple[int, ...]
    names: Mapping[str, str]
    folder: Path

    @cached_property
    def layer_graph(self) -> LayerGraph:
        """The store's layer graph in the original's names."""
        return renamed(self.store.layer_graph, self.names)

    @property
    def imported(self) -> Imported | None:
        """What an import noted of the files, None for a run of our own."""
        return self.store.header.run.imported

    def graphs(self) -> Iterator[tuple[int, ClassGraph]]:
        """Graph of each chosen class with the class's place, with progress."""
        with Progress("export", "graphs", len(self.places)) as progress:
            for place, graph in enumerate(read_graphs(self.store)):
                if place in self.places:
                    yield place, graph
                    progress.add(1)

    def write(self, path: str, data: Any) -> None:
        """Write JSON below the folder."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(data, allow_nan=False), encoding="utf-8")

    @cached_property
    def _labels(self) -> list[str]:
        return list(map(str, self.store.read("class")))

    def file_name(self, place: int) -> str:
        """A class's place and folder name, safe on any file system."""
        return f"{place:04d}-{_UNSAFE.sub('_', self._labels[place])[:80]}"


def write_csv(made: Export) -> list[str]:
    """Tidy tables with headers, and A-<mass>-<layer>.csv: a row a class, no header."""
    left_out = _write_tables(made, _append_csv, "csv")
    if "matrices" in made.store.group:
        mass = made.store.header.run.config.mass
        for layer, name in made.names.items():
            counts = made.store.read(f"matrices/{layer}/activation_count")[list(made.places)]
            np.savetxt(made.folder / f"A-{mass:g}-{name}.csv", counts, fmt="%d", delimiter=",")
    return left_out


def write_parquet(made: Export) -> list[str]:
    """Tidy tables."""
    return _write_tables(made, _append_parquet, "parquet")


def _write_tables(made: Export, append: Callable[[Path, Iterator[pd.DataFrame]], None], suffix: str) -> list[str]:
    left_out = []
    tables = tidy_tables(made.store, made.places)
    with Progress("export", "tables", len(tables)) as progress:
        for name, table in tables.items():
            if table.needs in made.store.group:
                append(made.folder / f"{name}.{suffix}", table.chunks())
            else:
                left_out.append(f"{name}.{suffix}: the store has no {table.needs}.")
            progress.add(1)
    return left_out


def _append_csv(path: Path, chunks: Iterator[pd.DataFrame]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for count, chunk in enumerate(chunks):
            chunk.to_csv(file, index=False, header=count == 0)


def _append_parquet(path: Path, chunks: Iterator[pd.DataFrame]) -> None:
    writer = None
    try:
        for chunk in chunks:
            # An empty column of objects would be stored as nulls, another type than the next chunk's.
            texts = {name: "str" for name in chunk if chunk[name].dtype == object}
            table = pa.Table.from_pandas(chunk.astype(texts), preserve_index=False)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer:
            writer.close()


def write_graphml(made: Export) -> list[str]:
    """A graph a class; node ids are layer/channel, both also stand as attributes."""
    names = made.store.read("classes/name")
    for place, graph in made.graphs():
        network = to_networkx(made.store.layer_graph, graph)
        result: nx.DiGraph[str] = nx.DiGraph(name=str(names[place]))
        for node, values in network.nodes.data():
            result.add_node(_id(node), layer=node.layer, channel=node.index, **values)
        result.add_edges_from((_id(s), _id(t), values) for s, t, values in network.edges.data())
        nx.write_graphml(result, made.folder / f"{made.file_name(place)}.graphml")
    return []


def _id(node: Channel) -> str:
    return f"{node.layer}/{node.index}"


def write_json(made: Export) -> list[str]:
    """A graph a class, and I_<layer>.json: counts nested by class, channel and source.

    Hidden layers below a visible one are called I_<layer>_1, I_<layer>_2 ... Sources of a channel into which
    hops of several layers lead are named layer-channel.
    """
    classes = next(tidy_tables(made.store, range(made.store.header.n_classes))["classes"].chunks())
    for place, graph in made.graphs():
        facts = json.loads(classes.iloc[place].to_json())
        made.write(f"graphs/{made.file_name(place)}.json", {**facts, **_record(made.store.layer_graph, graph)})
    hops = made.store.layer_graph.hops
    if not hops or f"matrices/{hops[0].name}/influence_count" not in made.store.group:
        return ["I_<layer>.json: the store has no counts of influence."]
    files = _influence_files(made.store.layer_graph, made.names)
    with Progress("export", "layers", len(files)) as progress:
        for layer, name in files.items():
            _write_influence(made, layer, made.folder / f"I_{name}.json")
            progress.add(1)
    return []


def _record(layer_graph: LayerGraph, graph: ClassGraph) -> dict[str, Any]:
    network = to_networkx(layer_graph, graph)
    return {
        "nodes": [{"layer": node.layer, "channel": node.index, **values} for node, values in network.nodes.data()],
        "edges": [
            {
                "source": {"layer": source.layer, "channel": source.index},
                "target": {"layer": target.layer, "channel": target.index},
                **values,
            }
            for source, target, values in network.edges.data()
        ],
    }


def _influence_files(layer_graph: LayerGraph, names: Mapping[str, str]) -> dict[str, str]:
    """What the counts of each layer are called, for all layers that hops lead to."""
    files: dict[str, str] = {}
    waiting: list[str] = []
    for layer in layer_graph.layers:
        if layer.visible:
            files |= {name: f"{names[layer.name]}_{place}" for place, name in enumerate(waiting, 1)}
            files[layer.name], waiting = names[layer.name], []
        else:
            waiting.append(layer.name)
    return {layer.name: files[layer.name] for layer in layer_graph.influenced if layer.name in files}


def _write_influence(made: Export, layer: str, path: Path) -> None:
    """One class after the other, so that one class's counts are held."""
    hops = made.store.layer_graph.incoming(layer)
    with path.open("w", encoding="utf-8") as file:
        for count, place in enumerate(made.places):
            file.write("[\n" if count == 0 else ",\n")
            counts = [made.store.read(f"matrices/{h.name}/influence_count", slice(place, place + 1))[0] for h in hops]
            json.dump(_nested(hops, counts, made.store.layer_graph.layer(layer).channels), file)
        file.write("\n]\n")


def _nested(hops: tuple[Hop, ...], counts: list[NDArray[np.int32]], n_channels: int) -> list[dict[str, int]]:
    """Of each channel, the count of each of its sources; a source that comes by several hops counts once."""
    result: list[dict[str, int]] = [{} for _ in range(n_channels)]
    layers: list[set[str]] = [set() for _ in range(n_channels)]
    for hop in hops:
        for channel in range(hop.start, hop.stop):
            layers[channel].add(hop.source)
    for hop, matrix in zip(hops, counts, strict=True):
        for row, source in zip(*(ends.tolist() for ends in np.nonzero(matrix)), strict=True):
            channel, count = hop.start + row, int(matrix[row, source])
            key = str(source) if len(layers[channel]) == 1 else f"{hop.source}-{source}"
            result[channel][key] = max(count, result[channel].get(key, 0))
    return result
