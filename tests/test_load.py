"""Loading modules of one's own, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from summit_dask.facts.config import ExtractOptions
from summit_dask.facts.errors import ConfigError, ModelError
from summit_dask.network.build import specified
from summit_dask.network.load import find_network
from tests.loading import check_same_outputs, loaded

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

class Half(torch.nn.Module):
    def forward(self, weight):
        return weight / 2

class Halved(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 1),
                         torch.nn.Flatten())
        for layer in (self[0], self[3]):
            torch.nn.utils.parametrize.register_parametrization(layer, "weight", Half())

class Heads(Small):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU(), torch.nn.Conv2d(3, CHANNELS, 1))
    def forward(self, x):
        fine = super().forward(x)
        return {"coarse": fine[:, :2], "fine": fine}

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
    a, b, c = (loaded(f"{own}:Small", tmp_path / n).digest for n in ("a.pt", "b.safetensors", "c.pt"))
    assert len(a) == 64
    assert a == b != c


def test_own_factory_brings_its_weights(own: str) -> None:
    network = loaded(f"{own}:ready")
    assert torch.equal(network.module.get_parameter("conv.weight"), torch.ones(4, 3, 1, 1))  # dtypes must agree too
    assert not network.module.training
    assert network.n_outputs == 4
    assert network.notes == ("The weights are stored as float16; all is computed in float32.",)


def test_package_factory() -> None:
    assert isinstance(find_network("torch.nn:Identity", None).module, nn.Identity)


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
        ("torchvision:googlnet", "Did you mean 'googlenet'"),
    ],
)
def test_models_that_are_none(own: str, model: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        find_network(model.replace("{own}", own), None)


@pytest.mark.parametrize(("text", "error"), [("1 / 0", "ZeroDivisionError"), ("exit(3)", "SystemExit: 3")])
def test_file_that_does_not_import(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ModelError, match=rf"bad\.py can't be imported: {error}"):
        find_network(f"{tmp_path}/bad.py:A", None)


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
        find_network(model.replace("{own}", own), weights, **options)


def test_weights_are_not_rounded_by_a_factory_of_half_precision(own: str, tmp_path: Path) -> None:
    weight = torch.full((4, 3, 1, 1), 1 / 3)
    torch.save(small_state(**{"conv.weight": weight}), tmp_path / "w.pt")
    network = loaded(f"{own}:ready", tmp_path / "w.pt")
    assert torch.equal(network.module.get_parameter("conv.weight"), weight)
    assert network.notes == ()


def test_half_precision_of_a_file_is_said(own: str, tmp_path: Path) -> None:
    state = small_state()
    torch.save({name: t.bfloat16() if t.is_floating_point() else t for name, t in state.items()}, tmp_path / "w.pt")
    network = loaded(f"{own}:Small", tmp_path / "w.pt")
    assert network.notes == ("The weights are stored as bfloat16; all is computed in float32.",)
    assert torch.equal(network.module.get_parameter("conv.weight"), state["conv.weight"].bfloat16().float())


def test_weights_that_are_computed_from_others_are_computed_once(own: str, tmp_path: Path) -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Flatten())
    plain.eval()
    names = {f"{layer}.weight": f"{layer}.parametrizations.weight.original" for layer in (0, 3)}
    torch.save({names.get(name, name): value for name, value in plain.state_dict().items()}, tmp_path / "w.pt")
    network = loaded(f"{own}:Halved", tmp_path / "w.pt")
    with torch.no_grad():
        for layer in (plain[0], plain[3]):
            layer.weight.div_(2)
    check_same_outputs(network.module, plain, 4)
    assert network.module.state_dict().keys() == plain.state_dict().keys()


def test_the_key_of_a_file_reaches_the_weights(own: str, tmp_path: Path) -> None:
    other = small_state(**{"norm.bias": torch.ones(4)})
    torch.save({"model": small_state(), "ema": other}, tmp_path / "w.pt")
    network = loaded(f"{own}:Small", tmp_path / "w.pt", weights_key="ema")
    assert torch.equal(network.module.get_parameter("norm.bias"), torch.ones(4))


def test_the_output_that_was_asked_for_is_part_of_what_decides_the_values(own: str, tmp_path: Path) -> None:
    given = {"model": f"{own}:Heads", "images": tmp_path, "crop": 4}
    coarse, fine = (specified(ExtractOptions.of({**given, "output": name})) for name in ("coarse", "fine"))
    assert (coarse[1].n_outputs, fine[1].n_outputs) == (2, 4)
    assert (coarse[0].output, fine[0].output) == ("coarse", "fine")
    assert coarse[0].facts() != {**fine[0].facts(), "weights": coarse[0].digest[:16]}
    with pytest.raises(ModelError, match="--output coarse"):
        specified(ExtractOptions.of(given))


def test_shared_weights(shared_data: Path) -> None:
    models = shared_data / "models"
    vgg = loaded(f"{models}/tinyvgg.py:TinyVGG", models / "tinyvgg_cnnexplainer.safetensors", (3, 64, 64))
    assert vgg.n_outputs == 10
    file = models / "squeezenet1_0_deepcompression.safetensors"
    assert loaded("torchvision:squeezenet1_0", file, (3, 64, 64)).n_outputs == 1000
