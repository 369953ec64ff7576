"""Loading networks: torchvision's names and files, modules of one's own, and what is refused."""

import hashlib
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from safetensors.torch import save_file
from torch import nn

from summit_dask.facts.config import ExtractOptions
from summit_dask.facts.errors import ConfigError, ModelError, WeightsError
from summit_dask.facts.run import NetworkSpec
from summit_dask.network.build import built, specified
from summit_dask.network.load import load_network, n_outputs
from summit_dask.network.trace import trace_network
from tests.tracing import random_network

torch.set_num_threads(1)

OWN = """
import torch
from helper import CHANNELS

class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, CHANNELS, 1)
        self.norm = torch.nn.BatchNorm2d(CHANNELS)

    def forward(self, x):
        return self.norm(self.conv(x)).relu().mean((2, 3))

class Hungry(Small):
    def __init__(self, size):
        super().__init__()

def ready():
    module = Small().half().train()
    torch.nn.init.ones_(module.conv.weight)
    return module

class Lazy(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.LazyConv2d(4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(3))

class Half(torch.nn.Module):
    def forward(self, weight):
        return weight / 2

class Halved(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 1))
        for layer in (self[0], self[3]):
            torch.nn.utils.parametrize.register_parametrization(layer, "weight", Half())

LIST = []
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A file with networks of one's own; imports a neighbour."""
    (tmp_path / "helper.py").write_text("CHANNELS = 4")
    (tmp_path / "own.py").write_text(OWN)
    return str(tmp_path / "own.py")


def small_state(**changes: Any) -> dict[str, torch.Tensor]:
    module = nn.Sequential()
    module.conv, module.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    return {**module.state_dict(), **changes}


def test_digest_tells_weights_apart_not_forms(own: str, tmp_path: Path) -> None:
    state = small_state()
    torch.save(state, tmp_path / "a.pt")
    save_file(state, tmp_path / "b.safetensors")
    torch.save({**state, "norm.running_mean": torch.ones(4)}, tmp_path / "c.pt")
    a, b, c = (load_network(f"{own}:Small", str(tmp_path / n)).digest for n in ("a.pt", "b.safetensors", "c.pt"))
    assert len(a) == 64
    assert a == b != c


def test_own_factory_brings_its_weights(own: str) -> None:
    loaded = load_network(f"{own}:ready", None)
    assert torch.equal(loaded.module.get_parameter("conv.weight"), torch.ones(4, 3, 1, 1))  # dtypes must agree too
    assert not loaded.module.training
    assert n_outputs(loaded.module, (3, 2, 2)) == 4


def test_package_factory() -> None:
    assert isinstance(load_network("torch.nn:Identity", None).module, nn.Identity)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet18", "torchvision:NAME"),
        (":x", "torchvision:NAME"),
        ("{own}:Smal", "Did you mean 'Small'"),
        ("{own}:Hungry", "without arguments"),
        ("{own}:LIST", "not callable"),
        ("torch.nn:functional", "not callable"),
        ("builtins:dict", "gives a dict"),
        ("{own}x.py:A", "no file"),
        ("no.such.package:A", "can't be imported"),
        ("{own}:Lazy", r"Lazy has layers .* image: 0 \(LazyConv2d\), 2 \(LazyLinear\)\. .*network\(torch\.zeros"),
        ("torchvision:googlnet", "Did you mean 'googlenet'"),
    ],
)
def test_models_that_are_none(own: str, model: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_network(model.replace("{own}", own), None)


def test_file_that_does_not_import(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(ModelError, match=r"bad\.py can't be imported: ZeroDivisionError"):
        load_network(f"{tmp_path}/bad.py:A", None)


def test_random_weights_are_never_used() -> None:
    with pytest.raises(WeightsError, match="IMAGENET1K_V1, DEFAULT"):
        load_network("torchvision:squeezenet1_1", None)


def test_unknown_weights_name() -> None:
    with pytest.raises(WeightsError, match="Did you mean 'IMAGENET1K_V1'"):
        load_network("torchvision:googlenet", "IMAGENET1K_V2")


def test_download_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(WeightsError, match=r"no route.*https://.*squeezenet1_1.*checkpoints"):
        load_network("torchvision:squeezenet1_1", "DEFAULT")


TRANSFORMING = pytest.mark.parametrize(
    ("name", "size"), [("googlenet", 32), pytest.param("inception_v3", 75, id="inception")]
)


def transforming(name: str, **options: Any) -> nn.Module:
    build = getattr(torchvision.models, name)
    return random_network(lambda: build(init_weights=False, **options))


def check_same_outputs(module: nn.Module, expected: nn.Module, size: int) -> None:
    image = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        torch.testing.assert_close(module(image), expected(image), rtol=1e-4, atol=1e-4)


@TRANSFORMING
def test_torchvision_weights_by_name_transform_the_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, size: int
) -> None:
    """torchvision's real weights of these two set `transform_input` and hold auxiliary heads."""
    original = transforming(name, aux_logits=True, transform_input=True)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: original.state_dict())
    loaded = load_network(f"torchvision:{name}", "IMAGENET1K_V1")
    check_same_outputs(loaded.module, original, size)
    assert not any("aux" in key.lower() for key in loaded.module.state_dict())
    assert loaded.transform_input is True
    assert loaded.preprocessing == {
        "resize": 256 if name == "googlenet" else 342,
        "crop": 224 if name == "googlenet" else 299,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "interpolation": "bilinear",
    }
    assert loaded.categories is not None
    assert (len(loaded.categories), loaded.categories[0]) == (1000, "tench")
    assert trace_network(loaded.module, (), (3, size, size)).layer_graph.visible[-1].channels in (
        832,
        768,
    )  # the last with more than one position
    asked = load_network(f"torchvision:{name}", "IMAGENET1K_V1", transform_input=False)
    check_same_outputs(asked.module, transforming(name, aux_logits=True), size)
    assert (asked.transform_input, asked.digest) == (False, loaded.digest)


