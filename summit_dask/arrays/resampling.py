"""Attribution graphs of samples of a class's images: how much of a graph stays when the images are others (DESIGN 3.8).

values of single images ── which channel or source, in which image ── weights of a sample ── counts ── graph
                                    sparse, made once                  0, 1, 2 ... times each image
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32
from scipy.sparse import csr_array

from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.facts.config import GraphOptions
from summit_dask.facts.layergraph import LayerGraph

#: Samples that are counted at once; memory grows with them.
_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class SourcePairs:
    """Of one hop: channels with a source, and the images in which it is among the channel's strongest.

    Attributes
    ----------
    pair
        ``channel * n_sources + source``, ascending.
    images
        A row for each pair, a column for each image: 1 where it is.
    shape
        (channel, source) of the hop.
    """

    pair: Int[np.ndarray, " pair"]
    images: csr_array
    shape: tuple[int, int]

    @classmethod
    def of(cls, source: Int[np.ndarray, "image channel rank"], n_sources: int) -> "SourcePairs":
        """From the strongest sources of the hop's own channels; -1: none.

        Examples
        --------
        >>> pairs = SourcePairs.of(np.array([[[2, 0]], [[2, -1]]]), n_sources=3)
        >>> pairs.pair, pairs.images.toarray()
        (array([0, 2]), array([[1, 0],
               [1, 1]], dtype=int32))
        """
        n_images, n_channels, _ = source.shape
        image, channel, rank = np.nonzero(source >= 0)
        codes = channel * n_sources + source[image, channel, rank].astype(np.int64)
        pair, place = np.unique(codes, return_inverse=True)
        ones = np.ones(len(image), np.int32)
        images = csr_array((ones, (place.ravel(), image)), shape=(len(pair), n_images))
        return cls(pair, images, (n_channels, n_sources))

    def counts(self, weights: Int32[np.ndarray, "sample image"]) -> Iterator[csr_array]:
        """Counts of each sample, (channel, source)."""
        n_channels, n_sources = self.shape
        channel, source = np.divmod(self.pair, n_sources)
        for counted in (self.images @ np.ascontiguousarray(weights.T)).T:
            is_there = counted > 0
            per_channel = np.bincount(channel[is_there], minlength=n_channels)
            bounds = np.concatenate([[0], np.cumsum(per_channel)])
            yield csr_array((counted[is_there], source[is_there], bounds), shape=self.shape)


@dataclass(frozen=True, eq=False)
class ClassImages:
    """What the images of a class use, image by image.

    Attributes
    ----------
    used
        By visible layer.
    sources
        By hop.
    """

    used: Mapping[str, Bool[np.ndarray, "image channel"]]
    sources: Mapping[str, SourcePairs]

    def counts(self, weights: Int32[np.ndarray, "sample image"]) -> Iterator[ClassCounts]:
        """Counts of samples of the images, each image as often as its weight says."""
        for first in range(0, len(weights), _AT_ONCE):
            own = weights[first : first + _AT_ONCE]
            as_floats = own.astype(np.float64)  # whose product is a fast one, and exact
            used = {
                layer: (as_floats @ values.astype(np.float64)).astype(np.int32) for layer, values in self.used.items()
            }
            sources = {hop: list(pairs.counts(own)) for hop, pairs in self.sources.items()}
            for k in range(len(own)):
                yield ClassCounts(
                    {layer: counted[k] for layer, counted in used.items()},
                    {hop: counted[k] for hop, counted in sources.items()},
                )


def _product(
    weights: Int32[np.ndarray, "sample image"], used: Bool[np.ndarray, "image channel"]
) -> Int32[np.ndarray, "sample channel"]:
    """A product of matrices, by floats: a fast one, and exact."""
    return (weights.astype(np.float64) @ used.astype(np.float64)).astype(np.int32)


def bootstrap_weights(
    n_samples: int, n_images: int, generator: np.random.Generator
) -> Int32[np.ndarray, "sample image"]:
    """How often each image stands in each sample: Poisson of mean 1."""
    return generator.poisson(1.0, (n_samples, n_images)).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Stability:
    """How much of a class's graph stays in samples of its images.

    Attributes
    ----------
    node, edge
        Of each node and edge of the graph: share of the samples whose graph holds it.
    node_jaccard, edge_jaccard
        Mean over the samples: nodes that both graphs hold, of those that any holds; the same of edges.
    """

    node: Float64[np.ndarray, " node"]
    edge: Float64[np.ndarray, " edge"]
    node_jaccard: float
    edge_jaccard: float


def stability(
    layer_graph: LayerGraph,
    graph: ClassGraph,
    images: ClassImages,
    weights: Int32[np.ndarray, "sample image"],
    excluded: Mapping[str, Sequence[int]],
    options: GraphOptions,
) -> Stability:
    """Make the graph of each sample and hold it against that of the class.

    Parameters
    ----------
    graph
        Of the class; made with the same `excluded` and `options`.
    weights
        Of the samples, at least one.
    """
    held_nodes, held_edges = np.zeros(len(graph.node_layer)), np.zeros(len(graph.edge_influence))
    jaccards = []
    for counts in images.counts(weights):
        made = class_graph(layer_graph, counts, excluded, options)
        nodes, edges = (np.isin(own, other) for own, other in zip(_keys(graph), _keys(made), strict=True))
        held_nodes += nodes
        held_edges += edges
        jaccards.append((_jaccard(nodes, len(made.node_layer)), _jaccard(edges, len(made.edge_influence))))
    node_jaccard, edge_jaccard = np.mean(jaccards, axis=0).tolist()
    return Stability(held_nodes / len(weights), held_edges / len(weights), node_jaccard, edge_jaccard)


def _keys(graph: ClassGraph) -> tuple[Int[np.ndarray, " node"], Int[np.ndarray, " edge"]]:
    """A number for each node and for each edge, the same in every graph of a network."""
    nodes = _key(graph.node_layer, graph.node_channel)
    sources = _key(graph.edge_source_layer, graph.edge_source_channel)
    return nodes, (_key(graph.edge_target_layer, graph.edge_target_channel) << 31) | sources


def _key(layer: Int[np.ndarray, " n"], channel: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    keys: Int[np.ndarray, " n"] = (layer.astype(np.int64) << 20) | channel
    return keys


def _jaccard(held: Bool[np.ndarray, " own"], n_other: int) -> float:
    """Of two sets: the share of both in any, from which of the first's members the other holds; two empty ones: 1."""
    union = len(held) + n_other - int(held.sum())
    return float(held.sum()) / union if union else 1.0
