"""Use of channels over the classes: numbers by hand, the most shared and the most specific by the rule of the text."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from summit_dask.arrays.usage import most_shared, most_specific, usage


def test_usage_by_hand() -> None:
    counts = np.array([[4, 4, 1, 1, 1, 0], [4, 0, 0, 0, 8, 0]], np.int32)
    found = usage(counts, np.array([4, 8], np.int32))
    assert found.class_count.tolist() == [2, 1, 1, 1, 2, 0]
    assert found.top_class_count.tolist() == [2, 1, 1, 1, 1, 0]
    assert found.image_count.tolist() == [8, 4, 1, 1, 9, 0]
    # Channel 0: 4 of 4 against 4 of 8 images, shares 2/3 and 1/3. Channel 4: 1/4 against 1, shares 1/5 and 4/5.
    expected = [-(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3)), 0, 0, 0, -(0.2 * np.log2(0.2) + 0.8 * np.log2(0.8))]
    np.testing.assert_allclose(found.entropy[:5], expected, atol=1e-15)
    assert np.isnan(found.entropy[5])


def test_shares_are_of_each_class_own_images() -> None:
    """One image of one weighs as much as four of four; where the number isn't known, counts are taken as they are."""
    counts = np.array([[1, 1], [4, 0]], np.int32)
    assert usage(counts, np.array([1, 4], np.int32)).entropy.tolist() == [1, 0]
    unknown = usage(counts, np.zeros(2, np.int32)).entropy[0]
    np.testing.assert_allclose(unknown, -(0.2 * np.log2(0.2) + 0.8 * np.log2(0.8)))


@given(arrays(np.int32, st.tuples(st.integers(1, 3), st.integers(1, 8)), elements=st.integers(0, 3)), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_shared_and_specific_are_what_the_text_says(counts: Any, n: int) -> None:
    use = usage(counts, np.full(len(counts), 3, np.int32))
    classes, images, entropy = use.class_count.tolist(), use.image_count.tolist(), use.entropy.tolist()
    used = [c for c in range(counts.shape[1]) if counts[:, c].any()]
    assert most_shared(use, n) == sorted(used, key=lambda c: (-classes[c], -images[c], c))[:n]
    often = [c for c in used if images[c] >= np.median([images[u] for u in used])]
    assert most_specific(use, n) == sorted(often, key=lambda c: (entropy[c], -images[c], c))[:n]


def test_a_channel_of_a_single_image_is_not_the_most_specific() -> None:
    counts = np.array([[9, 0, 5], [1, 1, 5]], np.int32)
    assert most_specific(usage(counts, np.array([10, 10], np.int32)), 3) == [0, 2]
