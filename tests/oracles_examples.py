"""Slow second implementations for `examples`: sorting whole columns, resizing a picture of its own coordinates."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import functional


def strongest(
    value: NDArray[np.float32], position: NDArray[np.int32], class_index: NDArray[Any], k: int
) -> list[list[tuple[float, int, int]]]:
    """(value, image, position) of each channel's k strongest images."""
    images = [n for n in range(len(value)) if class_index[n] >= 0]
    return [
        [
            (float(value[n, c]), n, int(position[n, c]))
            for n in sorted(images, key=lambda n: (-float(value[n, c]), n))[:k]
        ]
        for c in range(value.shape[1])
    ]


def original_rows(original: tuple[int, int], resize: int | None, crop: tuple[int, int]) -> NDArray[np.float64]:
    """Where the centre of each of the input's rows lies in the original; 0 for rows of padding.

    Every pixel of a picture holds the row of its centre; torchvision resizes and crops it.
    """
    rows = (torch.arange(original[0]) + 0.5).view(1, -1, 1).expand(1, *original).double()
    if resize is not None:
        rows = functional.resize(rows, [resize], antialias=False)
    return functional.center_crop(rows, list(crop))[0, :, crop[1] // 2].numpy()


def likeness(maps: NDArray[np.floating[Any]]) -> list[float]:
    """Cosine of the Gram matrices of every pair of pictures' feature maps (picture, channel, y, x)."""
    grams = []
    for picture in maps.astype(np.float64):
        flat = picture.reshape(len(picture), -1)
        grams.append(np.array([[a @ b for b in flat] for a in flat]).ravel())
    return [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for i, a in enumerate(grams) for b in grams[i + 1 :]]


def region(values: NDArray[np.floating[Any]], peak: tuple[int, int], reach: tuple[int, int]) -> set[tuple[int, int]]:
    """Positions of at least half of the peak's value, reached from it step by step, none further away than `reach`."""
    half = values[peak] / 2
    found, waiting = {peak}, [peak]
    while waiting:
        y, x = waiting.pop()
        for other in ((y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
            inside = all(
                0 <= p < n and abs(p - own) <= r for p, n, own, r in zip(other, values.shape, peak, reach, strict=True)
            )
            if inside and other not in found and half > 0 and values[other] >= half:
                found.add(other)
                waiting.append(other)
    return found


def between(values: NDArray[np.floating[Any]], y: float, x: float) -> float:
    """The value between positions, those at the border going on beyond it."""
    y, x = (min(max(p, 0.0), n - 1.0) for p, n in zip((y, x), values.shape, strict=True))
    total = 0.0
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            total += max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x - j)) * float(value)
    return total
