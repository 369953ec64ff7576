"""A whole run of a real network over a few real photographs, against plain torch."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed import Client
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms

from summit_dask import attribution_graph, open_store
from summit_dask.facts.config import RunConfig
from summit_dask.questions.verify import verify_store
from tests.runs import run_here

N_CLASSES, PER_CLASS = 12, 2


#: Of a real network over real images.
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def config(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, client: Client) -> RunConfig:
    """A finished run of GoogLeNet over a slice of ImageNet's validation images."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "images").mkdir()
    for place in sorted((shared_data / "images" / "imagenet_val").iterdir())[::10][:N_CLASSES]:
        (folder / "images" / place.name).symlink_to(place)
    config = RunConfig.of(
        {
            "model": f"{shared_data}/models/googlenet_bvlc.py:GoogLeNetBVLC",
            "weights": str(shared_data / "models" / "googlenet_bvlc.safetensors"),
            "classes": str(shared_data / "imagenet_classes.json"),
            "images": folder / "images",
            "images_per_class": PER_CLASS,
            "examples": 1,
            "out": folder / "store.zarr",
        }
    )
    run_here(config, client)
    return config


@pytest.fixture(scope="module")
def logits(shared_data: Path, config: RunConfig) -> NDArray[np.float32]:
    """Plain torch over the same files, with torchvision's transforms."""
    models = shared_data / "models"
    found = importlib.util.spec_from_file_location("plain_googlenet", models / "googlenet_bvlc.py")
    assert found is not None and found.loader is not None
    plain = importlib.util.module_from_spec(found)
    found.loader.exec_module(plain)
    module = plain.GoogLeNetBVLC().eval()
    module.load_state_dict(load_file(models / "googlenet_bvlc.safetensors"))
    ready = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    paths = open_store(config.out)["images/path"].values.tolist()
    images = torch.stack([ready(Image.open(config.images / path).convert("RGB")) for path in paths])
    with torch.inference_mode():
        return module(images).numpy()


def test_predictions_are_those_of_plain_torch(config: RunConfig, logits: Any, shared_data: Path) -> None:
    tree = open_store(config.out)
    probabilities = torch.from_numpy(logits).softmax(1).numpy()
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(tree["images/predicted"].values, best)
    stored = tree["images/probability"].values
    np.testing.assert_allclose(stored, np.take_along_axis(probabilities, best, 1), rtol=1e-3, atol=1e-6)
    table = {row["synset"]: row["index"] for row in json.loads((shared_data / "imagenet_classes.json").read_text())}
    own = np.array([table[path.split("/")[0]] for path in tree["images/path"].values.tolist()])
    right = (best[:, 0] == own).reshape(N_CLASSES, PER_CLASS).sum(1)
    assert tree["classes/n_correct"].values.tolist() == right.tolist() and right.sum() > N_CLASSES
    true = probabilities[np.arange(len(own)), own]
    np.testing.assert_allclose(tree["images/true_probability"].values, true, rtol=1e-3, atol=1e-6)


def test_verify_finds_nothing_wrong(config: RunConfig) -> None:
    report = verify_store(config.out, 3)
    assert report.right, "\n".join(report.lines())


def test_every_class_has_a_graph_through_all_layers(config: RunConfig) -> None:
    tree = open_store(config.out)
    layers = [layer["name"] for layer in tree.attrs["layer_graph"]["layers"] if layer["visible"]]
    assert len(layers) == 10  # and the class itself
    for name in tree["class"].values[:3].tolist():
        graph = attribution_graph(tree, name)
        assert {channel.layer for channel in graph} == set(layers)
        assert graph.number_of_edges() >= 8
        counts = [count for _, count in graph.nodes(data="count")]
        assert min(counts) >= 0 and max(counts) <= PER_CLASS
