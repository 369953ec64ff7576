"""Everything in a store but single values and pictures, as tidy tables: one row a fact, names instead of indices."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts import schema
from summit_dask.facts.layergraph import Hop, LayerGraph
from summit_dask.facts.pairs import PAPERS, Pair
from summit_dask.questions.graphtables import edge_table, node_table, selection_table, source_table
from summit_dask.questions.usage import usage_frame
from summit_dask.store.graphs import read_graphs
from summit_dask.store.store import Store

#: Images in one chunk of a table.
IMAGE_ROWS = 2**17

#: Classes whose graphs make one chunk of a table.
CLASS_ROWS = 64


@dataclass(frozen=True)
class Table:
    """A table in chunks, so that it need not fit in memory; `needs` is an array the store must have for it."""

    needs: str
    chunks: Callable[[], Iterator[pd.DataFrame]]


def tidy_tables(store: Store, classes: Sequence[int], pair: Pair = PAPERS) -> dict[str, Table]:
    """Tables of some classes, by name; nothing is read yet.

    Parameters
    ----------
    store
        An open store; a table whose array it lacks can't be read.
    classes
        Indices of the classes, ascending.
    pair
        What the graphs are measured by.
    """
    reader = _Tables(store, tuple(classes), pair)
    lowest = store.layer_graph.visible[0].name
    hops = store.layer_graph.hops
    counts = f"matrices/{lowest}/activation_count"
    influence = f"matrices/{hops[0].name if hops else ''}/influence_count"
    graphs = f"{pair.group}/node_class"
    return {
        "classes": Table("classes/name", reader.table_of_classes),
        "images": Table("images/class_index", reader.images),
        "activation_counts": Table(counts, reader.activation_counts),
        "influence_counts": Table(influence, reader.influence_counts),
        "nodes": Table(graphs, lambda: reader.graphs(node_table)),
        "sources": Table(graphs, lambda: reader.graphs(source_table)),
        "edges": Table(graphs, lambda: reader.graphs(edge_table)),
        "selection": Table(graphs, lambda: reader.graphs(selection_table)),
        "embedding": Table(f"embedding/{lowest}/x", reader.embedding),
        "channel_usage": Table(counts, reader.channel_usage),
    }


@dataclass(frozen=True)
class _Tables:
    store: Store
    classes: tuple[int, ...]
    pair: Pair

    @cached_property
    def labels(self) -> NDArray[np.object_]:
        """Folder names of all the store's classes."""
        return self.store.read("class").astype(object)

    @property
    def chosen(self) -> list[int]:
        """The classes, as an index into arrays."""
        return list(self.classes)

    def table_of_classes(self) -> Iterator[pd.DataFrame]:
        """One row a class."""
        columns = ("name", "synset", "output_index", "n_images", "n_correct")
        values = {name: _plain(self.store.read(f"classes/{name}")) for name in columns}
        yield pd.DataFrame({"class": self.labels, **values}).iloc[self.chosen]

    def images(self) -> Iterator[pd.DataFrame]:
        """Columns that the store has; outputs and probabilities by rank, from 1."""
        names = [v.name for v in schema.variables("images") if self.store.has(f"images/{v.name}")]
        for start in range(0, max(self.store.header.n_images, 1), IMAGE_ROWS):
            rows = slice(start, start + IMAGE_ROWS)
            values = {name: _plain(self.store.read(f"images/{name}", rows)) for name in names}
            of_class = values.pop("class_index")
            frame = pd.DataFrame({"image": start + np.arange(len(of_class)), "class": self.labels[of_class]})
            for name, column in values.items():
                if column.ndim == 1:
                    frame[name] = column
                else:
                    frame[[f"{name}_{rank}" for rank in range(1, column.shape[1] + 1)]] = column
            yield frame[np.isin(of_class, self.classes)]

    def activation_counts(self) -> Iterator[pd.DataFrame]:
        """Counts above 0, a layer at a time."""
        labels = self.labels[self.chosen]
        for layer in self.store.layer_graph.visible:
            counts = self.store.read(f"matrices/{layer.name}/activation_count")[self.chosen]
            row, channel = np.nonzero(counts)
            columns = {"class": labels[row], "layer": layer.name, "channel": channel, "count": counts[row, channel]}
            yield pd.DataFrame(columns)

    def influence_counts(self) -> Iterator[pd.DataFrame]:
        """Counts above 0, a class at a time; target channels as in the target layer."""
        for index in self.classes:
            yield pd.concat([self._influence(index, hop) for hop in self.store.layer_graph.hops])

    def _influence(self, index: int, hop: Hop) -> pd.DataFrame:
        counts = self.store.read(f"matrices/{hop.name}/influence_count", slice(index, index + 1))[0]
        channel, source = np.nonzero(counts)
        return pd.DataFrame(
            {
                "class": self.labels[index],
                "hop": hop.name,
                "source_layer": hop.source,
                "source_channel": source,
                "target_layer": hop.target,
                "target_channel": np.array(hop.targets)[channel],
                "count": counts[channel, source],
            }
        )

    def graphs(self, table: Callable[[LayerGraph, ClassGraph], pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """A table of each class's graph; some classes in one chunk."""
        graphs = list(read_graphs(self.store, self.pair))
        for start in range(0, len(self.classes), CLASS_ROWS):
            classes = self.chosen[start : start + CLASS_ROWS]
            frames = [table(self.store.layer_graph, graphs[index]) for index in classes]
            joined = pd.concat(frames, ignore_index=True)
            joined.insert(0, "class", np.repeat(self.labels[classes], [len(frame) for frame in frames]))
            yield joined

    def embedding(self) -> Iterator[pd.DataFrame]:
        """One row a class and layer, a layer at a time."""
        labels = self.labels[self.chosen]
        for layer in self.store.layer_graph.with_maps:
            x = self.store.read(f"embedding/{layer.name}/x")[self.chosen]
            y = self.store.read(f"embedding/{layer.name}/y")[self.chosen]
            yield pd.DataFrame({"class": labels, "layer": layer.name, "x": x, "y": y})

    def channel_usage(self) -> Iterator[pd.DataFrame]:
        """Over all classes of the store, a layer at a time."""
        n_images = self.store.read("classes/n_images")
        for layer in self.store.layer_graph.with_maps:
            yield usage_frame(layer, self.store.read(f"matrices/{layer.name}/activation_count"), n_images)


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Texts as pandas of any version takes them."""
    return values.astype(object) if values.dtype.kind == "T" else values
