"""timm's networks: weights from files and folders, what is known of images and outputs, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import timm.data
import timm.models
import torch
from safetensors.torch import save_file
from torch import nn

from summit_dask.facts.errors import ConfigError, ModelError, WeightsError
from summit_dask.network.load import find_network
from tests.loading import check_same_outputs, loaded, random_network

torch.set_num_threads(1)

SMALL = "test_resnet.r160_in1k"


def network(name: str, **options: Any) -> nn.Module:
    return random_network(lambda: timm.create_model(name, **options))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("test_efficientnet", id="depthwise"),
        pytest.param("test_nfnet", id="standardised weights"),
        pytest.param("test_convnext", id="channels last"),
        pytest.param("resnetblur18", id="blur pooling in buffers that no file holds"),
        pytest.param("dla46x_c", id="convolution at the end"),
    ],
)
def test_a_file_gives_what_timm_gives(tmp_path: Path, name: str) -> None:
    original = network(name, num_classes=7)
    torch.save({"epoch": 3, "model": {f"module.{key}": t for key, t in original.state_dict().items()}}, tmp_path / "w")
    made = loaded(f"timm:{name}", tmp_path / "w", (3, 64, 64))
    check_same_outputs(made.module, original, 64)
    assert made.n_outputs == 7


def test_original_layouts_are_converted(tmp_path: Path) -> None:
    """Facebook's ConvNeXt, whose names timm changes: downsample_layers and stages beside each other."""
    original = network("convnext_atto", num_classes=5)
    theirs = {facebooks(name): tensor for name, tensor in original.state_dict().items()}
    assert not theirs.keys() & original.state_dict().keys() - {"head.weight"}
    torch.save({"model": theirs}, tmp_path / "w.pt")
    made = loaded("timm:convnext_atto", tmp_path / "w.pt", (3, 64, 64))
    check_same_outputs(made.module, original, 64)


def facebooks(name: str) -> str:
    for own, theirs in (("stem.", "downsample_layers.0."), ("mlp.fc", "pwconv"), ("conv_dw", "dwconv")):
        name = name.replace(own, theirs)
    for stage in "123":
        name = name.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
    return name.replace(".blocks.", ".").replace("head.norm.", "norm.").replace("head.fc.", "head.")


def test_half_precision_is_said(tmp_path: Path) -> None:
    original = network(SMALL, num_classes=5).half()
    save_file(original.state_dict(), tmp_path / "w.safetensors")
    made = loaded(f"timm:{SMALL}", tmp_path / "w.safetensors", (3, 64, 64))
    check_same_outputs(made.module, original.float(), 64)
    assert made.notes == ("The weights are stored as float16; all is computed in float32.",)


def test_weights_of_timm_s_own_come_with_their_preprocessing_and_names(tmp_path: Path) -> None:
    """A folder as a hub's repositories are, read by timm itself."""
    original = network(SMALL, num_classes=5)
    config = {"input_size": (3, 96, 128), "crop_pct": 0.9, "crop_mode": "border", "interpolation": "lanczos"}
    original.pretrained_cfg |= {**config, "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5)}
    names = ["a", "b", "c", "d", "e"]
    timm.models.save_for_hf(original, tmp_path, model_config={"label_names": names})
    model = f"timm:local-dir:{tmp_path}"
    check_same_outputs(loaded(model, "DEFAULT", (3, 64, 64)).module, original, 64)
    found = find_network(model, "DEFAULT")
    assert found.preprocessing == {
        "resize": (106, 142),
        "crop": (96, 128),
        "mean": (0.1, 0.2, 0.3),
        "std": (0.5, 0.5, 0.5),
        "interpolation": "lanczos",
        "crop_mode": "border",
    }
    assert found.categories == tuple(names)


def test_preprocessing_is_the_tag_s(tmp_path: Path) -> None:
    torch.save(network("resnet18").state_dict(), tmp_path / "w.pt")
    sizes = [
        find_network(f"timm:resnet18.{tag}", str(tmp_path / "w.pt")).preprocessing["resize"]
        for tag in ("a1_in1k", "tv_in1k")
    ]
    assert sizes == [(235, 235), (256, 256)]


def test_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    with pytest.raises(
        WeightsError, match=r"can't be had: ConnectionError: no route.*timm:local-dir:FOLDER.*--weights"
    ):
        find_network(f"timm:{SMALL}", "DEFAULT")


@pytest.mark.parametrize(
    ("model", "weights", "options", "error", "message"),
    [
        ("timm:resnet81", "DEFAULT", {}, ModelError, "Did you mean 'resnet18'"),
        ("timm:resnet18.a1", "DEFAULT", {}, ModelError, "no weights 'a1' of resnet18.*a1_in1k"),
        ("timm:timm/resnet18", "DEFAULT", {}, ModelError, "timm:hf-hub:timm/resnet18"),
        ("timm:hub:x", "DEFAULT", {}, WeightsError, "timm:hub:x can't be had"),
        ("timm:local-dir:/nowhere", "DEFAULT", {}, WeightsError, "config file|Config file"),
        ("timm:resnet18", None, {}, WeightsError, "random weights shows nothing"),
        ("timm:resnet18", "w.pt", {}, WeightsError, "'w.pt' of timm:resnet18 are neither a file nor DEFAULT"),
        ("timm:resnet18", "DEFAULT", {"weights_key": "ema"}, ConfigError, "for weights from a file"),
        ("timm:resnet18", "DEFAULT", {"transform_input": True}, ConfigError, "for torchvision's networks"),
    ],
)
def test_what_timm_does_not_have(
    model: str, weights: str | None, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        find_network(model, weights, **options)


def test_a_file_of_another_network(tmp_path: Path) -> None:
    torch.save(network("resnet18", num_classes=5).state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"don't fit the network, .* missing"):
        find_network("timm:resnet26", str(tmp_path / "w.pt"))


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"timm can't be imported.*pip install 'summit-dask\[zoo\]'"):
        find_network("timm:resnet18", "DEFAULT")
