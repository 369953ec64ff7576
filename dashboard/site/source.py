"""What a site shows of a store."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.data import StoreData
from dashboard.shown.likeness import Matrix
from summit_dask.facts.layergraph import Channel, Layer
from summit_dask.facts.pairs import Nodes


@dataclass(frozen=True)
class Source:
    """Some classes of a store, numbered anew, and all of its layers.

    Parameters
    ----------
    data
        The store.
    classes
        Their places in the store, ascending.
    examples
        Whether images of the data set are shown.
    """

    data: StoreData
    classes: NDArray[np.int64]
    examples: bool

    @cached_property
    def table(self) -> pd.DataFrame:
        """Rows of `StoreData.classes`, the classes' numbers in the site as index."""
        return self.data.classes.iloc[self.classes].reset_index(drop=True)

    @cached_property
    def number_of(self) -> Mapping[int, int]:
        """A class's number in the site, by its place in the store."""
        return {int(place): number for number, place in enumerate(self.classes)}

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers of the network, input side first; their places are their names in files."""
        return self.data.layer_graph.layers

    @cached_property
    def index_of_layer(self) -> Mapping[str, int]:
        """A layer's place, by its name."""
        return {layer.name: k for k, layer in enumerate(self.layers)}

    @cached_property
    def counts(self) -> dict[str, Matrix]:
        """A of the classes, (class, channel), by visible layer; only where the store has it."""
        known = {layer.name: self.data.counts(layer.name) for layer in self.data.layers}
        return {name: counts[self.classes] for name, counts in known.items() if counts is not None}

    @cached_property
    def used(self) -> dict[Nodes, Matrix]:
        """Counts of all channels, (class, channel), layer after layer, by each measure of nodes that graphs are of."""
        result = {}
        for nodes in dict.fromkeys(pair.nodes for pair in self.data.pairs):
            of_layers = [self.data.counts(layer.name, nodes) for layer in self.data.layers]
            known = [counts for counts in of_layers if counts is not None]
            if known and len(known) == len(of_layers):
                result[nodes] = np.concatenate(known, axis=1)[self.classes]
        return result

    @cached_property
    def graph_channels(self) -> frozenset[Channel]:
        """Channels of any of the classes' graphs."""
        found: set[tuple[int, int]] = set()
        for pair in self.data.pairs:
            columns = ("node_class", "node_layer", "node_channel")
            of_class, layer, channel = (self.data.read(f"{pair.group}/{name}") for name in columns)
            own = np.isin(of_class, self.classes)
            found.update(zip(layer[own].tolist(), channel[own].tolist(), strict=True))
        return frozenset(Channel(self.layers[layer].name, channel) for layer, channel in found)


def rounded(values: Any, digits: int = 4) -> list[Any]:
    """Numbers with some significant digits, None for what is no number: short in a file."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in np.asarray(values).tolist()]
