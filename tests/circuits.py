"""A network built by hand, whose circuits are known: a chain of channels for each class, and channels that do nothing.

red   ── stem 4 ── middle 1 ── top 6 ── logit 2 (ant)
green ── stem 2 ── middle 7 ── top 3 ── logit 1 (bee)
blue  ── stem 5 ── middle 4 ── top 0 ── logit 0 (cat)
noise ── stem 0, 7: a little active on every image, read by nobody; all other channels are dead
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from summit_dask.facts.config import RunConfig
from tests.networks import CLASSES, tiny_config

CHANNELS = 32
LAYERS = ("stem", "middle", "top")

#: Of each class: its channel in each layer.
CIRCUITS = {"ant": (4, 1, 6), "bee": (2, 7, 3), "cat": (5, 4, 0)}
NOISE = (0, 7)


class Chains(nn.Module):
    """See above. An image's own colour is above 0.5 in its square, every other colour below."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, CHANNELS, 1), nn.ReLU())
        self.middle = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU())
        self.top = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU())
        self.classify = nn.Linear(CHANNELS, len(CLASSES))
        self._set_weights()

    @torch.no_grad()
    def _set_weights(self) -> None:
        for parameter in self.parameters():
            parameter.zero_()
        for colour, name in enumerate(CLASSES):
            stem, middle, top = CIRCUITS[name]
            self.stem[0].weight[stem, colour] = 4.0
            self.stem[0].bias[stem] = -2.0
            self.middle[0].weight[middle, stem] = 1.0
            self.top[0].weight[top, middle] = 1.0
            self.classify.weight[len(CLASSES) - 1 - colour, top] = 5.0
        self.stem[0].bias[list(NOISE)] = 0.01

    def forward(self, x: Tensor) -> Tensor:
        maps = self.top(self.middle(self.stem(x)))
        logits: Tensor = self.classify(maps.mean((2, 3)))
        return logits


def chains_config(folder: Path) -> RunConfig:
    """A whole run on it."""
    return tiny_config(
        folder,
        model="tests.circuits:Chains",
        weights=None,
        layers=LAYERS,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        contributions=True,
    )
