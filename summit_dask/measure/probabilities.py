"""Whether a network's outputs are probabilities already, or logits that a softmax makes into some."""

from collections.abc import Iterator

import torch
from torch import Tensor, fx

from summit_dask.network.operations import Kind, kind, operation

#: Contrasts of the images that a network is tried on: grey, ordinary, and twice as strong.
CONTRASTS = (0.0, 1.0, 2.0)

#: Allowed difference of a sum of probabilities from 1; outputs may have been rounded to half precision.
ROUNDING = 1e-3

_SIGMOIDS = frozenset({"sigmoid", "hardsigmoid"})


def gives_probabilities(module: fx.GraphModule, input_size: tuple[int, int, int], device: torch.device) -> bool:
    """Whether a network's outputs are probabilities: a distribution over its classes, or a sigmoid of each.

    A distribution is told by its values, non-negative and of sum 1 for every image, however it is made: a softmax at
    the end or somewhere before it, a mean of several, a pair x and 1 - x. Sigmoids of single classes have no such
    sign, so they are looked for among the operations. (Logarithms of probabilities count as logits; softmax gives the
    probabilities back.)

    Parameters
    ----------
    module
        A traced network in eval mode.
    input_size
        Channels, height and width of an image.
    device
        Where the network is.
    """
    with torch.inference_mode():
        return _ends_in_sigmoid(module) or all(
            _is_distribution(module(image.to(device))) for image in _images(input_size)
        )


def _images(input_size: tuple[int, int, int]) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for contrast in CONTRASTS:
        yield contrast * torch.randn((1, *input_size), generator=generator)


def _is_distribution(outputs: Tensor) -> bool:
    return bool((outputs >= 0).all() and ((outputs.sum(1) - 1).abs() < ROUNDING).all())


def _ends_in_sigmoid(module: fx.GraphModule) -> bool:
    node = module.graph.output_node().all_input_nodes[0]
    while kind(node) in (Kind.MOVE, Kind.ITEM) and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    return operation(node) in _SIGMOIDS
