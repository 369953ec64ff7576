"""The classes whose attribution graphs hold an edge, or a path of several.

edge    source ── target     of every class's graph, as one number: an edge is looked for in all of them at once
path    a ── b ── c          held by a class that holds a ── b and b ── c
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int64
from numpy.typing import NDArray

from summit_dask.facts.errors import ConfigError, StoreIncompleteError
from summit_dask.facts.layergraph import Channel, LayerGraph
from summit_dask.facts.pairs import PAIRS, Edges, Nodes, Pair
from summit_dask.store.graphs import ReadWhole
from summit_dask.store.tree import layer_graph_of, made_with, reader_of


def classes_with(
    tree: xr.DataTree, path: Sequence[Channel], *, nodes: Nodes | None = None, edges: Edges | None = None
) -> pd.DataFrame:
    """Find the classes whose stored graphs hold an edge or a path.

    Parameters
    ----------
    tree
        An open store with graphs.
    path
        At least two channels, from the input side to the output side.
    nodes, edges
        What the graphs are measured by; the first pair that the store has graphs of by default.

    Returns
    -------
    DataFrame
        A row for each class, strongest first: class (folder name), name, influence (images that carry the weakest
        edge of the path).

    Raises
    ------
    ConfigError
        If there are fewer than two channels, or a layer has no such channel.
    LayerNotFoundError
        If a layer doesn't exist.
    StoreIncompleteError
        If the store has no graphs of these measures.

    Examples
    --------
    With the path of a finished store of 90 images of three classes:

    >>> from summit_dask import attribution_graph, open_store
    >>> tree = open_store(path)
    >>> edge = next(iter(attribution_graph(tree, "bee").edges))
    >>> "bee" in classes_with(tree, edge)["class"].tolist()
    True
    """
    reader = reader_of(tree)
    pair = _stored_pair(tree, nodes, edges)
    held = EdgesOfClasses.read(lambda address: reader(address, slice(None)), layer_graph_of(tree), pair)
    found, influence = held.with_path(path)
    order = np.argsort(-influence, kind="stable")
    names = {"class": reader("class", slice(None)), "name": reader("classes/name", slice(None))}
    columns = {column: values[found[order]].astype(object) for column, values in names.items()}
    return pd.DataFrame({**columns, "influence": influence[order]})


def _stored_pair(tree: xr.DataTree, nodes: Nodes | None, edges: Edges | None) -> Pair:
    stored = [pair for pair in PAIRS if made_with(tree, pair.group) is not None]
    for pair in stored:
        if pair.fits(nodes, edges):
            return pair
    asked = " and ".join(filter(None, [nodes, edges])) or "any measures"
    raise StoreIncompleteError(
        f"The store has no graphs with {asked}; 'summit-dask graphs STORE' makes graphs. It has "
        f"{'; '.join(pair.words for pair in stored) or 'none'}."
    )


@dataclass(frozen=True, eq=False)
class EdgesOfClasses:
    """The edges of all classes' graphs, in the order of the classes.

    Attributes
    ----------
    layer_graph
        Of the network.
    key
        The number of each edge.
    class_index, influence
        The class that holds it, and the images that carry it there.
    """

    layer_graph: LayerGraph
    key: Int64[np.ndarray, " edge"]
    class_index: Int64[np.ndarray, " edge"]
    influence: Int64[np.ndarray, " edge"]

    @classmethod
    def read(cls, read: ReadWhole, layer_graph: LayerGraph, pair: Pair) -> "EdgesOfClasses":
        """Of the stored graphs of a pair of measures."""

        def column(name: str) -> NDArray[np.int64]:
            return read(f"{pair.group}/edge_{name}").astype(np.int64)

        first, n_channels = _numbering(layer_graph)
        source, target = (first[column(f"{end}_layer")] + column(f"{end}_channel") for end in ("source", "target"))
        key = source * n_channels + target
        return cls(layer_graph, key, column("class"), column("influence"))

    def with_path(self, path: Sequence[Channel]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The classes that hold all edges between neighbours of a path, ascending, and the least influence on it.

        Raises
        ------
        ConfigError, LayerNotFoundError
            As `classes_with`.
        """
        if len(path) < 2:
            raise ConfigError(f"A path needs at least two channels, from the input side up; {len(path)} given.")
        numbers = self._numbers(path)
        held = [self._with_edge(source, target) for source, target in pairwise(numbers)]
        classes, least = held[0]
        for own, influence in held[1:]:
            classes, at, at_own = np.intersect1d(classes, own, assume_unique=True, return_indices=True)
            least = np.minimum(least[at], influence[at_own])
        return classes, least

    def with_edges(self, source: Sequence[Channel], target: Sequence[Channel]) -> list[NDArray[np.int64]]:
        """The classes that hold each of several edges, those first of which the most images carry it."""
        ends = zip(self._numbers(source), self._numbers(target), strict=True)
        held = [self._with_edge(*edge) for edge in ends]
        return [classes[np.argsort(-influence, kind="stable")] for classes, influence in held]

    def _with_edge(self, source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        _, n_channels = _numbering(self.layer_graph)
        own = np.flatnonzero(self.key == source * n_channels + target)
        return self.class_index[own], self.influence[own]

    def _numbers(self, channels: Sequence[Channel]) -> list[int]:
        first, _ = _numbering(self.layer_graph)
        places = {layer.name: place for place, layer in enumerate(self.layer_graph.layers)}
        for channel in channels:
            size = self.layer_graph.layer(channel.layer).channels
            if not 0 <= channel.index < size:
                raise ConfigError(f"{channel.layer} has the channels 0 to {size - 1}; the path has {channel.index}.")
        return [int(first[places[channel.layer]]) + channel.index for channel in channels]


def _numbering(layer_graph: LayerGraph) -> tuple[NDArray[np.int64], int]:
    """The number of each layer's first channel among all of the network, and how many there are."""
    ends = np.cumsum([layer.channels for layer in layer_graph.layers])
    return ends - [layer.channels for layer in layer_graph.layers], int(ends[-1])
