"""An open store: how its arrays are read, which of its parts are there, and what makes those that are not."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.kept import kept_with_store
from dashboard.parts import PARTS, in_words, maker
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.errors import StoreError
from summit_dask.facts.layergraph import Channel, Layer, LayerGraph
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import Pair
from summit_dask.facts.run import Run
from summit_dask.facts.stages import Stage, stage_of
from summit_dask.store import status
from summit_dask.store.channelnames import Called, read_names, write_name
from summit_dask.store.graphs import stored_pairs
from summit_dask.store.places import stamp
from summit_dask.store.store import Store


class OpenStore:
    """A store, its parts and what people call its channels.

    Parameters
    ----------
    path
        The store's folder, its address, or a zip file of it.
    ahead
        Classes whose counts of sources are read together: more than 1 for whoever goes through all of them.

    Raises
    ------
    StoreError, StoreVersionError
        If there is no store, it is broken, or of another format version.
    """

    def __init__(self, path: Location, ahead: int = 1) -> None:
        self.path = path
        self.ahead = ahead
        self.stamp = stamp(path)
        self.store = Store.open(path)
        self.answers: dict[Any, Any] = {}  # of functions, see `kept_with_store`

    def unchanged(self) -> bool:
        """Whether no stage of the store was made, renewed or removed since it was opened."""
        return self.stamp == stamp(self.path)

    @kept_with_store(None)
    def read(self, address: str) -> NDArray[Any]:
        """All values of an array; for some rows, read from `store`."""
        return self.store.read(address)

    def read_rows(self, address: str, rows: NDArray[np.bool_]) -> NDArray[Any]:
        """Some rows of an array; all are read, and kept, by whoever goes through the classes."""
        return self.store.read(address, rows) if self.ahead == 1 else self.read(address)[rows]

    @property
    def origin(self) -> tuple[int | None, LayerGraph, int, int]:
        """What stays as it is as long as a store is that of the same run."""
        header = self.store.header
        return header.run.fingerprint, header.layer_graph, header.n_images, header.n_classes

    @property
    def layer_graph(self) -> LayerGraph:
        """The network's layers and hops."""
        return self.store.layer_graph

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Visible layers with maps, input side first."""
        return self.layer_graph.with_maps

    @property
    def run(self) -> Run:
        """The run's configuration, network and versions."""
        return self.store.header.run

    @property
    def options(self) -> ResultOptions:
        """The options that the results were made with."""
        return self.run.config

    @kept_with_store(None)
    def has(self, part: str, layer: str | None = None) -> bool:
        """Whether a part of the store is there, finished where a stage makes it, and (if given) holds the layer."""
        stage = stage_of(part)
        if stage is not None and stage.by_partition and not self.read("partitions/fingerprint").any():
            return False
        if stage is not None and not stage.by_partition and not self._is_finished(stage, part):
            return False
        return self.store.has(f"{part}/{layer}" if layer else part)

    def _is_finished(self, stage: Stage, part: str) -> bool:
        return bool(self.pairs) if stage.by_pair else self.store.finished(part) is not None

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Pairs of measures that the store has graphs of."""
        return stored_pairs(self.store)

    @property
    def usual_pair(self) -> Pair:
        """The pair whose graphs are shown unless another is asked for; without graphs that which they could be of."""
        return self.pairs[0] if self.pairs else self.options.pair

    @cached_property
    def outdated(self) -> tuple[str, ...]:
        """The finished groups that were made with other options than the store's present ones."""
        return status.outdated(self.store)

    def why_outdated(self) -> str:
        """Which parts are outdated and what renews them, in plain words; empty if none is."""
        if not self.outdated:
            return ""
        what = ", ".join(in_words(group) for group in self.outdated)
        commands = " and ".join(
            dict.fromkeys(f"'summit-dask {maker(group, self.options.pair)}'" for group in self.outdated)
        )
        return (
            f"Made with other options than this store's present ones, or by an earlier version: {what}. Run "
            f"{commands} to renew them."
        )

    def why_absent(self, part: str) -> str:
        """What the store lacks and what makes it, in plain words."""
        what, command = PARTS[part]
        stage = stage_of(part)
        maker = f"'summit-dask {command}' makes that"
        if stage is not None and stage.by_partition:
            maker = "only a run over the images makes them"
        return f"This store holds no {what}; {'the imported files lack that' if self.is_imported else maker}."

    @property
    def is_imported(self) -> bool:
        """Whether the store was made from another program's files, so that no stage can run on it."""
        return self.run.imported is not None

    # What people call channels

    def called(self, channel: Channel) -> Called:
        """What people call a channel."""
        return self._names.get(channel, Called(""))

    def call(self, channel: Channel, called: Called) -> None:
        """Call a channel something; all visitors see it.

        Raises
        ------
        StoreError
            If the file of names is damaged, or can't be written.
        """
        write_name(self.path, channel, called)
        self.__dict__.pop("_names", None)

    @property
    def named(self) -> list[Channel]:
        """The channels that have a name, in the order of the names."""
        return sorted((channel for channel, called in self._names.items() if called.name), key=self.called)

    @cached_property
    def _names(self) -> dict[Channel, Called]:
        try:
            return read_names(self.path)
        except StoreError:
            return {}  # told where a channel is to be named
