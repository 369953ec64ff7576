"""Rankings of several linear steps into the same channels, merged into one (section 3.3).

    step conv2         sources 7 3 1     influences 9 5 2
    step identity      sources 4                    6          channel's ranking, k = 3:   7 4 3     9 6 5

A step speaks of its input's channels; a layer's ranking of hops, and of channels of these hops' source layers.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Int8, Int16, Int64
from numba import njit

from summit_dask.arrays.influence.maximum import Strongest


class Ranking(NamedTuple):
    """The k strongest sources of each of a layer's channels: descending influence, ties to the lower hop, then source.

    `hop` is an index among the layer's incoming hops. Places without a source hold -1, -1 and 0.
    """

    hop: Int8[np.ndarray, "image channel k"]
    source: Int16[np.ndarray, "image channel k"]
    value: Float32[np.ndarray, "image channel k"]


class Places(NamedTuple):
    """What a step's rankings speak of: its target channels, and hop and source of each of its input's channels.

    Of a group's input channels hop and source ascend, so that in a step's own ranking ties go to the lower ones too.
    """

    targets: Int64[np.ndarray, " target"]
    hop: Int8[np.ndarray, " input"]
    source: Int16[np.ndarray, " input"]


def empty_ranking(images: int, channels: int, k: int) -> Ranking:
    """A layer's ranking before any step is merged into it."""
    shape = (images, channels, k)
    return Ranking(np.full(shape, -1, np.int8), np.full(shape, -1, np.int16), np.zeros(shape, np.float32))


def merge(found: Strongest, places: Places, ranking: Ranking) -> None:
    """Let the strongest sources of a step's targets compete with those that the target layer has already.

    Parameters
    ----------
    found
        Of one step; may hold fewer ranks than are kept.
    places
        What it speaks of.
    ranking
        The target layer's; changed in place. Steps may be merged in any order.

    Examples
    --------
    >>> ranking = empty_ranking(images=1, channels=2, k=2)
    >>> step = Strongest(np.int32([[[1, 0]]]), np.float32([[[5, 2]]]))
    >>> skip = Strongest(np.int32([[[0]]]), np.float32([[[3]]]))
    >>> merge(step, Places(np.array([1]), np.int8([0, 0]), np.int16([8, 9])), ranking)
    >>> merge(skip, Places(np.array([1]), np.int8([1]), np.int16([4])), ranking)
    >>> ranking.source[0].tolist(), ranking.hop[0].tolist(), ranking.value[0].tolist()
    ([[-1, -1], [9, 4]], [[-1, -1], [0, 1]], [[0.0, 0.0], [5.0, 3.0]])
    """
    _merge(*found, *places, *ranking)


def warm_up() -> None:
    """Compile the merging, or load it from the disk cache."""
    one = np.zeros(1, np.int64)
    found = Strongest(np.zeros((1, 1, 1), np.int32), np.ones((1, 1, 1), np.float32))
    merge(found, Places(one, one.astype(np.int8), one.astype(np.int16)), empty_ranking(1, 1, 1))


@njit(cache=True, nogil=True)
@no_type_check
def _merge(new, new_value, targets, hop_of, source_of, hop, source, value):
    images, rows, ranks = new.shape
    k = value.shape[2]
    for n in range(images):
        for j in range(rows):
            c = targets[j]
            held = 0
            while held < k and value[n, c, held] > 0:
                held += 1
            place = 0
            for r in range(ranks):
                i = new[n, j, r]
                if i < 0:
                    break
                # What comes later is weaker, so the search goes on where it was.
                while place < held and _stands_above(
                    value[n, c, place],
                    hop[n, c, place],
                    source[n, c, place],
                    new_value[n, j, r],
                    hop_of[i],
                    source_of[i],
                ):
                    place += 1
                if place == k:
                    break
                held = min(held + 1, k)
                for q in range(held - 1, place, -1):
                    hop[n, c, q] = hop[n, c, q - 1]
                    source[n, c, q] = source[n, c, q - 1]
                    value[n, c, q] = value[n, c, q - 1]
                hop[n, c, place] = hop_of[i]
                source[n, c, place] = source_of[i]
                value[n, c, place] = new_value[n, j, r]


@njit
@no_type_check
def _stands_above(value, hop, source, new_value, new_hop, new_source):
    """Whether a source that a ranking holds stays above a new one."""
    if value != new_value:
        return value > new_value
    return hop < new_hop or (hop == new_hop and source < new_source)
