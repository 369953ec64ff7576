"""Pixels as a network takes them: whole batches, scaled to 0 to 1, less the mean, over the deviation of each colour."""

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from summit_dask.facts.preprocessing import Preprocessing


class Normaliser:
    """Makes batches for one network.

    Parameters
    ----------
    batch_size
        Images that the network takes, no more and no less.
    device
        Where it is.
    """

    def __init__(self, preprocessing: Preprocessing, batch_size: int, device: torch.device) -> None:
        self._shape = (batch_size, *preprocessing.input_size)
        self._device = device
        self._mean, self._std = (
            torch.tensor(part, device=device).view(1, -1, 1, 1) for part in (preprocessing.mean, preprocessing.std)
        )

    def __call__(
        self, batch: UInt8[Tensor, "image height width colour"]
    ) -> Float32[Tensor, "image colour height width"]:
        """On the device, channels first."""
        colours = batch.to(self._device).permute(0, 3, 1, 2).float().div_(255)
        return colours.sub_(self._mean).div_(self._std)

    def whole(
        self, pixels: UInt8[np.ndarray, "some height width colour"]
    ) -> UInt8[Tensor, "image height width colour"]:
        """In main memory, filled up with zeros where images are missing."""
        missing = self._shape[0] - len(pixels)
        return torch.from_numpy(np.pad(pixels, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else pixels)

    def nothing(self) -> UInt8[Tensor, "image height width colour"]:
        """A whole batch of zeros."""
        batch_size, colours, height, width = self._shape
        return torch.zeros((batch_size, height, width, colours), dtype=torch.uint8)
