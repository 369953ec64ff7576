"""torchvision's networks: weights by name and from files, and what is refused."""

import hashlib
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from torch import nn

from summit_dask.facts.config import ExtractOptions
from summit_dask.facts.errors import WeightsError
from summit_dask.facts.run import NetworkSpec
from summit_dask.network.build import built, specified
from summit_dask.network.load import find_network, load_network
from tests.loading import check_same_outputs, loaded, random_network

torch.set_num_threads(1)


def test_random_weights_are_never_used() -> None:
    with pytest.raises(WeightsError, match="IMAGENET1K_V1, DEFAULT"):
        find_network("torchvision:squeezenet1_1", None)


def test_unknown_weights_name() -> None:
    with pytest.raises(WeightsError, match="Did you mean 'IMAGENET1K_V1'"):
        find_network("torchvision:googlenet", "IMAGENET1K_V2")


def test_download_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(WeightsError, match=r"no route.*https://.*squeezenet1_1.*checkpoints"):
        find_network("torchvision:squeezenet1_1", "DEFAULT")


TRANSFORMING = pytest.mark.parametrize(
    ("name", "size"), [("googlenet", 32), pytest.param("inception_v3", 75, id="inception")]
)


def transforming(name: str, **options: Any) -> nn.Module:
    build = getattr(torchvision.models, name)
    return random_network(lambda: build(init_weights=False, **options))


@TRANSFORMING
def test_torchvision_weights_by_name_transform_the_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, size: int
) -> None:
    """torchvision's real weights of these two set `transform_input` and hold auxiliary heads."""
    original = transforming(name, aux_logits=True, transform_input=True)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: original.state_dict())
    found = find_network(f"torchvision:{name}", "IMAGENET1K_V1")
    network = load_network(found, (3, size, size))
    check_same_outputs(network.module, original, size)
    assert not any("aux" in key.lower() for key in network.module.state_dict())
    assert found.transform_input is True
    assert found.preprocessing == {
        "resize": 256 if name == "googlenet" else 342,
        "crop": 224 if name == "googlenet" else 299,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "interpolation": "bilinear",
    }
    assert found.categories is not None
    assert (len(found.categories), found.categories[0]) == (1000, "tench")
    asked = find_network(f"torchvision:{name}", "IMAGENET1K_V1", transform_input=False)
    other = load_network(asked, (3, size, size))
    check_same_outputs(other.module, transforming(name, aux_logits=True), size)
    assert (asked.transform_input, other.digest) == (False, network.digest)


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
        find_network(model, weights)
    found = find_network(model, weights, transform_input=transform_input)
    network = load_network(found, (3, size, size))
    check_same_outputs(network.module, original, size)
    assert found.transform_input is transform_input
    assert (found.preprocessing, found.categories, network.n_outputs) == (None, None, 7)


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
    network = loaded(f"torchvision:{name}", tmp_path / "w.pt", (3, size, size))
    check_same_outputs(network.module, original, size)
    assert find_network(f"torchvision:{name}", str(tmp_path / "w.pt")).transform_input is True
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    assert loaded(f"torchvision:{name}", "DEFAULT", (3, size, size)).digest == network.digest


@pytest.mark.long
def test_a_worker_builds_the_network_that_was_asked_for(tmp_path: Path) -> None:
    """By key and `transform_input` too, which stand in the specification."""
    original = transforming("googlenet", num_classes=7, aux_logits=False, transform_input=True)
    other = {name: tensor + 1 for name, tensor in original.state_dict().items()}
    torch.save({"model": other, "ema": original.state_dict()}, tmp_path / "w.pt")
    given = {"model": "torchvision:googlenet", "weights": str(tmp_path / "w.pt"), "images": tmp_path, "crop": 32}
    spec, _ = specified(ExtractOptions.of({**given, "weights_key": "ema", "transform_input": True}))
    check_same_outputs(built(NetworkSpec(**spec.model_dump()), 2).module, original, 32)
    without = specified(ExtractOptions.of({**given, "weights_key": "ema", "transform_input": False}))[0]
    assert without.digest == spec.digest
    assert without.facts() != spec.facts()


def test_torchvision_addresses_hold_the_start_of_a_digest() -> None:
    """What the file is known by; pinned, so that a change of torchvision's shows."""
    urls = [torchvision.models.get_model_weights(name)["DEFAULT"].url for name in ("googlenet", "inception_v3")]
    assert [url.rpartition("-")[2] for url in urls] == ["1378be20.pth", "0cc3c7bd.pth"]


def test_torchvision_file_of_another_network(tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="of another shape"):
        find_network("torchvision:squeezenet1_0", str(tmp_path / "w.pt"))
