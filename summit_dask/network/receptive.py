"""Receptive fields: the pixels of the network's input that a position of a feature map sees.

Along one axis, position p of a map sees the pixels ``start + p * stride`` up to ``start + p * stride + size``::

    pixels      0 1 2 3 4 5 6 7          a 3-wide convolution of stride 2, padding 1:
    position 0  [---)                    size 3, stride 2, start -1
    position 1      [---)

A position that sees the whole image has stride 0 and stays so through every later operation.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx

from summit_dask.facts.layergraph import Convolution, Window
from summit_dask.network.channels import compressed
from summit_dask.network.export import NetworkGraph
from summit_dask.network.operations import Kind, geometry, kind, operation


def windows(graph: NetworkGraph) -> dict[fx.Node, Window]:
    """Receptive field of every node of a network; an operation that isn't known sees the whole image."""
    image = graph.image
    size = graph.shape(image)[2:]
    whole = Window(size=(size[0], size[1]), stride=(0, 0), start=(0, 0))
    found = {image: _Field(Window((1, 1), (1, 1), (0, 0)), (size[0], size[1]))}
    for node in graph.nodes:
        if node.op == "call_function":
            inputs = [found[n] for n in node.all_input_nodes if n in found]
            found[node] = _field(graph, node, inputs, whole) if inputs else _Field(whole)
    return {node: field.window for node, field in found.items()}


class _Field(NamedTuple):
    """Receptive field of a map's positions, their number, (y, x), and the first of their two axes, from the last."""

    window: Window
    positions: tuple[int, int] = (1, 1)
    axis: int = -2


def _field(graph: NetworkGraph, node: fx.Node, inputs: Sequence[_Field], whole: Window) -> _Field:
    name, below, shape = operation(node), inputs[0], graph.shape(node)
    after = (shape[-2], shape[-1]) if len(shape) == 4 else (1, 1)
    if kind(node) is Kind.ITEM or (not shape and kind(node) is not Kind.MOVE):
        return below if name == "getitem" else _of_tuple(node, below, whole)
    if name == "avg_pool2d" or (name == "convolution" and len(shape) == 4):
        return _Field(_through_kernel(below.window, geometry(node)), after)
    if name == "_adaptive_avg_pool2d":
        return _Field(_through_adaptive(below.window, below.positions, after, whole), after)
    if name == "constant_pad_nd":
        left, top = _padding(node)
        return _Field(_through_kernel(below.window, Convolution(padding=(top, left))), after)
    if kind(node) is Kind.MOVE and len(inputs) == 1:
        return _moved(graph, node, below) or _Field(whole)
    # What joins maps, or acts on each position alone, keeps the positions where they were.
    kept = [field for field in inputs if _holds(shape, field) and field.window.stride != (0, 0)]
    if kind(node) in (Kind.POINTWISE, Kind.BATCH_NORM, Kind.MOVE, Kind.LINEAR) and kept:
        largest = max(kept, key=lambda field: field.positions)
        same = [field.window for field in kept if field.positions == largest.positions]
        return largest._replace(window=_union(same, whole))
    return _Field(whole)


def _moved(graph: NetworkGraph, node: fx.Node, below: _Field) -> _Field | None:
    """The field after values were moved about; None where their positions aren't what they were."""
    if below.window.stride == (0, 0):
        return None
    (source,) = (n for n in node.all_input_nodes if graph.constant(n) is None)
    sizes = [1] * len(graph.shape(source))
    sizes[below.axis], sizes[below.axis + 1] = below.positions
    places = torch.arange(below.positions[0] * below.positions[1]).reshape(sizes).expand(graph.shape(source))
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: places if n is source else graph.constant(n))
    value = node.target(*args, **kwargs)  # type: ignore[operator]
    moved = compressed(value if isinstance(value, torch.Tensor) else value[0])
    for axis in range(-moved.ndim, -1):
        is_there = (
            moved.shape[axis : axis + 2 or None] == below.positions
            and moved.numel() == below.positions[0] * below.positions[1]
        )
        if is_there and bool((moved.reshape(-1) == torch.arange(moved.numel())).all()):
            return below._replace(axis=axis)
    return None


def _of_tuple(node: fx.Node, below: _Field, whole: Window) -> _Field:
    """What an operation with several results gives: a pooling, or a norm, which leaves positions where they were."""
    value = node.meta["val"][0]
    after = (value.shape[-2], value.shape[-1])
    if operation(node) == "max_pool2d_with_indices":
        return _Field(_through_kernel(below.window, geometry(node)), after)
    if operation(node) == "adaptive_max_pool2d":
        return _Field(_through_adaptive(below.window, below.positions, after, whole), after)
    return below


def _holds(shape: Sequence[int], field: _Field) -> bool:
    """Whether a tensor has a field's positions on their axes."""
    return tuple(shape[field.axis : field.axis + 2 or None]) == field.positions


def _padding(node: fx.Node) -> tuple[int, int]:
    """Pixels on the left and at the top of a padded map; negative where it is cropped."""
    sides: Any = node.args[1]
    return sides[0], sides[2] if len(sides) > 2 else 0


def _through_kernel(below: Window, kernel: Convolution) -> Window:
    axes = [
        (size + (k - 1) * dilation * stride, stride * step, start - pad * stride)
        for size, stride, start, k, step, pad, dilation in zip(
            below.size, below.stride, below.start, kernel.kernel, kernel.stride, kernel.padding, kernel.dilation,
            strict=True,
        )
    ]  # fmt: skip
    return _of_axes(axes)


def _through_adaptive(below: Window, before: tuple[int, int], after: tuple[int, int], whole: Window) -> Window:
    if after == (1, 1) or any(b % a for b, a in zip(before, after, strict=True)):
        return whole
    step = before[0] // after[0], before[1] // after[1]
    return _through_kernel(below, Convolution(kernel=step, stride=step))


def _union(below: Sequence[Window], whole: Window) -> Window:
    if len({window.stride for window in below}) > 1:
        return whole
    axes = []
    for axis in (0, 1):
        start = min(w.start[axis] for w in below)
        stop = max(w.start[axis] + w.size[axis] for w in below)
        axes.append((stop - start, below[0].stride[axis], start))
    return _of_axes(axes)


def _of_axes(axes: Iterable[tuple[int, int, int]]) -> Window:
    (h, sy, y), (w, sx, x) = axes
    return Window(size=(h, w), stride=(sy, sx), start=(y, x))
