"""From the counts of one class to the edges between two visible layers, and to a channel's sources.

    visible    target  ------ direct hop ------.
                  \\                             \\
    hidden         o -- hop -- o -- hop ------> source, in a visible layer below

An edge is as strong as the weakest count on the widest of all such paths (DESIGN 3.4).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int16, Int32
from scipy import sparse

from summit_dask.arrays.graph.rows import Rows, all_entries, bounds, entries_of, in_rows
from summit_dask.facts.errors import StoreError, StoreIncompleteError
from summit_dask.facts.layergraph import Hop, Layer, LayerGraph


@dataclass(frozen=True)
class ClassCounts:
    """What was counted over one class's images.

    Parameters
    ----------
    activation
        By name of a visible layer: images that use the channel (channel,). A layer may be absent.
    influence
        By name of a hop: images in which the source is among the channel's strongest, (channel, source);
        rows are the hop's own target channels.
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
        counts = self.influence[hop.name]
        if counts.shape != (hop.channels, n_sources):
            raise StoreError(
                f"Influence counts of the hop {hop.name}: expected the shape {(hop.channels, n_sources)} of the "
                f"layer graph, found {counts.shape}."
            )
        return counts


class Edges(NamedTuple):
    """Edges between two layers.

    Parameters
    ----------
    weight
        (target channel, source channel) int32, indices ascending, no zeros.
    is_identity
        Of each weight, in the order of ``weight.data``: whether an identity hop brings it straight from the source,
        and no other path is as wide.
    """

    weight: sparse.csr_array
    is_identity: Bool[np.ndarray, " edge"]


def edges_between(layer_graph: LayerGraph, counts: ClassCounts, target_layer: str, source_layer: str) -> Edges:
    """Edges from a visible layer down to one of the visible layers below, excluded channels included (DESIGN 3.4).

    A channel keeps all sources that a hop brings directly. Of those that come through hidden layers it keeps the
    widest, as many as the directly connected channels have on average. Paths through other visible layers count for
    nothing.

    Parameters
    ----------
    layer_graph
        Layers and hops of the network.
    counts
        Of one class.
    target_layer, source_layer
        Names of visible layers.

    Returns
    -------
    Edges
        Weights (target channel, source channel): the largest over all chains of hops of the smallest count along the
        chain. Ties in the cut: the lower source index. None where no chain leads from one layer to the other.

    Examples
    --------
    >>> from summit_dask.facts.layergraph import Window
    >>> at = (1, 1, True, Window((1, 1), (1, 1), (0, 0)))
    >>> hop = Hop("up", "low", "high", range(2), None)
    >>> layer_graph = LayerGraph((Layer("low", 2, *at), Layer("high", 2, *at)), (hop,))
    >>> counts = ClassCounts({}, {"up": sparse.csr_array(np.array([[7, 0], [0, 4]]))})
    >>> weight, is_identity = edges_between(layer_graph, counts, "high", "low")
    >>> weight.toarray(), is_identity
    (array([[7, 0],
           [0, 4]], dtype=int32), array([ True,  True]))
    """
    descent = _Descent(layer_graph, counts, layer_graph.layer(source_layer))
    for hidden in layer_graph.hidden_below(target_layer):
        descent.reach(hidden)
    return descent.edges(layer_graph.layer(target_layer))


