"""What single operations multiply and add: linear steps with their weights, blurs, constant scales and shifts."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from summit_dask.network.export import NetworkGraph
from summit_dask.network.operations import operation


class LinearStep(NamedTuple):
    """A linear step: its input, weight and bias, and the axis of its channels on both sides."""

    input: fx.Node
    weight: Tensor
    bias: Tensor | None
    axis: int


def linear_step(graph: NetworkGraph, node: fx.Node) -> LinearStep | None:
    """A node as a linear step; None for a convolution that isn't 2-D or is transposed, or weights that are computed.

    The weight is (target, source in group, ...), whatever way it is stored.
    """
    name, args = operation(node), node.args
    inputs: dict[str, tuple[int, int, int | None]] = {
        "convolution": (0, 1, 2), "linear": (0, 1, 2), "addmm": (1, 2, 0), "mm": (0, 1, None),
    }  # fmt: skip
    if name not in inputs:
        return None
    x, w, b = inputs[name]
    weight = graph.constant(args[w])
    bias = graph.constant(args[b]) if b is not None and b < len(args) else None
    source: Any = args[x]
    if weight is None or (name == "convolution" and (weight.ndim != 4 or args[6])):
        return None
    weight = weight.T if name in ("addmm", "mm") else weight
    return LinearStep(source, weight, bias, 1 if name == "convolution" else -1)


def keeps_all_alike(graph: NetworkGraph, node: fx.Node) -> bool:
    """Whether a convolution is one fixed filter for every channel, no parameter of the network: a blur."""
    step = linear_step(graph, node)
    if step is None or operation(node) != "convolution" or step.bias is not None:
        return False
    weight = step.weight
    one_each = len(weight) == int(node.args[8]) == graph.shape(step.input)[1]  # type: ignore[arg-type]
    fixed = str(node.args[1].target) not in dict(graph.module.named_parameters())  # type: ignore[union-attr]
    return (
        one_each and fixed and len(weight) > 1 and weight.numel() > len(weight) and bool((weight == weight[:1]).all())
    )


def scale_and_shift(graph: NetworkGraph, node: fx.Node, source: fx.Node) -> tuple[Tensor, Tensor] | None:
    """What a node multiplies its map by and adds to it, if that is all that it does."""
    name, (one, *rest) = operation(node), node.args
    other: Any = rest[0] if rest else None
    if name == "neg":
        return torch.tensor(-1.0), torch.tensor(0.0)
    if name not in ("add", "sub", "mul", "div", "rsub") or other is None:
        return None
    first = one is source
    given: Any = other if first else one
    constant = graph.constant(given)
    if constant is None and isinstance(given, fx.Node):  # the map itself: its square, for one
        return None
    value = torch.tensor(float(given)) if constant is None else constant
    alpha = float(node.kwargs.get("alpha", 1))  # type: ignore[arg-type]
    zero, unit = torch.tensor(0.0), torch.tensor(1.0)
    if name == "mul":
        return value, zero
    if name == "div":
        return (1 / value, zero) if first else None
    if name == "add":
        return (unit, value * alpha) if first else (torch.tensor(alpha), value)
    if name == "rsub":
        return torch.tensor(-alpha), value
    return (unit, -value * alpha) if first else (torch.tensor(-alpha), value)
