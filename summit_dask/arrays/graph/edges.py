"""From the counts of one class to the edges between neighbouring visible layers, and to a channel's sources.

    visible    target  ------ direct hop ------.
                  \\                             \\
    hidden         o -- hop -- o -- hop ------> visible layer below

An edge is as strong as the weakest count on the widest of all such paths (DESIGN 3.4).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int32
from scipy import sparse

from summit_dask.facts.errors import StoreError, StoreIncompleteError
from summit_dask.facts.layergraph import Hop, Layer, LayerGraph

_Arrays = tuple[Int32[np.ndarray, " _"], Int32[np.ndarray, " _"], Int32[np.ndarray, " _"]]


@dataclass(frozen=True)
class ClassCounts:
    """What was counted over one class's images.

    Parameters
    ----------
    activation
        By name of a visible layer: images that use the channel (channel,). A layer may be absent.
    influence
        By name of a hop: images in which the source is among the channel's strongest, (channel, source);
        rows are the hop's own range of target channels.
    """

    activation: Mapping[str, Int[np.ndarray, " _"]]
    influence: Mapping[str, sparse.csr_array]

    def of_hop(self, hop: Hop, n_sources: int) -> sparse.csr_array:
        """Counts of a hop, (hop's channels, source).

        Raises
        ------
        StoreIncompleteError
            If the hop was not counted.
        StoreError
            If the counts have another shape.
        """
        if hop.name not in self.influence:
            raise StoreIncompleteError(f"There are no influence counts of the hop {hop.name}; run `reduce` first.")
        found = self.influence[hop.name]
        if found.shape != (hop.channels, n_sources):
            raise StoreError(
                f"Influence counts of the hop {hop.name}: expected the shape {(hop.channels, n_sources)} of the "
                f"layer graph, found {found.shape}."
            )
        return found


@dataclass(frozen=True)
class Sources:
    """The strongest sources of some channels, descending; -1, -1, 0 where there are no more."""

    layer: Int[np.ndarray, "channel rank"]
    channel: Int[np.ndarray, "channel rank"]
    influence: Int[np.ndarray, "channel rank"]


def layer_edges(layer_graph: LayerGraph, counts: ClassCounts, target_layer: str) -> sparse.csr_array:
    """Edges from a visible layer down to the visible layer below, excluded channels included (DESIGN 3.4).

    A channel keeps all sources that a hop brings directly. Of those that come through hidden layers it keeps the
    widest, as many as `_mean_sources` says. Hops from other visible layers than the one below count for nothing.

    Parameters
    ----------
    layer_graph
        Layers and hops of the network.
    counts
        Of one class.
    target_layer
        Name of a visible layer.

    Returns
    -------
    csr_array
        (target channel, source channel) int32, indices ascending, no zeros: the largest over all chains of hops
        of the smallest count along the chain. Ties in the cut: the lower source index. (channels, 0) for the
        lowest layer.
    """
    target, below = layer_graph.layer(target_layer), layer_graph.below(target_layer)
    if below is None:
        return sparse.csr_array(np.zeros((target.channels, 0), np.int32))
    reach: dict[str, sparse.csr_array] = {}
    for layer in _between(layer_graph, below, target):
        hops = [h for h in layer_graph.incoming(layer.name) if h.source == below.name or h.source in reach]
        if hops:
            reach[layer.name] = _widest(layer_graph, layer, below, hops, counts, reach, below.channels)
    hops = [h for h in layer_graph.incoming(target.name) if h.source == below.name or h.source in reach]
    keep = _mean_sources(layer_graph, below, hops, counts)
    return _widest(layer_graph, target, below, hops, counts, reach, keep)


def strongest_sources(
    layer_graph: LayerGraph, counts: ClassCounts, layer: str, channels: Iterable[int], n: int = 3
) -> Sources:
    """The channels that one hop carries into each given channel in most images, hidden layers included.

    Raw counts: nothing is cut and no channel is excluded.

    Parameters
    ----------
    layer_graph
        Layers and hops of the network.
    counts
        Of one class.
    layer
        Name of a visible or hidden layer.
    channels
        Channels of that layer.
    n
        Sources per channel.

    Returns
    -------
    Sources
        Layers are places in ``layer_graph.layers``. Ties: the lower source channel, then the lower layer. A source
        that comes by several hops counts once, with its largest count.
    """
    places = {layer.name: place for place, layer in enumerate(layer_graph.layers)}
    hops = [
        (h, places[h.source], counts.of_hop(h, layer_graph.layer(h.source).channels))
        for h in layer_graph.incoming(layer)
    ]
    rows = [_sources_of(hops, channel, n) for channel in channels]
    table = np.array(rows, np.int32).reshape(len(rows), n, 3)
    return Sources(table[:, :, 0].astype(np.int16), table[:, :, 1], table[:, :, 2])


def _sources_of(hops: Sequence[tuple[Hop, int, sparse.csr_array]], channel: int, n: int) -> list[tuple[int, int, int]]:
    best: dict[tuple[int, int], int] = {}
    for hop, place, matrix in hops:
        if hop.start <= channel < hop.stop:
            row = slice(*matrix.indptr[channel - hop.start : channel - hop.start + 2])
            for source, count in zip(matrix.indices[row].tolist(), matrix.data[row].tolist(), strict=True):
                if count > 0:
                    best[source, place] = max(count, best.get((source, place), 0))
    ranked = sorted(best, key=lambda key: (-best[key], key))[:n]
    return [(place, source, best[source, place]) for source, place in ranked] + [(-1, -1, 0)] * (n - len(ranked))


def _between(layer_graph: LayerGraph, below: Layer, target: Layer) -> list[Layer]:
    layers = layer_graph.layers
    return [layer for layer in layers[layers.index(below) + 1 : layers.index(target)] if not layer.visible]


def _widest(
    layer_graph: LayerGraph,
    target: Layer,
    below: Layer,
    hops: Sequence[Hop],
    counts: ClassCounts,
    reach: Mapping[str, sparse.csr_array],
    keep: int,
) -> sparse.csr_array:
    """Widest paths (target channel, channel of `below`), given those of the hidden layers between."""
    from summit_dask.arrays.graph.widest import widest_rows

    direct = [(h, 0) for h in hops if h.source == below.name]
    last = [h for h in hops if h.source != below.name]
    blocks = [reach[h.source] for h in last]
    starts = np.cumsum([0, *(block.shape[0] for block in blocks)])[:-1].tolist()
    matrices = (
        _compressed(target, _entries(layer_graph, direct, counts)),
        _compressed(target, _entries(layer_graph, list(zip(last, starts, strict=True)), counts)),
        _stacked(blocks),
    )
    indptr, indices, data = widest_rows(*matrices, below.channels, keep)
    return sparse.csr_array((data, indices, indptr), shape=(target.channels, below.channels))


def _entries(layer_graph: LayerGraph, hops: Iterable[tuple[Hop, int]], counts: ClassCounts) -> _Arrays:
    """Target channel, column and count of every entry of some hops, whose sources begin at a given column each."""
    parts = [(h, counts.of_hop(h, layer_graph.layer(h.source).channels), column) for h, column in hops]
    return (
        _joined([np.repeat(np.arange(h.start, h.stop), np.diff(m.indptr)) for h, m, _ in parts]),
        _joined([m.indices + column for _, m, column in parts]),
        _joined([m.data for _, m, _ in parts]),
    )


def _compressed(target: Layer, entries: _Arrays) -> _Arrays:
    """CSR arrays; entries at the same place stay apart."""
    rows, columns, data = entries
    order = np.argsort(rows, kind="stable")  # linear: the rows of a hop ascend already
    indptr = np.cumsum(np.bincount(rows + 1, minlength=target.channels + 1)).astype(np.int32)
    return indptr, columns[order], data[order]


def _stacked(blocks: Sequence[sparse.csr_array]) -> _Arrays:
    """CSR arrays of one matrix on top of the other."""
    lengths = _joined([np.diff(block.indptr) for block in blocks])
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return indptr, _joined([block.indices for block in blocks]), _joined([block.data for block in blocks])


def _joined(parts: Iterable[np.ndarray]) -> Int32[np.ndarray, " entry"]:
    return np.concatenate([np.empty(0, np.int32), *(part.astype(np.int32, copy=False) for part in parts)])


def _mean_sources(layer_graph: LayerGraph, below: Layer, hops: Sequence[Hop], counts: ClassCounts) -> int:
    """Sources that a channel keeps of those that come through hidden layers.

    The mean number of sources, rounded down, over the channels that a convolution brings directly from the layer
    below; without any such channel, over those that a convolution brings from a hidden layer. All of them where
    only identities lead into the layer: there is nothing to cut.
    """
    convolutions = [h for h in hops if h.convolution is not None]
    measured = [h for h in convolutions if h.source == below.name] or convolutions
    if not measured:
        return below.channels
    sources = list(dict.fromkeys(h.source for h in measured))
    starts = np.cumsum([0, *(layer_graph.layer(source).channels for source in sources)]).tolist()
    blocks = [(h, starts[sources.index(h.source)]) for h in measured]
    rows, columns, data = _entries(layer_graph, blocks, counts)
    is_source = np.zeros((max(h.stop for h in measured), starts[-1]), np.bool_)
    is_source[rows[data > 0], columns[data > 0]] = True
    return int(is_source.sum()) // len({channel for h in measured for channel in range(h.start, h.stop)})
