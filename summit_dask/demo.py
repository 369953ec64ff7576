"""The demo: a small inception network, trained on the spot on handwritten digits, then a run like any other.

The images are scikit-learn's digits (1797 pictures of 8 x 8 grey values, UCI's optical recognition of
handwritten digits), written out as PNG files of 32 x 32.
"""

import csv
import json
import time
from pathlib import Path
from typing import no_type_check

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from summit_dask.facts.config import ClusterOptions, RunConfig
from summit_dask.facts.errors import StoreError
from summit_dask.facts.location import Location
from summit_dask.store.progress import duration, say

SIDE = 32
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MEAN, STD = 0.3, 0.37
HELD_OUT_EVERY = 5
EPOCHS = 12
BATCH = 64
GOAL = 0.97

#: Images of each half of a class that test its graph.
TESTED = 25


class ConvBlock(nn.Sequential):
    """Convolution that keeps the size, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False))
        self.add_module("norm", nn.BatchNorm2d(outputs))
        self.add_module("relu", nn.ReLU())


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3 and 5x5 behind bottlenecks, pooling."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch_1x1 = ConvBlock(inputs, width, 1)
        self.branch_3x3 = nn.Sequential(ConvBlock(inputs, width, 1), ConvBlock(width, width, 3))
        self.branch_5x5 = nn.Sequential(ConvBlock(inputs, half, 1), ConvBlock(half, half, 5))
        self.branch_pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvBlock(inputs, half, 1))
        self.channels = 3 * width

    @no_type_check  # torch.fx passes stand-ins for tensors
    def forward(self, x: Tensor) -> Tensor:
        """Concatenation of the branches: (image, 3 * width, height, width)."""
        return torch.cat([self.branch_1x1(x), self.branch_3x3(x), self.branch_5x5(x), self.branch_pool(x)], 1)


class DigitNetwork(nn.Module):
    """A small inception network for grey images of 32 x 32 and ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBlock(1, 16, 5)
        self.pool1 = nn.MaxPool2d(2)
        self.inception_a = Inception(16, 16)
        self.pool2 = nn.MaxPool2d(2)
        self.inception_b = Inception(48, 24)
        self.inception_c = Inception(72, 24)
        self.pool3 = nn.MaxPool2d(2)
        self.inception_d = Inception(72, 32)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classify = nn.Linear(96, 10)

    @no_type_check
    def forward(self, x: Tensor) -> Tensor:
        """Logits (image, 10) of normalised images (image, 1, 32, 32)."""
        for part in self.children():
            x = part(x)
        return x


def make_demo(folder: Path, workers: int | None = None) -> Location:
    """Write the digits, train the network, run all stages, test the graphs, make pictures; what exists is kept.

    Parameters
    ----------
    folder
        Where images, weights, configuration and the store go.
    workers
        Processes of the local cluster; None: one a core.

    Returns
    -------
    Path
        The store.
    """
    from summit_dask.arrays import pictures
    from summit_dask.stages import pipeline
    from summit_dask.stages.evidence import make_evidence
    from summit_dask.stages.pictures import make_pictures
    from summit_dask.store import evidence

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"Can't make the folder {folder}: {error.strerror}. Choose another --out.") from error
    pixels, labels = digits()
    if not (folder / "digits.csv").exists():
        write_images(folder, pixels, labels)
    if not (folder / "digits.safetensors").exists():
        train(folder / "digits.safetensors", pixels, labels)
    config = demo_config(folder).replaced(workers=workers)
    store = pipeline.run(config)
    where = ClusterOptions(workers=workers)
    make_evidence(store, evidence.Settings(images=TESTED), where)
    make_pictures(store, "graphs", ("channel",), pictures.Settings(), where)
    return store


def demo_config(folder: Path) -> RunConfig:
    """The demo's options, with all paths in `folder`."""
    return RunConfig.of(
        {
            "model": "summit_dask.demo:DigitNetwork",
            "weights": str(folder / "digits.safetensors"),
            "images": folder / "digits.csv",
            "classes": str(folder / "classes.json"),
            "resize": "none",
            "crop": SIDE,
            "mean": [MEAN],
            "std": [STD],
            "batch_size": 32,
            "mass": 0.1,  # the layers are narrow: 48 to 96 channels
            "p": 0.2,
            "out": folder / "digits.zarr",
        }
    )


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (image, 32, 32) and labels (image,) of the handwritten digits."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = (bunch.images * (255 / 16)).round().astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in small]
    return np.stack(large), bunch.target.astype(np.int64)


def held_out(count: int) -> NDArray[np.bool_]:
    """Which images the network never sees in training: every fifth."""
    return np.equal(np.arange(count) % HELD_OUT_EVERY, 0)


def write_images(folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """One PNG file an image in class folders, a manifest that says which are held out, a table of the outputs."""
    rows = [("path", "label", "split")]
    split = np.where(held_out(len(labels)), "held-out", "train")
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = Path("digits", str(label), f"{number:04}.png")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / path)
        rows.append((path.as_posix(), str(label), str(split[number])))
    outputs = [{"index": i, "folder": str(i), "synset": "", "name": name} for i, name in enumerate(NAMES)]
    (folder / "classes.json").write_text(json.dumps(outputs, indent=1))
    with (folder / "digits.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def train(path: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Train the network, save its weights, return its accuracy on the held-out images."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # batches are small; a second thread gains little and costs much on a busy machine
    start = time.monotonic()
    say(f"Training a small inception network on {len(labels)} handwritten digits …")
    inputs = ((torch.from_numpy(pixels).float() / 255 - MEAN) / STD)[:, None].contiguous(
        memory_format=torch.channels_last
    )
    targets, kept = torch.from_numpy(labels), torch.from_numpy(held_out(len(labels)))
    network = DigitNetwork().to(memory_format=torch.channels_last)
    _fit(network, inputs[~kept], targets[~kept])
    accuracy = _accuracy(network, inputs[kept], targets[kept])
    say(f"Trained in {duration(time.monotonic() - start)}; {accuracy:.1%} of the held-out digits are right.")
    if accuracy < GOAL:
        say(f"That is less than the {GOAL:.0%} expected; the graphs will still show what the network learned.")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return accuracy


def _fit(network: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    steps = EPOCHS * -(-len(inputs) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    network.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            loss = nn.functional.cross_entropy(network(_shifted(inputs[batch])), targets[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def _shifted(images: Tensor) -> Tensor:
    """Up to two pixels in any direction, so that the network doesn't learn places by heart."""
    down, right = (int(torch.randint(-2, 3, ())) for _ in range(2))
    return images.roll((down, right), (2, 3))


def _accuracy(network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    network.eval()
    with torch.inference_mode():
        return float((network(inputs).argmax(1) == targets).float().mean())
