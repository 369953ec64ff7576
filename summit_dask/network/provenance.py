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
from jaxtyping import Bool, Float32
from torch import Tensor, fx

from summit_dask.facts.layergraph import Hop
from summit_dask.network.double import channels_first, shown_by
from summit_dask.network.traced import Step, TracedNetwork, Value

#: Bits of a pattern; by how much a marked value changes; the share of that which is more than rounding.
BITS, CHANGE, NOTICED = 32, 1e-2, 1e-3

#: Likeness that one in some thousand wrong channels reaches in one draw of patterns: with less, one that is liker is
#: taken for the source. Over n draws the mean of wrong ones is smaller by the root of n.
SURE = 0.6

#: Draws of patterns at most; more than one only while a channel seems to be wrong.
DRAWS = 4

#: Share of channels behind a gate or norm that may answer more to other channels' marks than to their own: a channel
#: that hardly differs from position to position, a product of two channels of one layer.
DOUBTFUL = 0.5

#: A channel whose positions differ by less than this share of its largest value is the same everywhere.
FLAT = 1e-4


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
    judged = [
        _Judged(network, step, number) for step in network.steps for number in sorted({*step.hop.tolist()} - {-1})
    ]
    for draw in range(DRAWS):
        runs = _marked_runs(network, images, unmarked.seen, draw)
        for own in judged:
            own.look_at(runs)
        if not any(own.wrong().any() for own in judged):
            break
    wrong: dict[str, list[str]] = {layer.name: [] for layer in network.layer_graph.influenced}
    for own in judged:
        wrong[own.step.target] += own.in_words()
    for hop in network.layer_graph.hops:
        wrong[hop.target] += _not_carried(network, hop)
    return {layer: tuple(texts) for layer, texts in wrong.items()}


