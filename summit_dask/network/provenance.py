"""Whether the channels that a step reads come from the channels that its hops name.

Every channel of every layer gets a number, and is changed in those runs in which its number has a bit::

    channel of the layer below    number    changed in run 0 1      channel of a step's input    changes in run 0 1
    0                             1         + .                     0                            . +   2: channel 1
    1                             2         . +                     1                            + +   3: channel 2
    2                             3         + +

Gates and norms are taken as found: a factor keeps the value that it has without marks, a norm passes changes on as they
are. So a channel of a step's input changes with its own source and with nothing else, and the answer is exact. All
layers are marked at once: what a layer's value would pass on of the marks below is taken away.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, fx

from summit_dask.facts.layergraph import Hop, LayerGraph
from summit_dask.network.double import channels_first, shown_by
from summit_dask.network.operations import Kind, kind
from summit_dask.network.traced import Step, TracedNetwork, Value

#: By how much a marked value changes, of the layer's largest; what of a channel's largest value is more than rounding;
#: and what of a channel's largest change.
CHANGE, NOTICED, SHARE = 0.25, 1e-6, 1e-3

#: By layer, each with channels of its own: numbers (channel), int64; marks (image, channel), 1, -1 or 0, float32.
Numbers = Mapping[str, Tensor]
Marks = Mapping[str, Tensor]


def misplaced_channels(
    network: TracedNetwork, images: Float32[Tensor, "image colour y x"]
) -> dict[str, tuple[str, ...]]:
    """Sources that are not what their hops say, a sentence each, by target layer.

    A channel that no change reaches, because a nonlinearity cuts it off, can't be told and is passed over.

    Parameters
    ----------
    images
        The same image as often as the network takes images.
    """
    unmarked = _Run(network)
    unmarked.run(images)
    numbers = _numbers(network.layer_graph)
    n_bits = sum(layer.channels for layer in network.layer_graph.layers).bit_length()
    runs = [_Run(network, marks, unmarked.seen) for marks in _marks(numbers, n_bits, len(images))]
    for run in runs:
        run.run(images)
    wrong: dict[str, list[str]] = {layer.name: [] for layer in network.layer_graph.influenced}
    for step in network.steps:
        changes = torch.cat([run.changes[_key(step)] for run in runs])[: 2 * n_bits]
        largest = _largest(unmarked.seen[step.input.node], step.input)[0]
        found = _found_numbers(changes.reshape(n_bits, 2, -1).amax(1), NOTICED * largest)
        wrong[step.target] += _wrong_of_step(network, step, found, numbers, bool(largest.any()))
    for hop in network.layer_graph.hops:
        wrong[hop.target] += _not_carried(network, hop)
    return {layer: tuple(texts) for layer, texts in wrong.items()}


# Numbers and marks


def _numbers(graph: LayerGraph) -> Numbers:
    """A number for every channel of every layer, from 1."""
    numbers: dict[str, Tensor] = {}
    start = 1
    for layer in graph.layers:
        numbers[layer.name] = torch.arange(start, start + layer.channels)
        start += layer.channels
    return numbers


def _marks(numbers: Numbers, n_bits: int, n_images: int) -> list[Marks]:
    """The marks of as many runs as it takes: for each bit an image with larger and one with smaller values."""
    signed = [(bit, sign) for bit in range(n_bits) for sign in (1.0, -1.0)]
    signed += [signed[-1]] * (-len(signed) % n_images)
    bits, signs = (torch.tensor(column) for column in zip(*signed, strict=True))
    whole = {name: (own >> bits[:, None] & 1) * signs[:, None] for name, own in numbers.items()}
    return [
        {name: marks[start : start + n_images].float() for name, marks in whole.items()}
        for start in range(0, len(signed), n_images)
    ]


def _found_numbers(
    changes: Float32[Tensor, "bit channel"], noticed: Float32[Tensor, " channel"]
) -> Int64[Tensor, " channel"]:
    """The number whose bits changed each channel by more than is noticed; 0 where none did."""
    largest = changes.amax(0)
    has_bit = (changes > SHARE * largest) & (largest > noticed)
    return (has_bit.long() << torch.arange(len(changes))[:, None]).sum(0)


# Running


class _Run(fx.Interpreter):
    """Runs the traced network with marked layers; the very first run, without marks, only keeps what it sees.

    Attributes
    ----------
    seen
        Of the run without marks: the values that others compare with, by node.
    changes
        Of any other: the largest change of each channel of a step's input.
    """

    def __init__(
        self, network: TracedNetwork, marks: Marks | None = None, unmarked: dict[str, Tensor] | None = None
    ) -> None:
        super().__init__(network.module)
        self.extra_traceback = False
        self.network, self.marks, self.seen = network, marks, unmarked or {}
        self.nodes = {node.name: node for node in network.module.graph.nodes}
        self.changes: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """See `fx.Interpreter`."""
        if self.marks is None:
            self.seen[n.name] = value = super().run_node(n)
            return value
        value = self._as_found(n)
        steps = [step for step in self.network.steps if step.input.node == n.name]
        own = [step for step in steps if self.network.values[step.target].node == n.name]
        self._measure(own, value)  # what a layer passes on as it is lies in its own value, before that is marked
        value = self._marked(n, value)
        self._measure([step for step in steps if step not in own], value)
        return value

    def _as_found(self, node: fx.Node) -> Any:
        """A node's value, with the factor of a gate and the statistics of a norm as they are without marks."""
        if kind(node) is Kind.NORM:
            return self._normed(node)
        factor = self.network.factors.get(node.name)
        if factor is None:
            return super().run_node(node)
        given = self.env[self.nodes[factor]]
        self.env[self.nodes[factor]] = self.seen[factor]
        value = super().run_node(node)
        self.env[self.nodes[factor]] = given
        return value

    def _normed(self, node: fx.Node) -> Any:
        """The unmarked value and the input's change."""
        before = node.all_input_nodes[0]
        change, value = self.env[before] - self.seen[before.name], self.seen[node.name]
        if isinstance(value, Tensor):
            return value + change if value.shape == change.shape else super().run_node(node)
        return (value[0] + change, *value[1:])

    def _marked(self, node: fx.Node, value: Any) -> Any:
        """The value with the marks of the layers whose value it is, or who only show it in another shape."""
        for name, place in self.network.values.items():
            shown = self.nodes[place.node]
            if shown_by(shown) is node:
                value = value.clone(memory_format=torch.contiguous_format)
                self.env[node] = value
                own = value if shown is node else super().run_node(shown)  # a view
                own.copy_(self._layer(name, place))
        return value

    def _layer(self, name: str, place: Value) -> Tensor:
        """A layer's unmarked value, changed at every position by another share."""
        assert self.marks is not None
        value = self.seen[place.node].clone()
        maps = channels_first(value, place)
        share = 0.5 + torch.rand(maps.shape[2:], generator=torch.Generator().manual_seed(0))
        size = CHANGE * float(value.abs().max()) or 1.0
        maps += size * share * self.marks[name].view(*maps.shape[:2], *(1,) * (maps.ndim - 2))
        return value

    def _measure(self, steps: Sequence[Step], value: Any) -> None:
        for step in steps:
            self.changes[_key(step)] = _largest(value - self.seen[step.input.node], step.input)


