"""Layer graphs of invented inception networks, chains and dense networks, written down by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from summit_dask.facts.errors import ConfigError, LayerNotFoundError, TraceError
from summit_dask.network.trace import trace_network
from tests.tracing import hop_of, hops_of, random_network, traced_and_sound, visible, weight_of

torch.set_num_threads(1)


class Conv(nn.Sequential):
    """Convolution, batch norm, activation."""

    def __init__(self, i: int, o: int, k: int = 1, **options: Any) -> None:
        super().__init__(nn.Conv2d(i, o, k, **{"padding": k // 2} | options), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class Block(nn.Module):
    """5 + 4 + 3 + 6 channels: 1x1, 3x3 behind a bottleneck, pooling then 1x1, pooling alone."""

    def __init__(self, i: int = 6) -> None:
        super().__init__()
        self.one = Conv(i, 5)
        self.three = nn.Sequential(Conv(i, 2), Conv(2, 4, 3))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Dropout(), Conv(i, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.pool(x), F.avg_pool2d(x, 3, 1, 1)], 1)


class Inception(nn.Module):
    """Two blocks over a stem, an auxiliary head, arithmetic on the image, and a flag."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 6, 3, stride=2)
        self.a = Block()
        self.norm = nn.LocalResponseNorm(3)
        self.b = Block(18)
        self.aux = nn.Linear(18, 3)
        self.fc = nn.Linear(30, 10)

    def forward(self, x: Tensor, with_aux: bool = True) -> Any:
        x = torch.cat([x[:, :1] * 2 - 1, x[:, 1:]], 1)
        a = self.a(self.stem(x))
        b = self.b(F.max_pool2d(self.norm(a), 3, 2, ceil_mode=True))
        out = self.fc(b.mean((2, 3)))
        return (out, self.aux(a.mean((2, 3)))) if self.training and with_aux else out


def test_inception_by_hand() -> None:
    traced = traced_and_sound(random_network(Inception), (), (3, 20, 16))
    assert [(layer.name, layer.channels, layer.height, layer.width) for layer in traced.layer_graph.layers] == [
        ("a", 18, 10, 8),
        ("b.three.0", 2, 5, 4),
        ("b", 30, 5, 4),
    ]
    assert hops_of(traced) == {
        "b.three.0.0.weight": ("a", "b.three.0", 0, 2),
        "b.one.0.weight": ("a", "b", 0, 5),
        "b.three.1.0.weight": ("b.three.0", "b", 5, 4),
        "b.pool.2.0.weight": ("a", "b", 9, 3),
        "b.identity": ("a", "b", 12, 18),
    }
    # The identity's input is what arrives at the concatenation: pooled twice, first to 5 x 4.
    inputs = {step.name: step.input.node for step in traced.steps}
    assert inputs["b.identity"].startswith("avg_pool2d")
    assert inputs["b.pool.2.0.weight"] != inputs["b.one.0.weight"] == inputs["b.three.0.0.weight"]


def test_layers_by_name_in_forward_order_with_display_names() -> None:
    traced = trace_network(random_network(Inception), ["out=fc", "top=b", "stem"], (3, 16, 16))
    assert visible(traced) == ["stem", "top", "out"]
    hops = hops_of(traced)
    assert hops["fc.weight"] == ("top", "out", 0, 10)
    assert traced.layer_graph.layer("a.three.0").visible is False


def test_module_is_left_as_it_was() -> None:
    module = random_network(Inception)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trace_network(module, (), (3, 16, 16))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert module.stem[2].inplace  # type: ignore[union-attr]


