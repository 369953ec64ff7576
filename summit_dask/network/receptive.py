"""Receptive fields: the pixels of the network's input that a position of a feature map sees.

Along one axis, position p of a map sees the pixels ``start + p * stride`` up to ``start + p * stride + size``::

    pixels      0 1 2 3 4 5 6 7          a 3-wide convolution of stride 2, padding 1:
    position 0  [---)                    size 3, stride 2, start -1
    position 1      [---)

A position that sees the whole image has stride 0 and stays so through every later operation.
"""

from collections.abc import Iterable, Sequence

from torch import fx, nn

from summit_dask.facts.errors import TraceError
from summit_dask.facts.layergraph import Convolution, Window
from summit_dask.network.operations import ADAPTIVE_POOLING, CONCATENATION, POINTWISE, POOLING, NetworkGraph, geometry

# fmt: off
_ARITHMETIC = frozenset({
    "add", "sub", "mul", "truediv", "div", "neg", "iadd", "isub", "imul", "itruediv", "getitem", "unsqueeze", "float",
})
# fmt: on
_IN_PLACE = POINTWISE | _ARITHMETIC | CONCATENATION | {"localresponsenorm"}


def windows(graph: NetworkGraph) -> dict[fx.Node, Window]:
    """Receptive field of every node of a network; an operation that isn't known sees the whole image."""
    found: dict[fx.Node, Window] = {}
    image = next(n for n in graph.nodes if n.op == "placeholder")
    whole = Window(size=_map(graph, image), stride=(0, 0), start=(0, 0))
    for node in graph.nodes:
        inputs = [n for n in node.all_input_nodes if graph.shape(n)]
        if node is image:
            found[node] = Window((1, 1), (1, 1), (0, 0))
        elif inputs and all(n in found for n in inputs):
            found[node] = _window(graph, node, inputs, [found[n] for n in inputs], whole)
        else:
            found[node] = whole
    return found


def _window(
    graph: NetworkGraph, node: fx.Node, inputs: Sequence[fx.Node], below: Sequence[Window], whole: Window
) -> Window:
    operation = graph.operation(node)
    if isinstance(graph.called(node), nn.Conv2d) or operation in POOLING:
        _check_fixed(graph, node, inputs)
        return _through_kernel(below[0], geometry(node, graph.called(node)))
    if operation in ADAPTIVE_POOLING:
        return _through_adaptive(below[0], _map(graph, inputs[0]), _map(graph, node), whole)
    same_map = all(_map(graph, n) == _map(graph, node) for n in inputs)
    return _union(below, whole) if operation in _IN_PLACE and same_map else whole


def _check_fixed(graph: NetworkGraph, node: fx.Node, inputs: Sequence[fx.Node]) -> None:
    """A kernel's size may not be computed while the network runs."""
    if len(node.all_input_nodes) > len(inputs):
        raise TraceError(
            f"The kernel of {graph.describe(node)} isn't fixed: its size, stride or padding is computed from a map's "
            "size. For pooling over a whole map, use adaptive_avg_pool2d(x, 1) or adaptive_max_pool2d(x, 1), which "
            "give the same; else write the numbers."
        )


def _map(graph: NetworkGraph, node: fx.Node) -> tuple[int, int]:
    shape = graph.shape(node)
    return (shape[-2], shape[-1]) if len(shape) > 2 else (1, 1)


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
