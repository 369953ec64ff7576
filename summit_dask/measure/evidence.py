"""Tests of a class's graph: images that had no part in it are run without its channels, and without others (3.8).

one half of the class's images ── graph, counts, activations ── Choices ── what is taken away
the other half ── the network, as it is and without each choice ── Margins ── found() ── necessity, sufficiency
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8
from numpy.typing import NDArray

from summit_dask.arrays import evidence
from summit_dask.arrays.evidence import CHOICES, KEPT, LAYER_CHOICES, N_DRAWS, RIVALS, SHARES, Bounds, Mask, Ratio
from summit_dask.facts.errors import DatasetError
from summit_dask.images.files import ImageFile, place_of
from summit_dask.measure.ablation import Ablations, margins_of
from summit_dask.measure.partial import PartialNetwork
from summit_dask.measure.partition import DECODING_THREADS, Partition, decoded_batches

#: Forward passes that an image may take, those for the truth of edges aside.
MOST_PASSES = 30.0

#: Nothing taken away, every channel, and each choice but the random ones, which come after them.
_NAMED = 2 + len(CHOICES) - 1

#: Where the choices are among these; nothing taken away and every channel are none.
_IS_CHOICE = np.arange(_NAMED + N_DRAWS) >= 2

#: Share of the images from which random channels are taken away, draw by draw.
_SHARE_DRAWN = 0.5

#: Of images of other classes: nothing taken away, every channel, what is taken away; and how many there are for each.
_ELSEWHERE = 2 + len(LAYER_CHOICES)
_SHARE_ELSEWHERE = 0.25

#: Of each layer: every channel; choices; what is left out to keep shares of the channels.
_BY_LAYER = 1 + len(LAYER_CHOICES) + len(KEPT) * len(SHARES)


def passes_together(shares: Sequence[float]) -> float:
    """Forward passes that an image takes for the choices in all layers at once, images of other classes included.

    Parameters
    ----------
    shares
        As `PartialNetwork.shares` gives them.
    """
    elsewhere = _SHARE_ELSEWHERE * (1 + (_ELSEWHERE - 1) * max(shares))
    return 1 + (_NAMED - 1 + _SHARE_DRAWN * N_DRAWS) * max(shares) + elsewhere


def n_elsewhere(n_images: int) -> int:
    """How many images of other classes are run when some images of a class are.

    Examples
    --------
    >>> n_elsewhere(7)
    2
    """
    return math.ceil(_SHARE_ELSEWHERE * n_images)


def n_drawn(n_images: int) -> int:
    """From how many of some images random channels are taken away.

    Examples
    --------
    >>> n_drawn(7)
    4
    """
    return math.ceil(_SHARE_DRAWN * n_images)


def images_by_layer(n_images: int, shares: Sequence[float]) -> int:
    """How many of some images test single layers: as many as `MOST_PASSES` an image allow in the mean, at least one.

    Examples
    --------
    >>> images_by_layer(50, [0.9, 0.5, 0.1]), images_by_layer(50, [0.2, 0.1])
    (38, 50)
    """
    left = MOST_PASSES - passes_together(shares)
    return min(n_images, max(1, int(n_images * left / (_BY_LAYER * sum(shares)))))


def total_passes(n_images: int, shares: Sequence[float]) -> float:
    """Forward passes that some images take in all."""
    by_layer = images_by_layer(n_images, shares) if n_images else 0
    return n_images * passes_together(shares) + by_layer * _BY_LAYER * sum(shares)


@dataclass(frozen=True, eq=False)
class Choices:
    """Channels of all layers with maps that are taken away, as half of a class's images chose them.

    Attributes
    ----------
    graph, nearest, other
        Nodes of the class's graph, and of two other classes'.
    used
        How much the class uses each channel: in how many images, and how strongly among equals.
    activation
        Mean activation.
    random
        Numbers without meaning, a row for each draw.
    """

    graph: Mask
    nearest: Mask
    other: Mask
    used: Float64[np.ndarray, " channel"]
    activation: Float[np.ndarray, " channel"]
    random: Float64[np.ndarray, "draw channel"]
    bounds: Bounds

    def together(self) -> Bool[np.ndarray, "set channel"]:
        """Sets of channels of all layers: none, all, `CHOICES` but the random ones, the draws of these."""
        sizes = np.add.reduceat(self.graph.astype(int), self.bounds[:-1])
        quarter = evidence.active_quarter(self.activation, self.bounds)
        rankings = {
            "active_quarter": np.where(quarter, self.random[0], self.random[0] - 1),
            "most_active": self.activation,
            "highest_count": self.used,
        }
        sets = {name: evidence.first_of(ranking, sizes, self.bounds) for name, ranking in rankings.items()}
        sets |= {"graph": self.graph, "nearest": self.nearest, "other": self.other}
        nothing = np.zeros_like(self.graph)
        chosen = [sets[name] for name in CHOICES if name != "random"]
        draws = [evidence.first_of(ranking, sizes, self.bounds) for ranking in self.random]
        return np.stack([nothing, ~nothing, *chosen, *draws])

    def by_layer(self, draw: int) -> Bool[np.ndarray, "layer set channel"]:
        """Of each layer: all channels, `LAYER_CHOICES`, and all but the shares that are kept."""
        return np.stack([np.stack(self._of_layer(layer, draw)) for layer in range(len(self.bounds) - 1)])

    def _of_layer(self, layer: int, draw: int) -> list[Mask]:
        own = evidence.of_layer(layer, self.bounds)
        graph, random = self.graph & own, self.random[draw]
        sets = [own, graph, self._first(random, layer, int(graph.sum()))]
        for ranking in (self.used, random):
            sizes = [max(1, round(share * int(own.sum()))) for share in SHARES]
            sets += [own & ~self._first(ranking, layer, size) for size in sizes]
        return sets

    def _first(self, ranking: Float64[np.ndarray, " channel"], layer: int, size: int) -> Mask:
        """So many channels of one layer."""
        low, high = self.bounds[layer : layer + 2].tolist()
        mask = np.zeros(len(ranking), bool)
        mask[low:high] = evidence.first_of(ranking[low:high], np.array([size]), np.array([0, high - low]))
        return mask


@dataclass(frozen=True, eq=False)
class Margins:
    """Margins of the images that test.

    Attributes
    ----------
    together
        In the order of `Choices.together`; NaN for the random ones where they were not taken away.
    plain
        As they are, of the images that test single layers.
    by_layer
        Of these, in the order of `Choices.by_layer`.
    """

    together: Float64[np.ndarray, "image set"]
    plain: Float64[np.ndarray, " some"]
    by_layer: Float64[np.ndarray, "some layer part"]

    @classmethod
    def none(cls, n_layers: int) -> "Margins":
        """Of no images."""
        return cls(np.empty((0, _NAMED + N_DRAWS)), np.empty(0), np.empty((0, n_layers, _BY_LAYER)))

    @classmethod
    def joined(cls, parts: Sequence["Margins"]) -> "Margins":
        """All images together."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def pixels_of(
    network: PartialNetwork, files: Sequence[ImageFile]
) -> Iterator[tuple[int, UInt8[np.ndarray, "image height width colour"]]]:
    """Place of the first image and pixels of all, a batch at a time.

    Raises
    ------
    DatasetError
        If an image can't be read: it could when the store was made.
    """
    for start, batch in decoded_batches(network.preprocessing, files, network.batch_size, DECODING_THREADS):
        for file, reason in zip(files[start:], batch.reasons, strict=False):
            if reason:
                raise DatasetError(
                    f"{place_of(file)} can't be read ({reason}); it could when the store was made. Restore it, or give "
                    "--images anew to 'summit-dask run' where the images lie now; finished classes are kept."
                )
        yield start, batch.pixels


