"""Receptive fields: the pixels of the network's input that a position of a feature map sees.

Along one axis, position p of a map sees the pixels ``start + p * stride`` up to ``start + p * stride + size``::

    pixels      0 1 2 3 4 5 6 7          a 3-wide convolution of stride 2, padding 1:
    position 0  [---)                    size 3, stride 2, start -1
    position 1      [---)

A position that sees the whole image has stride 0 and stays so through every later operation.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torch import fx

from summit_dask.facts.layergraph import Convolution, Window
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
            found[node] = _field(graph, node, inputs, whole) if inputs else _Field(whole, (1, 1))
    return {node: field.window for node, field in found.items()}


class _Field(NamedTuple):
    """Receptive field of a map's positions, and their number, (y, x), wherever its channels lie."""

    window: Window
    positions: tuple[int, int]


def _field(graph: NetworkGraph, node: fx.Node, inputs: Sequence[_Field], whole: Window) -> _Field:
    name, below, shape = operation(node), inputs[0], graph.shape(node)
    after = (shape[-2], shape[-1]) if len(shape) == 4 else (1, 1)
    if not shape or kind(node) is Kind.ITEM:
        return below if name == "getitem" else _of_tuple(node, below)
    if name == "avg_pool2d" or (name == "convolution" and len(shape) == 4):
        return _Field(_through_kernel(below.window, geometry(node)), after)
    if name == "_adaptive_avg_pool2d":
        return _Field(_through_adaptive(below.window, below.positions, after, whole), after)
    if name == "constant_pad_nd":
        left, top = _padding(node)
        return _Field(_through_kernel(below.window, Convolution(padding=(top, left))), after)
    # What only moves channels, or acts on each position alone, keeps the positions where they were.
    kept = [field for field in inputs if _holds(shape, field.positions) and field.window.stride != (0, 0)]
    if kind(node) in (Kind.POINTWISE, Kind.BATCH_NORM, Kind.MOVE, Kind.LINEAR) and name != "slice" and kept:
        largest = max(field.positions for field in kept)
        return _Field(_union([field.window for field in kept if field.positions == largest], whole), largest)
    return _Field(whole, after)


def _of_tuple(node: fx.Node, below: _Field) -> _Field:
    """What an operation with several results gives: a pooling, or a norm over each position's channels."""
    if operation(node) == "max_pool2d_with_indices":
        value = node.meta["val"][0]
        return _Field(_through_kernel(below.window, geometry(node)), (value.shape[-2], value.shape[-1]))
    return below


def _holds(shape: Sequence[int], positions: tuple[int, int]) -> bool:
    """Whether a tensor has those positions: two axes one after the other, behind that of the images."""
    return any(tuple(shape[i : i + 2]) == positions for i in range(1, len(shape) - 1))


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
