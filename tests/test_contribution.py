"""Contribution: against the definition in float64; over all sources it is what the channel computes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from summit_dask.arrays.influence.contribution import Contributions, prepare_contributions
from summit_dask.arrays.influence.device import DeviceStep
from summit_dask.arrays.influence.maximum import Strongest
from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import Convolution, as_index
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure.extractor import Extractor
from summit_dask.measure.meters import DeviceMeter
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import TracedNetwork
from tests.oracles_influence import contributions, strongest
from tests.test_influence import Case, cases, whole

torch.set_num_threads(1)

SIDE, IMAGES, ALL = 12, 3, 100


@st.composite
def positions(draw: st.DrawFn) -> tuple[Case, NDArray[np.int32]]:
    """A hop, a batch, and where its targets are largest; -1: nowhere."""
    case = draw(cases())
    height, width = case.convolution.made(case.maps.shape[1:3])
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return case, rng.integers(-1, height * width, (len(case.maps), len(case.weight)), np.int32)


def on_host(case: Case, position: NDArray[np.int32]) -> Contributions:
    return prepare_contributions(case.convolution, case.weight, case.k, "hop")(case.maps, position)


def on_device(case: Case, position: NDArray[np.int32]) -> Contributions:
    step = DeviceStep(case.convolution, torch.from_numpy(case.weight), case.k, "hop", "cpu")
    maps = torch.from_numpy(case.maps).permute(0, 3, 1, 2)
    both = step.contributions(maps, torch.from_numpy(position))
    return Contributions(*(Strongest(part.source.numpy(), part.value.numpy()) for part in both))


@pytest.mark.parametrize("measured", [on_host, on_device])
@settings(max_examples=120, deadline=None)
@given(positions())
def test_equals_the_definition(
    measured: Callable[[Case, NDArray[np.int32]], Contributions], drawn: tuple[Case, NDArray[np.int32]]
) -> None:
    case, position = drawn
    expected = contributions(case.maps, case.weight, case.convolution, position)
    slack = 1e-5 * np.abs(contributions(np.abs(case.maps), np.abs(case.weight), case.convolution, position)).max(2)
    for got, sign in zip(measured(case, position), (1, -1), strict=True):
        found = whole(got, case.k)
        source, value = strongest(sign * expected, case.k)
        assert (np.abs(found.value - value) <= slack[..., None]).all()
        for place in map(tuple, np.argwhere(found.source != source)):
            image, target, _ = place
            own = sign * expected[image, target, found.source[place]] if found.source[place] >= 0 else 0
            assert abs(own - value[place]) <= slack[image, target]


def test_a_step_with_one_position_adds_the_same_everywhere() -> None:
    maps, weight = np.array([[[[2.0, -3]]]], np.float32), np.ones((2, 2, 1, 1), np.float32)
    for measured in (on_host, on_device):
        found = measured(Case(maps, weight, Convolution(), 1), np.array([[7, -1]], np.int32))
        assert found.strongest.value[0, :, 0].tolist() == [2, 0] and found.strongest.source[0, :, 0].tolist() == [0, -1]
        assert found.inhibitors.value[0, :, 0].tolist() == [3, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_an_error(bad: float) -> None:
    with pytest.raises(NumericalError, match="the step"):
        prepare_contributions(Convolution(), np.full((1, 1, 1, 1), bad, np.float32), 1, "the step")


# In networks


class Pooled(nn.Module):
    """A layer that shows pooled maps, after which a shuffled, grouped step and an addition come."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.low = nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.mid = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Hardswish())
        self.more = nn.Conv2d(8, 8, 1)
        self.gate = nn.Conv2d(8, 8, 1)
        self.last = nn.ReLU()
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        low = self.low(self.stem(x))
        mid = self.mid(low[:, [0, 4, 1, 5, 2, 6, 3, 7]])
        high = self.last(self.more(mid) + low + self.gate(mid.mean((2, 3), keepdim=True)))
        logits: Tensor = self.fc(high.mean((2, 3)))
        return logits


def pooled_network() -> TracedNetwork:
    torch.manual_seed(2)
    network = Pooled().eval().requires_grad_(False)
    return trace_network(network, ("stem", "low", "last"), (3, SIDE, SIDE), IMAGES)