def measured(
    network: PartialNetwork,
    images: Partition,
    choices: Choices,
    replacement: Float32[np.ndarray, " channel"],
    n_by_layer: int,
) -> Margins:
    """Run the images that test, as they are and without each choice.

    Parameters
    ----------
    images
        In random order, at least one; the first `n_by_layer` test single layers too.
    replacement
        As in `margins_of`.

    Raises
    ------
    DatasetError, NumericalError
        As `pixels_of` and `margins_of` do.
    """
    sets, parts = choices.together(), []
    drawn = n_drawn(len(images.files))
    for start, pixels in pixels_of(network, images.files):
        n_images = len(pixels)
        several = [sets if start + place < drawn else sets[:_NAMED] for place in range(n_images)]
        some = range(start, min(start + n_images, n_by_layer))
        layered = [choices.by_layer(image % N_DRAWS) for image in some]
        ablations = Ablations.of(
            [
                *enumerate(several),
                *((place, masks.reshape(-1, masks.shape[2])) for place, masks in enumerate(layered)),
            ]
        )
        outputs = images.outputs[start : start + n_images]
        margins = margins_of(network, pixels, outputs, ablations, replacement)
        together = np.full((n_images, len(sets)), np.nan)
        is_run = np.arange(len(sets)) < np.array([len(own) for own in several])[:, None]
        together[is_run], by_layer = np.split(margins, [is_run.sum()])
        shape = (len(layered), len(choices.bounds) - 1, _BY_LAYER)
        together[:, _IS_CHOICE & ~sets.any(1)] = np.nan  # of no channel nothing can be said
        parts.append(Margins(together, together[: len(layered), 0], by_layer.reshape(shape)))
    return Margins.joined(parts)


