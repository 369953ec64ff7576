"""The attribution graphs of all classes as the store keeps them: one table of nodes, one of edges, and offsets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts import schema
from summit_dask.store.store import Store

_PER_CLASS = ("reached_p", "valid")


def graph_tables(graphs: Sequence[ClassGraph]) -> dict[str, NDArray[Any]]:
    """Columns of the group "graphs", each class's rows together, classes in order."""
    nodes = [len(graph.node_layer) for graph in graphs]
    edges = [len(graph.edge_influence) for graph in graphs]
    tables: dict[str, NDArray[Any]] = {
        "node_class": np.repeat(np.arange(len(graphs), dtype=np.int32), nodes),
        "edge_class": np.repeat(np.arange(len(graphs), dtype=np.int32), edges),
        "node_offset": np.concatenate([[0], np.cumsum(nodes)]).astype(np.int64),
        "edge_offset": np.concatenate([[0], np.cumsum(edges)]).astype(np.int64),
    }
    for name in (field.name for field in fields(ClassGraph)):
        join = np.stack if name in _PER_CLASS else np.concatenate
        tables[name] = join([getattr(graph, name) for graph in graphs])
    return tables


def write_graphs(store: Store, graphs: Sequence[ClassGraph]) -> None:
    """Fill the emptied group "graphs"; the caller says when the stage is finished."""
    tables = graph_tables(graphs)
    store.begin_stage("graphs")
    store.make_group("graphs", "graphs", node=len(tables["node_class"]), edge=len(tables["edge_class"]))
    for name, values in tables.items():
        store.write("graphs", "graphs", name, values)


def read_graphs(store: Store) -> Iterator[ClassGraph]:
    """Graphs of all classes, in order; the tables are read once.

    Raises
    ------
    StoreIncompleteError
        If the store has no graphs.
    """
    tables = {v.name: store.read(f"graphs/{v.name}") for v in schema.variables("graphs")}
    bounds = zip(pairwise(tables["node_offset"].tolist()), pairwise(tables["edge_offset"].tolist()), strict=True)
    for place, (nodes, edges) in enumerate(bounds):
        yield _one(tables, place, slice(*nodes), slice(*edges))


def _one(tables: Mapping[str, NDArray[Any]], place: int, nodes: slice, edges: slice) -> ClassGraph:
    def rows(name: str) -> slice | int:
        return place if name in _PER_CLASS else nodes if name.startswith("node_") else edges

    return ClassGraph(**{field.name: tables[field.name][rows(field.name)] for field in fields(ClassGraph)})
