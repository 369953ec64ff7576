"""Questions to a store: which class a name means, the attribution graph of a class or of any images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph, Marks, class_graph, to_networkx
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.facts import schema
from summit_dask.facts.addresses import why_not_counted
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.errors import ClassNotFoundError, ConfigError, StoreIncompleteError, suggestion
from summit_dask.facts.layergraph import Channel, LayerGraph
from summit_dask.facts.names import composed
from summit_dask.facts.pairs import PAPERS, Edges, Nodes, Pair
from summit_dask.store.counting import INHIBITED, USED, Counts, count_images_of, matrices, of_pair
from summit_dask.store.counts import Read, read_counts
from summit_dask.store.evidence import group_of, read_marks
from summit_dask.store.graphs import read_graph
from summit_dask.store.tree import layer_graph_of, made_with, reader_of, run_of


@dataclass(frozen=True, eq=False)
class Counted:
    """What an attribution graph was made from, as far as graphs are compared by it.

    Attributes
    ----------
    layer_graph
        Of the network.
    used
        Images that use each channel (channel,), by visible layer; of all channels, not of the graph's alone.
    n_images
        Readable images that were counted.
    pair, mass
        What was counted.
    """

    layer_graph: LayerGraph
    used: Mapping[str, NDArray[Any]]
    n_images: int
    pair: Pair
    mass: float


if TYPE_CHECKING:
    _Network = nx.DiGraph[Channel]
else:  # older versions take no parameter
    _Network = nx.DiGraph


class AttributionGraph(_Network):
    """A `networkx.DiGraph` of channels that knows what it was made from; its copies and parts don't (None)."""

    counted: Counted | None = None


def find_class(tree: xr.DataTree, class_name: str) -> int:
    """Place of a class in the store, by its folder name, or by its name or synset where that is unique.

    Raises
    ------
    ClassNotFoundError
        If there is none (names near ones) or several (lists them).
    """
    read = reader_of(tree)
    folders, names, synsets = (
        [composed(text) for text in read(address, slice(None)).tolist()]
        for address in ("class", "classes/name", "classes/synset")
    )
    wanted = composed(class_name)
    if wanted in folders:
        return int(folders.index(wanted))
    matches = [index for index in range(len(folders)) if wanted in (names[index], synsets[index])]
    if len(matches) == 1:
        return matches[0]
    if matches:
        listed = ", ".join(f"{folders[index]!r} ({synsets[index] or names[index]})" for index in matches)
        raise ClassNotFoundError(f"{class_name!r} is the name of several classes; give the folder name: {listed}.")
    raise ClassNotFoundError(f"There is no class {class_name!r}. {suggestion(wanted, {*folders, *names})}")


def count_images(
    read: Read,
    layer_graph: LayerGraph,
    rows: NDArray[np.bool_],
    mass: float,
    excluded: Mapping[str, Sequence[int]],
    pair: Pair = PAPERS,
) -> ClassCounts:
    """Counts over any images, from the stored values of each; unreadable ones are left out.

    Parameters
    ----------
    rows
        Which images (image,).
    mass, excluded
        As in `select_channels`.
    pair
        What is counted: channels by activation or relevance, sources by influence or contribution.
    """
    own = matrices(layer_graph, of_pair(pair), mass, excluded)
    index = np.where(rows & (read("images/status", slice(None)) == schema.READ), 0, -1).astype(np.int32)
    return class_counts(layer_graph, count_images_of(read, own, index, 1), pair)


def class_counts(layer_graph: LayerGraph, counts: Counts, pair: Pair) -> ClassCounts:
    """The counts of one group, as a graph of a pair of measures is made of them."""
    nodes = {layer.name: counts[f"{layer.name}/{pair.nodes}_count"].toarray()[0] for layer in layer_graph.visible}
    return ClassCounts(nodes, {hop.name: counts[f"{hop.name}/{pair.edges}_count"] for hop in layer_graph.hops})


def count_channels(
    read: Read,
    layer_graph: LayerGraph,
    rows: NDArray[np.bool_],
    mass: float,
    excluded: Mapping[str, Sequence[int]],
    pair: Pair = PAPERS,
) -> dict[str, NDArray[np.int32]]:
    """Images that use each channel, by visible layer, among some readable images; see `count_images`."""
    nodes = [count for count in of_pair(pair) if count in USED]
    own = matrices(layer_graph, nodes, mass, excluded)
    counts = count_images_of(read, own, np.where(rows, 0, -1).astype(np.int32), 1)
    return {layer.name: counts[f"{layer.name}/{pair.nodes}_count"].toarray()[0] for layer in layer_graph.visible}


def count_inhibitors(read: Read, layer_graph: LayerGraph, rows: NDArray[np.bool_], layer: str) -> ClassCounts:
    """Images in which each source is among those that lower a layer's channel most, among some readable images."""
    into = [hop.name for hop in layer_graph.incoming(layer)]
    own = [matrix for matrix in matrices(layer_graph, [INHIBITED], 1.0, {}) if matrix.name.rpartition("/")[0] in into]
    counts = count_images_of(read, own, np.where(rows, 0, -1).astype(np.int32), 1)
    return ClassCounts({}, {hop: counts[f"{hop}/{INHIBITED.name}"] for hop in into})