@TRANSFORMING
@pytest.mark.parametrize("aux_logits", [True, False])
@pytest.mark.parametrize("transform_input", [True, False])
def test_a_file_does_not_tell_whether_the_image_is_transformed(
    tmp_path: Path, name: str, size: int, aux_logits: bool, transform_input: bool
) -> None:
    """Fine-tuned or trained from scratch, with auxiliary heads or without, their tensors look the same."""
    original = transforming(name, num_classes=7, aux_logits=aux_logits, transform_input=transform_input)
    torch.save({"model": original.state_dict()}, tmp_path / "w.pt")
    model, weights = f"torchvision:{name}", str(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"DEFAULT.* --transform-input.* --no-transform-input"):
        load_network(model, weights)
    loaded = load_network(model, weights, transform_input=transform_input)
    check_same_outputs(loaded.module, original, size)
    assert loaded.transform_input is transform_input
    assert (loaded.preprocessing, loaded.categories) == (None, None)
    assert n_outputs(loaded.module, (3, size, size)) == 7


@TRANSFORMING
def test_the_file_that_torchvision_downloads_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, size: int
) -> None:
    """By the start of its SHA-256, which torchvision's address of it holds, whatever it is called here."""
    original = transforming(name, aux_logits=True, transform_input=True)
    state = {name: torch.tensor(5) if "num_batches" in name else value for name, value in original.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    start = hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()[:8]
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    monkeypatch.setattr(weights.value, "url", f"https://download.example/{name}-{start}.pth")
    loaded = load_network(f"torchvision:{name}", str(tmp_path / "w.pt"))
    check_same_outputs(loaded.module, original, size)
    assert loaded.transform_input is True
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    assert load_network(f"torchvision:{name}", "DEFAULT").digest == loaded.digest


def test_a_worker_builds_the_network_that_was_asked_for(tmp_path: Path) -> None:
    """By key and `transform_input` too, which stand in the specification."""
    original = transforming("googlenet", num_classes=7, aux_logits=False, transform_input=True)
    other = {name: tensor + 1 for name, tensor in original.state_dict().items()}
    torch.save({"model": other, "ema": original.state_dict()}, tmp_path / "w.pt")
    given = {"model": "torchvision:googlenet", "weights": str(tmp_path / "w.pt"), "images": tmp_path, "crop": 32}
    spec, _ = specified(ExtractOptions.of({**given, "weights_key": "ema", "transform_input": True}))
    check_same_outputs(built(NetworkSpec(**spec.model_dump()), 1).module, original, 32)
    without = specified(ExtractOptions.of({**given, "weights_key": "ema", "transform_input": False}))[0]
    assert without.digest == spec.digest
    assert without.facts() != spec.facts()


def test_torchvision_addresses_hold_the_start_of_a_digest() -> None:
    """What the file is known by; pinned, so that a change of torchvision's shows."""
    urls = [torchvision.models.get_model_weights(name)["DEFAULT"].url for name in ("googlenet", "inception_v3")]
    assert [url.rpartition("-")[2] for url in urls] == ["1378be20.pth", "0cc3c7bd.pth"]


@pytest.mark.parametrize(
    ("model", "weights", "options", "message"),
    [
        ("torchvision:squeezenet1_1", "w.pt", {"transform_input": True}, "leave it out for squeezenet1_1"),
        ("torchvision:squeezenet1_1", "DEFAULT", {"weights_key": "ema"}, "not for SqueezeNet1_1_Weights"),
        ("{own}:Small", "w.pt", {"transform_input": False}, "Small says itself"),
        ("{own}:ready", None, {"weights_key": "ema"}, "give --weights"),
    ],
)
def test_options_where_they_have_no_meaning(
    own: str, model: str, weights: str | None, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_network(model.replace("{own}", own), weights, **options)


def test_torchvision_file_of_another_network(tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="of another shape"):
        load_network("torchvision:squeezenet1_0", str(tmp_path / "w.pt"))


def test_weights_are_not_rounded_by_a_factory_of_half_precision(own: str, tmp_path: Path) -> None:
    weight = torch.full((4, 3, 1, 1), 1 / 3)
    torch.save(small_state(**{"conv.weight": weight}), tmp_path / "w.pt")
    loaded = load_network(f"{own}:ready", str(tmp_path / "w.pt"))
    assert torch.equal(loaded.module.get_parameter("conv.weight"), weight)


def test_weights_that_are_computed_from_others_are_computed_once(own: str, tmp_path: Path) -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1)).eval()
    names = {f"{layer}.weight": f"{layer}.parametrizations.weight.original" for layer in (0, 3)}
    torch.save({names.get(name, name): value for name, value in plain.state_dict().items()}, tmp_path / "w.pt")
    loaded = load_network(f"{own}:Halved", str(tmp_path / "w.pt"))
    with torch.no_grad():
        for layer in (plain[0], plain[3]):
            layer.weight.div_(2)
    check_same_outputs(loaded.module, plain, 4)
    assert loaded.module.state_dict().keys() == plain.state_dict().keys()
    assert [layer.name for layer in trace_network(loaded.module, (), (3, 4, 4)).layer_graph.layers] == ["2", "3"]


