"""Which layers of a network are shown when nobody names any, by its structure.

========================================  =====================================================
network                                   layers
========================================  =====================================================
blocks, some of which end in an addition  all blocks of such a class: residual and inverted
or a concatenation                        residual blocks, inception, fire and dense blocks
a chain with four poolings or more        the last activation before each pooling (VGG)
any other                                 every convolution's activation (AlexNet, Tiny VGG)
========================================  =====================================================

Of more than `MOST` the last one of each size of the maps is shown, and every n-th between.
"""

from collections.abc import Sequence

from torch import fx

from summit_dask.facts.errors import TraceError
from summit_dask.network.export import NetworkGraph
from summit_dask.network.operations import Kind, kind, operation
from summit_dask.network.steps import linear_step
from summit_dask.network.walk import value_of

#: Layers shown at most.
MOST = 20

#: From this many poolings on, a chain of convolutions is shown stage by stage.
_MANY_STAGES = 4

#: Fewer blocks than these are no stack of them.
_FEW = 2


def default_layers(graph: NetworkGraph) -> tuple[str, ...]:
    """Module paths of the layers to show, input side first; a sound choice by the network's structure.

    Raises
    ------
    TraceError
        If the network has no 2-D convolution.
    """
    layers = _blocks(graph)
    if len(layers) < _FEW:
        layers = max(layers, _stages(graph), key=len)
    if not layers:
        raise TraceError("The network has no 2-D convolution, so its layers have to be named: use --layers.")
    return _thinned(graph, layers)


def step_path(graph: NetworkGraph, step: fx.Node) -> str:
    """The outermost module that outputs a linear step's activation and holds it alone; else the step's own."""
    return min(_holding(graph, step, 1), key=len, default=graph.owner(step) or step.name)


def _layer_path(graph: NetworkGraph, step: fx.Node) -> str:
    """The same among modules that hold no step too, such as an activation function behind it."""
    return min(_holding(graph, step, 1) or _holding(graph, step, 0), key=len, default=graph.owner(step) or step.name)


def _holding(graph: NetworkGraph, step: fx.Node, n_steps: int) -> list[str]:
    """Modules that output a linear step's activation and hold a number of steps."""
    value = value_of(graph, step)
    paths = [path for path, nodes in graph.returned.items() if nodes == (value,)]
    return [path for path in paths if _n_linear_steps(graph, path) == n_steps]


def _blocks(graph: NetworkGraph) -> tuple[str, ...]:
    """Modules of the classes that join maps at their end, without those inside another one."""
    maps = {path: nodes[0] for path, nodes in graph.returned.items() if len(nodes) == 1 and _is_map(graph, nodes[0])}
    joining = {graph.types[path] for path, node in maps.items() if _joins(graph, path, node)}
    blocks = [path for path in maps if path and graph.types[path] in joining]
    outer = [path for path in blocks if not any(path.startswith(f"{other}.") for other in blocks)]
    return _in_order(graph, outer)


def _joins(graph: NetworkGraph, path: str, node: fx.Node) -> bool:
    """Whether a module's own `forward` ends in a sum or concatenation of maps, activation and shuffle aside."""
    while kind(node) in (Kind.POINTWISE, Kind.MOVE) and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    adds = operation(node) in ("add", "cat") and sum(_is_map(graph, n) for n in node.all_input_nodes) > 1
    return adds and graph.owner(node) == path


def _is_map(graph: NetworkGraph, node: fx.Node) -> bool:
    """Whether a value has more than one position."""
    shape = graph.shape(node)
    return len(shape) == 4 and shape[2:] != (1, 1)


def _stages(graph: NetworkGraph) -> tuple[str, ...]:
    steps = [n for n in graph.nodes if operation(n) == "convolution" and linear_step(graph, n) and _is_map(graph, n)]
    poolings = [n for n in graph.nodes if operation(n).startswith(("max_pool2d", "avg_pool2d"))]
    if len(poolings) >= _MANY_STAGES:
        chosen = [n for n in steps if any(p in value_of(graph, n).users for p in poolings)]
    else:
        chosen = steps
    return tuple(dict.fromkeys(path for n in chosen if len(graph.returned.get(path := _layer_path(graph, n), ())) == 1))


def _thinned(graph: NetworkGraph, layers: Sequence[str]) -> tuple[str, ...]:
    """At most `MOST`: the last one of each size of the maps, and every n-th of the others."""
    if len(layers) <= MOST:
        return tuple(layers)
    sizes = [graph.shape(graph.returned[path][0])[2:] for path in layers]
    last = [path for path, size, after in zip(layers, sizes, [*sizes[1:], None], strict=True) if size != after]
    others = [path for path in layers if path not in last]
    room = max(MOST - len(last), 0)
    step = -(-len(others) // room) if room else len(others) + 1
    kept = {*last[-MOST:], *others[step - 1 :: step]}
    return tuple(path for path in layers if path in kept)


def _in_order(graph: NetworkGraph, paths: Sequence[str]) -> tuple[str, ...]:
    place = {node: i for i, node in enumerate(graph.in_order(graph.returned[path][0] for path in paths))}
    return tuple(sorted(paths, key=lambda path: place[graph.returned[path][0]]))


def _n_linear_steps(graph: NetworkGraph, path: str) -> int:
    inside = (graph.owner(n) for n in graph.nodes if kind(n) is Kind.LINEAR)
    return sum(owner == path or owner.startswith(f"{path}.") for owner in inside)
