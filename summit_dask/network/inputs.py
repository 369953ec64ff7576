"""Real inputs of steps as values that can be measured: (image, channel, y, x), (image, channel), or channels last.

What lies otherwise in the network gets a node of its own that only shows it so: a slice of a stacked tensor, or
positions along one axis as rows of a map.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from summit_dask.facts.errors import TraceError
from summit_dask.facts.layergraph import Convolution
from summit_dask.network.channels import Operand
from summit_dask.network.export import NetworkGraph
from summit_dask.network.operations import Kind, geometry, kind, operation
from summit_dask.network.steps import LinearStep
from summit_dask.network.traced import Value


class StepInput(NamedTuple):
    """A step's real input, its number of channels, and which of them the step takes in what order (None: all)."""

    value: Value
    n_channels: int
    order: list[int] | None = None


class LinearInput(NamedTuple):
    """What a linear step sees: its input as a map, labels of that map's channels, and the weight on it."""

    input: StepInput
    labels: list[int]
    weight: Tensor
    convolution: Convolution


def input_of_operand(graph: NetworkGraph, operand: Operand, axis: int) -> StepInput:
    """A tensor, or a slice of it, as a value with channels on an axis.

    Raises
    ------
    TraceError
        If it has more than two axes of positions.
    """
    node = operand.node
    if operand.slice is not None:
        node = _shown(graph, node, torch.ops.aten.select.int, (node, *operand.slice))
    shape = graph.shape(node)
    axis %= len(shape)
    if len(shape) in (2, 4) and axis in (1, len(shape) - 1):
        last = axis == len(shape) - 1 and len(shape) == 4
        return StepInput(Value(node.name, -1 if last else 1), shape[axis])
    if len(shape) == 3 and axis > 0:
        sizes = [shape[0], shape[1], shape[2], 1] if axis == 1 else [shape[0], shape[1], 1, shape[2]]
        spread = _shown(graph, node, torch.ops.aten.reshape.default, (node, sizes))
        return StepInput(Value(spread.name, 1 if axis == 1 else -1), shape[axis])
    raise TraceError(
        f"Channels can't be told from positions in {graph.describe(node)}, of shape {shape}: expected (image, channel) "
        "with up to two axes of positions. Keep it outside the layers that are shown with --layers."
    )


def input_of_step(graph: NetworkGraph, node: fx.Node, step: LinearStep, labels: NDArray[Any]) -> LinearInput:
    """What a convolution or a fully connected layer sees; one on a flattened map sees the map."""
    if operation(node) == "convolution":
        found = input_of_operand(graph, Operand(step.input), 1)
        return LinearInput(found, labels.tolist(), step.weight, geometry(node))
    flat = _flattened_map(graph, step.input)
    if flat is None:
        found = input_of_operand(graph, Operand(step.input), step.axis)
        return LinearInput(found, labels.tolist(), step.weight[:, :, None, None], Convolution())
    source, places = flat
    shape = graph.shape(source)
    for axis in (1, 3):
        # (channel, y, x): the place of each in the vector, if the channels lie on this axis
        own = places.movedim(axis - 1, 0)
        by_channel = labels[own].reshape(len(own), -1)
        if (by_channel == by_channel[:, :1]).all():
            weight = step.weight[:, own.reshape(-1)].reshape(-1, *own.shape)
            value = Value(source.name, 1 if axis == 1 else -1)
            return LinearInput(StepInput(value, shape[axis]), by_channel[:, 0].tolist(), weight, _whole(own))
    raise TraceError(
        f"The channels that {graph.describe(node)} sees lie along no axis of its input, of shape {shape}. Keep it "
        "outside the layers that are shown with --layers."
    )


def of_rows(whole: LinearInput, rows: list[int]) -> LinearInput:
    """The same step for some of its targets, ascending: with those groups alone whose targets they are.

    Where groups are left with different numbers of targets they become one, with weights of 0 between them.
    """
    groups, n_rows, n_own = whole.convolution.groups, len(whole.weight), len(rows)
    weight, size = whole.weight[rows], whole.weight.shape[1]
    if groups == 1:
        return whole._replace(weight=weight)
    of_group = [row * groups // n_rows for row in rows]
    used = sorted(set(of_group))
    if any(of_group.count(group) * len(used) != n_own for group in used):
        dense = torch.zeros(n_own, groups * size, *weight.shape[2:])
        for row, group in enumerate(of_group):
            dense[row, group * size : (group + 1) * size] = weight[row]
        return whole._replace(weight=dense, convolution=replace(whole.convolution, groups=1))
    channels = [group * size + i for group in used for i in range(size)]
    before = whole.input.order or [*range(whole.input.n_channels)]
    return LinearInput(
        input=whole.input._replace(order=None if len(used) == groups else [before[i] for i in channels]),
        labels=[whole.labels[i] for i in channels],
        weight=weight,
        convolution=replace(whole.convolution, groups=len(used)),
    )


def _whole(places: Tensor) -> Convolution:
    """A kernel that covers a map whole."""
    return Convolution(kernel=(places.shape[1], places.shape[2]))


def _flattened_map(graph: NetworkGraph, node: fx.Node) -> tuple[fx.Node, Tensor] | None:
    """The map that was flattened into a vector, and the place in the vector of each of its values, in the map's axes.

    None for a vector that never was a map, or only one of 1 x 1.
    """
    chain: list[fx.Node] = []
    source = node
    while kind(source) is Kind.MOVE and len(source.all_input_nodes) == 1 and len(graph.shape(source)) != 4:
        chain.append(source)
        source = source.all_input_nodes[0]
    shape = graph.shape(source)
    if len(graph.shape(node)) != 2 or len(shape) != 4 or len(chain) == 0 or _n(shape) != _n(graph.shape(node)):
        return None
    if shape[2:] == (1, 1):
        return None
    places = torch.arange(_n(shape)).reshape(shape)
    for step in reversed(chain):
        places = _moved(step, places)
    return source, torch.argsort(places[0]).reshape(shape[1:])


def _moved(step: fx.Node, places: Tensor) -> Tensor:
    args, kwargs = fx.node.map_arg((step.args, step.kwargs), lambda _: places)
    moved: Tensor = step.target(*args, **kwargs)  # type: ignore[operator]
    return moved


def _n(shape: Sequence[int]) -> int:
    return int(torch.Size(shape).numel())


def _shown(graph: NetworkGraph, after: fx.Node, target: Any, args: tuple[Any, ...]) -> fx.Node:
    """A node that shows a tensor otherwise; the same one when asked again."""
    for user in after.users:
        if user.target is target and user.args == args:
            return user
    with graph.module.graph.inserting_after(after):
        node = graph.module.graph.call_function(target, args)
    values = fx.node.map_arg(args, lambda n: n.meta["val"])
    node.meta.update(val=target(*values), nn_module_stack=after.meta.get("nn_module_stack"))
    return node
