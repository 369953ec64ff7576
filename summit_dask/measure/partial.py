"""Runs a network from one of its layers on, with some channels' maps replaced.

    image ── ... ── layer A ── ... ── layer B ── ... ── logits
                       │                 │
                    replace           replace          each row of a batch has channels of its own

Images are run once as they are; a row then begins at the lowest layer that it touches, with what was kept there, and
ends at what is wanted of it. Channels of all layers with maps stand one after the other; `bounds` says where each
layer's begin.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, UInt8
from torch import Tensor, fx
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure.memory import on_device
from summit_dask.measure.normalise import Normaliser
from summit_dask.measure.relevance import logits_of
from summit_dask.network.traced import TracedNetwork

#: What some nodes gave, by name.
Values = Mapping[str, Any]

Pixels = UInt8[np.ndarray, "image height width colour"]


class PartialNetwork:
    """A traced network that can begin at any visible layer.

    Parameters
    ----------
    network
        Takes `batch_size` rows at a time; what is missing is filled up.
    preprocessing
        What the network takes for an image.
    device
        Where it runs: "cpu" or "cuda:0".
    """

    def __init__(self, network: TracedNetwork, preprocessing: Preprocessing, device: str = "cpu") -> None:
        self.network, self.preprocessing, self.batch_size = network, preprocessing, network.batch_size
        self.device = torch.device(device)
        with self.at_work():
            self._module = network.module.to(self.device).to(memory_format=torch.channels_last)
        self._normalise = Normaliser(preprocessing, self.batch_size, self.device)
        layers = network.layer_graph.with_maps
        self.values = [network.values[layer.name] for layer in layers]
        self.bounds = np.cumsum([0, *(layer.channels for layer in layers)])
        self.logits = logits_of(self._module).name
        self._starts = [_Start.at(self._module, value.node) for value in self.values]
        places = {node.name: place for place, node in enumerate(self._module.graph.nodes)}
        self._order = np.argsort([places[value.node] for value in self.values])  # in which layers are computed
        self._needed_for = cache(self._ancestors)
        #: Nodes whose values a run of whole images has to keep for others to begin anywhere.
        self.kept = frozenset(name for start in self._starts for name in start.needed) | {self.logits}

    def at_work(self) -> Any:
        """In the block the network may run; an error of memory says which batch would fit."""
        return on_device(self.network, self.device)

    def shares(self) -> list[float]:
        """What a run costs that begins at each layer, in forward passes."""
        images = torch.zeros((self.batch_size, *self.preprocessing.input_size), device=self.device)
        with self.at_work(), torch.inference_mode():
            counting = _Counting(self._module)
            counting.run(images)
        work = counting.work
        total = sum(work.values()) or 1
        return [sum(work[name] for name in work if name not in start.skipped) / total for start in self._starts]

    def lowest(self, removed: Bool[np.ndarray, "row channel"]) -> Int[np.ndarray, " row"]:
        """Of each row the first layer with a channel to be replaced, in the order of computation; -1: none."""
        touched = np.logical_or.reduceat(removed, self.bounds[:-1], axis=1)
        first = self._order[touched[:, self._order].argmax(1)]
        return np.where(touched.any(1), first, -1)

    def whole(self, pixels: Pixels, wanted: Set[str]) -> Values:
        """Values of some nodes for images as they are; `batch_size` rows."""
        run = _Run(self._module, {}, wanted, self._needed_for(frozenset(wanted)))
        run.run(self._normalise(self._normalise.whole(pixels)))
        return run.kept

    def part(
        self,
        begin: int,
        kept: Values,
        images: Int[np.ndarray, " row"],
        removed: Bool[np.ndarray, "row channel"],
        replacement: Float32[Tensor, " channel"],
        wanted: Set[str],
    ) -> Values:
        """Values of some nodes with channels replaced; as many rows as there are in `images`, or more.

        Parameters
        ----------
        begin
            The layer that the run begins at; nothing below it is replaced.
        kept
            What `whole` gave of `self.kept`.
        images, removed
            Of each row, at most `batch_size`: its image's place in what was kept, and channels that are replaced.
        replacement
            What the map of a replaced channel is everywhere.
        """
        missing = self.batch_size - len(images)
        rows = torch.from_numpy(np.pad(images, (0, missing))).to(self.device)
        padded = torch.from_numpy(np.pad(removed, ((0, missing), (0, 0)))).to(self.device)
        replaced = {
            value.node: _Replaced(padded[:, low:high], replacement[low:high], value.axis)
            for value, low, high in zip(self.values, self.bounds[:-1], self.bounds[1:], strict=True)
        }
        run = _Run(self._module, replaced, wanted, self._needed_for(frozenset(wanted)))
        run.begin(self._starts[begin], kept, rows)
        return run.kept

    def _ancestors(self, names: frozenset[str]) -> frozenset[str]:
        """Nodes that some nodes' values depend on, themselves among them."""
        needed = set(names)
        for node in reversed(self._module.graph.nodes):
            if node.name in needed:
                needed |= {other.name for other in node.all_input_nodes}
        return frozenset(needed)


