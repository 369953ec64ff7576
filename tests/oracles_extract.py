"""What one pass over `networks.TinyInception` must give, in float64, written out by hand."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from summit_dask.facts.layergraph import Convolution
from summit_dask.facts.preprocessing import Preprocessing
from tests.networks import TinyInception
from tests.oracles_influence import influences

Float64 = NDArray[np.float64]


@dataclass
class Pass:
    maps: dict[str, Float64]  # layer -> (image, y, x, channel)
    influence: dict[str, Float64]  # hop -> (image, target, source)
    probabilities: Float64


def normalised(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> torch.Tensor:
    values = (pixels / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    return torch.from_numpy(values.transpose(0, 3, 1, 2))


def channels_last(value: torch.Tensor) -> Float64:
    return value.permute(0, 2, 3, 1).numpy()


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Float64:
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (convolution.weight * scale[:, None, None, None]).numpy()


@torch.no_grad()
def one_pass(network: TinyInception, pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> Pass:
    """The stem, the two modules with the pooling between them, and every hop of the upper one."""
    network = copy.deepcopy(network).double().eval()
    upper = network.upper
    lower = network.lower(network.stem(normalised(pixels, preprocessing)))
    below = network.pool(lower)
    maps = {"lower": channels_last(lower), "upper": channels_last(upper(below))}
    hops = {
        "upper.one.0.weight": (below, folded(upper.one[0], upper.one[1]), Convolution()),
        "upper.three.0.weight": (below, upper.three[0].weight.numpy(), Convolution()),
        "upper.three.2.weight": (
            upper.three[1](upper.three[0](below)),
            upper.three[2].weight.numpy(),
            Convolution((3, 3), padding=(1, 1)),
        ),
        "upper.pooled.1.weight": (upper.pooled[0](below), upper.pooled[1].weight.numpy(), Convolution()),
    }
    influence = {name: influences(channels_last(value), *kernel) for name, (value, *kernel) in hops.items()}
    logits = network.classify(network.flatten(network.average(upper(below))))
    return Pass(maps, influence, logits.softmax(1).numpy())
