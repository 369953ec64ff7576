"""Loading networks: torchvision's names, files of every kind, and what is refused."""

import pickle
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from safetensors.torch import save_file
from torch import nn

from summit_dask.facts.errors import ModelError, WeightsError
from summit_dask.network.load import load_network, n_outputs
from summit_dask.network.trace import trace_network
from tests.test_trace import random_network

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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", ["safetensors", "plain", "module.", "state_dict"])
def test_weights_files_of_each_form(own: str, tmp_path: Path, form: str, dtype: torch.dtype) -> None:
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in small_state().items()}
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pt")
    if form == "safetensors":
        save_file(state, path)
    elif form == "state_dict":
        torch.save({"epoch": 3, "state_dict": state}, path)
    else:
        torch.save({form.replace("plain", "") + k: v for k, v in state.items()}, path)
    loaded = load_network(f"{own}:Small", str(path))
    assert torch.equal(loaded.module.get_parameter("conv.weight"), state["conv.weight"].float())
    assert not loaded.module.training
    assert (loaded.preprocessing, loaded.categories) == (None, None)


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
    assert loaded.module.get_parameter("conv.weight").dtype == torch.float32
    assert not loaded.module.training
    assert n_outputs(loaded.module, (3, 2, 2)) == 4


def test_package_factory() -> None:
    assert isinstance(load_network("torch.nn:Identity", None).module, nn.Identity)


class Malicious:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_other_pickles_are_refused_and_not_run(own: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    for content in (Malicious(), nn.Conv2d(3, 4, 1)):
        torch.save(content, path)
        with pytest.raises(WeightsError, match=r"refused.*state_dict"):
            load_network(f"{own}:Small", str(path))
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(WeightsError, match="refused"):
        load_network(f"{own}:Small", str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "refused"), (b"no tensors at all", "refused"), ([torch.ones(1)], "holds a list"), ({}, "holds a dict")],
)
def test_files_that_hold_something_else(own: str, tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(WeightsError, match=message):
        load_network(f"{own}:Small", str(path))


def test_broken_safetensors(own: str, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(WeightsError, match="no safetensors"):
        load_network(f"{own}:Small", str(tmp_path / "w.safetensors"))


def test_weights_that_do_not_fit(own: str, tmp_path: Path) -> None:
    state = small_state(**{"conv.weight": torch.ones(5, 3, 1, 1), "fc.weight": torch.ones(1)})
    del state["norm.bias"]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError) as error:
        load_network(f"{own}:Small", str(tmp_path / "w.pt"))
    for part in (
        "1 missing (norm.bias)",
        "1 unexpected (fc.weight)",
        "conv.weight (5, 3, 1, 1) instead of (4, 3, 1, 1)",
    ):
        assert part in str(error.value)


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
    with pytest.raises(WeightsError, match=r"no route.*https://.*squeezenet1_1.*--weights"):
        load_network("torchvision:squeezenet1_1", "DEFAULT")


@pytest.mark.parametrize(("name", "size"), [("googlenet", 32), ("inception_v3", 75)])
def test_torchvision_weights_with_auxiliary_heads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, size: int
) -> None:
    """torchvision's real weights of these two set `transform_input`; by name and as a file they load alike."""
    build = getattr(torchvision.models, name)
    original = random_network(lambda: build(aux_logits=True, transform_input=True, init_weights=False))
    state = original.state_dict()
    assert any(key.startswith(("aux1", "AuxLogits")) for key in state)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    named = load_network(f"torchvision:{name}", "IMAGENET1K_V1")
    torch.save(state, tmp_path / "w.pt")
    file = load_network(f"torchvision:{name}", str(tmp_path / "w.pt"))

    image = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        expected = original(image)
        torch.testing.assert_close(named.module(image), expected)
        torch.testing.assert_close(file.module(image), expected)
    assert named.digest == file.digest
    assert not any("aux" in key.lower() for key in file.module.state_dict())
    assert named.preprocessing == {
        "resize": 256 if name == "googlenet" else 342,
        "crop": 224 if name == "googlenet" else 299,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "interpolation": "bilinear",
    }
    assert file.preprocessing is None
    assert named.categories is not None
    assert (len(named.categories), named.categories[0]) == (1000, "tench")
    assert trace_network(file.module, (), (3, size, size)).layer_graph.visible[-1].channels in (1024, 2048)


def test_file_without_auxiliary_heads_takes_the_image_as_it_is(tmp_path: Path) -> None:
    module = random_network(lambda: torchvision.models.googlenet(aux_logits=False, init_weights=False, num_classes=7))
    state = {
        key: value for key, value in module.state_dict().items() if "num_batches" not in key
    }  # some leave them out
    save_file(state, tmp_path / "w.safetensors")
    loaded = load_network("torchvision:googlenet", str(tmp_path / "w.safetensors"))
    image = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.module(image), module(image))
    assert n_outputs(loaded.module, (3, 32, 32)) == 7


def test_torchvision_file_of_another_network(tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="of another shape"):
        load_network("torchvision:squeezenet1_0", str(tmp_path / "w.pt"))


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
