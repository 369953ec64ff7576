"""Where the channels of every value in a network come from.

Each element of each tensor belongs to a *channel* of a *base*: an operation that makes new channels (a convolution, a
sum), a layer that is shown, or the image. Labels say which; operations that move elements about (permutations,
concatenations, splits, reshaping) are simply run on the labels, so that no axis has to be reasoned about::

    conv (1, 4, 5, 5)    labels 0 1 2 3          along the channels, the same everywhere else
    view (1, 2, 2, 5, 5)        0 1 | 2 3
    transpose(1, 2)             0 2 | 1 3
    view (1, 4, 5, 5)           0 2 1 3          a channel shuffle

A label is a row of a table (`Row`): the base, its channel, and what happened to the channel since.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from summit_dask.network.export import NetworkGraph, norm_constants
from summit_dask.network.operations import Kind, argument, is_bounded, kind, operation
from summit_dask.network.steps import keeps_all_alike, linear_step, scale_and_shift

#: What happened to a channel since its base made it: only scaled and shifted; a function of each value; anything else.
LINEAR, POINTWISE, OTHER = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Base:
    """What makes channels.

    Attributes
    ----------
    node
        The image, a linear step, a sum, or the value of a visible layer.
    axis
        Axis of its channels.
    parts
        Of a sum: the labels that each channel adds up, and the operand that brings them; none for anything else.
    """

    node: fx.Node
    axis: int
    parts: tuple[tuple["Part", ...], ...] = ()


class Operand(NamedTuple):
    """What is added up: a tensor, or one slice of it along an axis, times a factor."""

    node: fx.Node
    factor: float = 1.0
    slice: tuple[int, int] | None = None


class Part(NamedTuple):
    """What one operand brings to a channel of a sum."""

    label: int
    operand: Operand


class Row(NamedTuple):
    """What a label says.

    `scale` and `shift` are those of the base's channel up to the first thing that is not linear; `sign` is -1 where
    something after that turned the channel over.
    """

    base: int
    channel: int
    scale: float
    shift: float
    stage: int
    sign: int


@dataclass(eq=False)
class Labels:
    """The labels of one tensor: broadcastable to its shape, with size 1 along axes where nothing changes.

    `notes` are gates and norms on the way from the bases.
    """

    index: Tensor
    notes: tuple[str, ...] = ()


@dataclass(eq=False)
class Channels:
    """Labels of every value of a network, in one pass from the image up.

    Attributes
    ----------
    graph
        The network.
    visible
        Value nodes of the layers that are shown; above them their channels count as new.
    bases, rows
        What labels say.
    labels
        By node; None where channels are mixed, for the reason in `mixes`.
    inside
        Of each visible layer's value, the labels that it has from below.
    own
        Of each visible layer's value, the base that its channels are above it.
    factors
        Of each gate, the operand that is its factor.
    """

    graph: NetworkGraph
    visible: Mapping[fx.Node, str]
    bases: list[Base] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    labels: dict[fx.Node, Any] = field(default_factory=dict)
    mixes: dict[fx.Node, fx.Node] = field(default_factory=dict)
    inside: dict[fx.Node, Labels] = field(default_factory=dict)
    own: dict[fx.Node, int] = field(default_factory=dict)
    factors: dict[fx.Node, fx.Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self.labels[node] = self._new(node, 1)
            elif node.op == "call_function":
                self._follow(node)

    def of(self, node: fx.Node) -> Labels | None:
        """A tensor's labels; None where its channels are mixed."""
        found = self.labels.get(node)
        return found if isinstance(found, Labels) else None

    def along(self, node: fx.Node, labels: Labels, axis: int) -> NDArray[np.int64] | None:
        """One label for each place along an axis; None where labels change along another one."""
        shape = self.graph.shape(node)
        sizes = [size for i, size in enumerate(labels.index.shape) if i != axis % len(shape)]
        if any(size > 1 for size in sizes):
            return None
        return labels.index.reshape(-1).expand(shape[axis]).numpy()

    def axis(self, node: fx.Node, labels: Labels) -> int:
        """The axis along which labels change, 1 if there is none; -1 if there are several."""
        changing = [axis for axis, size in enumerate(labels.index.shape) if size > 1]
        return changing[0] if len(changing) == 1 else (-1 if changing else 1)

    # One operation

    def _follow(self, node: fx.Node) -> None:
        found = self._labels_of(node)
        if found is None:
            self.mixes[node] = next((self.mixes[n] for n in node.all_input_nodes if n in self.mixes), node)
        if node in self.visible:
            if isinstance(found, Labels):
                self.inside[node] = found
            axis = self.axis(node, found) if isinstance(found, Labels) else 1
            self.own[node] = len(self.bases)
            found = self._new(node, axis if axis >= 0 else 1)
        self.labels[node] = found

    def _labels_of(self, node: fx.Node) -> Labels | list[Labels | None] | None:
        by_kind: dict[Kind, Callable[[fx.Node], Any]] = {
            Kind.LINEAR: self._linear,
            Kind.POINTWISE: self._pointwise,
            Kind.SPATIAL: self._spatial,
            Kind.NORM: self._norm,
            Kind.BATCH_NORM: self._batch_norm,
            Kind.MOVE: self._move,
            Kind.REDUCE: self._reduce,
            Kind.ITEM: self._item,
            Kind.MIXES: lambda node: None,
        }
        return by_kind[kind(node)](node)  # type: ignore[no-any-return]

    def _linear(self, node: fx.Node) -> Labels | None:
        step = linear_step(self.graph, node)
        if step is None:
            return None
        below = self.of(step.input)
        if below is not None and keeps_all_alike(self.graph, node):
            return self._over_positions(below)
        return self._new(node, step.axis)

    def _new(self, node: fx.Node, axis: int, parts: tuple[tuple[Part, ...], ...] = ()) -> Labels:
        """Labels of new channels along an axis."""
        shape = self.graph.shape(node)
        axis %= len(shape)
        start, base = len(self.rows), len(self.bases)
        self.bases.append(Base(node, axis, parts))
        self.rows += [Row(base, channel, 1.0, 0.0, LINEAR, 1) for channel in range(shape[axis])]
        sizes = [size if i == axis else 1 for i, size in enumerate(shape)]
        return Labels(torch.arange(start, start + shape[axis]).reshape(sizes))

    def _changed(self, labels: Labels, change: Callable[[Row], Row], *notes: str) -> Labels:
        """Labels of the same channels after something happened to each."""
        old, index = torch.unique(labels.index, return_inverse=True)
        start = len(self.rows)
        self.rows += [change(self.rows[label]) if label >= 0 else self.rows[0] for label in old.tolist()]
        new = torch.where(old >= 0, torch.arange(start, start + len(old)), -1)
        return Labels(new[index], tuple(dict.fromkeys((*labels.notes, *notes))))

    def _kept(self, labels: Labels | None, *notes: str) -> Labels | None:
        return labels and self._changed(labels, lambda row: row._replace(stage=OTHER), *notes)

    # Operations of one map

    def _pointwise(self, node: fx.Node) -> Labels | None:
        maps = [n for n in node.all_input_nodes if self.graph.constant(n) is None]
        known = [labels for n in maps if (labels := self.of(n)) is not None]
        if len(known) == len(maps) > 1 and self._same_channels(known):
            return self._kept(_widest(known))
        if len(maps) == 2:
            return self._two_maps(node, *maps)
        below = self.of(maps[0]) if len(maps) == 1 else None
        if below is None:
            return None
        constants = scale_and_shift(self.graph, node, maps[0])
        if constants is not None:
            return self._scaled(node, below, *constants)
        return self._changed(below, lambda row: row._replace(stage=max(row.stage, POINTWISE)))

    def _scaled(self, node: fx.Node, below: Labels, scale: Tensor, shift: Tensor) -> Labels | None:
        """Labels after each value was multiplied by a constant and another one added."""
        index, scale, shift = torch.broadcast_tensors(below.index, scale.double(), shift.double())
        if _n_changing(index, scale, shift) > max(1, _n_changing(below.index)):
            return self._kept(below)  # the constants differ from position to position
        triples = torch.stack([index.double(), scale, shift], -1)
        flat, inverse = torch.unique(triples.reshape(-1, 3), dim=0, return_inverse=True)
        start = len(self.rows)
        self.rows += [
            _scaled(self.rows[int(label)], a, b) if label >= 0 else self.rows[0] for label, a, b in flat.tolist()
        ]
        new = torch.where(flat[:, 0] >= 0, torch.arange(start, start + len(flat)), -1)
        return Labels(compressed(new[inverse].reshape(index.shape)), below.notes)

    def _batch_norm(self, node: fx.Node) -> list[Labels | None]:
        below = self.of(node.args[0])  # type: ignore[arg-type]
        if below is None:
            return [None]
        sizes = [-1 if axis == 1 else 1 for axis in range(below.index.ndim)]
        scale, shift = (c.reshape(sizes) for c in norm_constants(self.graph.module, node))
        return [self._scaled(node, below, scale, shift)]

    def _norm(self, node: fx.Node) -> Labels | list[Labels | None] | None:
        source: Any = node.args[0]
        name = operation(node).removeprefix("_").removeprefix("native_").removesuffix("_legit")
        shape = self.graph.shape(source)
        whole_batch = name == "batch_norm" and shape[0] > 1  # each image's value would depend on the others
        found = None if whole_batch else self._kept(self.of(source), name.replace("_", " "))
        return found if self.graph.shape(node) else [found]

    def _spatial(self, node: fx.Node) -> Labels | list[Labels | None] | None:
        source: Any = node.args[0]
        found = self._over_positions(self.of(source))
        return found if self.graph.shape(node) else [found, None]

    def _over_positions(self, below: Labels | None) -> Labels | None:
        """Labels after the positions on the last two axes were combined."""
        still = below is not None and all(size == 1 for size in below.index.shape[-2:])
        return self._kept(below) if still else None

    def _reduce(self, node: fx.Node) -> Labels | None:
        source: Any = node.args[0]
        below, dims = self.of(source), argument(node, 1, "dim")
        if below is None or kind(source) is Kind.MIXES:
            return None
        axes = sorted(axis % below.index.ndim for axis in (dims if dims else range(below.index.ndim)))
        keepdim = bool(argument(node, 2, "keepdim", False))
        if all(below.index.shape[axis] == 1 for axis in axes):
            kept = self._kept(below)
            assert kept is not None
            return replace(kept, index=kept.index if keepdim else _without(kept.index, axes))
        if operation(node) in ("sum", "mean") and len(axes) == 1 and not keepdim:
            return self._summed(node, source, below, axes[0])
        return None

    def _summed(self, node: fx.Node, source: fx.Node, below: Labels, axis: int) -> Labels | None:
        """A sum over an axis along which channels change: each sum is a channel that adds them up."""
        n = below.index.shape[axis]
        factor = 1 / n if operation(node) == "mean" else 1.0
        pieces = [piece.squeeze(axis) for piece in below.index.split(1, axis)]
        return self._sum(node, [(piece, Operand(source, factor, (axis, k))) for k, piece in enumerate(pieces)])

    # Operations of two maps

    def _two_maps(self, node: fx.Node, one: fx.Node, two: fx.Node) -> Labels | None:
        name = operation(node)
        below = self.of(one), self.of(two)
        if name in ("add", "sub") and below[0] is not None and below[1] is not None:
            second = float(node.kwargs.get("alpha", 1)) * (-1 if name == "sub" else 1)  # type: ignore[arg-type]
            ordered = (one, two) if node.args[0] is one else (two, one)
            first, other = (self.of(n) for n in ordered)
            assert first is not None and other is not None
            return self._sum(node, [(first.index, Operand(ordered[0])), (other.index, Operand(ordered[1], second))])
        if name in ("mul", "div"):
            chosen = self._map_of(node, one, two)
            if chosen is not None:
                self.factors[node] = two if chosen is one else one
                return self._kept(self.of(chosen), "gate")
        return None

    def _same_channels(self, several: Sequence[Labels]) -> bool:
        wide = torch.broadcast_tensors(*(labels.index for labels in several))
        together = torch.unique(torch.stack([index.reshape(-1) for index in wide], 1), dim=0).tolist()
        return all(min(own) >= 0 and len({self.rows[label][:2] for label in own}) == 1 for own in together)

    def _map_of(self, node: fx.Node, one: fx.Node, two: fx.Node) -> fx.Node | None:
        """Which of two multiplied tensors is the map; the other one is the factor. None if neither can be told."""
        if operation(node) == "div":
            return node.args[0] if isinstance(node.args[0], fx.Node) else None
        known = [n for n in (one, two) if self.of(n) is not None]
        if len(known) == 1:
            return known[0]
        by_size = sorted((one, two), key=lambda n: _origin_size(self.graph, n))
        if _origin_size(self.graph, by_size[0]) < _origin_size(self.graph, by_size[1]):
            return by_size[1]
        free = [n for n in (one, two) if not is_bounded(_origin(n))]
        if len(free) == 1:
            return free[0]
        straight = [n for n in (one, two) if kind(_origin(n)) is not Kind.POINTWISE]
        return straight[0] if len(straight) == 1 and self.of(straight[0]) is not None else None

    def _sum(self, node: fx.Node, operands: Sequence[tuple[Tensor, Operand]]) -> Labels | None:
        """Labels of sums: a channel for each place along the axis in which any operand's labels change."""
        shape = self.graph.shape(node)
        whole = [compressed(index.expand(shape)) for index, _ in operands]
        changing = {axis for index in whole for axis, size in enumerate(index.shape) if size > 1}
        if len(changing) > 1:
            return None
        axis = next(iter(changing), min(1, len(shape) - 1))
        columns = [index.reshape(-1).expand(shape[axis]).tolist() for index in whole]
        parts = tuple(
            tuple(Part(label, operand) for label, (_, operand) in zip(labels, operands, strict=True))
            for labels in zip(*columns, strict=True)
        )
        return self._new(node, axis, parts)

    # Moving

    def _move(self, node: fx.Node) -> Labels | list[Labels | None] | None:
        if any(self.of(n) is None and self.graph.constant(n) is None for n in node.all_input_nodes):
            return None
        notes = [self.of(n) for n in node.all_input_nodes]
        together = tuple(dict.fromkeys(note for labels in notes if labels for note in labels.notes))
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self._whole)
        try:
            moved = node.target(*args, **kwargs)  # type: ignore[operator]
        except RuntimeError:  # what only a tensor in its own layout can do
            return None
        if isinstance(moved, Tensor):
            return Labels(compressed(moved), together)
        return [Labels(compressed(part), together) for part in moved]

    def _whole(self, node: fx.Node) -> Tensor:
        """Labels in the tensor's own shape; an index is itself, another constant has none."""
        labels, constant = self.of(node), self.graph.constant(node)
        if labels is not None:
            return labels.index.expand(self.graph.shape(node))
        assert constant is not None
        return torch.full(constant.shape, -1) if constant.is_floating_point() else constant

    def _item(self, node: fx.Node) -> Labels | None:
        found = self.labels.get(node.args[0])  # type: ignore[arg-type]
        index: Any = node.args[1]
        return found[index] if isinstance(found, list) and index < len(found) else None