def attribution_graph(
    tree: xr.DataTree,
    class_name: str | None = None,
    *,
    images: Any = None,
    nodes: Nodes | None = None,
    edges: Edges | None = None,
    p: float | None = None,
    unified: bool | None = None,
    directed: bool | None = None,
    mass: float | None = None,
    excluded: Mapping[str, Sequence[int]] | None = None,
) -> AttributionGraph:
    """Attribution graph of a class, or of any images, computed anew from the store (DESIGN 3.4 to 3.6).

    Parameters
    ----------
    tree
        An open store.
    class_name
        Folder name of a class, or its name where that is unique. May be left out where `images` is given.
    images
        Boolean selection along `image`: the graph of these images alone (of the class, if one is given too).
    nodes
        What ranks channels and is a node's count: "activation" (the paper's) or "relevance".
    edges
        What joins them: "influence" (the paper's) or "contribution". Both by default as in the run's options.
    p, unified, directed
        As in the run's options; those of the run by default.
    mass, excluded
        As in the run's options, `excluded` as channels by layer. Another value than the run's counts the
        class's channels again from the stored values of its images.

    Returns
    -------
    AttributionGraph
        A networkx.DiGraph that `compare` takes too. Nodes are `Channel`; edges lead from the input side to the
        output side. Node attributes count and score, edge attributes influence (the images in which it is among the
        strongest sources, of either measure) and identity. Where it is the stored graph of a class and has evidence,
        also stability of nodes and edges and effect of edges (`Marks`). Empty if nothing can be ranked.

    Raises
    ------
    ClassNotFoundError
        If the class doesn't exist or its name is not unique.
    StoreIncompleteError
        If the store lacks the counts or, for `images`, `mass` and `excluded`, the per-image values; names the option
        that keeps them.
    ConfigError
        If an option is out of range or neither class nor images are given.

    Examples
    --------
    With the path of a finished store of 90 images of three classes:

    >>> from summit_dask import open_store
    >>> tree = open_store(path)
    >>> graph = attribution_graph(tree, "bee")
    >>> sorted({channel.layer for channel in graph})
    ['logit', 'lower', 'upper']
    >>> {(source.layer, target.layer) for source, target in graph.edges} == {("lower", "upper"), ("upper", "logit")}
    True
    >>> larger = attribution_graph(tree, "bee", p=0.9)
    >>> set(graph) < set(larger)
    True
    >>> wrong = tree["images/predicted"][:, 0] != tree["classes/output_index"][tree["images/class_index"]]
    >>> attribution_graph(tree, images=wrong).number_of_edges() > 0
    True
    """
    if class_name is None and images is None:
        raise ConfigError("attribution_graph needs a class_name, or a selection of images=, or both.")
    stored = run_of(tree).config
    given = {"nodes": nodes, "edges": edges, "p": p, "unified": unified, "directed": directed, "mass": mass}
    options, left_out = asked_of(tree, given, excluded)
    graph = layer_graph_of(tree)
    read = reader_of(tree)
    index = None if class_name is None else find_class(tree, class_name)
    if images is not None:
        rows = _rows(tree, images, index)
        counts = count_images(read, graph, rows, options.mass, left_out, options.pair)
        n_images = int((rows & (read("images/status", slice(None)) == schema.READ)).sum())
    else:
        assert index is not None
        counts = read_counts(read, graph, slice(index, index + 1), options.pair)[0]
        n_images = int(read("classes/n_images", slice(index, index + 1))[0])
        if options.mass != stored.mass or left_out != stored.excluded_by_layer():
            rows = _rows(tree, None, index) & (read("images/status", slice(None)) == schema.READ)
            channels = count_channels(read, graph, rows, options.mass, left_out, options.pair)
            counts = ClassCounts(channels, counts.influence)
    made = class_graph(graph, counts, left_out, options)
    marks = None if index is None or images is not None else _marks(tree, index, options.pair, made)
    result = AttributionGraph(to_networkx(graph, made, marks))
    result.counted = Counted(graph, counts.activation, n_images, options.pair, options.mass)
    return result


def asked_of(
    tree: xr.DataTree, given: Mapping[str, Any], excluded: Mapping[str, Sequence[int]] | None
) -> tuple[ResultOptions, dict[str, tuple[int, ...]]]:
    """The run's options with those that are given (None: not), and the channels to leave out, by layer.

    Raises
    ------
    StoreIncompleteError
        If the store doesn't count the measures that are asked for.
    ConfigError
        If an option is out of range.
    """
    options = run_of(tree).config.replaced(**{name: value for name, value in given.items() if value is not None})
    if why := why_not_counted(options.pair, options):
        raise StoreIncompleteError(why)
    return options, options.excluded_by_layer() if excluded is None else _some(excluded)


def _marks(tree: xr.DataTree, index: int, pair: Pair, made: ClassGraph) -> Marks | None:
    """What evidence says of a class's graph; None if there is none, or none of this graph."""
    tested, stored = (made_with(tree, group) for group in (group_of(pair), pair.group))
    if tested is None or tested != stored:
        return None
    reader = reader_of(tree)
    read = cache(lambda address: reader(address, slice(None)))
    return read_marks(read, index, pair) if made.is_same(read_graph(read, index, pair)) else None


def _some(excluded: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Channels ascending, of layers that have any, as `CountOptions.excluded_by_layer` gives them."""
    return {layer: tuple(sorted(set(channels))) for layer, channels in excluded.items() if len(channels)}


def _rows(tree: xr.DataTree, images: Any, index: int | None) -> NDArray[np.bool_]:
    count = tree.sizes["image"]
    rows = np.ones(count, bool) if images is None else np.asarray(images)
    if rows.dtype != bool or rows.shape != (count,):
        raise ConfigError(
            f"images= must be one boolean for each of the store's {count} images; found {rows.dtype} of shape "
            f"{rows.shape}."
        )
    return rows if index is None else rows & (reader_of(tree)("images/class_index", slice(None)) == index)
