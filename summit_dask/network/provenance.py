"""Whether the channels that a step reads come from the channels that its hops name.

Every layer's channels are changed a little in some of the runs and not in others, a pattern of its own for each:

    channel of the layer below    pattern      channel of a step's input    how much it changes
    0                             1 0 0 1      0                            .9  0  0 .9      comes from 0
    1                             0 1 1 0      1                            .1 .1 .9 .8      comes from 2; a gate
    2                             0 0 1 1                                                    adds a little of others

All layers are marked at once: what a layer's value would pass on of the marks below is taken away.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor, fx

from summit_dask.facts.layergraph import as_index
from summit_dask.network.double import channels_first
from summit_dask.network.traced import Step, TracedNetwork

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
    return {
        layer.name: tuple(
            text for step in network.steps if step.target == layer.name for text in _misplaced(network, step, marked)
        )
        for layer in network.layer_graph.influenced
    }


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
        self.layers = {value.node: (name, value) for name, value in network.values.items()}
        self.inputs = {step.input.node: step.input for step in network.steps}
        self.changes: dict[str, Float64[Tensor, "image channel"]] = {}

    def run_node(self, n: fx.Node) -> object:
        """See `fx.Interpreter`."""
        value = super().run_node(n)
        if n.name not in self.layers and n.name not in self.inputs:
            return value
        if not self.marks:
            self.seen[n.name] = value[:1]
            return value
        if n.name in self.layers:
            value = self._marked(n.name, len(value))
        if n.name in self.inputs:
            changed = channels_first(value - self.unmarked[n.name], self.inputs[n.name])
            self.changes[n.name] = _energy(changed)
        return value

    def _marked(self, node: str, n_images: int) -> Tensor:
        """A layer's unmarked value, changed in its marked channels, at every position by another share."""
        name, place = self.layers[node]
        value = self.unmarked[node].repeat(n_images, *(1,) * (self.unmarked[node].ndim - 1))
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
