"""Similarity is the cosine of the counts."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from summit_dask.arrays.similarity import similarity, similarity_to
from tests import oracles_matrices as oracle


@given(arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.sampled_from([0, 0, 1, 2, 50])))
@settings(deadline=None, max_examples=30)
def test_similarity_is_the_cosine(counts: Any) -> None:
    found = similarity(counts)
    np.testing.assert_allclose(found, oracle.similarity(counts), atol=1e-12)
    assert found.max() <= 1
    for k in range(len(counts)):
        one = similarity_to(counts, k)
        np.testing.assert_allclose(one, found[k], atol=1e-12)
        assert one.max() <= 1
