"""Channels that fire together: groups found in stored values alone.

maxima of channels over images ── correlation ── the strongest of each channel ── Louvain ── communities
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int64
from numpy.typing import NDArray

from summit_dask.arrays.correlation import Centred, Moments, correlation, moments_of
from summit_dask.facts import schema
from summit_dask.facts.layergraph import Channel, LayerGraph
from summit_dask.store.counts import Read
from summit_dask.store.tree import layer_graph_of, reader_of

#: Of each channel, the correlations that join it to others: the strongest in each layer, and none below the least.
N_NEIGHBOURS, LEAST = 5, 0.3

#: Classes that a community is named by.
N_NAMES = 3


@dataclass(frozen=True, eq=False)
class Communities:
    """Channels that fire together.

    Attributes
    ----------
    channels
        A row for each channel of a community: community, layer, channel; communities by size, the largest is 0, and
        in each the channel first that fires most with the others.
    communities
        A row for each: n_channels, layers (names, input side first) and classes (names of those whose images use its
        channels most, in order; empty where the store has no counts).
    """

    channels: pd.DataFrame
    communities: pd.DataFrame


def communities(
    tree: xr.DataTree, layers: Sequence[str] | None = None, resolution: float = 1.0, seed: int = 0
) -> Communities:
    """Find channels that fire together, in layers and across neighbouring ones (Louvain; Blondel et al. 2008).

    Parameters
    ----------
    tree
        An open store with values of single images.
    layers
        Visible layers to look at, all by default.
    resolution
        Larger values give more and smaller communities.
    seed
        Of the order in which channels are looked at.

    Raises
    ------
    LayerNotFoundError
        If a layer doesn't exist.
    StoreIncompleteError
        If the store holds no values of single images.

    Examples
    --------
    With the path of a finished store of 90 images of three classes:

    >>> from summit_dask import open_store
    >>> found = communities(open_store(path), ["upper"])
    >>> set(found.channels["layer"]) <= {"upper"}, len(found.communities) > 0
    (True, True)
    """
    return communities_in(reader_of(tree), layer_graph_of(tree), "matrices" in tree, layers, resolution, seed)


def communities_in(
    read: Read,
    graph: LayerGraph,
    is_counted: bool,
    layers: Sequence[str] | None = None,
    resolution: float = 1.0,
    seed: int = 0,
) -> Communities:
    """See `communities`; `is_counted` says whether there are counts of classes to name them by."""
    asked = [layer.name for layer in graph.visible] if layers is None else [graph.layer(name).name for name in layers]
    ordered = [layer.name for layer in graph.visible if layer.name in asked]
    places = np.flatnonzero(read("images/status", slice(None)) == schema.READ)
    pairs = [*((layer, layer) for layer in ordered), *pairwise(ordered)]
    channels = [Channel(layer, k) for layer in ordered for k in range(graph.layer(layer).channels)]
    first = {layer: channels.index(Channel(layer, 0)) for layer in ordered}
    joined = _joined(moments_of(lambda piece: _values(read, ordered, places[piece]), pairs, len(places)), first)
    parts = ([channels[node] for node in _by_centrality(joined, own)] for own in _parts(joined, resolution, seed))
    found = sorted(parts, key=lambda own: (-len(own), *min((ordered.index(node.layer), node.index) for node in own)))
    rows = [(number, node.layer, node.index) for number, own in enumerate(found) for node in own]
    return Communities(
        pd.DataFrame(rows, columns=["community", "layer", "channel"]),
        pd.DataFrame(
            [
                (
                    len(own),
                    sorted({node.layer for node in own}, key=ordered.index),
                    _named(read, own) if is_counted else [],
                )
                for own in found
            ],
            columns=["n_channels", "layers", "classes"],
        ),
    )


def _values(read: Read, layers: Sequence[str], places: Int64[np.ndarray, " image"]) -> dict[str, Centred]:
    """Maxima of all channels of some layers on some images, whose places ascend."""
    span = slice(int(places[0]), int(places[-1]) + 1)
    return {layer: Centred.of(read(f"activations/{layer}/value", span)[places - span.start]) for layer in layers}


def _joined(found: Mapping[tuple[str, str], Moments], first: Mapping[str, int]) -> "nx.Graph[int]":
    """Channels, joined where one is among those that the other fires with most; `first` numbers each layer's first."""
    graph: nx.Graph[int] = nx.Graph()
    for (one, other), moments in found.items():
        alike = correlation(moments)
        if one == other:
            np.fill_diagonal(alike, 0.0)
        strongest = [_strongest(alike), _strongest(alike.T)[::-1]]
        a, b = np.unique(np.concatenate(strongest, axis=1), axis=1)
        a, b = a[alike[a, b] >= LEAST], b[alike[a, b] >= LEAST]
        ends = (a + first[one]).tolist(), (b + first[other]).tolist()
        graph.add_weighted_edges_from(zip(*ends, alike[a, b].tolist(), strict=True))
    return graph


def _strongest(alike: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each row the columns of its largest values, the lower one where equal."""
    order = np.argsort(-alike, axis=1, kind="stable")[:, :N_NEIGHBOURS]
    return np.repeat(np.arange(len(alike)), order.shape[1]), order.ravel()


def _parts(joined: "nx.Graph[int]", resolution: float, seed: int) -> Iterator[set[int]]:
    return (own for own in nx.community.louvain_communities(joined, resolution=resolution, seed=seed) if len(own) > 1)


def _by_centrality(joined: "nx.Graph[int]", own: set[int]) -> list[int]:
    """The channels of a community, the one first that is joined most strongly to the others; in order where equal."""
    degree = joined.subgraph(own).degree
    return sorted(own, key=lambda node: (-degree(node, weight="weight"), node))


def _named(read: Read, channels: Sequence[Channel]) -> list[str]:
    """Names of the classes of whose images the most use the channels, on average over these."""
    n_images = np.maximum(read("classes/n_images", slice(None)), 1)
    shares = np.zeros(len(n_images))
    for layer in dict.fromkeys(node.layer for node in channels):
        own = [node.index for node in channels if node.layer == layer]
        shares += read(f"matrices/{layer}/activation_count", slice(None))[:, own].sum(axis=1) / n_images
    names = read("classes/name", slice(None))
    order = np.argsort(-shares, kind="stable")[:N_NAMES]
    return [str(names[index]) for index in order if shares[index] > 0]
