"""What is counted over images: channels that they use, and sources of channels; of any images, into any groups.

    values of some images     activations/upper/value ─┐
                                                       ├─ Matrix.counts ── counts of each group, sparse
    the group of each image   0 0 1 -1 2 ... ──────────┘

Counts of several blocks of images add up, so nobody needs to hold more than a block.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.matrices import add_counts, count_selected, count_sources, sources_by_hop
from summit_dask.facts import schema
from summit_dask.facts.addresses import is_kept
from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.layergraph import Hop, Layer, LayerGraph
from summit_dask.facts.pairs import Pair
from summit_dask.store.counts import Read

#: Images that are read and counted at once.
BLOCK = 4096

#: Counts of some groups by name of the matrix, sparse ones as `count_sources` makes them.
Counts = dict[str, csr_array]


@dataclass(frozen=True)
class Count:
    """A count of the registry, and where the values of single images that are counted lie.

    Of a layer L, `values` and a name: activations/L/value, or contributions/L/inhibitor_ and source, hop.
    """

    name: str
    values: str

    def address(self, layer: str, name: str) -> str:
        """Of one layer's values."""
        head, _, prefix = self.values.partition("/")
        return f"{head}/{layer}/{prefix}{name}"


#: By the channels that an image uses, and by the sources of its channels.
USED = (Count("activation_count", "activations"), Count("relevance_count", "relevances"))
INHIBITED = Count("inhibition_count", "contributions/inhibitor_")
RANKED = (Count("influence_count", "influences"), Count("contribution_count", "contributions"), INHIBITED)


def kept(counts: Sequence[Count], options: MeasureOptions) -> list[Count]:
    """Those that a run with these options keeps."""
    return [count for count in counts if is_kept(schema.variable(f"matrices/-/{count.name}"), options)]


def of_pair(pair: Pair) -> list[Count]:
    """Those that graphs of a pair of measures are made of."""
    return [count for count in (*USED, *RANKED) if count.name in (f"{pair.nodes}_count", f"{pair.edges}_count")]


@dataclass(frozen=True)
class UsedChannels:
    """The matrix of a layer: images that use each channel.

    Attributes
    ----------
    name
        Of the layer and the count, as in upper/activation_count.
    values
        Addresses of what is counted.
    shape
        Of one group's counts: (channel,).
    mass, excluded
        As in `select_channels`.
    """

    name: str
    values: tuple[str, ...]
    shape: tuple[int, ...]
    mass: float
    excluded: tuple[int, ...]

    def counts(self, index: NDArray[np.int32], n_groups: int, value: NDArray[Any]) -> csr_array:
        """Counts of each group over some images, of which `index` says the group (-1: none)."""
        return csr_array(count_selected(select_channels(value, self.mass, self.excluded), index, n_groups))


@dataclass(frozen=True)
class RankedSources:
    """The matrix of a hop: images in which a source is among its channel's strongest.

    Attributes
    ----------
    name, values
        As in `UsedChannels`.
    shape
        Of one group's counts: (channel, source).
    hop, place
        The hop, and its place among the layer's incoming ones.
    """

    name: str
    values: tuple[str, ...]
    shape: tuple[int, ...]
    hop: Hop
    place: int

    def counts(
        self, index: NDArray[np.int32], n_groups: int, source: NDArray[Any], by_hop: NDArray[Any] | None = None
    ) -> csr_array:
        """As `UsedChannels.counts`; without `by_hop` no other hop leads into the same channels."""
        own = source[:, self.hop.rows]
        if by_hop is not None:
            own = sources_by_hop(own, by_hop[:, self.hop.rows], self.place)
        return count_sources(own, index, n_groups, self.shape[1])


Matrix = UsedChannels | RankedSources


def matrices(
    layer_graph: LayerGraph, counts: Sequence[Count], mass: float, excluded: Mapping[str, Sequence[int]]
) -> list[Matrix]:
    """All matrices of some counts; those that are counted from the same values stand together."""
    made: list[Matrix] = []
    for count in counts:
        layers = layer_graph.visible if count in USED else layer_graph.influenced
        for layer in layers:
            made += _of_layer(layer_graph, count, layer, mass, tuple(excluded.get(layer.name, ())))
    return made


def _of_layer(
    layer_graph: LayerGraph, count: Count, layer: Layer, mass: float, excluded: tuple[int, ...]
) -> Iterator[Matrix]:
    if count in USED:
        value = count.address(layer.name, "value")
        yield UsedChannels(f"{layer.name}/{count.name}", (value,), (layer.channels,), mass, excluded)
        return
    hops = layer_graph.incoming(layer.name)
    names = ("source", "hop") if _meet(hops) else ("source",)
    values = tuple(count.address(layer.name, name) for name in names)
    for place, hop in enumerate(hops):
        shape = (hop.channels, layer_graph.layer(hop.source).channels)
        yield RankedSources(f"{hop.name}/{count.name}", values, shape, hop, place)


def _meet(hops: Sequence[Hop]) -> bool:
    """Whether several lead into the same channels, so that a source doesn't say by which it came."""
    targets = [channel for hop in hops for channel in hop.targets]
    return len(set(targets)) < len(targets)


def bytes_of_group(own: Sequence[Matrix]) -> int:
    """What the counts of one group take, dense."""
    return sum(prod(matrix.shape) for matrix in own) * np.dtype(np.int32).itemsize


def by_values(own: Sequence[Matrix]) -> list[list[Matrix]]:
    """Matrices that are counted from the same values, together."""
    return [list(together) for _, together in groupby(own, key=lambda matrix: matrix.values)]


def count_block(
    read: Read, own: Sequence[Matrix], rows: slice, index: NDArray[np.int32], n_groups: int
) -> Iterator[tuple[str, csr_array]]:
    """Counts over a block of images, each array read once.

    Parameters
    ----------
    rows
        The block.
    index
        Group of each of its images; -1: none. What lies before the first image of a group and behind the last one
        is not read.
    """
    places = np.flatnonzero(index >= 0)
    first, stop = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
    rows, index = slice(rows.start + first, rows.start + stop), index[first:stop]
    is_counted = index >= 0
    for together in by_values(own):
        values = [read(address, rows) for address in together[0].values]
        if not is_counted.all():
            values = [part[is_counted] for part in values]
        for matrix in together:
            yield matrix.name, matrix.counts(index[is_counted], n_groups, *values)


def count_images_of(read: Read, own: Sequence[Matrix], index: NDArray[np.int32], n_groups: int) -> Counts:
    """Counts over all images, block after block, of which those that hold none of a group are not read.

    Parameters
    ----------
    index
        Group of each image of the store; -1: none.
    """
    totals: Counts = {}
    starts = [start for start in range(0, len(index), BLOCK) if (index[start : start + BLOCK] >= 0).any()]
    for start in starts or [0]:
        rows = slice(start, min(start + BLOCK, len(index)))
        add_to(totals, count_block(read, own, rows, index[rows], n_groups))
    return totals


def add_to(totals: Counts, counts: Iterator[tuple[str, csr_array]]) -> None:
    """Add counts of further images to those that there are."""
    for name, found in counts:
        totals[name] = add_counts([totals[name], found]) if name in totals else found
