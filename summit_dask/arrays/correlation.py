"""How alike channels are by what they answer to: correlation over images, and of whole layers linear CKA.

images in pieces, read once:

    a (image, channel) ─┐
                        ├─ Moments of a piece ─┐
    b (image, channel) ─┘                      ├─ Moments of all ── correlation (channel of a, channel of b)
                 the next piece ── Moments  ───┘                └── linear CKA (one number)
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import dask.base
import numpy as np
from dask.delayed import delayed
from jaxtyping import Float, Float64

#: Images that are read at a time, and how many such pieces are read and multiplied at once.
PIECE, AT_ONCE = 2048, 2

#: What names a group of channels.
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Centred:
    """Values of some channels over images, as deviations from their means; float64."""

    mean: Float64[np.ndarray, " channel"]
    deviation: Float64[np.ndarray, "image channel"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "image channel"]) -> "Centred":
        """Of at least one image."""
        mean = values.mean(axis=0, dtype=np.float64)
        return cls(mean, values - mean)

    def only(self, channel: int) -> "Centred":
        """One of the channels alone."""
        own = slice(channel, channel + 1)
        return Centred(self.mean[own], self.deviation[:, own])

    @property
    def square(self) -> Float64[np.ndarray, " channel"]:
        """Sum of squares of each channel's deviations."""
        found: Float64[np.ndarray, " channel"] = np.einsum("ij,ij->j", self.deviation, self.deviation)
        return found


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums of two groups of channels over the same images, float64; they don't depend on how images are cut up.

    Attributes
    ----------
    n
        Images.
    mean_a, mean_b
        Of each channel.
    square_a, square_b, cross
        Sums of squares and of products of the deviations from the means.
    """

    n: int
    mean_a: Float64[np.ndarray, " a"]
    mean_b: Float64[np.ndarray, " b"]
    square_a: Float64[np.ndarray, " a"]
    square_b: Float64[np.ndarray, " b"]
    cross: Float64[np.ndarray, "a b"]

    @classmethod
    def of(cls, a: Centred, b: Centred) -> "Moments":
        """Of two groups of channels over the same images."""
        return cls(len(a.deviation), a.mean, b.mean, a.square, b.square, a.deviation.T @ b.deviation)

    def merged(self, other: "Moments") -> "Moments":
        """Of both together (Chan, Golub and LeVeque 1979): exact where plain sums of squares would cancel."""
        n = self.n + other.n
        far_a, far_b = other.mean_a - self.mean_a, other.mean_b - self.mean_b
        weight = self.n * other.n / n
        return Moments(
            n,
            self.mean_a + far_a * (other.n / n),
            self.mean_b + far_b * (other.n / n),
            self.square_a + other.square_a + weight * far_a**2,
            self.square_b + other.square_b + weight * far_b**2,
            self.cross + other.cross + weight * np.outer(far_a, far_b),
        )


def moments_of(
    read: Callable[[slice], Mapping[Key, Centred]], pairs: Sequence[tuple[Key, Key]], n_images: int
) -> dict[tuple[Key, Key], Moments]:
    """Moments of pairs of groups of channels, from one pass over the images.

    Parameters
    ----------
    read
        Gives the values of all groups on some of the images; called in threads, once for each piece.
    """

    def of_piece(piece: slice) -> dict[tuple[Key, Key], Moments]:
        values = read(piece)
        return {(a, b): Moments.of(values[a], values[b]) for a, b in pairs}

    def merged(parts: Iterable[Mapping[tuple[Key, Key], Moments]]) -> Mapping[tuple[Key, Key], Moments]:
        return reduce(lambda one, other: {pair: one[pair].merged(other[pair]) for pair in pairs}, parts)

    pieces = [slice(start, min(start + PIECE, n_images)) for start in range(0, n_images, PIECE)]
    shares = [own for own in (pieces[start::AT_ONCE] for start in range(AT_ONCE)) if own]
    tasks = [delayed(lambda own: merged(map(of_piece, own)))(own) for own in shares]
    return dict(merged(dask.base.compute(*tasks, scheduler="threads")))


def correlation(moments: Moments) -> Float64[np.ndarray, "a b"]:
    """Pearson's correlation of every two channels.

    Returns
    -------
    Float64[a b]
        -1 to 1; 0 where a channel is the same on all images.

    Examples
    --------
    >>> a = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    >>> correlation(Moments.of(Centred.of(a), Centred.of(-a))).tolist()
    [[-1.0, 0.0], [0.0, 0.0]]
    """
    sizes = np.sqrt(np.outer(moments.square_a, moments.square_b))
    varies = sizes > 0
    found: Float64[np.ndarray, "a b"] = np.clip(moments.cross / np.where(varies, sizes, 1.0), -1.0, 1.0)
    return found


def linear_cka(ab: Moments, aa: Moments, bb: Moments) -> float:
    """Linear centred kernel alignment of two layers (Kornblith et al. 2019).

    Parameters
    ----------
    ab, aa, bb
        Of both layers, and of each with itself.

    Returns
    -------
    float
        0 to 1: 1 if one is the other, turned or scaled as a whole; 0 where a layer is the same on all images.

    Examples
    --------
    >>> a = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 5.0]])
    >>> one, other = Centred.of(a), Centred.of(3 * a[:, ::-1] + 1)
    >>> round(linear_cka(Moments.of(one, other), Moments.of(one, one), Moments.of(other, other)), 6)
    1.0
    """
    size = np.linalg.norm(aa.cross) * np.linalg.norm(bb.cross)
    return float(np.linalg.norm(ab.cross) ** 2 / size) if size > 0 else 0.0