class Sharing(nn.Module):
    """Concatenations that grow: what a step takes from one comes from several layers."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(3, 4, 3)
        self.norm1, self.conv1 = nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(6), nn.Conv2d(6, 2, 3, padding="same")
        self.norm3, self.conv3 = nn.BatchNorm2d(8), nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x0 = F.relu(self.low(x))
        x1 = self.conv1(self.norm1(x0).relu())
        two = torch.concat((x0, x1), dim=-3)
        x2 = self.conv2(torch.relu(self.norm2(two)))
        return self.conv3(F.relu(self.norm3(torch.cat([two, x2], dim=1)))).amax((2, 3))


def test_a_step_on_a_concatenation_makes_a_hop_from_each_layer_in_it() -> None:
    module = random_network(Sharing)
    traced = traced_and_sound(module, ["low", "conv3"], (3, 9, 9))
    assert hops_of(traced) == {
        "conv1.weight": ("low", "conv1", 0, 2),
        "conv2.weight_from_low": ("low", "conv2", 0, 2),
        "conv2.weight_from_conv1": ("conv1", "conv2", 0, 2),
        "conv3.weight_from_low": ("low", "conv3", 0, 5),
        "conv3.weight_from_conv1": ("conv1", "conv3", 0, 5),
        "conv3.weight_from_conv2": ("conv2", "conv3", 0, 5),
    }
    (step,) = [step for step in traced.steps if step.target == "conv3"]
    assert (step.hop.tolist(), step.source.tolist()) == ([0, 0, 0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 0, 1, 0, 1])
    # Its real input is the normed concatenation, so the batch norm above it is in no weight.
    assert torch.equal(weight_of(traced, "conv3.weight"), module.conv3.weight)


def test_hops_pass_over_visible_layers() -> None:
    traced = traced_and_sound(random_network(Sharing), ["low", "conv1", "conv2", "conv3"], (3, 9, 9))
    below = {layer.name: [n.name for n in traced.layer_graph.below(layer.name)] for layer in traced.layer_graph.layers}
    assert below == {"low": [], "conv1": ["low"], "conv2": ["low", "conv1"], "conv3": ["low", "conv1", "conv2"]}


class Forms(nn.Module):
    """A chain with an operation in each of its forms, down to fully connected layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False)
        self.conv2, self.act = nn.Conv2d(4, 5, (1, 3), dilation=(1, 2), padding="valid"), nn.PReLU()
        self.conv3, self.same = nn.Conv2d(5, 6, 3, stride=(2, 1), padding=(1, 0)), nn.Identity()
        self.drop, self.conv4 = nn.Dropout2d(), nn.Conv2d(6, 7, 2)
        self.fc1, self.norm5, self.fc2 = nn.Linear(7 * 6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm1(self.conv1(x)).relu_()
        x = self.act(self.conv2(F.dropout(x, 0.5, self.training)))
        x = self.drop(F.leaky_relu(self.same(self.conv3(x)), 0.1, inplace=True)).contiguous()
        x = self.conv4(F.local_response_norm(F.adaptive_max_pool2d(x, (3, 4)), 2))
        x = torch.clamp(x, min=0).view(x.size(0), -1)
        hidden = self.norm5(self.fc1(x)).sigmoid()
        return self.fc2(hidden), hidden


class First(nn.Module):
    """The first of several outputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        output: tuple[Tensor, ...] = self.module(x)
        return output[0]


def test_every_form_of_an_operation() -> None:
    module = First(random_network(Forms))
    traced = traced_and_sound(module, ["conv1=module.conv1", "fc2=module.fc2"], (3, 12, 12), batch_size=2)
    assert {name.removeprefix("module."): ends for name, ends in hops_of(traced).items()} == {
        "conv2.weight": ("conv1", "module.conv2", 0, 5),
        "conv3.weight": ("module.conv2", "module.conv3", 0, 6),
        "conv4.weight": ("module.conv3", "module.conv4", 0, 7),
        "fc1.weight": ("module.conv4", "module.fc1", 0, 8),
        "fc2.weight": ("module.fc1", "fc2", 0, 3),
    }
    fc1, conv2 = (hop_of(traced, f"module.{name}.weight").convolution for name in ("fc1", "conv2"))
    assert fc1 is not None and fc1.kernel == (2, 3)
    assert weight_of(traced, "module.fc1.weight").shape == (8, 7, 2, 3)
    assert conv2 is not None and conv2.dilation == (1, 2)
    assert traced.values["module.fc1"].node == "sigmoid"
    layout = traced.module.to(memory_format=torch.channels_last)
    layout(torch.zeros(2, 3, 12, 12).to(memory_format=torch.channels_last))  # a view would not take it


def test_names_that_are_taken_are_made_unique() -> None:
    traced = trace_network(random_network(Inception), ["b.three.0=a", "b.three.0.0.weight=b"], (3, 16, 16))
    assert visible(traced) == ["b.three.0", "b.three.0.0.weight"]
    assert hops_of(traced)["b.three.0.0.weight_2"][1] == "b.three.0_2"


def test_layer_names() -> None:
    module = random_network(Inception)
    with pytest.raises(LayerNotFoundError, match=r"'b\.thre'.*Did you mean .*'b\.three'"):
        trace_network(module, ["b.thre"], (3, 16, 16))
    with pytest.raises(LayerNotFoundError, match="on the way"):
        trace_network(module, ["aux"], (3, 16, 16))
    with pytest.raises(ConfigError, match="same activation"):
        trace_network(module, ["stem.0", "stem.1"], (3, 16, 16))
    with pytest.raises(ConfigError, match=r"'x'.*unique"):
        trace_network(module, ["x=a", "x=b"], (3, 16, 16))
    with pytest.raises(ConfigError, match="'x/y'"):
        trace_network(module, ["x/y=a"], (3, 16, 16))


def test_too_many_channels() -> None:
    module = random_network(lambda: nn.Sequential(nn.Conv2d(1, 32768, 1), nn.ReLU(), nn.Conv2d(32768, 1, 1)))
    with pytest.raises(TraceError, match="32768 channels; at most 32767"):
        trace_network(module, (), (1, 2, 1))


class Residual(nn.Module):
    """A bottleneck block with a skip, normed after the addition; then a pre-activation block; then two skips in one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.up = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.norm = nn.BatchNorm2d(6)
        self.before, self.inner = nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.norm(self.up(F.relu(self.down(x))) + x))
        x = x + self.inner(F.relu(self.before(x)))
        return self.fc(x.mean((2, 3)))


def test_additions_by_hand() -> None:
    module = random_network(Residual)
    traced = traced_and_sound(module, ["stem", "norm", "fc"], (3, 9, 9), batch_size=2)
    assert hops_of(traced) == {
        "down.weight": ("stem", "down", 0, 2),
        "up.weight": ("down", "norm", 0, 6),
        "norm.identity": ("stem", "norm", 0, 6),
        "inner.weight": ("norm", "add", 0, 6),
        "add.identity": ("norm", "add", 0, 6),
        "fc.weight": ("add", "fc", 0, 3),
    }
    norm = module.norm
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator]
    assert scale.min() < 0 < scale.max()
    # What follows the addition scales the convolution and the skip alike; what stands before a step is in its input.
    torch.testing.assert_close(weight_of(traced, "norm.identity")[:, 0, 0, 0], scale)
    torch.testing.assert_close(weight_of(traced, "up.weight"), module.up.weight * scale[:, None, None, None])
    assert next(step.weight for step in traced.steps if step.name == "add.identity") is None
    inner = hop_of(traced, "inner.weight").convolution
    assert inner is not None and inner.groups == 2
