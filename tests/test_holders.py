"""The classes whose graphs hold an edge or a path, against a search through each class's graph."""

from itertools import pairwise
from pathlib import Path

import pytest

from summit_dask import attribution_graph, classes_with, open_store
from summit_dask.facts.errors import ConfigError, LayerNotFoundError, StoreIncompleteError
from summit_dask.facts.layergraph import Channel
from tests.stores import make_store


def test_every_path_is_found_in_the_graphs_that_hold_it(complete: Path) -> None:
    tree = open_store(complete)
    graphs = {str(name): attribution_graph(tree, str(name)) for name in tree["class"].values}
    edges = {edge for graph in graphs.values() for edge in graph.edges}
    paths = [*edges, *((a, b, c) for a, b in edges for other, c in edges if other == b)]
    n_found = []
    for path in paths[:: len(paths) // 30]:
        steps = list(pairwise(path))
        expected = {
            name: min(graph.edges[step]["influence"] for step in steps)
            for name, graph in graphs.items()
            if all(graph.has_edge(*step) for step in steps)
        }
        found = classes_with(tree, path)
        assert dict(zip(found["class"], found["influence"], strict=True)) == expected
        assert found["influence"].is_monotonic_decreasing
        n_found.append(len(found))
    assert min(n_found) == 0 < max(n_found) and len(paths) > 60


def test_what_is_no_path_is_said(complete: Path, tmp_path: Path) -> None:
    tree = open_store(complete)
    ends = Channel("mixed1", 3), Channel("mixed2", 5)
    assert classes_with(tree, [ends[1], ends[0]]).empty
    for path, why in (([ends[0]], "at least two channels"), ([ends[0], Channel("mixed2", 16)], "0 to 15; .* has 16")):
        with pytest.raises(ConfigError, match=why):
            classes_with(tree, path)
    with pytest.raises(LayerNotFoundError, match="mixed9"):
        classes_with(tree, [ends[0], Channel("mixed9", 1)])
    with pytest.raises(StoreIncompleteError, match=r"no graphs with contribution; .* It has nodes by activation"):
        classes_with(tree, ends, edges="contribution")
    make_store(tmp_path / "bare", parts=("values",))
    with pytest.raises(StoreIncompleteError, match=r"no graphs with any measures; .* It has none"):
        classes_with(open_store(tmp_path / "bare"), ends)
