"""Receptive fields: a pixel that is NaN spoils exactly the positions whose windows hold it."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from summit_dask.facts.layergraph import Layer
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import TracedNetwork
from tests.test_trace import First, Forms, Inception
from tests.tracing import Size, Values, random_network

torch.set_num_threads(1)


class Skips(nn.Module):
    """A skip, a crop of colours, a channel shuffle, and a convolution on maps with channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3, padding=1)
        self.last, self.pool = nn.Linear(4, 4), nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(torch.cat([x[:, :1] * 2 - 1, x[:, 1:]], 1))
        x = x + self.conv(x)
        x = x.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2)
        x = self.last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.pool(x).mean((2, 3))


def spoilt(traced: TracedNetwork, layer: Layer, size: Size, y: int, x: int) -> Tensor:
    """Which positions of a layer a NaN in one pixel reaches, (y, x)."""
    image = torch.ones((1, *size))
    image[:, :, y, x] = torch.nan
    place = traced.values[layer.name]
    value = Values(traced.module, image).of[place.node].movedim(place.axis, 1)
    return value.reshape(layer.channels, layer.height, layer.width).isnan().any(0)


def check_windows(traced: TracedNetwork, size: Size, has_holes: bool = False) -> None:
    """Positions outside are never spoilt; those inside always, unless a dilated kernel leaves holes."""
    height, width = size[1:]
    for y, x in [(0, 0), (height // 2, width // 2 - 1), (height - 1, width - 1), (3, width - 4)]:
        for layer in traced.layer_graph.layers:
            found = spoilt(traced, layer, size, y, x)
            for place in range(found.numel()):
                box = layer.window.box(*divmod(place, layer.width))
                inside = box.top <= y < box.bottom and box.left <= x < box.right
                is_spoilt = bool(found.flatten()[place])
                assert inside if is_spoilt else not inside or has_holes, (layer.name, place)


@pytest.mark.parametrize(
    ("build", "layers", "size"),
    [
        (Inception, ["stem", "a", "fc"], (3, 24, 20)),
        (lambda: First(Forms()), [f"module.{name}" for name in ("conv1", "conv3", "fc2")], (3, 12, 12)),
        (lambda: torchvision.models.squeezenet1_1(), ["features.3", "features.4", "features.6"], (3, 39, 39)),
        (Skips, ["stem", "conv", "last", "pool"], (3, 19, 23)),
    ],
    ids=["inception", "forms", "squeezenet", "skips"],
)
def test_windows_hold_what_a_position_sees(build: Callable[[], nn.Module], layers: list[str], size: Size) -> None:
    traced = trace_network(random_network(build), layers, size)
    check_windows(traced, size, has_holes=layers[0] == "module.conv1")
    assert traced.layer_graph.layers[0].window.stride != (0, 0)


class Turned(nn.Module):
    """Positions that are moved about, on a square map."""

    def __init__(self, turn: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.low, self.high, self.turn = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), turn

    def forward(self, x: Tensor) -> Tensor:
        return self.high(self.turn(self.low(x))).mean((2, 3))


@pytest.mark.parametrize(
    "turn",
    [
        lambda x: x.transpose(2, 3),
        lambda x: x.flip(2),
        lambda x: x.roll(1, 3),
        lambda x: x[:, :, 1:7, 1:7],
        lambda x: x[:, :, [7, 6, 5, 4, 3, 2, 1, 0]],
        lambda x: x.flatten(2).transpose(1, 2).reshape(1, 8, 8, 8).permute(0, 3, 2, 1),
    ],
)
def test_positions_that_moved_see_the_whole_image(turn: Callable[[Tensor], Tensor]) -> None:
    traced = trace_network(random_network(lambda: Turned(turn)), ["low", "high"], (3, 8, 8))
    low, high = traced.layer_graph.layers
    assert low.window.size == (1, 1) and high.window.stride == (0, 0)
    assert high.window.size == (8, 8)
