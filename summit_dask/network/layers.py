"""Which layers of a network are shown when nobody names any: the only place that knows network families.

=======================================  ====================================================
network                                  layers
=======================================  ====================================================
blocks that end in a concatenation       the blocks: GoogLeNet's and Inception's modules,
                                         SqueezeNet's fire modules, DenseNet's dense blocks
a chain with four poolings or more       the last activation before each pooling (VGG)
a shorter chain                          every convolution's activation (AlexNet, Tiny VGG)
=======================================  ====================================================
"""

from torch import fx, nn

from summit_dask.facts.errors import TraceError
from summit_dask.network.operations import POOLING, NetworkGraph

#: From this many poolings on, a chain of convolutions is shown stage by stage.
_MANY_STAGES = 4

#: Convolutions of every kind, modules and functions.
_CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d", "convtranspose1d", "convtranspose2d", "convtranspose3d"})


def default_layers(graph: NetworkGraph) -> tuple[str, ...]:
    """Module paths of the layers to show, input side first; a sound choice by the network's structure.

    Raises
    ------
    TraceError
        If the network has no convolution, or one that is no `nn.Conv2d`.
    """
    _check_none_is_missed(graph)
    layers = _concatenating_blocks(graph) or _stages(graph)
    if not layers:
        raise TraceError("The network has no convolution, so its layers have to be named: use --layers.")
    return layers


def _check_none_is_missed(graph: NetworkGraph) -> None:
    """A convolution that is no module, or of another kind, would be left out and nobody would know."""
    for node in graph.nodes:
        if graph.operation(node) in _CONVOLUTIONS and not isinstance(graph.called(node), nn.Conv2d):
            raise TraceError(
                f"Layers can't be chosen: {graph.describe(node)} is a convolution, but no nn.Conv2d, and would be "
                "missing. Write it as one (with torch.nn.utils.parametrize where its weights are computed from "
                "others), or name the layers to show, those on one side of it, with --layers."
            )


def _concatenating_blocks(graph: NetworkGraph) -> tuple[str, ...]:
    """Modules whose own `forward` ends in a concatenation of channels, without those inside another one."""
    blocks = [
        path
        for path, nodes in graph.returned.items()
        if len(nodes) == 1 and graph.is_concatenation(nodes[0]) and graph.owner(nodes[0]) == path
    ]
    outer = [path for path in blocks if not any(path.startswith(f"{other}.") for other in blocks)]
    order = {node: i for i, node in enumerate(graph.nodes)}
    return tuple(sorted(outer, key=lambda path: order[graph.returned[path][0]]))


def _stages(graph: NetworkGraph) -> tuple[str, ...]:
    convolutions = [n for n in graph.nodes if isinstance(graph.called(n), nn.Conv2d)]
    poolings = [n for n in graph.nodes if graph.operation(n) in POOLING]
    if len(poolings) >= _MANY_STAGES:
        pooled = [graph.value(c) for c in convolutions]
        chosen = [c for c, v in zip(convolutions, pooled, strict=True) if any(p in v.users for p in poolings)]
    else:
        chosen = convolutions
    return tuple(layer_path(graph, c) for c in chosen)


def layer_path(graph: NetworkGraph, convolution: fx.Node) -> str:
    """The outermost module that outputs a convolution's activation and holds no other convolution."""
    value = graph.value(convolution)
    paths = [path for path, nodes in graph.returned.items() if nodes == (value,)]
    alone = [path for path in paths if _n_linear_steps(graph, path) <= 1]
    return min(alone, key=len, default=str(convolution.target))


def _n_linear_steps(graph: NetworkGraph, path: str) -> int:
    inside = (str(n.target) for n in graph.nodes if graph.is_linear_step(n))
    return sum(target == path or target.startswith(f"{path}.") for target in inside)
