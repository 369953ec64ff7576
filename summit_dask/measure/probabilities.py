"""Whether a network's outputs are probabilities already, or logits that a softmax makes into some."""

import torch
from jaxtyping import Float
from torch import Tensor, fx

from summit_dask.network.operations import Kind, kind, operation

#: Contrasts of the images that a network is tried on: grey, ordinary, and twice as strong.
CONTRASTS = (0.0, 1.0, 2.0)

#: Allowed difference of a sum of probabilities from 1; outputs may have been rounded to half precision.
ROUNDING = 1e-3

_SIGMOIDS = frozenset({"sigmoid", "hardsigmoid"})


def gives_probabilities(module: fx.GraphModule, shape: tuple[int, int, int, int], device: torch.device) -> bool:
    """Whether a network's outputs are probabilities: a distribution over its classes, or a sigmoid of each.

    A distribution is told by its values, non-negative and of sum 1 for every image, however it is made: a softmax at
    the end or somewhere before it, a mean of several, a pair x and 1 - x. Sigmoids of single classes have no such
    sign, so they are looked for among the operations. (Logarithms of probabilities count as logits; softmax gives the
    probabilities back.)

    Parameters
    ----------
    module
        A traced network in eval mode.
    shape
        Of the batch that it takes: (image, colour, y, x).
    device
        Where the network is.
    """
    with torch.inference_mode():
        return _ends_in_sigmoid(module.graph.output_node()) or all(
            _is_distribution(module(images.to(device))) for images in _batches(shape)
        )


def _batches(shape: tuple[int, int, int, int]) -> tuple[Float[Tensor, "image colour height width"], ...]:
    """As few batches as hold an image of each contrast; later images of a batch begin with the contrasts again."""
    n_images = -(-len(CONTRASTS) // shape[0]) * shape[0]
    contrasts = torch.tensor(CONTRASTS).repeat(n_images)[:n_images, None, None, None]
    generator = torch.Generator().manual_seed(0)
    images = contrasts * torch.randn((n_images, *shape[1:]), generator=generator)
    return torch.split(images, shape[0])


def _is_distribution(outputs: Tensor) -> bool:
    return bool((outputs >= 0).all() and ((outputs.sum(1) - 1).abs() < ROUNDING).all())


def _ends_in_sigmoid(output: fx.Node) -> bool:
    node = output.all_input_nodes[0]
    while kind(node) in (Kind.MOVE, Kind.ITEM) and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    return operation(node) in _SIGMOIDS