@dataclass(frozen=True, eq=False)
class _Start:
    """Where a run can begin: nodes that it leaves out, and those of them whose values it needs."""

    node: str
    skipped: frozenset[str]
    needed: tuple[str, ...]

    @classmethod
    def at(cls, module: fx.GraphModule, name: str) -> "_Start":
        """At the value of a node."""
        skipped = set[str]()
        for node in module.graph.nodes:
            if node.op != "get_attr":  # weights are there anyway, and have no rows
                skipped.add(node.name)
            if node.name == name:
                break
        needed = [
            node.name
            for node in module.graph.nodes
            if node.name in skipped and (node.name == name or any(user.name not in skipped for user in node.users))
        ]
        return cls(name, frozenset(skipped), tuple(needed))


@dataclass(frozen=True, eq=False)
class _Replaced:
    """Channels of one layer that are replaced in each row of a batch, and by what."""

    removed: Bool[Tensor, "row channel"]
    values: Float32[Tensor, " channel"]
    axis: int

    def __call__(self, maps: Tensor) -> Tensor:
        positions = [1] * (maps.dim() - 2)
        ending = positions if self.axis == 1 else []
        before = [] if self.axis == 1 else positions
        removed = self.removed.reshape(len(maps), *before, -1, *ending)
        return torch.where(removed, self.values.view(1, *before, -1, *ending), maps)


class _Run(fx.Interpreter):
    """Runs what is needed of a network, replaces channels of some nodes' values, and keeps others."""

    def __init__(
        self, module: fx.GraphModule, replaced: Mapping[str, _Replaced], wanted: Set[str], needed: Set[str]
    ) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.kept: dict[str, Any] = {}
        self._nodes, self._replaced, self._wanted, self._needed = module.graph.nodes, replaced, wanted, needed

    def begin(self, start: _Start, kept: Values, rows: Tensor) -> None:
        """Run from a layer on; each row goes on with what was kept of its image."""
        values = {name: _rows_of(kept[name], rows) for name in start.needed}
        values[start.node] = self._replaced[start.node](values[start.node])
        self.run(initial_env={node: values.get(node.name) for node in self._nodes if node.name in start.skipped})

    def run_node(self, n: fx.Node) -> Any:
        if n.name not in self._needed:
            return None
        value = super().run_node(n)
        if n.name in self._replaced:
            value = self._replaced[n.name](value)
        if n.name in self._wanted:
            self.kept[n.name] = value
        return value


def _rows_of(value: Any, rows: Tensor) -> Any:
    """Some images of what a node gave: a tensor, or several."""
    return pytree.tree_map_only(Tensor, lambda part: part[rows], value)


class _Counting(fx.Interpreter):
    """Counts the operations of linear steps, node by node."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.work: dict[str, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            value = super().run_node(n)
        self.work[n.name] = counter.get_total_flops()
        return value
