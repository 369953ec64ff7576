"""Layer graphs of invented networks, written down by hand, and of real ones."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812

from summit_dask.facts.errors import ConfigError, LayerNotFoundError, TraceError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.network.trace import TracedNetwork, trace_network

torch.set_num_threads(1)


def with_random_weights(module: nn.Module) -> nn.Module:
    """Random weights, also in batch norms; negative scales included."""
    generator = torch.Generator().manual_seed(0)
    module.to_empty(device="cpu")
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.zero_()
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.normal_(0, (2 / max(tensor[0].numel(), 2)) ** 0.5, generator=generator)
    return module.eval()


def random_network(build: Callable[..., nn.Module], **options: Any) -> nn.Module:
    with torch.device("meta"):
        module = build(**options)
    return with_random_weights(module)


class Values(fx.Interpreter):
    """The value of every node on an image."""

    def __init__(self, module: fx.GraphModule, image: Tensor) -> None:
        super().__init__(module)
        self.of: dict[str, Tensor] = {}
        with torch.inference_mode():
            self.output = self.run(image)

    def run_node(self, n: fx.Node) -> Any:
        self.of[n.name] = value = super().run_node(n)
        return value


def hops_of(traced: TracedNetwork) -> dict[str, tuple[str, str, int, int]]:
    return {h.name: (h.source, h.target, h.targets[0], h.channels) for h in traced.layer_graph.hops}


def visible(traced: TracedNetwork) -> list[str]:
    return [layer.name for layer in traced.layer_graph.visible]


def check_sound(module: nn.Module, traced: TracedNetwork, size: tuple[int, int, int]) -> None:
    """What holds of any traced network: same output, shapes as told, hops that are what the network computes."""
    image = torch.randn((2, *size), generator=torch.Generator().manual_seed(1))
    values = Values(traced.module, image)
    with torch.inference_mode():
        expected = module(image)
    torch.testing.assert_close(values.output, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    graph = traced.layer_graph
    assert LayerGraph.from_json(graph.to_json()) == graph
    assert {*traced.value_node} == {layer.name for layer in graph.layers}
    assert {*traced.input_node} == {hop.name for hop in graph.hops}
    for layer in graph.layers:
        value = values.of[traced.value_node[layer.name]]
        assert (*value.shape[1:], 1, 1)[:3] == (layer.channels, layer.height, layer.width)
    for hop in graph.hops:
        check_intervention(traced, values, hop.name)


def check_intervention(traced: TracedNetwork, values: Values, name: str) -> None:
    """The real layer with every other input channel and the bias at zero gives the hop's map (DESIGN section 8)."""
    hop = next(h for h in traced.layer_graph.hops if h.name == name)
    given = values.of[traced.input_node[name]].clone()
    if hop.convolution is None:
        assert name not in traced.weight
        assert given.shape[1] == hop.channels
        return
    step = traced.module.get_submodule(name.removesuffix(".weight"))
    channel = given.shape[1] // 2
    alone = torch.zeros_like(given)
    alone[:, channel] = given[:, channel]
    flat = isinstance(step, nn.Linear)
    with torch.inference_mode():
        real = step(alone.flatten(1) if flat else alone)
        real = real - step(torch.zeros_like(alone.flatten(1) if flat else alone))
        alone = alone if alone.ndim == 4 else alone[..., None, None]
        geometry = hop.convolution
        implied = F.conv2d(
            alone[:, [channel]],
            traced.weight[name][:, [channel]],
            None,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
        )
    real = real if real.ndim == 4 else real[..., None, None]
    torch.testing.assert_close(implied, real, rtol=1e-3, atol=1e-4 * float(real.abs().max()) + 1e-9)


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
    module = random_network(Inception)
    traced = trace_network(module, (), (3, 20, 16))
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
    assert traced.input_node["b.identity"].startswith("avg_pool2d")
    assert traced.input_node["b.one.0.weight"].startswith("max_pool2d")
    check_sound(module, traced, (3, 20, 16))


def test_layers_by_name_in_forward_order_with_display_names() -> None:
    module = random_network(Inception)
    traced = trace_network(module, ["out=fc", "top=b", "stem"], (3, 16, 16))
    assert visible(traced) == ["stem", "top", "out"]
    hops = hops_of(traced)
    assert hops["fc.weight"] == ("top", "out", 0, 10)
    assert traced.layer_graph.layer("a.three.0").visible is False
    # The block between is a hidden layer now, reached through its own concatenation.
    assert hops["a.one.0.weight"] == ("stem", "a", 0, 5)
    assert hops["a.identity"] == ("stem", "a", 12, 6)
    assert hops["top.identity"] == ("a", "top", 12, 18)
    check_sound(module, traced, (3, 16, 16))


