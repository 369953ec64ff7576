"""From the labels of a network's channels to its layers, and to what each channel of a layer adds up.

From each visible layer the walk goes down to the bases of its channels. A base whose channels are the sources of a step
becomes a hidden layer, and the walk goes on from there::

    visible layer ── ReLU ── sum ─┬─ convolution A ── ReLU ── convolution B ── visible layer below
                                  └─ visible layer below

A and the identity lead into the visible layer; B's output is a hidden layer, to which B leads. What comes from the
image alone is added up too, but is no hop.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import fx

from summit_dask.facts.errors import TraceError
from summit_dask.network.channels import LINEAR, Channels, Labels, Operand, Row
from summit_dask.network.export import NetworkGraph
from summit_dask.network.operations import Kind, kind
from summit_dask.network.steps import LinearStep, linear_step


@dataclass(frozen=True, eq=False)
class Term:
    """What a channel of a layer adds up: one channel of a linear step, or (`step` None) of an operand's map.

    Attributes
    ----------
    channel
        Of the layer.
    scale, shift
        Constant factor and summand on the way up to the layer's pre-activation.
    step, row
        The linear step and its target channel.
    operand, axis, place, label
        The operand, the axis of its channels, the channel's place there, and its label.
    """

    channel: int
    scale: float
    shift: float
    step: fx.Node | None = None
    row: int = -1
    operand: Operand | None = None
    axis: int = 1
    place: int = -1
    label: int = -1


@dataclass(eq=False)
class Walk:
    """The layers of a network, by their value nodes.

    Attributes
    ----------
    visible
        Names by value node.
    classifier
        The network's last linear layer, where the class itself is a row: what feeds it are layers too.
    hidden
        Value nodes of hidden layers: the base whose channels they show.
    layer_of
        Value node of the layer that a base belongs to.
    """

    graph: NetworkGraph
    visible: Mapping[fx.Node, str]
    channels: Channels
    classifier: fx.Node | None = None
    hidden: dict[fx.Node, int] = field(default_factory=dict)
    layer_of: dict[int, fx.Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layer_of |= {self.channels.own[node]: node for node in self.visible}
        waiting = [*self.visible, *self._new_layers(self._sources_of(self.classifier) if self.classifier else ())]
        while waiting:
            waiting += self._new_layers(self._needed(waiting.pop()))

    @cached_property
    def above(self) -> set[fx.Node]:
        """What depends on a visible layer; all else comes from the image alone."""
        found = set(self.visible)
        for node in self.graph.nodes:
            if any(n in found for n in node.all_input_nodes):
                found.add(node)
        return found

    def layers(self) -> list[fx.Node]:
        """Value nodes of all layers, input side first."""
        return self.graph.in_order({*self.visible, *self.hidden})

    def labels(self, value: fx.Node) -> Labels:
        """Labels of a layer's channels, as they come from below.

        Raises
        ------
        TraceError
            If channels are mixed on the way.
        """
        found = self.channels.inside.get(value) if value in self.visible else self.channels.of(value)
        if found is None:
            raise self.unknown(value)
        return found

    def axis(self, value: fx.Node) -> int:
        """Axis of a layer's channels."""
        base = self.hidden[value] if value in self.hidden else self.channels.own[value]
        return self.channels.bases[base].axis

    def rows(self, value: fx.Node) -> list[Row | None]:
        """What each channel of a layer is; None: from the image alone, or constant."""
        if value in self.visible and not any(n in self.above for n in value.all_input_nodes):
            return [None] * self.graph.shape(value)[self.axis(value)]
        return [self._row(label) for label in self._own_labels(value)]

    def _own_labels(self, value: fx.Node) -> list[int]:
        """One label for each channel of a layer, as they come from below."""
        found: list[int] = self._along(value, self.labels(value), self.axis(value)).tolist()
        return found

    def terms(self, value: fx.Node) -> Iterator[Term]:
        """All that the channels of a layer add up."""
        axis, rows = self.axis(value), self.rows(value)
        labels = self._own_labels(value) if any(rows) else []
        for channel, row in enumerate(rows):
            if row is None:
                continue
            if self.is_passed_on(value, row):
                whole = Operand(value)
                yield Term(channel, 1.0, 0.0, operand=whole, axis=axis, place=channel, label=labels[channel])
            else:
                yield from self._of_base(channel, row, row.scale * row.sign, row.shift * row.sign)

    def is_passed_on(self, value: fx.Node, row: Row) -> bool:
        """Whether a channel of a layer is one of another layer's, as it is or pooled."""
        return row.base in self.layer_of and row.base != self.hidden.get(value)

    def sources(self, step: fx.Node, found: LinearStep) -> NDArray[np.int64]:
        """Labels of a step's input along its channels.

        Raises
        ------
        TraceError
            If channels are mixed on the way.
        """
        labels = self.channels.of(found.input)
        if labels is None:
            raise self.unknown(found.input)
        return self._along(found.input, labels, found.axis)

    def layer_and_channel(self, label: int) -> tuple[fx.Node, int] | None:
        """The layer and channel that a label stands for; None: from the image alone, or constant."""
        row = self._row(label)
        return None if row is None or row.base not in self.layer_of else (self.layer_of[row.base], row.channel)

    def unknown(self, node: fx.Node) -> TraceError:
        """What to say of channels that are mixed on the way to a node."""
        reason = self.channels.mixes.get(node, node)
        below = [name for n, name in self.visible.items() if n in ancestors(reason)]
        beyond = [name for n, name in self.visible.items() if name not in below]
        runs = " or ".join(f"only {_few(names)}" for names in (below, beyond) if names)
        return TraceError(
            f"Influences can't be followed through {self.graph.describe(reason)}: it mixes channels or positions. It "
            f"lies between the layers {below[-1] if below else '(the image)'} and "
            f"{beyond[0] if beyond else '(the output)'}; keep it outside the layers that are shown, for instance with "
            f"--layers: {runs}."
        )

    def _along(self, node: fx.Node, labels: Labels, axis: int) -> NDArray[np.int64]:
        found = self.channels.along(node, labels, axis)
        if found is None:
            raise self.unknown(node)
        return found

    def _row(self, label: int) -> Row | None:
        row = self.channels.rows[label] if label >= 0 else None
        return row if row is not None and self.channels.bases[row.base].node in self.above else None

    def _new_layers(self, bases: Iterable[int]) -> list[fx.Node]:
        """Make hidden layers of bases that are none yet; returns their value nodes."""
        made = []
        for base in dict.fromkeys(bases):
            if base not in self.layer_of:
                value = value_of(self.graph, self.channels.bases[base].node)
                self.hidden[value] = base
                self.layer_of[base] = value
                made.append(value)
        return made

    def _sources_of(self, step: fx.Node) -> Iterator[int]:
        """Bases of the channels that a linear step sees."""
        found = linear_step(self.graph, step)
        assert found is not None
        rows = map(self._row, np.unique(self.sources(step, found)).tolist())
        yield from (row.base for row in rows if row is not None)

    def _needed(self, value: fx.Node) -> Iterator[int]:
        """Bases that have to be layers for this one's hops."""
        terms = list(self.terms(value))
        for step in dict.fromkeys(term.step for term in terms if term.step is not None):
            yield from self._sources_of(step)
        for term in terms:
            row = self._row(term.label)
            if row is not None:
                yield row.base

    def _of_base(self, channel: int, row: Row, scale: float, shift: float) -> Iterator[Term]:
        base = self.channels.bases[row.base]
        if not base.parts:
            yield Term(channel, scale, shift, step=base.node, row=row.channel)
            return
        for index, part in enumerate(base.parts[row.channel]):
            below, factor = self._row(part.label), scale * part.operand.factor
            rest = shift if index == 0 else 0.0
            if below is not None and below.stage == LINEAR and below.base not in self.layer_of:
                yield from self._of_base(channel, below, factor * below.scale, factor * below.shift + rest)
            else:
                at = row.channel
                yield Term(channel, factor, rest, None, -1, part.operand, base.axis, at, part.label)


def value_of(graph: NetworkGraph, node: fx.Node) -> fx.Node:
    """The activation that a node's output becomes: past batch norms and nonlinearities that alone use it."""
    while len(node.users) == 1:
        user = next(iter(node.users))
        if kind(user) is Kind.BATCH_NORM and len(user.users) == 1:
            node = next(iter(user.users))
        elif kind(user) is Kind.POINTWISE and _n_maps(graph, user) == 1 and graph.shape(user) == graph.shape(node):
            node = user
        else:
            break
    return node


def ancestors(node: fx.Node) -> set[fx.Node]:
    """All that a node is computed from, itself included."""
    found, waiting = {node}, [node]
    while waiting:
        new = [n for n in waiting.pop().all_input_nodes if n not in found]
        found.update(new)
        waiting += new
    return found


def _n_maps(graph: NetworkGraph, node: fx.Node) -> int:
    return sum(graph.constant(n) is None for n in node.all_input_nodes)


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 6 else f"{', '.join(names[:2])} … {names[-1]}"
