"""Both meters give the same numbers for the same network."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from summit_dask.facts.config import ExtractOptions
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph, Window
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure.extractor import Extractor
from summit_dask.measure.meters import DeviceMeter
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import Step, TracedNetwork, Value
from tests.networks import SIDE, TinyInception
from tests.oracles_extract import normalised
from tests.oracles_influence import influences, merged

OPTIONS = ExtractOptions(model="tests:none", images=Path("none"), k=3)
PREPROCESSING = Preprocessing(resize=None, crop=(SIDE, SIDE))


def measured_by(
    on_device: bool, network: TracedNetwork, preprocessing: Preprocessing, options: ExtractOptions
) -> Extractor:
    """An extractor whose values a host measures, or what measures them on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        if on_device:
            patch.setattr("summit_dask.measure.extractor.make_meter", DeviceMeter)
        return Extractor(network, preprocessing, options)


def extractor(on_device: bool, spoilt: bool = False) -> Extractor:
    torch.manual_seed(1)
    network = TinyInception().eval().requires_grad_(False)
    if spoilt:
        network.lower.one[1].weight.data[2] = torch.inf
    traced = trace_network(network, ("lower", "upper"), PREPROCESSING.input_size, OPTIONS.batch_size)
    return measured_by(on_device, traced, PREPROCESSING, OPTIONS)


def test_the_device_s_numbers_are_the_host_s() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    host, device = extractor(on_device=False)(pixels), extractor(on_device=True)(pixels)
    for layer, extremes in host.extremes.items():
        np.testing.assert_allclose(device.extremes[layer].maximum, extremes.maximum, rtol=1e-6)
        np.testing.assert_array_equal(device.extremes[layer].position, extremes.position)
        assert device.extremes[layer].position.dtype == extremes.position.dtype
    for layer, ranking in host.rankings.items():
        np.testing.assert_array_equal(device.rankings[layer].hop, ranking.hop)
        np.testing.assert_array_equal(device.rankings[layer].source, ranking.source)
        np.testing.assert_allclose(device.rankings[layer].value, ranking.value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("on_device", [False, True])
def test_infinity_is_an_error_on_both(on_device: bool) -> None:
    pixels = np.full((1, SIDE, SIDE, 3), 200, np.uint8)
    with pytest.raises(NumericalError):
        extractor(on_device, spoilt=True)(pixels)


class Skip(nn.Module):
    """Three steps into the same channels: a convolution, a linear layer on a channels-last map, a scaled skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.linear = nn.Linear(6, 6, bias=False)
        self.scale = nn.Parameter(torch.tensor([1.0, -1, 2, 0.5, -3, 1]).view(1, 6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        lower = self.stem(x)
        last = lower.permute(0, 2, 3, 1)
        return (self.conv(lower[:, ORDER]) + self.linear(last).permute(0, 3, 1, 2) + self.scale * lower).mean((2, 3))


ORDER = (5, 3, 1, 0, 2, 4)
TARGETS = (2, 0, 1, 5, 4, 3)  # of the linear layer; the others lead to all in their order


def skip() -> tuple[Skip, TracedNetwork]:
    """The network, and what a tracer finds in it."""
    torch.manual_seed(2)
    module = Skip().eval().to(memory_format=torch.channels_last)
    images = torch.zeros(4, 3, 5, 6).contiguous(memory_format=torch.channels_last)
    exported = torch.export.export(module, (images,)).run_decompositions().module()
    nodes = {str(node.target): node.name for node in reversed(list(exported.graph.nodes))}
    lower, last = Value(nodes["aten.convolution.default"], 1), Value(nodes["aten.permute.default"], -1)
    upper = Value([n.name for n in exported.graph.nodes if str(n.target) == "aten.add.Tensor"][-1], 1)
    all_six = range(6)
    hops = [
        Hop("conv", "lower", "upper", all_six, Convolution((3, 3), padding=(1, 1)), ORDER),
        Hop("linear", "lower", "upper", TARGETS, Convolution()),
        Hop("skip", "lower", "upper", all_six, None),
    ]
    linear = module.linear.weight.detach()[list(TARGETS), :, None, None]
    steps = [
        Step("conv", lower, ORDER, hops[0].convolution, module.conv.weight, "upper", all_six, *_of(0, ORDER)),
        Step("linear", last, None, hops[1].convolution, linear, "upper", TARGETS, *_of(1, all_six)),
        Step("skip", lower, None, None, module.scale.detach().view(6, 1, 1, 1), "upper", all_six, *_of(2, all_six)),
    ]
    layers = tuple(Layer(name, 6, 5, 6, True, Window((1, 1), (1, 1), (0, 0))) for name in ("lower", "upper"))
    values = {"lower": lower, "upper": upper}
    return module, TracedNetwork(exported, 4, LayerGraph(layers, tuple(hops)), values, tuple(steps), (), {}, {}, {}, {})


def _of(hop: int, sources: Iterable[int]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    return np.full(6, hop, np.int16), np.array(list(sources), np.int16)


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("on_device", [False, True])
def test_steps_into_the_same_channels_compete(on_device: bool, identity: bool) -> None:
    module, network = skip()
    options = OPTIONS.replaced(k=4, identity=identity)
    grey = Preprocessing(None, (5, 6), (0.5,) * 3, (0.2,) * 3)
    ready = measured_by(on_device, network, grey, options)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 3), np.uint8)
    found = ready(pixels).rankings["upper"]
    with torch.no_grad():
        lower = module.double().stem(normalised(pixels, grey)).permute(0, 2, 3, 1).numpy()
    alone = np.full((3, 6, 6), -np.inf)  # an identity as a convolution that has one source a target
    scaled = lower * module.scale.detach().view(-1).numpy()
    alone[:, np.arange(6), np.arange(6)] = scaled.max((1, 2))
    weights = [step.weight.detach().double().numpy() for step in network.steps[:2] if step.weight is not None]
    influence = [
        influences(lower[..., list(ORDER)], weights[0], Convolution((3, 3), padding=(1, 1))),
        influences(lower, weights[1], Convolution()),
        alone,
    ]
    steps = [(i, np.array(s.targets), s.hop, s.source) for i, s in zip(influence, network.steps, strict=True)]
    hop, source, value = merged(steps if identity else steps[:2], 6, 4)
    np.testing.assert_array_equal(found.hop, hop)
    np.testing.assert_array_equal(found.source, source)
    np.testing.assert_allclose(found.value, value, rtol=1e-5, atol=1e-6)
