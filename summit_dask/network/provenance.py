"""Whether the channels that a step reads come from the channels that its hops name.

Every layer's channels are changed a little in some of the runs and not in others, a pattern of its own for each:

    channel of the layer below    pattern      channel of a step's input    how much it changes
    0                             1 0 0 1      0                            .9  0  0 .9      comes from 0
    1                             0 1 1 0      1                            .1 .1 .9 .8      comes from 2; a gate
    2                             0 0 1 1                                                    adds a little of others

All layers are marked at once: what a layer's value would pass on of the marks below is taken away.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor, fx

from summit_dask.facts.layergraph import Hop, as_index
from summit_dask.network.double import channels_first, shown_by
from summit_dask.network.traced import Step, TracedNetwork, Value

#: Bits of a pattern, and by how much a marked value changes: so little that a maximum pooling chooses the same place.
BITS, CHANGE = 40, 1e-6


def misplaced_channels(
    network: TracedNetwork, traced: fx.GraphModule, images: Float64[Tensor, "image colour y x"]
) -> dict[str, tuple[str, ...]]:
    """Sources that are not what their hops say, a sentence each, by target layer.

    Parameters
    ----------
    traced
        The network's graph in float64.
    images
        The same image as often as the graph takes images.
    """
    unmarked = _Marking(network, traced, {}, {})
    unmarked.run(images)
    marks = _marks(network, n_runs=-(-BITS // len(images)), n_images=len(images))
    marked = [_Marking(network, traced, unmarked.seen, one) for one in marks]
    for run in marked:
        run.run(images)
    wrong: dict[str, list[str]] = {layer.name: [] for layer in network.layer_graph.influenced}
    for step in network.steps:
        wrong[step.target] += _misplaced(network, step, marked)
    for hop in network.layer_graph.hops:
        wrong[hop.target] += _not_carried(network, hop)
    return {layer: tuple(texts) for layer, texts in wrong.items()}


def _not_carried(network: TracedNetwork, hop: Hop) -> Iterator[str]:
    """What is wrong with a hop whose sources are not those of its step."""
    number = network.layer_graph.incoming(hop.target).index(hop)
    carried = [c for s in network.steps if s.target == hop.target for c in s.source[s.hop == number].tolist()]
    own = range(network.layer_graph.layer(hop.source).channels) if hop.sources is None else hop.sources
    if sorted(carried) != sorted(own):
        yield f"the hop {hop.name} has {len(own)} sources, and steps lead from {len(carried)}, not the same ones"


Marks = dict[str, Bool[Tensor, "image channel"]]


def _marks(network: TracedNetwork, n_runs: int, n_images: int) -> list[Marks]:
    """Which channels of each layer are changed in each image of each run."""
    random = torch.Generator().manual_seed(0)
    sizes = {layer.name: layer.channels for layer in network.layer_graph.layers}
    return [
        {name: torch.rand((n_images, n), generator=random) < 0.5 for name, n in sizes.items()} for _ in range(n_runs)
    ]


class _Marking(fx.Interpreter):
    """Runs the traced network with marked layers; the first run, without marks, only keeps what it sees."""

    def __init__(
        self, network: TracedNetwork, traced: fx.GraphModule, unmarked: Mapping[str, Tensor], marks: Marks
    ) -> None:
        super().__init__(traced)
        self.extra_traceback = False
        self.unmarked, self.marks, self.seen = unmarked, marks, dict[str, Tensor]()
        nodes = {node.name: node for node in traced.graph.nodes}
        self.layers = [(name, nodes[value.node], value) for name, value in network.values.items()]
        self.inputs = {step.input.node: step.input for step in network.steps}
        self.changes: dict[str, Float64[Tensor, "image channel"]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """See `fx.Interpreter`."""
        value = super().run_node(n)
        for name, node, place in self.layers:
            if self.marks and shown_by(node) is n:
                value = value.clone(memory_format=torch.contiguous_format)
                self.env[n] = value
                own = value if node is n else super().run_node(node)  # a view
                own.copy_(self._marked(name, node, place, len(value)))
        if n.name in self.inputs and self.marks:
            self.changes[n.name] = _energy(channels_first(value - self.unmarked[n.name], self.inputs[n.name]))
        elif not self.marks and (n.name in self.inputs or any(node is n for _, node, _ in self.layers)):
            self.seen[n.name] = value[:1]
        return value

    def _marked(self, name: str, node: fx.Node, place: Value, n_images: int) -> Tensor:
        """A layer's unmarked value, changed in its marked channels, at every position by another share."""
        unmarked = self.unmarked[node.name]
        value = unmarked.repeat(n_images, *(1,) * (unmarked.ndim - 1))
        maps = channels_first(value, place)
        share = torch.rand(maps.shape[2:], dtype=maps.dtype, generator=torch.Generator().manual_seed(1)) + 0.5
        marks = self.marks[name].view(*maps.shape[:2], *(1,) * (maps.ndim - 2))
        maps *= 1 + CHANGE * share * marks
        return value


def _energy(maps: Tensor) -> Float64[Tensor, "image channel"]:
    return maps.reshape(*maps.shape[:2], -1).square().sum(-1)


def _misplaced(network: TracedNetwork, step: Step, marked: Sequence[_Marking]) -> Iterator[str]:
    order = slice(None) if step.order is None else as_index(step.order)
    changes = torch.cat([run.changes[step.input.node] for run in marked])[:, order]
    energy = _energy(channels_first(marked[0].unmarked[step.input.node], step.input))[0, order]
    for number, hop in enumerate(network.layer_graph.incoming(step.target)):
        own = np.flatnonzero(step.hop == number)
        named = torch.from_numpy(step.source[own].astype(np.int64))
        alike = _correlation(torch.cat([run.marks[hop.source] for run in marked]).double(), changes[:, own])
        reacts = changes[:, own].amax(0) > 1e-12 * CHANGE**2 * energy[own]
        wrong = reacts & (alike.gather(0, named[None])[0] < alike.amax(0) - 1e-9)
        for place in torch.nonzero(wrong)[:, 0].tolist():
            yield (
                f"channel {own[place]} of the input of {step.name} comes from channel {int(alike[:, place].argmax())} "
                f"of {hop.source}, or from another layer, and not from channel {int(named[place])}"
            )
        if len(own) and energy[own].any() and not reacts.any():
            yield f"the input of {step.name} doesn't depend on {hop.source} at all"


def _correlation(
    marks: Float64[Tensor, "image channel"], changes: Float64[Tensor, "image input"]
) -> Float64[Tensor, "channel input"]:
    return _standard(marks).T @ _standard(changes)


def _standard(columns: Tensor) -> Tensor:
    centred = columns - columns.mean(0)
    standard: Tensor = centred / centred.norm(dim=0).clamp(min=1e-300)
    return standard
