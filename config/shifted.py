"""Shifted copies of a folder of images, to see what a network does with them: blurred and noisy, three strengths each.

    python config/shifted.py imagenet/val shifted
    for name in blur-1 blur-2 blur-4 noise-10 noise-20 noise-40; do
        summit-dask run --config my.yaml --images shifted/$name --out $name.zarr
    done
    summit-dask across clean.zarr blur-*.zarr noise-*.zarr
    summit-dask dashboard .        # Explore: "vs +", the class in another store

Images keep their names and folders, so the stores share their images and classes.
"""

import argparse
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

#: Radius of the blur in pixels, and standard deviation of the noise in steps of 255.
BLURS, NOISES = (1, 2, 4), (10, 20, 40)

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def blurred(image: Image.Image, radius: int) -> Image.Image:
    """A Gaussian blur."""
    return image.filter(ImageFilter.GaussianBlur(radius))


def noisy(image: Image.Image, deviation: int, seed: int) -> Image.Image:
    """Gaussian noise in every pixel and colour, the same for the same seed."""
    values = np.asarray(image, np.float64)
    noise = np.random.default_rng(seed).normal(0, deviation, values.shape)
    return Image.fromarray(np.clip(np.rint(values + noise), 0, 255).astype(np.uint8))


def main() -> None:
    """Write all copies, one folder for each shift."""
    parser = argparse.ArgumentParser(description="Make blurred and noisy copies of a folder of images.")
    parser.add_argument("images", type=Path, help="a folder with a folder for each class")
    parser.add_argument("out", type=Path, help="folder to make")
    given = parser.parse_args()
    files = sorted(file for file in given.images.rglob("*") if file.suffix.lower() in SUFFIXES)
    for done, file in enumerate(files, 1):
        name = file.relative_to(given.images)
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        copies = {f"blur-{radius}": blurred(image, radius) for radius in BLURS}
        seed = zlib.crc32(name.as_posix().encode())
        copies |= {f"noise-{deviation}": noisy(image, deviation, seed) for deviation in NOISES}
        for shift, copy in copies.items():
            target = given.out / shift / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy.save(target, quality=95)
        print(f"\r{done} of {len(files)} images", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