def _largest(value: Tensor, place: Value) -> Float32[Tensor, "image channel"]:
    """The largest absolute value of each channel."""
    maps = channels_first(value, place)
    return maps.reshape(*maps.shape[:2], -1).abs().amax(-1)


def _key(step: Step) -> str:
    """What tells a step from others of its name: one may lead to several layers."""
    return f"{step.name} {step.target} {step.input.node}"


# What is wrong


def _wrong_of_step(
    network: TracedNetwork,
    step: Step,
    found: Int64[Tensor, " channel"],
    numbers: Numbers,
    is_there: bool,
) -> Iterator[str]:
    """Channels that come from elsewhere than a step's hops say, and hops whose source nothing depends on."""
    places = np.arange(len(step.hop)) if step.order is None else np.array(step.order)
    for index in sorted({*step.hop.tolist()} - {-1}):
        hop = network.layer_graph.incoming(step.target)[index]
        own = np.flatnonzero(step.hop == index)
        named = numbers[hop.source][step.source[own].astype(np.int64)]
        seen = found[places[own]]
        for i in torch.nonzero((seen != 0) & (seen != named))[:, 0].tolist():
            yield (
                f"channel {own[i]} of the input of {step.name} comes from {_named(int(seen[i]), numbers)}, and not "
                f"from channel {step.source[own[i]]} of {hop.source}"
            )
        if is_there and not bool(seen.any()):
            yield f"the input of {step.name} doesn't depend on {hop.source} at all"


def _named(number: int, numbers: Numbers) -> str:
    """The channel that has a number."""
    for layer, own in numbers.items():
        if int(own[0]) <= number <= int(own[-1]):
            return f"channel {number - int(own[0])} of {layer}, or from several"
    return "several channels"


def _not_carried(network: TracedNetwork, hop: Hop) -> Iterator[str]:
    """What is wrong with a hop whose sources are not those of its step."""
    number = network.layer_graph.incoming(hop.target).index(hop)
    carried = [c for s in network.steps if s.target == hop.target for c in s.source[s.hop == number].tolist()]
    own = network.layer_graph.sources_of(hop)
    if sorted(carried) != sorted(own):
        yield f"the hop {hop.name} has {len(own)} sources, and steps lead from {len(carried)}, not the same ones"
