"""What each operation does to channels: additions, shuffles, groups, gates and norms, by hand; what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from summit_dask.facts.errors import TraceError
from summit_dask.network.trace import trace_network
from tests.tracing import hop_of, traced_and_sound, visible

torch.set_num_threads(1)


class Between(nn.Module):
    """Low convolution, something of 8 channels, high convolution, something above."""

    def __init__(
        self, between: Callable[..., Tensor], *modules: nn.Module, above: Callable[..., Tensor] = F.relu
    ) -> None:
        super().__init__()
        self.below, self.low, self.high, self.top = (nn.Conv2d(i, 8, 3, padding=1) for i in (3, 8, 8, 8))
        self.used = nn.ModuleList(modules)
        self.between, self.above = between, above

    def forward(self, x: Tensor) -> Tensor:
        x = self.low(self.below(x).relu()).relu()
        return self.above(self.top(self.high(self.between(x, *self.used)).relu()))


def between(operation: Callable[..., Tensor], *modules: nn.Module, **options: Any) -> nn.Module:
    """Such a network with random weights."""
    torch.manual_seed(0)
    module = Between(operation, *modules, **options)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
            nn.init.normal_(norm.running_mean)
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return module.eval()


def conv(i: int = 8, o: int = 8, **options: Any) -> nn.Module:
    """A 3 x 3 convolution that keeps the size."""
    return nn.Conv2d(i, o, **{"kernel_size": 3, "padding": 1, **options})


def shuffled(x: Tensor) -> Tensor:
    """Channels 0 4 1 5 2 6 3 7."""
    return x.view(x.shape[0], 2, 4, *x.shape[2:]).transpose(1, 2).flatten(1, 2)


Plan = tuple[Callable[..., Tensor], *tuple[nn.Module, ...]]


def blurred(x: Tensor) -> Tensor:
    """Every channel by the same fixed filter, at half the size."""
    return F.conv2d(x, torch.full((8, 1, 2, 2), 0.25, dtype=x.dtype), stride=2, groups=8)


def halves_swapped(x: Tensor) -> Tensor:
    """Channels 4 5 6 7 0 1 2 3."""
    low, high = x.chunk(2, 1)
    return torch.cat([high, low], 1)


#: Operations between `low` and `high` that leave each channel what it was: what the hop notes, and its sources.
KEPT: dict[str, tuple[Plan, tuple[str, ...], tuple[int, ...] | None]] = {
    "adds itself": ((lambda x: x + x.relu(),), (), None),
    "doubles": ((lambda x: x + x,), (), None),
    "square": ((lambda x: x * x,), (), None),
    "where": ((lambda x: torch.where(x > 0.1, x, x * 0.2),), (), None),
    "prelu": ((lambda x, m: m(x - 0.5), nn.PReLU(8)), (), None),
    "scales": ((lambda x: -x * 2 + 1,), (), None),
    "zero padding": ((lambda x: F.pad(x, (1, 2, 0, 1)),), (), None),
    "reflection": ((lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"),), (), None),
    "blur pooling": ((blurred,), (), None),
    "resizing": ((lambda x: F.interpolate(x, scale_factor=2),), (), None),
    "pooling": ((lambda x: F.max_pool2d(F.adaptive_avg_pool2d(x, 4), 2),), (), None),
    "chunks changed round": ((halves_swapped,), (), (4, 5, 6, 7, 0, 1, 2, 3)),
    "shuffle": ((shuffled,), (), (0, 4, 1, 5, 2, 6, 3, 7)),
    "index": ((lambda x: x[:, [3, 0, 2, 1, 7, 6, 5, 4]],), (), (3, 0, 2, 1, 7, 6, 5, 4)),
    "flip": ((lambda x: x.flip(1),), (), (7, 6, 5, 4, 3, 2, 1, 0)),
    "squeeze and excitation": ((lambda x, m: x * m(x.mean((2, 3), keepdim=True)).sigmoid(), conv()), ("gate",), None),
    "swish": ((lambda x: x * x.sigmoid(),), (), None),
    "softmax gate": ((lambda x, m: x * m(x).softmax(1), conv()), ("gate",), None),
    "layer norm": (
        (lambda x, m: m(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.LayerNorm(8)), ("layer norm",), None
    ),
    "group norm": ((lambda x, m: m(x), nn.GroupNorm(2, 8)), ("group norm",), None),
    "transposed": ((lambda x: x.transpose(2, 3),), (), None),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_keeps_channels_makes_one_hop(name: str) -> None:
    plan, notes, sources = KEPT[name]
    traced = traced_and_sound(between(*plan), ["below", "low", "high", "top"], (3, 8, 8))
    assert visible(traced) == ["below", "low", "high", "top"]
    hop = hop_of(traced, "high.weight")
    assert (hop.source, hop.target, hop.notes) == ("low", "high", notes)
    (step,) = [step for step in traced.steps if step.target == "high"]
    own = range(8) if step.order is None else step.order
    assert [step.source[[*own].index(i)] for i in range(8)] == list(sources or range(8))


#: Operations that other networks of the same kind were refused for once: further steps between, down to `low`.
ACCEPTED: dict[str, Plan] = {
    "groups": (lambda x, m: m(x), conv(groups=2)),
    "depthwise": (lambda x, m: m(x), conv(groups=8)),
    "functional convolution": (lambda x: F.conv2d(x, torch.full((8, 8, 1, 1), 0.5, dtype=x.dtype)),),
    "called twice": (lambda x, m: m(m(x)), conv()),
    "reflecting": (lambda x, m: m(x), conv(padding_mode="reflect")),
    "same padding, even kernel": (lambda x, m: m(x), conv(kernel_size=2, padding="same")),
    "residual": (lambda x, m: x + m(x), conv()),
    "difference": (lambda x, m: m(x) - x, conv()),
    "scaled residual, normed": (lambda x, m, n: n(0.2 * m(x) + x).relu(), conv(), nn.BatchNorm2d(8)),
    "used twice": (lambda x, m, n: torch.cat([m(x)[:, :4], n(m(x))[:, 4:]], 1), conv(), conv()),
    "gated linear unit": (lambda x, m: F.glu(m(x), 1), conv(o=16)),
    "one channel added to all": (lambda x: x + x[:, :1],),
    "linear, channels last": (lambda x, m: m(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.Linear(8, 8)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("name", ACCEPTED)
def test_what_makes_channels_is_complete(name: str, batch_size: int) -> None:
    traced_and_sound(between(*ACCEPTED[name]), ["below", "low", "high", "top"], (3, 8, 8), batch_size)


#: What mixes channels or positions, by the operation that the message names.
MIXED: dict[str, Plan] = {
    "transposed convolution": (lambda x, m: m(x), nn.ConvTranspose2d(8, 8, 3, padding=1)),
    "pixel_shuffle": (lambda x, m, n: n(m(x)), nn.PixelShuffle(2), nn.PixelUnshuffle(2)),
    "bmm": (lambda x: (x.flatten(2) @ (x.flatten(2).mT @ x.flatten(2)).softmax(-1)).view_as(x),),
    "cumsum": (lambda x: x.cumsum(1),),
    "maximum": (lambda x: torch.maximum(x, x.flip(1)),),
    "mul": (lambda x: x * x.flip(1),),
    "sum": (lambda x: x + x.sum(1, keepdim=True),),
    "convolution": (lambda x, m: m(x[:, :, None])[:, :, 0], nn.Conv3d(8, 8, (1, 3, 3), padding=(0, 1, 1))),
}


@pytest.mark.parametrize("word", MIXED)
def test_what_mixes_channels_is_named_with_the_way_out(word: str) -> None:
    module = between(*MIXED[word])
    with pytest.raises(TraceError, match=f"the operation '{word}' in") as error:
        trace_network(module, ["below", "low", "high", "top"], (3, 8, 8))
    place = "the module 'used.0'" if len(MIXED[word]) > 1 else "the network itself"
    assert place in str(error.value) and "between the layers low and high" in str(error.value)
    assert "--layers: only below, low or only high, top" in str(error.value)
    # Outside the layers that are shown it doesn't matter.
    for layers in (["high", "top"], ["below", "low"]):
        assert visible(traced_and_sound(module, layers, (3, 8, 8))) == layers


def test_images_of_a_batch_that_are_mixed() -> None:
    for operation in (lambda x: x.flip(0), lambda x: x - x.mean(0, keepdim=True)):
        with pytest.raises(TraceError, match="depends on the others in its batch"):
            trace_network(between(operation), ["low", "high"], (3, 8, 8), batch_size=2)
    norm = nn.BatchNorm2d(8, track_running_stats=False)
    with pytest.raises(TraceError, match="running statistics"):
        trace_network(between(lambda x, m: m(x), norm), ["low", "high"], (3, 8, 8), batch_size=2)


def test_modules_that_stand_for_several_layers() -> None:
    with pytest.raises(TraceError, match="called 2 times"):
        trace_network(between(lambda x, m: m(m(x)), conv()), ["used.0", "high"], (3, 8, 8))


def test_control_flow_names_the_place() -> None:
    with pytest.raises(TraceError, match=r"test_trace_operations.py, line \d+: .*x\.sum\(\) > 0") as error:
        trace_network(between(lambda x: x if x.sum() > 0 else -x), ["low", "high"], (3, 8, 8))
    assert error.value.__cause__ is not None


def test_random_networks_are_refused() -> None:
    for operation in (lambda x: F.dropout(x), lambda x: x + torch.randn_like(x)):
        with pytest.raises(TraceError, match="is random: the operation"):
            trace_network(between(operation), ["low", "high"], (3, 8, 8))


def test_images_that_do_not_fit() -> None:
    with pytest.raises(TraceError, match="1 x 8 x 8"):
        trace_network(between(F.relu), ["low", "high"], (1, 8, 8))