def test_module_is_left_as_it_was() -> None:
    module = random_network(Inception)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trace_network(module, (), (3, 16, 16))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert module.stem[2].inplace  # type: ignore[union-attr]


class Sharing(nn.Module):
    """Concatenations that grow: each is used twice, so each is a layer of its own."""

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


def test_what_is_used_twice_is_a_hidden_layer() -> None:
    module = random_network(Sharing)
    traced = trace_network(module, ["low", "conv3"], (3, 9, 9))
    assert hops_of(traced) == {
        "conv1.weight": ("low", "cat", 4, 2),
        "cat.identity": ("low", "cat", 0, 4),
        "conv2.weight": ("cat", "cat_2", 6, 2),
        "cat_2.identity": ("cat", "cat_2", 0, 6),
        "conv3.weight": ("cat_2", "conv3", 0, 5),
    }
    # A batch norm behind a concatenation is in the weights of what it scales.
    norm = module.norm3
    assert isinstance(norm, nn.BatchNorm2d)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt())[6:8]  # type: ignore[operator]
    assert scale.min() < 0
    torch.testing.assert_close(traced.weight["conv2.weight"], module.conv2.weight * scale[:, None, None, None])


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


def test_every_form_of_an_operation() -> None:
    module = random_network(Forms)
    traced = trace_network(module, ["conv1", "fc2"], (3, 12, 12))
    assert hops_of(traced) == {
        "conv2.weight": ("conv1", "act", 0, 5),
        "conv3.weight": ("act", "drop", 0, 6),
        "conv4.weight": ("drop", "conv4", 0, 7),
        "fc1.weight": ("conv4", "fc1", 0, 8),
        "fc2.weight": ("fc1", "fc2", 0, 3),
    }
    geometry = {hop.name: hop.convolution for hop in traced.layer_graph.hops}
    assert geometry["fc1.weight"].kernel == (2, 3)  # type: ignore[union-attr]
    assert traced.weight["fc1.weight"].shape == (8, 7, 2, 3)
    assert geometry["conv2.weight"].dilation == (1, 2)  # type: ignore[union-attr]
    assert traced.value_node["fc1"] == "sigmoid"
    check_sound(_First(module), traced, (3, 12, 12))
    layout = traced.module.to(memory_format=torch.channels_last)
    layout(torch.zeros(1, 3, 12, 12).to(memory_format=torch.channels_last))  # a view would not take it


