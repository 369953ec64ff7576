"""Networks put together at random: their layer graphs are complete, the sources kept are those of the definition."""

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812

from summit_dask.arrays.influence.merge import Ranking
from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.layergraph import as_index
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure.extractor import Extractor
from summit_dask.network.completeness import TOLERANCE, check_completeness
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import Step, TracedNetwork
from tests.test_contribution import ALL, measured_by, verify_decomposition
from tests.tracing import with_random_weights

torch.set_num_threads(1)

CHANNELS, SIDE, IMAGES, K = 8, 9, 2, 3


class Part(nn.Module):
    """One block of a network, from `CHANNELS` maps to as many; the modules are there for those that need them."""

    def __init__(self, forward: Callable[["Part", Tensor], Tensor], groups: int) -> None:
        super().__init__()
        c = CHANNELS
        self.conv, self.norm = nn.Conv2d(c, c, 3, padding=1, groups=groups), nn.BatchNorm2d(c)
        self.point, self.fewer = nn.Conv2d(c, c, 1, groups=groups), nn.Conv2d(c, c // 2, 1)
        self.each, self.squeeze = nn.Conv2d(c, c, 3, padding=1, groups=c), nn.Conv2d(c, c, 1)
        self.layer_norm, self.up, self.down = nn.LayerNorm(c), nn.Linear(c, 2 * c), nn.Linear(2 * c, c)
        self.scale = nn.Parameter(torch.ones(c))
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def plain(m: Part, x: Tensor) -> Tensor:
    return F.relu(m.norm(m.conv(x)))


def residual(m: Part, x: Tensor) -> Tensor:
    return F.relu(m.norm(m.conv(F.relu(m.squeeze(x)))) + x)


def before_the_addition(m: Part, x: Tensor) -> Tensor:
    return x - 0.5 * m.point(F.silu(m.norm(x)))


def scaled_addition(m: Part, x: Tensor) -> Tensor:
    return F.relu(m.norm(m.each(x) + x))


def gated(m: Part, x: Tensor) -> Tensor:
    return m.conv(x) * torch.sigmoid(m.squeeze(x.mean((2, 3), keepdim=True))) + x


def shuffled(m: Part, x: Tensor) -> Tensor:
    one, two = x.chunk(2, 1)
    joined = torch.cat([one, F.relu(m.fewer(torch.cat([two, one], 1)))], 1)
    n, c, h, w = joined.shape
    return joined.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def dense(m: Part, x: Tensor) -> Tensor:
    new = F.relu(m.fewer(x))
    return torch.cat([F.avg_pool2d(x, 3, 1, 1)[:, ::2], new], 1)


def channels_last(m: Part, x: Tensor) -> Tensor:
    y = m.layer_norm(m.each(x).permute(0, 2, 3, 1))
    return x + m.scale[:, None, None] * m.down(F.gelu(m.up(y))).permute(0, 3, 1, 2)


def split_attention(m: Part, x: Tensor) -> Tensor:
    both = torch.stack([m.conv(x), m.each(x)], 1)
    weights = m.squeeze(x.mean((2, 3), keepdim=True)).view(len(x), 2, CHANNELS // 2, 1, 1).repeat(1, 1, 2, 1, 1)
    return F.relu((both * weights.softmax(1)).sum(1))


PARTS = (
    plain, residual, before_the_addition, scaled_addition, gated, shuffled, dense, channels_last, split_attention,
)  # fmt: skip


class Network(nn.Module):
    """A stem, some parts, a linear layer on pooled maps."""

    def __init__(self, parts: list[tuple[int, int]]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.parts = nn.Sequential(*(Part(PARTS[kind], groups) for kind, groups in parts))
        self.fc = nn.Linear(CHANNELS, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.parts(F.relu(self.stem(x))).mean((2, 3)))
        return logits


NETWORKS = st.lists(st.tuples(st.integers(0, len(PARTS) - 1), st.sampled_from([1, 2, 4])), min_size=2, max_size=4)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(parts=NETWORKS, hidden=st.sets(st.integers(0, 3)))
def test_random_networks(parts: list[tuple[int, int]], hidden: set[int]) -> None:
    module = with_random_weights(Network(parts))
    shown = [i for i in range(len(parts)) if i not in hidden or i == len(parts) - 1]
    layers = ("stem", *(f"parts.{i}" for i in shown))
    traced = trace_network(module, layers, (3, SIDE, SIDE), IMAGES)
    for found in check_completeness(module, traced):
        assert found.difference <= TOLERANCE, (found, parts, layers)
    check_rankings(traced)
    verify_decomposition(traced, measured_by(traced, ALL))


def check_rankings(traced: TracedNetwork) -> None:
    """The k sources kept of every channel, against all influences in float64."""
    options = MeasureOptions(model="none", k=K, batch_size=IMAGES)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    preprocessing = Preprocessing(None, (SIDE, SIDE))
    inputs = Inputs(traced.module, {step.input.node for step in traced.steps})
    extractor = Extractor(traced, preprocessing, options)
    rankings = extractor(pixels).rankings
    with torch.inference_mode():
        inputs.run(extractor.normalise(torch.from_numpy(pixels)))
    for layer in traced.layer_graph.influenced:
        steps = [step for step in traced.steps if step.target == layer.name]
        candidates: list[list[list[tuple[float, int, int]]]] = [[[] for _ in range(layer.channels)] for _ in pixels]
        for step in steps:
            add_influences(candidates, step, inputs.of[step.input.node])
        for image, by_channel in enumerate(candidates):
            for channel, own in enumerate(by_channel):
                check_channel(rankings[layer.name], image, channel, own)


def check_channel(ranking: Ranking, image: int, channel: int, candidates: list[tuple[float, int, int]]) -> None:
    best = sorted((c for c in candidates if c[0] > 0), key=lambda c: (-c[0], c[1], c[2]))[:K]
    values = np.array([value for value, _, _ in best] + [0.0] * (K - len(best)))
    near = 1e-4 * max(float(values.max()), 1e-3)
    np.testing.assert_allclose(ranking.value[image, channel], values, rtol=0, atol=near)
    known = {(hop, source): value for value, hop, source in candidates}
    kept = list(zip(ranking.hop[image, channel].tolist(), ranking.source[image, channel].tolist(), strict=True))
    for place, value in zip(kept, ranking.value[image, channel].tolist(), strict=True):
        assert abs(known.get(place, 0.0) - value) <= near, (place, value)
    assert len({place for place in kept if place[0] >= 0}) == sum(place[0] >= 0 for place in kept)


def add_influences(candidates: list[list[list[tuple[float, int, int]]]], step: Step, value: Tensor) -> None:
    """Every influence of a step's sources, one pair of channels at a time."""
    maps = value.double() if value.ndim == 4 else value.double()[:, :, None, None]
    maps = maps if step.input.axis == 1 else maps.movedim(-1, 1)
    maps = maps if step.order is None else maps[:, as_index(step.order)]
    for image in range(len(maps)):
        for row, target in enumerate(step.targets):
            for source in sources_of(step, row, maps.shape[1]):
                if step.hop[source] >= 0:
                    peak = influence(step, row, source, maps[image, source])
                    candidates[image][target].append((peak, int(step.hop[source]), int(step.source[source])))


def sources_of(step: Step, row: int, n_channels: int) -> NDArray[np.int64]:
    """Places in the input of the channels that a target can have as a source."""
    if step.convolution is None:
        return np.array([row])
    size = n_channels // step.convolution.groups
    return np.arange(size) + row * step.convolution.groups // len(step.targets) * size


def influence(step: Step, row: int, source: int, plane: Tensor) -> float:
    if step.convolution is None:
        return float((plane if step.weight is None else plane * step.weight[row].double()).max())
    c = step.convolution
    assert step.weight is not None
    kernel = step.weight[row, source % step.weight.shape[1]].double()
    return float(F.conv2d(plane[None, None], kernel[None, None], None, c.stride, c.padding, c.dilation).max())


class Inputs(fx.Interpreter):
    """The values of some nodes."""

    def __init__(self, module: fx.GraphModule, names: set[str]) -> None:
        super().__init__(module)
        self.names = names
        self.of: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        if n.name in self.names:
            self.of[n.name] = value.clone()
        return value
