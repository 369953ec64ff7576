"""What checks of a traced network share: modules and graphs in float64, values with their channels first."""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from summit_dask.network.traced import Value

Module = TypeVar("Module", bound=nn.Module)


def in_double(module: Module) -> Module:
    """A copy of a module in float64, tensors that are no parameters included."""
    own = copy.deepcopy(module).double()
    for part in own.modules():
        plain = {name: value for name, value in vars(part).items() if isinstance(value, Tensor)}
        vars(part).update({name: _double(value) for name, value in plain.items()})
    return own


def graph_in_double(traced: fx.GraphModule) -> fx.GraphModule:
    """A copy of a traced network that computes everything in float64."""
    own = in_double(traced)
    for node in own.graph.nodes:
        node.args, node.kwargs = map_aggregate(node.args, _double), map_aggregate(node.kwargs, _double)
    return own


def channels_first(value: Tensor, place: Value) -> Tensor:
    """A node's value as (image, channel, ...), a view of it."""
    return value.movedim(place.axis, 1)


def shown_by(node: fx.Node) -> fx.Node:
    """The node itself, or the one that it only shows in another shape, for a measurement that nothing else uses."""
    return node if node.users else node.all_input_nodes[0]


def _double(value: Any) -> Any:
    """A tensor or dtype of float32 as one of float64; anything else as it is."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    return torch.float64 if value is torch.float32 else value
