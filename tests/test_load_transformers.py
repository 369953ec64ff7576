"""Folders of Hugging Face's: the network, its images and outputs, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn

from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import ConfigError, ModelError, WeightsError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import decode
from summit_dask.network.load import find_network, load_network
from tests.loading import check_same_outputs, loaded, random_network

torch.set_num_threads(1)

NAMES = ["ant", "bee", "cat", "dog", "elk"]
LABELS: dict[str, Any] = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
SIZES: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], **LABELS}
SMALL = transformers.ResNetConfig(layer_type="basic", **SIZES)


def saved(folder: Path, config: Any = SMALL, processor: Any = None, dtype: torch.dtype = torch.float32) -> nn.Module:
    network = random_network(lambda: transformers.AutoModelForImageClassification.from_config(config))
    network.to(dtype).save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return network.float()


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        transformers.RegNetConfig(groups_width=4, **SIZES),
        transformers.ConvNextConfig(num_stages=2, hidden_sizes=[8, 16], depths=[1, 1], **LABELS),
        transformers.MobileNetV1Config(depth_multiplier=0.25, **LABELS),
        transformers.MobileNetV2Config(depth_multiplier=0.25, **LABELS),
    ],
    ids=lambda config: type(config).__name__,
)
def test_a_folder_gives_what_transformers_gives(tmp_path: Path, config: Any) -> None:
    original = saved(tmp_path, config)
    found = find_network(f"transformers:{tmp_path}", None)
    assert (found.preprocessing, found.categories) == (None, tuple(NAMES))
    network = load_network(found, (3, 64, 64))
    check_same_outputs(network.module, original, 64)
    assert (network.n_outputs, network.notes) == (5, ())
    assert list(network.module.state_dict()) == list(original.state_dict())


def test_half_precision_is_said(tmp_path: Path) -> None:
    original = saved(tmp_path, dtype=torch.bfloat16)
    network = loaded(f"transformers:{tmp_path}", "DEFAULT", (3, 64, 64))
    check_same_outputs(network.module, original, 64)
    assert network.notes == ("The weights are stored as bfloat16; all is computed in float32.",)


@pytest.mark.parametrize(
    "processor",
    [
        transformers.ConvNextImageProcessor(size={"shortest_edge": 40}, resample=2),
        transformers.ConvNextImageProcessor(size={"shortest_edge": 384}),
        transformers.MobileNetV2ImageProcessor(
            size={"shortest_edge": 48}, crop_size={"height": 32, "width": 40}, image_mean=[0.1, 0.2, 0.3]
        ),
        transformers.ViTImageProcessor(size={"height": 32, "width": 48}, image_std=[0.1, 0.2, 0.3], resample=3),
        transformers.ViTImageProcessor(size={"height": 32, "width": 32}, do_rescale=False, do_normalize=False),
        transformers.ViTImageProcessor(size={"height": 32, "width": 32}, rescale_factor=1 / 127.5, image_mean=1.0),
        transformers.EfficientNetImageProcessor(size={"height": 32, "width": 32}, image_std=[0.5, 0.6, 0.7]),
    ],
    ids=["convnext", "convnext squashed", "mobilenet", "vit", "as it is", "other factor", "efficientnet"],
)
def test_images_are_prepared_as_the_folder_says(tmp_path: Path, processor: Any) -> None:
    """Up to what torchvision's resizing of tensors rounds otherwise than Pillow's."""
    saved(tmp_path / "net", processor=processor)
    corners = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(corners).resize((500, 420), Image.Resampling.BICUBIC).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        expected = processor(image, return_tensors="np")["pixel_values"][0]
    preset = find_network(f"transformers:{tmp_path / 'net'}", None).preprocessing
    ours = Preprocessing.of(RunConfig.of({"model": "m", "images": "i", "out": "o"}), preset)
    levels = decode(ours, tmp_path / "x.png").transpose(2, 0, 1)
    mean, std = (np.array(values)[:, None, None] for values in (ours.mean, ours.std))
    assert levels.shape == expected.shape
    np.testing.assert_allclose(levels, (expected * std + mean) * 255, atol=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": {"longest_edge": 40}}, "can't be followed: .*longest_edge"),
        ({"image_processor_type": "NoSuchProcessor"}, "can't be followed: "),
        (
            {"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True},
            "do_flip_channel_order, which there is no option for",
        ),
    ],
)
def test_preprocessing_that_cannot_be_followed(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    saved(tmp_path, processor=transformers.ViTImageProcessor())
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ModelError, match=message):
        find_network(f"transformers:{tmp_path}", None)


def test_weights_that_transformers_would_draw_at_random(tmp_path: Path) -> None:
    transformers.ResNetModel(SMALL).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"2 missing \(classifier\.1\.bias, classifier\.1\.weight\)"):
        find_network(f"transformers:{tmp_path}", None)


@pytest.mark.parametrize(
    ("files", "options", "error", "message"),
    [
        ({}, {}, ModelError, "no config.json in .*save_pretrained"),
        ({"config.json": "{"}, {}, ModelError, "can't load an image classifier"),
        ({"config.json": '{"model_type": "bert"}'}, {}, ModelError, "can't load an image classifier"),
        ({"config.json": '{"model_type": "resnet"}'}, {}, ModelError, "can't load .*model.safetensors"),
        ({"config.json": "{}"}, {"weights_key": "ema"}, ConfigError, "has its weights in its folder"),
    ],
)
def test_folders_that_are_none(
    tmp_path: Path, files: dict[str, str], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=message):
        find_network(f"transformers:{tmp_path}", None, **options)
    with pytest.raises(ConfigError, match="has its weights in its folder"):
        find_network(f"transformers:{tmp_path}", "w.pt")
