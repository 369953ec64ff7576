"""Tiny networks and image sets, made on the spot."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from summit_dask.facts.config import RunConfig

CLASSES = ("ant", "bee", "cat")
SIDE = 24


class TinyInception(nn.Module):
    """Two inception modules behind a stem; three outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.lower = Block(6, 4)
        self.pool = nn.MaxPool2d(2)
        self.upper = Block(12, 5)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classify = nn.Linear(15, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


class Block(nn.Module):
    """1x1, 3x3 behind a bottleneck, pooling and 1x1."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.three = nn.Sequential(
            nn.Conv2d(inputs, width, 1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
        )
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(inputs, width, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.pooled(x)], 1)


def write_images(folder: Path, per_class: int = 30, seed: int = 0) -> Path:
    """Folders of noisy coloured squares, one colour a class."""
    random = np.random.default_rng(seed)
    for place, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            pixels = random.integers(0, 90, (SIDE, SIDE + 2, 3))
            top, left = random.integers(0, SIDE // 2, 2)
            pixels[top : top + 10, left : left + 10, place] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:03}.png")
    return folder


def write_weights(path: Path, seed: int = 0) -> Path:
    """Random weights of the network, batch norm with statistics of its own."""
    torch.manual_seed(seed)
    network = TinyInception()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.weight, -1.5, 1.5)
    save_file(network.state_dict(), path)
    return path


def write_classes(path: Path) -> Path:
    """Table of the network's outputs, in another order than the folders."""
    rows = [{"index": 2 - i, "synset": f"s{i}", "name": name} for i, name in enumerate(CLASSES)]
    path.write_text(json.dumps(rows))
    return path


def tiny_config(folder: Path, **changes: object) -> RunConfig:
    """A whole run on tiny things in a folder; makes what is missing."""
    if not (folder / "images").exists():
        write_images(folder / "images")
        write_weights(folder / "weights.safetensors")
        write_classes(folder / "classes.json")
    return RunConfig.of(
        {
            "model": "tests.networks:TinyInception",
            "weights": str(folder / "weights.safetensors"),
            "images": folder / "images",
            "classes": str(folder / "classes.json"),
            "resize": "none",
            "crop": SIDE,
            "batch_size": 8,
            "workers": 1,
            "out": folder / "store.zarr",
            **changes,
        }
    )
