"""The original's procedure in torch, as a yardstick for `extraction_cost.py`: what it does and how often, per image.

For each inception module a forward pass up to it, the spatial maximum, a sort in Python until the mass is reached.
For each inception module, its 3x3 bottleneck and its 5x5 bottleneck a forward pass, the depthwise convolution of every
input channel with every kernel slice (stride 3, TensorFlow's SAME padding), its spatial maximum, an argsort in Python
per channel for the five largest, counts in dictionaries. Pooling at the head of a branch is ignored. The lowest
module, into which no hops lead here, is left out of the second part. Written for networks whose modules have the
children b_1x1, b_3x3, b_5x5 and b_pool.
"""

from collections import Counter
from dataclasses import dataclass

from torch import Tensor, fx
from torch.nn import functional

from summit_dask.network.traced import TracedNetwork

MASS, K = 0.03, 5


@dataclass
class Step:
    """One of the 27: a truncated network that gives the inputs, and the hops' names and weights, an input each."""

    network: fx.GraphModule
    weights: dict[str, Tensor]


@dataclass
class Found:
    """What is counted."""

    channels: Counter[tuple[str, int]]
    sources: Counter[tuple[str, int, int]]
    influences: dict[str, Tensor]


class Original:
    """The procedure for a network of inception modules that is traced for single images."""

    def __init__(self, network: TracedNetwork, stride: int) -> None:
        self.stride = stride
        visible = [layer.name for layer in network.layer_graph.visible]
        self.layers = {name: _truncated(network, [network.values[name].node]) for name in visible}
        self.steps: list[Step] = []
        for layer in visible:
            steps = [step for step in network.steps if step.name.startswith(layer + ".")]
            bottlenecks = [[s for s in steps if s.target != layer and name in s.name] for name in ("b_3x3", "b_5x5")]
            for own in filter(None, [[s for s in steps if s.target == layer], *bottlenecks]):
                # The pooling branch's input is taken before its pooling, like that of the 1x1 branch.
                unpooled = next((s.input.node for s in own if "b_1x1" in s.name), None)
                inputs = [unpooled if "b_pool" in s.name and unpooled else s.input.node for s in own]
                weights = {s.name: s.weight for s in own if s.weight is not None}
                self.steps.append(Step(_truncated(network, inputs), weights))

    def __call__(self, image: Tensor) -> Found:
        """Process one image, (1, channel, y, x)."""
        found = Found(Counter(), Counter(), {})
        for name, network in self.layers.items():
            (maps,) = network(image)
            found.channels.update((name, channel) for channel in _used(maps.amax((2, 3))[0].tolist()))
        for step in self.steps:
            for (name, weight), maps in zip(step.weights.items(), step.network(image), strict=True):
                peaks = self._peaks(maps, weight)
                found.influences[name] = peaks
                for target, row in enumerate(peaks.T.tolist()):
                    order = sorted(range(len(row)), key=row.__getitem__, reverse=True)
                    found.sources.update((name, target, source) for source in order[:K])
        return found

    def _peaks(self, maps: Tensor, weight: Tensor) -> Tensor:
        """Influence of every source on every target, (source, target)."""
        targets, sources, kh, kw = weight.shape
        kernel = weight.transpose(0, 1).reshape(sources * targets, 1, kh, kw)
        padded = functional.pad(maps, (*_same(maps.shape[3], kw, self.stride), *_same(maps.shape[2], kh, self.stride)))
        each = functional.conv2d(padded.contiguous(), kernel, stride=self.stride, groups=sources)
        return each.amax((2, 3)).reshape(sources, targets)


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _used(values: list[float]) -> list[int]:
    total, running, used = sum(values), 0.0, []
    for channel in sorted(range(len(values)), key=values.__getitem__, reverse=True):
        used.append(channel)
        running += values[channel] / total
        if running >= MASS:
            break
    return used


def _truncated(network: TracedNetwork, names: list[str]) -> fx.GraphModule:
    """The part of the network that these nodes need, which are its outputs."""
    graph = fx.Graph()
    nodes: dict[fx.Node, fx.Node] = {}
    graph.graph_copy(network.module.graph, nodes)
    copies = {old.name: new for old, new in nodes.items()}
    graph.output(tuple(copies[name] for name in names))
    module = fx.GraphModule(network.module, graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module
