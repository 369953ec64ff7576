"""Runs a network with some channels' maps replaced: how sure is it of the class without them? (DESIGN 3.8)

    image ── ... ── layer A ── ... ── layer B ── ... ── logits ── margin: own logit - mean of all
                       │                 │
                    replace           replace              each row of a batch has channels of its own

Rows of a batch are ablations, of one image or of several. Images are run once as they are; an ablation starts at the
lowest layer that it touches, from what was kept there. Channels of all layers with maps stand one after the other.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int, UInt8
from torch import Tensor, fx
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from summit_dask.facts.errors import NumericalError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure.memory import on_device
from summit_dask.measure.normalise import Normaliser
from summit_dask.measure.relevance import logits_of
from summit_dask.network.traced import TracedNetwork


@dataclass(frozen=True, eq=False)
class Ablations:
    """Which channels are replaced in which of a batch's images.

    Attributes
    ----------
    image
        Place of the image in the batch.
    removed
        Channels of all layers with maps, input side first.
    """

    image: Int[np.ndarray, " ablation"]
    removed: Bool[np.ndarray, "ablation channel"]

    @classmethod
    def of(cls, sets: Sequence[tuple[int, Bool[np.ndarray, "_ channel"]]]) -> "Ablations":
        """Several sets of channels of each image, given as its place and the sets."""
        image = np.repeat([place for place, _ in sets], [len(removed) for _, removed in sets])
        return cls(image, np.concatenate([removed for _, removed in sets]))


class Ablator:
    """A traced network that runs with channels replaced.

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
        self.network, self.batch_size = network, network.batch_size
        self._device = torch.device(device)
        self.preprocessing = preprocessing
        with on_device(network, self._device):
            self._module = network.module.to(self._device).to(memory_format=torch.channels_last)
        self._normalise = Normaliser(preprocessing, self.batch_size, self._device)
        layers = network.layer_graph.with_maps
        self._values = [network.values[layer.name] for layer in layers]
        self.bounds = np.cumsum([0, *(layer.channels for layer in layers)])
        self._logits = logits_of(self._module).name
        self._starts = [_Start.at(self._module, value.node) for value in self._values]
        places = {node.name: place for place, node in enumerate(self._module.graph.nodes)}
        self._order = np.argsort([places[value.node] for value in self._values])  # in which layers are computed
        self._kept = frozenset(name for start in self._starts for name in start.needed) | {self._logits}

    def shares(self) -> list[float]:
        """What an ablation costs that starts at each layer, in forward passes."""
        images = torch.zeros((self.batch_size, *self.preprocessing.input_size), device=self._device)
        with on_device(self.network, self._device), torch.inference_mode():
            counting = _Counting(self._module)
            counting.run(images)
        work = counting.work
        total = sum(work.values()) or 1
        return [sum(work[name] for name in work if name not in start.skipped) / total for start in self._starts]

    def means(self, pixels: UInt8[np.ndarray, "image height width colour"]) -> Float64[np.ndarray, "image channel"]:
        """Mean over positions of every channel's map."""
        with on_device(self.network, self._device), torch.inference_mode():
            values = self._run(pixels, frozenset(value.node for value in self._values))
            parts = [_over_positions(values[value.node], value.axis)[: len(pixels)] for value in self._values]
        return torch.cat(parts, 1).cpu().numpy()

    def margins(
        self,
        pixels: UInt8[np.ndarray, "image height width colour"],
        outputs: Int[np.ndarray, " image"],
        ablations: Ablations,
        replacement: Float32[np.ndarray, " channel"],
    ) -> Float64[np.ndarray, " ablation"]:
        """Logit of the image's own class minus the mean of all logits, for each ablation.

        Parameters
        ----------
        pixels, outputs
            At most `batch_size` images, and the network's output of each one's class.
        replacement
            What the map of a replaced channel is everywhere.

        Raises
        ------
        NumericalError
            If a logit is NaN or infinite.
        """
        margins = np.empty(len(ablations.image))
        own = torch.as_tensor(outputs, dtype=torch.int64, device=self._device)
        values = torch.from_numpy(replacement).to(self._device)
        with on_device(self.network, self._device), torch.inference_mode():
            kept = self._run(pixels, self._kept)
            for rows, start in self._batches(ablations.removed):
                images = torch.from_numpy(ablations.image[rows]).to(self._device)
                logits = self._logits_of(kept, images, ablations.removed[rows], values, start)[: len(rows)]
                margins[rows] = _margin(logits, own[images])
        if not np.isfinite(margins).all():
            raise NumericalError(
                "The network's logits hold NaN or infinity where channels are replaced; look at its weights."
            )
        return margins

    def _batches(self, removed: Bool[np.ndarray, "ablation channel"]) -> Iterator[tuple[Any, int]]:
        """Ablations that start at the same layer, a batch at a time; -1: nothing is replaced."""
        touched = np.logical_or.reduceat(removed, self.bounds[:-1], axis=1)
        lowest = np.where(touched.any(1), self._order[touched[:, self._order].argmax(1)], -1)
        for start in np.unique(lowest).tolist():
            rows = np.flatnonzero(lowest == start)
            for first in range(0, len(rows), self.batch_size):
                yield rows[first : first + self.batch_size], start

    def _logits_of(
        self,
        kept: Mapping[str, Any],
        images: Tensor,
        removed: Bool[np.ndarray, "ablation channel"],
        values: Tensor,
        start: int,
    ) -> Tensor:
        if start < 0:
            plain: Tensor = kept[self._logits]
            return plain[images]
        missing = self.batch_size - len(images)
        rows = torch.cat([images, images.new_zeros(missing)])
        padded = torch.from_numpy(np.pad(removed, ((0, missing), (0, 0)))).to(self._device)
        replaced = {
            value.node: _Replaced(padded[:, low:high], values[low:high], value.axis)
            for value, low, high in zip(self._values, self.bounds[:-1], self.bounds[1:], strict=True)
        }
        run = _Ablating(self._module, replaced, {self._logits})
        run.begin(self._starts[start], kept, rows)
        logits: Tensor = run.kept[self._logits]
        return logits

    def _run(self, pixels: UInt8[np.ndarray, "image height width colour"], kept: frozenset[str]) -> dict[str, Any]:
        """Values of some nodes for a batch of images as they are."""
        run = _Ablating(self._module, {}, kept)
        run.run(self._normalise(self._normalise.whole(pixels)))
        return run.kept


