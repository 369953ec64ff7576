"""Whether the channels that a step reads come from the channels that its hops name.

Every layer's channels are made a little larger in some of the runs and smaller in others, by a pattern of their own::

    channel of the layer below    pattern      channel of a step's input    how it changes
    0                             + - - +      0                            + .9  - .9  - .9  + .8    comes from 0
    1                             + + - -      1                            + .8  - .7  + .9  - .8    comes from 2; a
    2                             + - + -                                                             gate adds others

All layers are marked at once: what a layer's value would pass on of the marks below is taken away.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, fx

from summit_dask.facts.layergraph import Hop, as_index
from summit_dask.network.double import channels_first, shown_by
from summit_dask.network.traced import Step, TracedNetwork, Value

#: Bits of a pattern; by how much a marked value changes; the share of that which is more than rounding.
BITS, CHANGE, NOTICED = 32, 1e-2, 1e-3

#: Likeness that one in some thousand wrong channels reaches: with less, one that is liker is taken for the source.
SURE = 0.6


def misplaced_channels(
    network: TracedNetwork, images: Float32[Tensor, "image colour y x"]
) -> dict[str, tuple[str, ...]]:
    """Sources that are not what their hops say, a sentence each, by target layer.

    Parameters
    ----------
    images
        The same image as often as the network takes images.
    """
    unmarked = _Marking(network, {}, {}, {})
    unmarked.run(images)
    marks = _marks(network, n_runs=-(-BITS // len(images)), n_images=len(images))
    first: dict[str, Tensor] = {}
    marked = [_Marking(network, one, unmarked.seen, first) for one in marks]
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


Marks = dict[str, Float32[Tensor, "image channel"]]


def _marks(network: TracedNetwork, n_runs: int, n_images: int) -> list[Marks]:
    """The pattern of each layer's channels, 1 and -1, over the images of each run."""
    random = torch.Generator().manual_seed(0)
    sizes = {layer.name: layer.channels for layer in network.layer_graph.layers}
    return [
        {name: torch.randint(2, (n_images, n), generator=random) * 2.0 - 1 for name, n in sizes.items()}
        for _ in range(n_runs)
    ]


class _Marking(fx.Interpreter):
    """Runs the traced network with marked layers; the very first run, without marks, only keeps what it sees.

    Parameters
    ----------
    unmarked
        What the run without marks saw, by node.
    first
        How each step's input changes in the first of all marked images; filled by the first run.
    """

    def __init__(
        self, network: TracedNetwork, marks: Marks, unmarked: dict[str, Tensor], first: dict[str, Tensor]
    ) -> None:
        super().__init__(network.module)
        self.extra_traceback = False
        self.network, self.marks, self.unmarked, self.first = network, marks, unmarked, first
        nodes = {node.name: node for node in network.module.graph.nodes}
        self.layers = [(name, nodes[value.node], value) for name, value in network.values.items()]
        self.kept = {step.input.node for step in network.steps} | {value.node for value in network.values.values()}
        self.seen: dict[str, Tensor] = {}
        self.changes: dict[str, Float32[Tensor, "image channel"]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """See `fx.Interpreter`."""
        value = super().run_node(n)
        if not self.marks:
            self.seen.update({n.name: value[:1]} if n.name in self.kept else {})
            return value
        steps = [step for step in self.network.steps if step.input.node == n.name]
        own = [step for step in steps if self.network.values[step.target].node == n.name]
        self._measure(own, value)  # what a layer passes on as it is lies in its own value, before that is marked
        value = self._spread(n, value)
        self._measure([step for step in steps if step not in own], value)
        return value

    def _measure(self, steps: Sequence[Step], value: Any) -> None:
        """How much of the first image's change each channel of the steps' inputs shows again, in either direction."""
        for step in steps:
            change = channels_first(value - self.unmarked[step.input.node], step.input)
            first = self.first.setdefault(step_key(step), change[:1])
            self.changes[step_key(step)] = (change * first).reshape(*change.shape[:2], -1).sum(-1)

    def _spread(self, node: fx.Node, value: Any) -> Any:
        """The value with the marks of the layers whose value it is, or who only show it in another shape."""
        for name, shown, place in self.layers:
            if shown_by(shown) is node:
                value = value.clone(memory_format=torch.contiguous_format)
                self.env[node] = value
                own = value if shown is node else super().run_node(shown)  # a view
                own.copy_(self._marked(name, shown, place, len(value)))
        return value

    def _marked(self, name: str, node: fx.Node, place: Value, n_images: int) -> Tensor:
        """A layer's unmarked value, changed at every position by another share: up and down, so that means stay."""
        unmarked = self.unmarked[node.name]
        value = unmarked.repeat(n_images, *(1,) * (unmarked.ndim - 1))
        maps = channels_first(value, place)
        share = 2 * torch.rand(maps.shape[2:], generator=torch.Generator().manual_seed(1)) - 1
        marks = self.marks[name].view(*maps.shape[:2], *(1,) * (maps.ndim - 2))
        maps *= 1 + CHANGE * share * marks
        return value


def step_key(step: Step) -> str:
    """What tells a step from others of its name: one may lead to several layers."""
    return f"{step.name} {step.target} {step.input.node}"


def _misplaced(network: TracedNetwork, step: Step, marked: Sequence[_Marking]) -> Iterator[str]:
    order = slice(None) if step.order is None else as_index(step.order)
    changes = torch.cat([run.changes[step_key(step)] for run in marked])[:, order]
    maps = channels_first(marked[0].unmarked[step.input.node], step.input)[:, order]
    energy = maps.reshape(*maps.shape[:2], -1).square().sum(-1)[0]
    for number, hop in enumerate(network.layer_graph.incoming(step.target)):
        own = np.flatnonzero(step.hop == number)
        named = torch.from_numpy(step.source[own].astype(np.int64))
        alike = _likeness(torch.cat([run.marks[hop.source] for run in marked]), changes[:, own])
        reacts = changes[0, own] > (NOTICED * CHANGE) ** 2 * energy[own]
        own_likeness = alike.gather(0, named[None])[0]
        wrong = reacts & (own_likeness < SURE) & (own_likeness < alike.amax(0))
        for place in torch.nonzero(wrong)[:, 0].tolist():
            yield (
                f"channel {own[place]} of the input of {step.name} comes from channel {int(alike[:, place].argmax())} "
                f"of {hop.source}, or from another layer, and not from channel {int(named[place])}"
            )
        if len(own) and energy[own].any() and not reacts.any():
            yield f"the input of {step.name} doesn't depend on {hop.source} at all"


def _likeness(
    marks: Float32[Tensor, "image channel"], changes: Float32[Tensor, "image input"]
) -> Float32[Tensor, "channel input"]:
    """How much each input's changes follow each channel's marks; both are told from their first, so signs agree."""
    standard = changes / changes.norm(dim=0).clamp(min=1e-30)
    likeness: Tensor = (marks * marks[:1]).T @ standard / len(marks) ** 0.5
    return likeness