def test_the_key_of_a_file_reaches_the_weights(own: str, tmp_path: Path) -> None:
    other = small_state(**{"norm.bias": torch.ones(4)})
    torch.save({"model": small_state(), "ema": other}, tmp_path / "w.pt")
    loaded = load_network(f"{own}:Small", str(tmp_path / "w.pt"), "ema")
    assert torch.equal(loaded.module.get_parameter("norm.bias"), torch.ones(4))


class Pair(nn.Module):
    """What the message advises for a single output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x), x], 1)


def test_a_single_output_needs_a_partner() -> None:
    network = nn.Sequential(nn.Conv2d(3, 1, 4), nn.Flatten())
    with pytest.raises(
        ModelError, match=r"shape \(1, 1\): a single number .*torch\.cat\(\[torch\.zeros_like\(x\), x\], 1\)"
    ):
        n_outputs(network, (3, 4, 4))
    assert n_outputs(nn.Sequential(network, Pair()), (3, 4, 4)) == 2


def test_outputs_that_are_no_classes() -> None:
    with pytest.raises(ModelError, match=r"shape \(1, 3, 4, 4\)"):
        n_outputs(nn.ReLU(), (3, 4, 4))
    with pytest.raises(ModelError, match="doesn't run"):
        n_outputs(nn.Conv2d(1, 1, 1), (3, 4, 4))


def test_shared_weights(shared_data: Path) -> None:
    models = shared_data / "models"
    loaded = load_network(f"{models}/tinyvgg.py:TinyVGG", f"{models}/tinyvgg_cnnexplainer.safetensors")
    assert n_outputs(loaded.module, (3, 64, 64)) == 10
    squeezenet = load_network("torchvision:squeezenet1_0", f"{models}/squeezenet1_0_deepcompression.safetensors")
    assert n_outputs(squeezenet.module, (3, 64, 64)) == 1000
