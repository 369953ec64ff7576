"""Selection, A and I: equal to the formula, whatever the blocks and the order of the images."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from dask.delayed import delayed
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.matrices import (
    add_counts,
    class_statistics,
    count_selected,
    count_sources,
    dense_counts,
    sources_by_hop,
    tree_reduce,
)
from summit_dask.facts.errors import NumericalError, StoreError, StoreIncompleteError
from tests import oracles_matrices as oracle

N_CLASSES, N_SOURCES = 3, 70  # more sources than the 64 bits of a word

# Few different values, so that ties, zeros, negatives and sums that meet the mass exactly are common.
tied = st.sampled_from([-1.0, -0.0, 0.0, 0.25, 1.0, 1.0, 3.0])
drawn = st.floats(-1, 100, width=32)
masses = st.sampled_from([0.001, 0.03, 0.1, 0.25, 0.5, 0.9, 1.0])


@st.composite
def activations(draw: st.DrawFn, value: Any = tied) -> Any:
    shape = draw(st.tuples(st.integers(0, 6), st.integers(1, 70)))
    return draw(arrays(np.float32, shape, elements=value))


@st.composite
def rankings(draw: st.DrawFn) -> Any:
    """Sources without repetition in a ranking, and classes, -1 among both."""
    n_images, n_channels, k = draw(st.integers(0, 12)), draw(st.integers(1, 35)), draw(st.integers(1, 5))
    seed = draw(st.integers(0, 999))
    rng = np.random.default_rng(seed)
    source = rng.permuted(np.tile(np.arange(N_SOURCES), (n_images, n_channels, 1)), axis=2)[..., :k]
    source[rng.random(source.shape) < 0.3] = -1
    return source.astype(draw(st.sampled_from([np.int16, np.int32]))), draw_classes(rng, n_images)


def draw_classes(rng: np.random.Generator, n_images: int) -> Any:
    return rng.integers(-1, N_CLASSES, n_images).astype(np.int32)


@given(activations(st.one_of(tied, drawn)), masses, st.lists(st.integers(0, 69), max_size=4))
@settings(deadline=None, max_examples=60)
def test_selects_what_the_text_says(values: Any, mass: float, excluded: list[int]) -> None:
    excluded = [c for c in excluded if c < values.shape[1]]
    np.testing.assert_array_equal(select_channels(values, mass, excluded), oracle.selected(values, mass, excluded))


@pytest.mark.parametrize(
    ("row", "mass", "excluded", "expected"),
    [
        pytest.param([1, 1, 1, 1], 0.5, [], [2, 3], id="ties: the higher channel first"),
        pytest.param([1, 2, 1, 0], 0.5, [], [1], id="reached exactly: stop"),
        pytest.param([1, 2, 1, 0], 0.51, [], [1, 2], id="the crossing channel is included"),
        pytest.param([9, 2, 1, 0], 0.5, [0], [1], id="excluded are no part of the sum"),
        pytest.param([0, -4, 0, 0], 1.0, [], [], id="nothing positive"),
        pytest.param([5, 0, 0, 0], 1.0, [0], [], id="only excluded"),
        pytest.param([3, -8, 1, 0], 1.0, [], [0, 2], id="negative counts as 0; zeros are never used"),
        pytest.param([1e-44, 0, 3e-44, 0], 1.0, [], [0, 2], id="subnormal"),
    ],
)
def test_selection_at_its_edges(row: list[float], mass: float, excluded: list[int], expected: list[int]) -> None:
    chosen = select_channels(np.array([row], np.float32), mass, excluded)
    assert np.flatnonzero(chosen[0]).tolist() == expected


def test_selection_reads_any_memory_layout() -> None:
    values = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    expected = select_channels(values.copy(), 0.5, [])
    np.testing.assert_array_equal(select_channels(np.asfortranarray(values), 0.5, []), expected)
    values.setflags(write=False)
    np.testing.assert_array_equal(select_channels(values, 0.5, []), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_selection_refuses_what_is_not_finite(bad: float) -> None:
    values = np.ones((3, 40), np.float32)
    values[1, 7] = bad
    with pytest.raises(NumericalError, match="Row 1 of 3"):
        select_channels(values, 0.03, [])
    assert select_channels(values, 0.01, [7]).sum() == 3


@given(activations(), st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_activation_counts_are_what_the_text_says(values: Any, seed: int) -> None:
    classes = draw_classes(np.random.default_rng(seed), len(values))
    used = oracle.selected(values, 0.5, [])
    counts = count_selected(used, classes, N_CLASSES)
    assert counts.dtype == np.int32
    np.testing.assert_array_equal(counts, oracle.activation_count(used, classes.tolist(), N_CLASSES))


@given(rankings())
@settings(deadline=None, max_examples=20)
def test_influence_counts_are_what_the_text_says(drawn: Any) -> None:
    source, classes = drawn
    counts = count_sources(source, classes, N_CLASSES, N_SOURCES)
    assert counts.dtype == np.int32
    assert counts.has_canonical_format
    assert (counts.data > 0).all()
    expected = oracle.influence_count(source, classes.tolist(), N_CLASSES, N_SOURCES)
    np.testing.assert_array_equal(dense_counts(counts, source.shape[1], 0, N_CLASSES), expected)
    np.testing.assert_array_equal(dense_counts(counts, source.shape[1], 1, 2), expected[1:2])


def test_hops_into_the_same_channels_are_counted_apart() -> None:
    source = np.array([[[4, 2, 4, -1]]], np.int16)
    hop = np.array([[[0, 1, 1, -1]]], np.int8)
    assert sources_by_hop(source, hop, 0).tolist() == [[[4, -1, -1, -1]]]
    assert sources_by_hop(source, hop, 1).tolist() == [[[-1, 2, 4, -1]]]
    assert sources_by_hop(source, hop, 1).dtype == np.int16


def test_what_is_out_of_range_is_refused() -> None:
    source, classes = np.zeros((1, 1, 1), np.int16), np.zeros(1, np.int32)
    with pytest.raises(StoreError, match="source channel 9, expected at most 8"):
        count_sources(source + np.int16(9), classes, 1, 9)
    with pytest.raises(StoreError, match="class index 1, expected at most 0"):
        count_sources(source, classes + np.int32(1), 1, 9)
    with pytest.raises(StoreError, match="class index 1, expected at most 0"):
        count_selected(np.ones((1, 1), np.bool_), classes + np.int32(1), 1)


def test_class_statistics_count_readable_images_and_right_ones() -> None:
    n_images, n_correct = class_statistics(
        class_index=np.array([0, 0, 0, 2, 2, -1], np.int32),
        readable=np.array([True, True, False, True, True, True]),
        predicted_first=np.array([7, 8, 7, 9, 9, 7], np.int32),
        output_index=np.array([7, 8, 9], np.int32),
    )
    assert (n_images.tolist(), n_correct.tolist()) == ([2, 0, 2], [1, 0, 2])
    assert n_images.dtype == n_correct.dtype == np.int32


class Partitions:
    """Cuts arrays at some bounds; notes which partitions were read."""

    def __init__(self, values: Any, classes: Any, bounds: list[int]) -> None:
        edges = [0, *sorted(bounds), len(values)]
        self.parts = [(values[a:b], classes[a:b]) for a, b in pairwise(edges)]
        self.reads: list[int] = []

    def __call__(self, partition: int) -> Any:
        self.reads.append(partition)
        return self.parts[partition]


def verify_reduction(build: Callable[[Partitions], Any], values: Any, classes: Any, data: st.DataObject) -> Any:
    """The reduction of the arrays; checks that nothing runs early, nothing is read twice, and no order shows."""
    whole = build(Partitions(values, classes, [])).compute(scheduler="sync")
    bounds = data.draw(st.lists(st.integers(0, len(values)), max_size=20))
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(len(values))
    cut = Partitions(values[order], classes[order], bounds)
    graph = build(cut)
    assert cut.reads == []
    result = graph.compute(scheduler="sync")
    assert sorted(cut.reads) == list(range(len(bounds) + 1))
    np.testing.assert_array_equal(result.toarray(), whole.toarray())
    assert result.dtype == np.int32
    return result


@given(activations(), st.data())
@settings(deadline=None, max_examples=25)
def test_activation_counts_do_not_depend_on_the_partitions(values: Any, data: st.DataObject) -> None:
    classes = draw_classes(np.random.default_rng(len(values)), len(values))
    found = verify_reduction(activation_counts, values, classes, data)
    used = oracle.selected(values, 0.5, [0])
    np.testing.assert_array_equal(found.toarray(), oracle.activation_count(used, classes.tolist(), N_CLASSES))


def activation_counts(cut: Partitions) -> Any:
    def count(partition: int) -> Any:
        values, classes = cut(partition)
        return csr_array(count_selected(select_channels(values, 0.5, [0]), classes, N_CLASSES))

    return tree_reduce([delayed(count, pure=False)(p) for p in range(len(cut.parts))], add_counts)


def influence_counts(cut: Partitions) -> Any:
    count = delayed(lambda p: count_sources(*cut(p), N_CLASSES, N_SOURCES), pure=False)
    return tree_reduce([count(p) for p in range(len(cut.parts))], add_counts)


@given(rankings(), st.data())
@settings(deadline=None, max_examples=25)
def test_influence_counts_do_not_depend_on_the_partitions(drawn: Any, data: st.DataObject) -> None:
    source, classes = drawn
    found = verify_reduction(influence_counts, source, classes, data)
    whole = count_sources(source, classes, N_CLASSES, N_SOURCES)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(found, part), getattr(whole, part))


def test_a_reduction_needs_partitions() -> None:
    with pytest.raises(StoreIncompleteError, match="0 partitions"):
        tree_reduce([], add_counts)
