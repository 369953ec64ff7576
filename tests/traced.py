"""A small network with a residual block, a concatenation and a gate, and what was traced of it, written by hand."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from summit_dask.facts.layergraph import Channels, Convolution, Hop, Layer, LayerGraph, Window
from summit_dask.network.traced import PreActivation, Step, TracedNetwork, Value


class ResidualNetwork(nn.Module):
    """A skip past a bottleneck, two branches side by side, a gate.

    stem ── grouped 3x3, batch norm ── dilated 3x3 ── + ── 1x1 ──── cat ── shuffle ── gate ── linear
    └────── pooling ─────────────────────────────────┘  └─ pooling ──┘
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.Conv2d(8, 6, 3, 2, 1, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3, padding=2, dilation=2)
        self.skip = nn.MaxPool2d(2)
        self.branch = nn.Sequential(nn.Conv2d(8, 5, 1), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.gate = nn.Conv2d(13, 13, 1)
        self.out = nn.Conv2d(13, 7, 3)
        self.classify = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (image, 4) of images (image, 3, 8, 8)."""
        x = functional.relu(self.stem(x))
        y = functional.relu(self.norm(self.first(x)))
        x = functional.relu(self.second(y) + self.skip(x), inplace=True)
        x = torch.cat([self.branch(x), self.pool(x)], 1)
        y = x[:, SHUFFLE]
        y = y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        x = functional.relu(self.out(y))
        out: Tensor = self.classify(x.mean((2, 3)))
        return out


#: How the concatenation's channels are shuffled before the gate.
SHUFFLE = (12, 3, 7, 0, 1, 11, 2, 10, 4, 5, 6, 8, 9)


@dataclass(frozen=True)
class Traced:
    """The user's module and what was traced of it."""

    module: ResidualNetwork
    network: TracedNetwork


def residual(batch_size: int = 2) -> Traced:
    """The network with random weights and statistics."""
    torch.manual_seed(0)
    module = ResidualNetwork().eval()
    for tensor in (module.norm.running_mean, module.norm.weight, module.norm.bias, module.norm.running_var):
        nn.init.uniform_(tensor, 0.5, 1.5)
    images = torch.zeros(batch_size, 3, 8, 8)
    traced = torch.export.export(module, (images,)).run_decompositions().module()
    assert isinstance(traced, fx.GraphModule)
    return Traced(
        module,
        TracedNetwork(
            traced, batch_size, _layer_graph(), VALUES, _steps(module), (), *_sums(module), {"mul": "sigmoid"}
        ),
    )


VALUES = {
    "stem": Value("relu", 1),
    "first": Value("relu_1", 1),
    "block": Value("relu_2", 1),
    "cat": Value("cat", 1),
    "out": Value("relu_4", 1),
}


def _layer_graph() -> LayerGraph:
    window = Window((3, 3), (1, 1), (0, 0))
    sizes = {"stem": (8, 8), "first": (6, 4), "block": (8, 4), "cat": (13, 4), "out": (7, 2)}
    layers = [Layer(name, c, side, side, name != "first", window) for name, (c, side) in sizes.items()]
    hops = (
        Hop("first.weight", "stem", "first", range(6), Convolution((3, 3), (2, 2), (1, 1), groups=2)),
        Hop("second.weight", "first", "block", range(8), Convolution((3, 3), (1, 1), (2, 2), (2, 2))),
        Hop("block.identity", "stem", "block", range(8), None),
        Hop("branch.0.weight", "block", "cat", range(5), Convolution()),
        Hop("cat.identity", "block", "cat", range(5, 13), None),
        Hop("out.weight", "cat", "out", range(7), Convolution((3, 3)), notes=("gate: gate",)),
    )
    return LayerGraph(tuple(layers), hops)


def _steps(module: ResidualNetwork) -> tuple[Step, ...]:
    first = module.first.weight * scale_of(module.norm)[:, None, None, None]
    inputs = ("relu", "relu_1", "getitem_3", "relu_2", "getitem_5", "mul")
    weights = (first, module.second.weight, None, module.branch[0].weight, None, _unshuffled(module.out.weight))
    return tuple(
        _step(hop.name, input, weight, hop.targets, number)
        for hop, input, weight, number in zip(_layer_graph().hops, inputs, weights, (0, 0, 1, 0, 1, 0), strict=True)
    )


def _step(name: str, input: str, weight: Tensor | None, targets: Channels, number: int) -> Step:
    hop = next(hop for hop in _layer_graph().hops if hop.name == name)
    n = _layer_graph().layer(hop.source).channels
    order = tuple(np.argsort(SHUFFLE).tolist()) if name == "out.weight" else None
    return Step(
        name=name,
        input=Value(input, 1),
        order=order,
        convolution=hop.convolution,
        weight=None if weight is None else weight.detach(),
        target=hop.target,
        targets=targets,
        hop=np.full(n, number, np.int16),
        source=np.arange(n, dtype=np.int16),
    )


def _unshuffled(weight: Tensor) -> Tensor:
    return weight[:, np.argsort(SHUFFLE)]


def scale_of(norm: nn.BatchNorm2d) -> Tensor:
    """What a batch norm multiplies each channel by."""
    assert norm.running_var is not None
    return norm.weight * torch.rsqrt(norm.running_var + norm.eps)


def _sums(module: ResidualNetwork) -> tuple[dict[str, Tensor], dict[str, tuple[PreActivation, ...]], dict[str, str]]:
    def whole(node: str, n: int, start: int = 0) -> PreActivation:
        ones = torch.ones(n, dtype=torch.float64)
        return PreActivation(Value(node, 1), range(n), range(start, start + n), ones, 0 * ones)

    norm = module.norm
    assert norm.running_mean is not None
    pre_activation = {
        "first": (whole("getitem", 6),),
        "block": (whole("add", 8),),
        "cat": (whole("convolution_3", 5), whole("getitem_5", 8, 5)),
        "out": (whole("convolution_5", 7),),
    }
    bias = {
        "first": norm.bias - norm.running_mean * scale_of(norm),
        "block": module.second.bias,
        "cat": torch.cat([module.branch[0].bias, torch.zeros(8)]),
        "out": module.out.bias,
    }
    outputs = {"norm": "getitem", "branch": "relu_3", "branch.0": "convolution_3", "pool": "getitem_5"}
    outputs |= {"stem": "convolution", "skip": "getitem_3", "out": "convolution_5"}
    return {name: tensor.detach() for name, tensor in bias.items() if tensor is not None}, pre_activation, outputs
