"""The attribution graphs of all classes as the store keeps them: one table of nodes, one of edges, and offsets.

Graphs of several pairs of measures stand side by side; /graphs/activation-influence is the paper's. Of each:

node_class     0 0 0 | 1 1 | 3 3 3 ...       class 2 has no nodes
node_offset    0       3     5 5             class k: rows offset[k] up to offset[k + 1]
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.errors import StoreIncompleteError
from summit_dask.facts.pairs import PAIRS, PAPERS, Edges, Nodes, Pair
from summit_dask.store.store import Store

_COLUMNS = tuple(field.name for field in fields(ClassGraph))
_PER_CLASS = ("reached_p", "valid")

#: All values of an array, by its address; whoever asks for many classes keeps them.
ReadWhole = Callable[[str], NDArray[Any]]


def stored_pairs(store: Store) -> tuple[Pair, ...]:
    """Pairs of measures of whose graphs the store has finished ones, the paper's first."""
    return tuple(pair for pair in PAIRS if store.finished(pair.group) is not None)


def chosen_pair(store: Store, nodes: Nodes | None = None, edges: Edges | None = None) -> Pair:
    """The first pair that the store has graphs of; of those that were asked for, if any was.

    Without any graphs it is the paper's, so that whoever reads them learns what is missing.

    Raises
    ------
    StoreIncompleteError
        If the store has no graphs of the pair asked for; says what makes them.
    """
    stored = stored_pairs(store)
    asked = Pair(nodes or PAPERS.nodes, edges or PAPERS.edges)
    for pair in stored or (PAPERS,) * (asked == PAPERS):
        if pair.fits(nodes, edges):
            return pair
    raise StoreIncompleteError(
        f"{store.path} has no graphs with {asked.words}; 'summit-dask graphs {store.path} {asked.flags}' makes them. "
        f"The store has {'; '.join(pair.words for pair in stored) or 'none'}."
    )


def graph_tables(graphs: Sequence[ClassGraph]) -> dict[str, NDArray[Any]]:
    """Columns of a pair's group, each class's rows together, classes in order."""
    nodes = [len(graph.node_layer) for graph in graphs]
    edges = [len(graph.edge_influence) for graph in graphs]
    classes = np.arange(len(graphs), dtype=np.int32)
    tables: dict[str, NDArray[Any]] = {
        "node_class": np.repeat(classes, nodes),
        "edge_class": np.repeat(classes, edges),
        "node_offset": np.concatenate([[0], np.cumsum(nodes)]).astype(np.int64),
        "edge_offset": np.concatenate([[0], np.cumsum(edges)]).astype(np.int64),
    }
    for name in _COLUMNS:
        join = np.stack if name in _PER_CLASS else np.concatenate
        tables[name] = join([getattr(graph, name) for graph in graphs])
    return tables


def write_graphs(store: Store, graphs: Sequence[ClassGraph], pair: Pair = PAPERS) -> None:
    """Fill the empty group of a pair; the caller says when it is finished."""
    for name, values in graph_tables(graphs).items():
        store.add(f"{pair.group}/{name}", values)


def read_graph(read: ReadWhole, index: int, pair: Pair = PAPERS) -> ClassGraph:
    """The graph of one class.

    Raises
    ------
    StoreIncompleteError
        If the store has no graphs of the pair.
    """
    nodes = slice(*read(f"{pair.group}/node_offset")[index : index + 2].tolist())
    edges = slice(*read(f"{pair.group}/edge_offset")[index : index + 2].tolist())

    def rows(name: str) -> slice | int:
        if name in _PER_CLASS:
            return index
        return nodes if name.startswith("node_") else edges

    return ClassGraph(**{name: read(f"{pair.group}/{name}")[rows(name)] for name in _COLUMNS})


def read_graphs(store: Store, pair: Pair = PAPERS) -> Iterator[ClassGraph]:
    """Graphs of all classes, in order; the tables are read once.

    Raises
    ------
    StoreIncompleteError
        If the store has no graphs of the pair.
    """
    read = cache(lambda address: store.read(address))
    return (read_graph(read, index, pair) for index in range(store.header.n_classes))
