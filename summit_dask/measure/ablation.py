"""How sure is a network of the class without some channels' maps? (DESIGN 3.8)

    a set of channels ── the network without them ── margin: own logit - mean of all

Rows of a batch are ablations, of one image or of several.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int
from torch import Tensor

from summit_dask.facts.errors import NumericalError
from summit_dask.measure.partial import PartialNetwork, Pixels


@dataclass(frozen=True, eq=False)
class Ablations:
    """Which channels are replaced in which of a batch's images.

    Attributes
    ----------
    image
        Place of the image in the batch.
    removed
        Channels of all layers with maps, input side first.
    """

    image: Int[np.ndarray, " ablation"]
    removed: Bool[np.ndarray, "ablation channel"]

    @classmethod
    def of(cls, sets: Sequence[tuple[int, Bool[np.ndarray, "_ channel"]]]) -> "Ablations":
        """Several sets of channels of each image, given as its place and the sets."""
        image = np.repeat([place for place, _ in sets], [len(removed) for _, removed in sets])
        return cls(image, np.concatenate([removed for _, removed in sets]))


def means_of(network: PartialNetwork, pixels: Pixels) -> Float64[np.ndarray, "image channel"]:
    """Mean over positions of every channel's map; at most `batch_size` images."""
    with network.at_work(), torch.inference_mode():
        values = network.whole(pixels, {value.node for value in network.values})
        parts = [_over_positions(values[value.node], value.axis)[: len(pixels)] for value in network.values]
    return torch.cat(parts, 1).cpu().numpy()


def margins_of(
    network: PartialNetwork,
    pixels: Pixels,
    outputs: Int[np.ndarray, " image"],
    ablations: Ablations,
    replacement: Float32[np.ndarray, " channel"],
) -> Float64[np.ndarray, " ablation"]:
    """Logit of the image's own class minus the mean of all logits, for each ablation.

    Parameters
    ----------
    pixels, outputs
        At most `batch_size` images, and the network's output of each one's class.
    replacement
        What the map of a replaced channel is everywhere.

    Raises
    ------
    NumericalError
        If a logit is NaN or infinite.
    """
    result = np.empty(len(ablations.image))
    own = torch.as_tensor(outputs, dtype=torch.int64, device=network.device)
    values = torch.from_numpy(replacement).to(network.device)
    with network.at_work(), torch.inference_mode():
        kept = network.whole(pixels, network.kept)
        for rows, begin in _batches(network, ablations.removed):
            images = ablations.image[rows]
            own_rows = torch.from_numpy(images).to(network.device)
            if begin < 0:
                logits = kept[network.logits][own_rows]
            else:
                run = network.part(begin, kept, images, ablations.removed[rows], values, {network.logits})
                logits = run[network.logits][: len(rows)]
            result[rows] = _margin(logits, own[own_rows])
    if not np.isfinite(result).all():
        raise NumericalError(
            "The network's logits hold NaN or infinity where channels are replaced; look at its weights."
        )
    return result


def _batches(network: PartialNetwork, removed: Bool[np.ndarray, "ablation channel"]) -> Iterator[tuple[Any, int]]:
    """Ablations that begin at the same layer, a batch at a time; -1: nothing is replaced."""
    lowest = network.lowest(removed)
    for begin in np.unique(lowest).tolist():
        rows = np.flatnonzero(lowest == begin)
        for first in range(0, len(rows), network.batch_size):
            yield rows[first : first + network.batch_size], begin


def _margin(logits: Tensor, own: Tensor) -> Float64[np.ndarray, " image"]:
    logits = logits.flatten(1).double()
    margin: Float64[np.ndarray, " image"] = (logits.gather(1, own[:, None])[:, 0] - logits.mean(1)).cpu().numpy()
    return margin


def _over_positions(maps: Tensor, axis: int) -> Tensor:
    """Mean over positions, in float64."""
    maps = maps.movedim(axis, 1).double()
    return maps if maps.dim() == 2 else maps.flatten(2).mean(2)