def _marked_runs(network: TracedNetwork, images: Tensor, unmarked: dict[str, Tensor], draw: int) -> "list[_Marking]":
    """As many runs as a draw of patterns takes."""
    first: dict[str, Tensor] = {}
    marks = _marks(network, -(-BITS // len(images)), len(images), draw)
    runs = [_Marking(network, one, unmarked, first, draw) for one in marks]
    for run in runs:
        run.run(images)
    return runs


def _not_carried(network: TracedNetwork, hop: Hop) -> Iterator[str]:
    """What is wrong with a hop whose sources are not those of its step."""
    number = network.layer_graph.incoming(hop.target).index(hop)
    carried = [c for s in network.steps if s.target == hop.target for c in s.source[s.hop == number].tolist()]
    own = range(network.layer_graph.layer(hop.source).channels) if hop.sources is None else hop.sources
    if sorted(carried) != sorted(own):
        yield f"the hop {hop.name} has {len(own)} sources, and steps lead from {len(carried)}, not the same ones"


Marks = dict[str, Float32[Tensor, "image channel"]]


def _marks(network: TracedNetwork, n_runs: int, n_images: int, draw: int) -> list[Marks]:
    """The pattern of each layer's channels, 1 and -1, over the images of each run."""
    random = torch.Generator().manual_seed(draw)
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
    draw
        Which draw of patterns it is.
    """

    def __init__(
        self,
        network: TracedNetwork,
        marks: Marks,
        unmarked: dict[str, Tensor],
        first: dict[str, Tensor],
        draw: int = 0,
    ) -> None:
        super().__init__(network.module)
        self.extra_traceback = False
        self.network, self.marks, self.unmarked, self.first, self.draw = network, marks, unmarked, first, draw
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
        """A layer's unmarked value, changed at every position by another share."""
        unmarked = self.unmarked[node.name]
        value = unmarked.repeat(n_images, *(1,) * (unmarked.ndim - 1))
        maps = channels_first(value, place)
        share = torch.rand(maps.shape[2:], generator=torch.Generator().manual_seed(self.draw)) + 0.5
        marks = self.marks[name].view(*maps.shape[:2], *(1,) * (maps.ndim - 2))
        maps += CHANGE * marks * _change(maps, share)
        return value


def _change(maps: Float32[Tensor, "image channel ..."], share: Tensor) -> Float32[Tensor, "image channel ..."]:
    """By what maps are changed: a share of each position's difference from the channel's mean.

    So the largest value answers in the mark's direction, and means, of which gates are made, change but little. A
    channel that is the same everywhere is changed by a share of itself.
    """
    flat = maps.reshape(*maps.shape[:2], -1)
    change = share.reshape(-1) * (flat - flat.mean(-1, keepdim=True))
    is_flat = change.abs().amax(-1, keepdim=True) <= FLAT * flat.abs().amax(-1, keepdim=True)
    return torch.where(is_flat, share.reshape(-1) * flat, change).reshape(maps.shape)


def step_key(step: Step) -> str:
    """What tells a step from others of its name: one may lead to several layers."""
    return f"{step.name} {step.target} {step.input.node}"


class _Judged:
    """A step's input channels of one hop, and how much they have followed each of its source layer's channels.

    Attributes
    ----------
    likeness
        Sum over the draws, (source channel, input channel).
    reacts
        Which input channels change at all.
    """

    def __init__(self, network: TracedNetwork, step: Step, number: int) -> None:
        self.step, self.hop = step, network.layer_graph.incoming(step.target)[number]
        self.own = np.flatnonzero(step.hop == number)
        self.named = torch.from_numpy(step.source[self.own].astype(np.int64))
        self.likeness = torch.zeros(network.layer_graph.layer(self.hop.source).channels, len(self.own))
        self.reacts = torch.zeros(len(self.own), dtype=torch.bool)
        self.silent, self.n_draws = True, 0

    def look_at(self, runs: Sequence[_Marking]) -> None:
        """Take one draw of patterns into account."""
        places = self.own if self.step.order is None else np.array(self.step.order)[self.own]
        changes = torch.cat([run.changes[step_key(self.step)] for run in runs])[:, places]
        maps = channels_first(runs[0].unmarked[self.step.input.node], self.step.input)[:, places]
        energy = maps.reshape(*maps.shape[:2], -1).square().sum(-1)[0]
        self.silent = not energy.any()
        self.reacts |= changes[0] > (NOTICED * CHANGE) ** 2 * energy
        self.likeness += _likeness(torch.cat([run.marks[self.hop.source] for run in runs]), changes)
        self.n_draws += 1

    def wrong(self) -> Bool[Tensor, " input"]:
        """Which input channels follow another channel than the one that the hop names."""
        mean = self.likeness / self.n_draws
        named = mean.gather(0, self.named[None])[0]
        wrong = self.reacts & (named < SURE / self.n_draws**0.5) & (named < mean.amax(0))
        in_doubt = bool(self.hop.notes) and int(wrong.sum()) <= DOUBTFUL * int(self.reacts.sum())
        return torch.zeros_like(wrong) if in_doubt else wrong

    def in_words(self) -> Iterator[str]:
        """What is wrong, a sentence each."""
        for place in torch.nonzero(self.wrong())[:, 0].tolist():
            yield (
                f"channel {self.own[place]} of the input of {self.step.name} comes from channel "
                f"{int(self.likeness[:, place].argmax())} of {self.hop.source}, or from another layer, and not from "
                f"channel {int(self.named[place])}"
            )
        if not self.silent and not self.reacts.any():
            yield f"the input of {self.step.name} doesn't depend on {self.hop.source} at all"


def _likeness(
    marks: Float32[Tensor, "image channel"], changes: Float32[Tensor, "image input"]
) -> Float32[Tensor, "channel input"]:
    """How much each input's changes follow each channel's marks; both are told from their first, so signs agree."""
    standard = changes / changes.norm(dim=0).clamp(min=1e-30)
    likeness: Tensor = (marks * marks[:1]).T @ standard / len(marks) ** 0.5
    return likeness