class _First(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        output: tuple[Tensor, ...] = self.module(x)
        return output[0]


def test_names_that_are_taken_are_made_unique() -> None:
    module = random_network(Inception)
    traced = trace_network(module, ["b.three.0=a", "b.three.0.0.weight=b"], (3, 16, 16))
    assert visible(traced) == ["b.three.0", "b.three.0.0.weight"]
    assert hops_of(traced)["b.three.0.0.weight_2"][1] == "b.three.0_2"


# Real networks


def vgg(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        module: nn.Module = getattr(torchvision.models, name)(init_weights=False)
        module.classifier = nn.Sequential(nn.Linear(512 * 49, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 10))
        return module

    return build


def torchvision_network(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(torchvision.models, name)(**options)


_AUX = {"aux_logits": True, "transform_input": True, "init_weights": False}
_GOOGLENET = [f"inception{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
_INCEPTION = [f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")]


def _features(*places: int) -> list[str]:
    return [f"features.{place}" for place in places]


@pytest.mark.parametrize(
    ("build", "size", "layers", "n_hidden", "n_hops"),
    [
        (torchvision_network("googlenet", **_AUX), 64, _GOOGLENET, 16, 48),
        (torchvision_network("inception_v3", **_AUX), 75, _INCEPTION, 42, 84),
        (torchvision_network("squeezenet1_0"), 64, _features(3, 4, 5, 7, 8, 9, 10, 12), 7, 21),
        (torchvision_network("squeezenet1_1"), 64, _features(3, 4, 6, 7, 9, 10, 11, 12), 7, 21),
        (vgg("vgg11"), 32, _features(1, 4, 9, 14, 19), 3, 7),
        (vgg("vgg16_bn"), 32, _features(5, 12, 22, 32, 42), 7, 11),
        (torchvision_network("alexnet", num_classes=10), 64, _features(1, 4, 7, 9, 11), 0, 4),
    ],
    ids=["googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1", "vgg11", "vgg16_bn", "alexnet"],
)
def test_torchvision(build: Callable[[], nn.Module], size: int, layers: list[str], n_hidden: int, n_hops: int) -> None:
    module = random_network(build)
    traced = trace_network(module, (), (3, size, size))
    assert visible(traced) == layers
    assert (len(traced.layer_graph.layers) - len(layers), len(traced.layer_graph.hops)) == (n_hidden, n_hops)
    assert not any("aux" in name.lower() for name, _ in traced.module.named_modules())
    check_sound(module, traced, (3, size, size))


def test_inception_v3_pooled_branches_are_identity_hops() -> None:
    module = random_network(torchvision_network("inception_v3", **_AUX))
    traced = trace_network(module, ["Mixed_5d", "Mixed_6a"], (3, 75, 75))
    assert hops_of(traced)["Mixed_6a.identity"] == ("Mixed_5d", "Mixed_6a", 480, 288)
    assert traced.layer_graph.layer("Mixed_5d").window.stride == (8, 8)


@pytest.mark.parametrize(
    ("file", "name", "size", "layers"),
    [
        (
            "googlenet_bvlc",
            "GoogLeNetBVLC",
            64,
            [name.replace("n3", "n_3").replace("n4", "n_4").replace("n5", "n_5") for name in _GOOGLENET],
        ),
        ("inception_abm", "InceptionABM", 64, ["a3", "b3", "c3", "a4", "b4", "c4", "d4", "e4", "a5", "b5"]),
        ("tinyvgg", "TinyVGG", 64, ["relu_1_1", "relu_1_2", "relu_2_1", "relu_2_2"]),
    ],
)
def test_shared_networks(shared_data: Path, file: str, name: str, size: int, layers: list[str]) -> None:
    spec = importlib.util.spec_from_file_location(file, shared_data / "models" / f"{file}.py")
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(own := importlib.util.module_from_spec(spec))
    module = random_network(getattr(own, name))
    traced = trace_network(module, (), (3, size, size))
    assert visible(traced) == layers
    check_sound(module, traced, (3, size, size))


# Receptive fields


@pytest.mark.parametrize(
    ("build", "layers", "size"),
    [
        (Inception, ["stem", "a", "b", "fc"], (3, 24, 20)),
        (Forms, ["conv1", "conv3", "conv4", "fc2"], (3, 12, 12)),
        (torchvision_network("squeezenet1_1"), _features(3, 4, 6), (3, 39, 39)),
    ],
)
def test_windows_hold_what_a_position_sees(
    build: Callable[[], nn.Module], layers: list[str], size: tuple[int, int, int]
) -> None:
    """A pixel that is NaN spoils exactly the positions whose windows hold it (holes of dilation aside)."""
    traced = trace_network(random_network(build), layers, size)
    height, width = size[1:]
    for y, x in [(0, 0), (height // 2, width // 2 - 1), (height - 1, width - 1), (3, width - 4)]:
        image = torch.ones((1, *size))
        image[:, :, y, x] = torch.nan
        values = Values(traced.module, image)
        for layer in traced.layer_graph.layers:
            value = values.of[traced.value_node[layer.name]]
            spoilt = (value if value.ndim == 4 else value[..., None, None]).isnan().any(1)[0]
            for place in range(spoilt.numel()):
                box = layer.window.box(*divmod(place, layer.width))
                inside = box.top <= y < box.bottom and box.left <= x < box.right
                assert inside or not spoilt.flatten()[place], (layer.name, place)
                assert build is Forms or not inside or spoilt.flatten()[place], (layer.name, place)


# What can't be traced


class Odd(nn.Module):
    """Low convolution, something odd, high convolution, something above."""

    def __init__(self, odd: Callable[..., Tensor], *modules: nn.Module, above: Callable[..., Tensor] = F.relu) -> None:
        super().__init__()
        self.below, self.low, self.high, self.top = (nn.Conv2d(i, 4, 3, padding=1) for i in (3, 4, 4, 4))
        self.modules_used = nn.ModuleList(modules)
        self.odd, self.above = odd, above

    def forward(self, x: Tensor) -> Tensor:
        x = self.low(self.below(x))
        return self.above(self.top(self.high(self.odd(x, *self.modules_used))))


def _conv(**options: Any) -> nn.Module:
    return nn.Conv2d(4, 4, **{"kernel_size": 3, "padding": 1, **options})


ODD = {
    "add": (lambda x: x + x.relu(),),
    "groups": (lambda x, m: m(x), _conv(groups=2)),
    "ConvTranspose2d": (lambda x, m: m(x), nn.ConvTranspose2d(4, 4, 3, padding=1)),
    "conv2d": (lambda x: F.conv2d(x, torch.ones(4, 4, 1, 1)),),
    "more than once": (lambda x, m: m(m(x)), _conv()),
    "getitem": (lambda x: torch.cat([x.chunk(2, 1)[1], x.chunk(2, 1)[0]], 1),),
    "cat": (lambda x: torch.cat([x, x], 2),),
    "zeros": (lambda x, m: m(x), _conv(padding_mode="reflect")),
    "both sides": (lambda x, m: m(x), _conv(kernel_size=2, padding="same")),
    "Softmax": (lambda x, m: m(x), nn.Softmax(1)),
    "BatchNorm2d": (lambda x, m: m(F.max_pool2d(x, 1)), nn.BatchNorm2d(4, track_running_stats=False)),
    "transpose": (lambda x: x.transpose(2, 3),),
    "PixelUnshuffle": (lambda x, m, n: n(m(x)), nn.PixelShuffle(2), nn.PixelUnshuffle(2)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("word", ODD)
def test_odd_operations_are_named(word: str) -> None:
    module = Odd(*ODD[word])
    with pytest.raises(TraceError, match=word) as error:
        trace_network(module, ["below", "low", "high", "top"], (3, 8, 8))
    assert "low" in str(error.value) and "only high, top" in str(error.value)
    # Outside the layers that are shown it doesn't matter.
    assert visible(trace_network(module, ["high", "top"], (3, 8, 8))) == ["high", "top"]
    assert visible(trace_network(module, ["below", "low"], (3, 8, 8))) == ["below", "low"]


def test_modules_that_stand_for_several_layers() -> None:
    with pytest.raises(TraceError, match="called 2 times"):
        trace_network(Odd(*ODD["more than once"]), ["modules_used.0", "high"], (3, 8, 8))


def test_control_flow_names_the_place() -> None:
    module = Odd(lambda x: x if x.sum() > 0 else -x)
    with pytest.raises(TraceError, match=r"test_trace.py, line \d+: .*x\.sum\(\) > 0") as error:
        trace_network(module, ["low", "high"], (3, 8, 8))
    assert error.value.__cause__ is not None


def test_random_networks_are_refused() -> None:
    with pytest.raises(TraceError, match="computes something else"):
        trace_network(Odd(lambda x: F.dropout(x)), ["low", "high"], (3, 8, 8))


def test_image_that_does_not_fit() -> None:
    with pytest.raises(TraceError, match="1 x 8 x 8"):
        trace_network(Odd(F.relu), ["low", "high"], (1, 8, 8))


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
    with pytest.raises(TraceError, match=r"'b\.one' feeds the layer 'b\.pool'"):
        trace_network(module, ["a", "b.one", "b.pool"], (3, 16, 16))


def test_too_many_channels() -> None:
    module = random_network(lambda: nn.Sequential(nn.Conv2d(1, 32768, 1), nn.ReLU(), nn.Conv2d(32768, 1, 1)))
    with pytest.raises(TraceError, match="32768 channels; at most 32767"):
        trace_network(module, (), (1, 1, 1))


class Functional(nn.Conv2d):
    """A convolution with standardised weights, called as a function."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


@pytest.mark.parametrize(
    ("convolutions", "message"),
    [
        ((Functional(3, 4, 1), Functional(4, 4, 1)), "'conv2d' in the module '0'"),
        ((nn.Conv2d(3, 4, 1), Functional(4, 4, 1)), "'conv2d' in the module '2'"),
        ((nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 1)), r"'2' \(ConvTranspose2d\)"),
    ],
)
def test_no_convolution_is_left_out_of_the_default_layers(convolutions: tuple[nn.Module, ...], message: str) -> None:
    module = nn.Sequential(*(part for convolution in convolutions for part in (convolution, nn.ReLU())))
    with pytest.raises(TraceError, match=f"{message} is a convolution.*--layers"):
        trace_network(module, (), (3, 4, 4))
    assert visible(trace_network(module, ["2"], (3, 4, 4))) == ["2"]


def test_pooling_over_the_size_of_a_map_is_named_with_the_way_out() -> None:
    module = Odd(F.relu, above=lambda x: F.avg_pool2d(x, kernel_size=x.size()[2:]))
    ours = r"'avgpool2d' in the network itself isn't fixed.*adaptive_avg_pool2d\(x, 1\)"
    older_torch = r"'kernel_size' must be tuple of ints.*in the network itself"  # 2.8, for one, refuses to trace it
    with pytest.raises(TraceError, match=f"{ours}|{older_torch}"):
        trace_network(module, ["low", "high"], (3, 8, 8))


def test_default_layers_of_networks_without_convolutions() -> None:
    with pytest.raises(TraceError, match="no convolution"):
        trace_network(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (), (1, 2, 2))
