"""Rankings of several steps merged: against sorting all of them, with ties, any order of steps, overlapping targets."""

from dataclasses import dataclass
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from summit_dask.arrays.influence.maximum import Strongest
from summit_dask.arrays.influence.merge import Places, empty_ranking, merge
from tests.oracles_influence import merged, strongest

CHANNELS = 5


@dataclass(frozen=True)
class Drawn:
    """A step's influences (image, target, input), and what they speak of."""

    influence: NDArray[np.float64]
    places: Places


@st.composite
def steps(draw: st.DrawFn) -> list[Drawn]:
    """Whole numbers, so that ties occur; every (hop, source) once."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    drawn: list[Drawn] = []
    pairs = rng.permutation([(hop, source) for hop in range(4) for source in range(6)])
    for own in np.split(pairs, np.sort(rng.integers(0, len(pairs), draw(st.integers(0, 3))))):
        hop, source = own[np.lexsort(own.T[::-1])].T
        targets = rng.permutation(CHANNELS)[: rng.integers(1, CHANNELS + 1)]
        influence = rng.integers(-2, 4, (2, len(targets), len(own))).astype(np.float64)
        drawn.append(Drawn(influence, Places(targets, hop.astype(np.int8), source.astype(np.int16))))
    return drawn


@settings(max_examples=60, deadline=None)
@given(steps(), st.integers(1, 6), st.randoms())
def test_equals_one_ranking_of_all(drawn: list[Drawn], k: int, random: Random) -> None:
    ranking = empty_ranking(2, CHANNELS, k)
    for step in random.sample(drawn, len(drawn)):
        source, value = strongest(step.influence, k)
        merge(Strongest(source.astype(np.int32), value.astype(np.float32)), step.places, ranking)
    expected = merged([(step.influence, *step.places) for step in drawn], CHANNELS, k)
    for found, wanted in zip(ranking, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