@dataclass(frozen=True)
class _Descent:
    """Widest paths down to one visible layer; `reached` holds those of hidden layers, (channel, channel of below)."""

    layer_graph: LayerGraph
    counts: ClassCounts
    below: Layer
    reached: dict[str, Int32[np.ndarray, "channel source"]] = field(default_factory=dict)

    def reach(self, hidden: Layer) -> None:
        """Find the widest paths of the next hidden layer, if it has any; nothing is cut."""
        from summit_dask.arrays.graph.widest import widest_reach

        hops = self.hops_into(hidden)
        if hops:
            direct = [h for h in hops if self.is_direct(h)]
            self.reached[hidden.name] = widest_reach(self.straight(direct, hidden), *self.through(hops, hidden))

    def edges(self, target: Layer) -> Edges:
        """The widest paths of the visible layer, (target channel, channel of below), cut."""
        from summit_dask.arrays.graph.widest import widest_rows

        hops = self.hops_into(target)
        direct = [h for h in hops if self.is_direct(h)]
        found, is_identity = widest_rows(
            self.straight([h for h in direct if h.convolution is not None], target),
            self.straight([h for h in direct if h.convolution is None], target),
            *self.through(hops, target),
            self.mean_sources(hops),
        )
        shape = (target.channels, self.below.channels)
        return Edges(sparse.csr_array((found.data, found.indices, found.indptr), shape=shape), is_identity)

    def hops_into(self, layer: Layer) -> list[Hop]:
        """Hops into a layer that come from below, directly or through hidden layers."""
        return [h for h in self.layer_graph.incoming(layer.name) if self.is_direct(h) or h.source in self.reached]

    def is_direct(self, hop: Hop) -> bool:
        """Whether a hop comes straight from the layer below."""
        return hop.source == self.below.name

    def counts_of(self, hop: Hop) -> sparse.csr_array:
        """Counts of a hop, (hop's channels, source)."""
        return self.counts.of_hop(hop, self.layer_graph.layer(hop.source).channels)

    def straight(self, hops: Sequence[Hop], target: Layer) -> Rows:
        """Counts of hops straight from below, (target channel, channel of below)."""
        return in_rows(all_entries(entries_of(self.counts_of(h), h.targets) for h in hops), target.channels)

    def through(self, hops: Sequence[Hop], target: Layer) -> tuple[Rows, Int32[np.ndarray, "hidden source"]]:
        """Counts of the hops from hidden layers, (target channel, hidden channel), and how wide those reach down.

        The hidden channels of all hops lie on one axis, those of each hop's source together::

            hidden channel   0 ... 95 | 96 ... 111
            source of        hop 0    | hop 1
        """
        last = [h for h in hops if not self.is_direct(h)]
        nothing = np.zeros((0, self.below.channels), np.int32)
        starts = bounds(np.array([len(self.reached[h.source]) for h in last], np.int32)).tolist()
        parts = [entries_of(self.counts_of(h), h.targets, start) for h, start in zip(last, starts, strict=False)]
        reach = np.concatenate([nothing, *(self.reached[h.source] for h in last)])
        return in_rows(all_entries(parts), target.channels), reach

    def mean_sources(self, hops: Sequence[Hop]) -> int:
        """Sources that a channel keeps of those that come through hidden layers.

        The mean number of sources, rounded down, over the channels that a convolution brings directly from the layer
        below; without any such channel, over those that a convolution brings from a hidden layer. All of them where
        only identities lead into the layer: there is nothing to cut.
        """
        convolutions = [h for h in hops if h.convolution is not None]
        measured = [h for h in convolutions if self.is_direct(h)] or convolutions
        if not measured:
            return self.below.channels
        channels = {channel for h in measured for channel in h.targets}
        return self.n_sources(measured) // len(channels)

    def n_sources(self, hops: Sequence[Hop]) -> int:
        """Pairs of a target channel and a source with a count above 0; one that several hops bring counts once."""
        layers = list(dict.fromkeys(h.source for h in hops))
        starts = bounds(np.array([self.layer_graph.layer(name).channels for name in layers], np.int32)).tolist()
        first = dict(zip(layers, starts, strict=False))
        entries = all_entries(entries_of(self.counts_of(h), h.targets, first[h.source]) for h in hops)
        is_source = np.zeros((1 + max(max(h.targets) for h in hops), starts[-1]), np.bool_)
        counted = entries.value > 0
        is_source[entries.row[counted], entries.column[counted]] = True
        return int(np.count_nonzero(is_source))


class Sources(NamedTuple):
    """The strongest sources of some channels, descending; -1, -1, 0 where there are no more."""

    layer: Int16[np.ndarray, "channel rank"]
    channel: Int32[np.ndarray, "channel rank"]
    influence: Int32[np.ndarray, "channel rank"]


#: Layer, channel and influence where a channel has no more sources.
_NONE = (-1, -1, 0)


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

    Examples
    --------
    >>> from summit_dask.facts.layergraph import Window
    >>> at = (1, 1, True, Window((1, 1), (1, 1), (0, 0)))
    >>> hop = Hop("up", "low", "high", range(2), None)
    >>> layer_graph = LayerGraph((Layer("low", 2, *at), Layer("high", 2, *at)), (hop,))
    >>> counts = ClassCounts({}, {"up": sparse.csr_array(np.array([[7, 9], [0, 4]]))})
    >>> strongest_sources(layer_graph, counts, "high", [0], 3).channel
    array([[ 1,  0, -1]], dtype=int32)
    """
    indices = {known.name: index for index, known in enumerate(layer_graph.layers)}
    hops = [
        (hop, indices[hop.source], counts.of_hop(hop, layer_graph.layer(hop.source).channels))
        for hop in layer_graph.incoming(layer)
    ]
    rows = [_sources_of(hops, channel, n) for channel in channels]
    table = np.array(rows, np.int32).reshape(len(rows), n, 3)
    return Sources(table[:, :, 0].astype(np.int16), table[:, :, 1], table[:, :, 2])


def _sources_of(hops: Sequence[tuple[Hop, int, sparse.csr_array]], channel: int, n: int) -> list[tuple[int, int, int]]:
    """Layer, channel and influence of a channel's sources; of the hops: index of the source layer, and counts."""
    best: dict[tuple[int, int], int] = {}  # largest count, by source channel and its layer
    for hop, layer, counts in hops:
        if channel not in hop.targets:
            continue
        row = hop.targets.index(channel)
        entries = slice(counts.indptr[row], counts.indptr[row + 1])
        for source, count in zip(counts.indices[entries].tolist(), counts.data[entries].tolist(), strict=True):
            if count > 0:
                best[source, layer] = max(count, best.get((source, layer), 0))
    ranked = sorted(best, key=lambda source: (-best[source], source))
    rows = [(layer, source, best[source, layer]) for source, layer in ranked[:n]]
    return rows + [_NONE] * (n - len(rows))
