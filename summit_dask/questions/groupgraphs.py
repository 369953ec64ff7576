"""Attribution graphs of groups of images, each made when it is asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from summit_dask.arrays.graph.attribution import class_graph, to_networkx
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.arrays.resampling import bootstrap_weights, stability
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.pairs import Edges, Nodes
from summit_dask.questions.query import AttributionGraph, Counted, asked_of, count_images
from summit_dask.store.counts import Read, read_counts, read_images
from summit_dask.store.groups import Groups, groups_of_tree, is_counted
from summit_dask.store.tree import layer_graph_of, reader_of, run_of

#: Images below which a group's graph is told to be shaky, and samples of them that show how much.
FEW_IMAGES, N_SAMPLES = 30, 50


def attribution_graphs(
    tree: xr.DataTree,
    by: str | Sequence[str],
    *,
    nodes: Nodes | None = None,
    edges: Edges | None = None,
    p: float | None = None,
    unified: bool | None = None,
    directed: bool | None = None,
    mass: float | None = None,
    excluded: Mapping[str, Sequence[int]] | None = None,
) -> "GroupGraphs":
    """Attribution graphs of groups of images, for `compare` too.

    Parameters
    ----------
    tree, by
        As in `count`.
    nodes, edges, p, unified, directed, mass, excluded
        As in `attribution_graph`.

    Returns
    -------
    GroupGraphs
        A mapping from the groups' names, as `count` has them, to graphs.

    Raises
    ------
    GroupNotFoundError
        If images have no such column, it has too many values, or, when a graph is asked for, there is no such group.
    StoreIncompleteError, ConfigError
        As in `attribution_graph`.

    Examples
    --------
    With the path of a finished store of 90 images of three classes:

    >>> from summit_dask import compare, open_store
    >>> graphs = attribution_graphs(open_store(path), by="correct")
    >>> list(graphs)
    ['right', 'wrong']
    >>> len(compare(graphs["right"], graphs["wrong"]).layers)
    3
    """
    given = {"nodes": nodes, "edges": edges, "p": p, "unified": unified, "directed": directed, "mass": mass}
    options, left_out = asked_of(tree, given, excluded)
    stored, groups = run_of(tree).config, groups_of_tree(tree, by)
    as_stored = options.mass == stored.mass and left_out == stored.excluded_by_layer()
    group = groups.address if as_stored and is_counted(tree, groups) else None
    return GroupGraphs(reader_of(tree), layer_graph_of(tree), groups, options, left_out, group)


@dataclass(frozen=True, eq=False)
class GroupGraphs(Mapping[str, AttributionGraph]):
    """Graphs of groups by the groups' names; see `attribution_graphs`.

    Attributes
    ----------
    group
        Of the store, where the groups' counts stand; None: they are counted from the values of single images.
    """

    read: Read
    layer_graph: LayerGraph
    groups: Groups
    options: ResultOptions
    excluded: Mapping[str, Sequence[int]]
    group: str | None = None

    def __getitem__(self, name: str) -> AttributionGraph:
        index = self.groups.find(name)
        counts = self.counts(name)
        made = class_graph(self.layer_graph, counts, self.excluded, self.options)
        graph = AttributionGraph(to_networkx(self.layer_graph, made))
        n_images = int(self.groups.n_images[index])
        graph.counted = Counted(self.layer_graph, counts.activation, n_images, self.options.pair, self.options.mass)
        return graph

    def __contains__(self, name: Any) -> bool:
        return name in self.groups.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.groups.names)

    def __len__(self) -> int:
        return len(self.groups.names)

    def counts(self, name: str) -> ClassCounts:
        """What a group's graph is made from."""
        index, options = self.groups.find(name), self.options
        if self.group is not None:
            (counts,) = read_counts(self.read, self.layer_graph, slice(index, index + 1), options.pair, self.group)
            return counts
        rows = self.groups.index == index
        return count_images(self.read, self.layer_graph, rows, options.mass, self.excluded, options.pair)

    def few_images(self, name: str) -> str:
        """A sentence for a group of few images, with how much of its graph stays in samples of them; else empty."""
        index = self.groups.find(name)
        n_images = int(self.groups.n_images[index])
        if n_images >= FEW_IMAGES:
            return ""
        options = self.options
        rows = self.groups.index == index
        values = read_images(self.read, self.layer_graph, rows, options.mass, self.excluded, options.pair)
        weights = bootstrap_weights(N_SAMPLES, n_images, np.random.default_rng(0))
        made = class_graph(self.layer_graph, self.counts(name), self.excluded, options)
        found = stability(self.layer_graph, made, values, weights, self.excluded, options)
        return (
            f"The group {name!r} has {n_images} image{'s' * (n_images > 1)}, so that much of its graph may be chance: "
            f"of what it or the graph of a sample of these images holds, both hold {found.node_jaccard:.0%} of the "
            f"channels and {found.edge_jaccard:.0%} of the edges, on average over {N_SAMPLES} samples."
        )
