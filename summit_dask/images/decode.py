"""From an image file to pixels: opened in the network's colours, resized and cropped as torchvision does it."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

from summit_dask.facts.preprocessing import Preprocessing


def open_image(preprocessing: Preprocessing, path: Path) -> Image.Image:
    """Picture of an image file in the colours that the network takes, neither resized nor cropped.

    Raises
    ------
    Exception
        Whatever Pillow raises for a file that it can't read.
    """
    with Image.open(path) as image:
        return _plain_mode(image).convert("RGB" if len(preprocessing.mean) == 3 else "L")


def decode(preprocessing: Preprocessing, path: Path) -> UInt8[np.ndarray, "height width colour"]:
    """Pixels of an image file, resized and cropped.

    Raises
    ------
    Exception
        Whatever Pillow raises for a file that it can't read.
    """
    picture = open_image(preprocessing, path)
    if preprocessing.resize is not None:
        picture = functional.resize(picture, [preprocessing.resize], InterpolationMode.BILINEAR, antialias=True)
    pixels = np.asarray(functional.center_crop(picture, list(preprocessing.crop)))
    return pixels.reshape(*preprocessing.crop, len(preprocessing.mean))


def _plain_mode(image: Image.Image) -> Image.Image:
    """Sixteen-bit grey is scaled to eight bits, where Pillow would clip it; transparent palettes lose theirs."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