def _scaled(row: Row, scale: float, shift: float) -> Row:
    if row.stage == LINEAR:
        return row._replace(scale=row.scale * scale, shift=row.shift * scale + shift)
    return row._replace(sign=row.sign * (-1 if scale < 0 else 1))


def compressed(index: Tensor) -> Tensor:
    """The same labels with size 1 along axes where nothing changes."""
    for axis, size in enumerate(index.shape):
        first = index.narrow(axis, 0, 1)
        if size > 1 and (index.stride(axis) == 0 or bool((index == first).all())):
            index = first
    return index.contiguous()


def _n_changing(*tensors: Tensor) -> int:
    """Axes along which any of some tensors of one shape changes."""
    shapes = [compressed(tensor).shape for tensor in tensors]
    return sum(max(sizes) > 1 for sizes in zip(*shapes, strict=True))


def _without(index: Tensor, axes: Iterable[int]) -> Tensor:
    for axis in sorted(axes, reverse=True):
        index = index.squeeze(axis)
    return index


def _widest(several: Sequence[Labels]) -> Labels:
    notes = tuple(dict.fromkeys(note for labels in several for note in labels.notes))
    return Labels(max((labels.index for labels in several), key=Tensor.numel), notes)


def _origin(node: fx.Node) -> fx.Node:
    """What a tensor was before it was moved about."""
    while kind(node) in (Kind.MOVE, Kind.ITEM) and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    return node


def _origin_size(graph: NetworkGraph, node: fx.Node) -> int:
    """Elements of a tensor before it was spread over a larger one."""
    return min(int(np.prod(graph.shape(n))) for n in (node, _origin(node)) if graph.shape(n))