def _margin(logits: Tensor, own: Tensor) -> Float64[np.ndarray, " image"]:
    logits = logits.flatten(1).double()
    margin: Float64[np.ndarray, " image"] = (logits.gather(1, own[:, None])[:, 0] - logits.mean(1)).cpu().numpy()
    return margin


def _over_positions(maps: Tensor, axis: int) -> Tensor:
    """Mean over positions, in float64."""
    maps = maps.movedim(axis, 1).double()
    return maps if maps.dim() == 2 else maps.flatten(2).mean(2)


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


class _Ablating(fx.Interpreter):
    """Runs a network, replaces channels of some nodes' values, and keeps others."""

    def __init__(self, module: fx.GraphModule, replaced: Mapping[str, _Replaced], wanted: Set[str]) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.kept: dict[str, Any] = {}
        self._nodes, self._replaced, self._wanted = module.graph.nodes, replaced, wanted

    def begin(self, start: _Start, kept: Mapping[str, Any], rows: Tensor) -> None:
        """Run from a layer on; each row goes on with what was kept of its image."""
        values = {name: _rows_of(kept[name], rows) for name in start.needed}
        values[start.node] = self._replaced[start.node](values[start.node])
        self.run(initial_env={node: values.get(node.name) for node in self._nodes if node.name in start.skipped})

    def run_node(self, n: fx.Node) -> Any:
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