def noise(network: TracedNetwork) -> NDArray[np.uint8]:
    """A batch of images as the network takes them."""
    image = next(node for node in network.module.graph.nodes if node.op == "placeholder").meta["val"]
    n_images, colours, height, width = image.shape
    return np.random.default_rng(0).integers(0, 256, (n_images, height, width, colours), np.uint8)


def measured_by(network: TracedNetwork, k: int, meter: Any = None, **options: bool) -> Any:
    """What is extracted of some noise."""
    pixels = noise(network)
    preprocessing = Preprocessing(None, pixels.shape[1:3])
    with pytest.MonkeyPatch.context() as patch:
        if meter:
            patch.setattr("summit_dask.measure.extractor.make_meter", meter)
        extractor = Extractor(network, preprocessing, MeasureOptions(model="none", k=k, **options))
    return extractor(pixels)


@pytest.mark.parametrize("meter", [None, DeviceMeter], ids=["host", "device"])
def test_contributions_and_bias_add_up_to_the_pre_activation_where_the_channel_is_largest(meter: Any) -> None:
    network = pooled_network()
    verify_decomposition(network, measured_by(network, ALL, meter))


def verify_decomposition(network: TracedNetwork, found: Any) -> None:
    """Of every layer whose steps are all ranked; every channel that fires."""
    values = values_of(network)
    from_image = {step.target for step in network.unranked}
    layers = [name for name in found.contributions if name not in from_image]
    assert layers
    for name in layers:
        total = found.contributions[name].value.sum(2) - found.inhibitors[name].value.sum(2)
        total = total + network.bias[name].numpy()
        activation = channels_first(values[network.values[name].node], network.values[name].axis)
        fires = activation.amax((2, 3)).numpy() > 0
        for pre in network.pre_activations[name]:
            real = channels_first(values[pre.value.node], pre.value.axis)[:, as_index(pre.channels)].double()
            real = real * pre.scale.view(1, -1, 1, 1) + pre.shift.view(1, -1, 1, 1)
            targets = as_index(pre.targets)
            own = fires[:, targets]
            np.testing.assert_allclose(total[:, targets][own], real.amax((2, 3)).numpy()[own], rtol=1e-4, atol=1e-4)
            assert not total[:, targets][~own].any() or (found.contributions[name].source[:, targets][~own] == -1).all()


def values_of(network: TracedNetwork) -> dict[str, Tensor]:
    """Every value of the network on the noise."""
    found: dict[str, Tensor] = {}

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            found[n.name] = super().run_node(n)
            return found[n.name]

    pixels = noise(network)
    preprocessing = Preprocessing(None, pixels.shape[1:3])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (preprocessing.mean, preprocessing.std))
    with torch.inference_mode():
        Watch(network.module).run((images - mean) / std)
    return found


def channels_first(value: Tensor, axis: int) -> Tensor:
    return value[:, :, None, None] if value.dim() == 2 else value.movedim(axis, 1)


def test_both_meters_keep_the_same() -> None:
    network = pooled_network()
    host, device = measured_by(network, 3), measured_by(network, 3, DeviceMeter)
    for kind in ("contributions", "inhibitors"):
        for layer, ranking in getattr(host, kind).items():
            other = getattr(device, kind)[layer]
            np.testing.assert_array_equal(other.hop, ranking.hop)
            np.testing.assert_array_equal(other.source, ranking.source)
            np.testing.assert_allclose(other.value, ranking.value, rtol=1e-5, atol=1e-6)


@dataclass(frozen=True)
class Kept:
    influences: bool
    contributions: bool


@pytest.mark.parametrize("kept", [Kept(True, False), Kept(False, True), Kept(False, False)], ids=str)
def test_what_is_left_out_is_not_there_and_the_rest_is_the_same(kept: Kept) -> None:
    network = pooled_network()
    whole_run, part = measured_by(network, 3), measured_by(network, 3, **vars(kept))
    for name, asked in (("rankings", kept.influences), ("contributions", kept.contributions)):
        assert set(getattr(part, name)) == (set(getattr(whole_run, name)) if asked else set())
        for layer, ranking in getattr(part, name).items():
            np.testing.assert_array_equal(ranking.source, getattr(whole_run, name)[layer].source)
    for layer, extremes in whole_run.extremes.items():
        np.testing.assert_array_equal(part.extremes[layer].maximum, extremes.maximum)