def measured_elsewhere(
    network: PartialNetwork, images: Partition, chosen: Sequence[Mask], replacement: Float32[np.ndarray, " channel"]
) -> Float64[np.ndarray, "image set"]:
    """Margins of images of other classes: as they are, without any channel, and without each of the choices.

    Raises
    ------
    DatasetError, NumericalError
        As `pixels_of` and `margins_of` do.
    """
    nothing = np.zeros(network.bounds[-1], bool)
    sets = np.stack([nothing, ~nothing, *chosen])
    parts = [np.empty((0, len(sets)))]
    for start, pixels in pixels_of(network, images.files):
        ablations = Ablations.of([(place, sets) for place in range(len(pixels))])
        outputs = images.outputs[start : start + len(pixels)]
        parts.append(margins_of(network, pixels, outputs, ablations, replacement).reshape(len(pixels), -1))
    return np.concatenate(parts)


def found_elsewhere(margins: Float64[np.ndarray, "image set"], seed: Sequence[int]) -> dict[str, NDArray[Any]]:
    """What other classes lose, by variable of the group "evidence"; see `found`."""
    plain, nothing, *chosen = margins.T
    ratios = [evidence.ratio(plain - own, plain - nothing, np.random.default_rng(seed)) for own in chosen]
    return {
        "n_elsewhere": np.array(len(margins), np.int32),
        **_columns("loss_elsewhere", ratios, (len(LAYER_CHOICES),)),
    }


def found(margins: Margins, seed: Sequence[int]) -> dict[str, NDArray[Any]]:
    """What the margins say, by variable of the group "evidence", of one class.

    Parameters
    ----------
    seed
        Of the bootstrap over the images; every share has the same samples.
    """
    plain, nothing = margins.together[:, 0], margins.together[:, 1]
    whole = plain - nothing
    lost = plain[:, None] - margins.together[:, 2:]
    drawn = np.isfinite(lost[:, -1])
    named = dict(zip([name for name in CHOICES if name != "random"], lost.T, strict=False))

    def share(part: Float64[np.ndarray, " image"], of: Float64[np.ndarray, " image"]) -> Ratio:
        return evidence.ratio(part, of, np.random.default_rng(seed))

    necessity = {name: share(own, whole) for name, own in named.items()}
    draws = lost[drawn, -N_DRAWS:]
    necessity["random"] = share(draws.mean(1), whole[drawn])
    random = np.array([share(draw, whole[drawn]).value for draw in draws.T])
    beside = share(named["graph"][drawn], whole[drawn]).value
    return {
        "n_tested": np.array(len(plain), np.int32),
        "n_drawn": np.array(drawn.sum(), np.int32),
        "n_tested_by_layer": np.array(len(margins.plain), np.int32),
        "margin": _mean(plain),
        "margin_without": _mean(nothing),
        **_columns("necessity", [necessity[name] for name in CHOICES], (len(CHOICES),)),
        "random_necessity": random,
        "necessity_beside_random": np.array(beside),
        "p_value": np.array(evidence.p_value(beside, random)),
        **_columns("specificity", [share(named["graph"] - named[name], whole) for name in RIVALS], (len(RIVALS),)),
        **_of_layers(margins, share),
    }


def _mean(values: Float64[np.ndarray, " image"]) -> NDArray[np.float64]:
    return np.array(values.mean() if len(values) else np.nan)


def _of_layers(margins: Margins, share: Callable[..., Ratio]) -> dict[str, NDArray[Any]]:
    """Necessity and sufficiency layer by layer."""
    plain, n_layers = margins.plain, margins.by_layer.shape[1]
    necessity, sufficiency = [], []
    for nothing, *others in margins.by_layer.transpose(1, 2, 0):
        without, kept = others[: len(LAYER_CHOICES)], others[len(LAYER_CHOICES) :]
        necessity += [share(plain - other, plain - nothing) for other in without]
        sufficiency += [share(other - nothing, plain - nothing) for other in kept]
    return {
        **_columns("layer_necessity", necessity, (n_layers, len(LAYER_CHOICES))),
        **_columns("sufficiency", sufficiency, (n_layers, len(KEPT), len(SHARES))),
    }


def _columns(name: str, ratios: Sequence[Ratio], shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    values = np.array(ratios).reshape(*shape, 3)
    return {name: values[..., 0], f"{name}_low": values[..., 1], f"{name}_high": values[..., 2]}
