"""Maps of the classes are finite, repeatable, and follow from layer to layer."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba.core.caching import FunctionCache

from summit_dask.arrays.embedding import _keeping_compiled, embed_layers

FEW, MANY = 8, 24


def grouped_counts(n_classes: int, n_channels: int = 40, seed: int = 0) -> Any:
    """Counts of classes that are of two kinds in turn: 0, 1, 0, 1 …"""
    rng = np.random.default_rng(seed)
    kinds = 100 * rng.random((2, n_channels)) ** 3
    return rng.poisson(kinds[np.arange(n_classes) % 2]).astype(np.int32)


def step(places: dict[str, Any]) -> float:
    """Mean distance between a class's places in the first two layers, in units of the first layer's extent."""
    first, second = list(places.values())[:2]
    return float(np.linalg.norm(first - second, axis=1).mean() / np.linalg.norm(first, axis=1).mean())


@given(
    st.lists(
        arrays(np.int32, st.tuples(st.just(5), st.integers(1, 6)), elements=st.integers(0, 3)), min_size=1, max_size=3
    ),
    st.integers(1, 5),
)
@settings(deadline=None, max_examples=30)
def test_few_classes_are_always_placed(layers: list[Any], n_classes: int) -> None:
    counts = {str(i): layer[:n_classes] for i, layer in enumerate(layers)}
    for layer, place in embed_layers(counts, 0).items():
        assert place.shape == (n_classes, 2)
        assert np.isfinite(place).all()
        np.testing.assert_allclose(place.mean(axis=0), 0, atol=1e-6)
        # A projection brings classes nearer to each other, never farther apart, and keeps equal ones equal.
        rows = counts[layer] / np.maximum(np.linalg.norm(counts[layer], axis=1, keepdims=True), 1e-9)
        assert (distances(place) <= distances(rows) + 1e-5).all()


def distances(points: Any) -> Any:
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def test_two_classes_lie_at_their_distance() -> None:
    place = embed_layers({"a": np.array([[4, 0, 0], [0, 9, 0]], np.int32)}, 0)["a"]
    np.testing.assert_allclose(place, [[np.sqrt(0.5), 0], [-np.sqrt(0.5), 0]], atol=1e-6)


def test_the_class_that_lies_farthest_out_is_on_the_positive_side() -> None:
    place = embed_layers({"a": np.array([[0, 9], [4, 0], [0, 3]], np.int32)}, 0)["a"]
    np.testing.assert_allclose(place[:, 0], np.sqrt(2) / 3 * np.array([-1, 2, -1]), atol=1e-6)


def test_a_pca_is_turned_to_the_layer_before() -> None:
    counts = grouped_counts(FEW)
    mirrored_and_more = np.concatenate([counts[:, ::-1], np.zeros_like(counts)], axis=1)
    places = embed_layers({"a": counts, "b": mirrored_and_more}, 0)
    np.testing.assert_allclose(places["a"], places["b"], atol=1e-6)
    noisy = {"a": counts, "b": grouped_counts(FEW, seed=5)}
    alone = {layer: embed_layers({layer: c}, 0)[layer] for layer, c in noisy.items()}
    turned = embed_layers(noisy, 0)
    assert step(turned) < 0.9 * step(alone)
    np.testing.assert_allclose(distances(turned["b"]), distances(alone["b"]), atol=1e-5)


@pytest.mark.long
def test_umap_follows_repeats_and_tells_kinds_apart() -> None:
    counts = {"a": grouped_counts(MANY), "b": grouped_counts(MANY, seed=1)}
    places = embed_layers(counts, 7)
    again = embed_layers(counts, 7)
    other = embed_layers(counts, 8)
    assert all(places[layer].tobytes() == again[layer].tobytes() for layer in counts)
    assert not np.array_equal(places["a"], other["a"])
    alone = embed_layers({"b": counts["b"]}, 7)["b"]
    assert step(places) < step({"a": places["a"], "b": alone})
    assert np.abs(distances(places["b"]) - distances(alone)).max() > 1  # not merely turned: started elsewhere
    for place in places.values():
        kinds = place[::2], place[1::2]
        apart = np.linalg.norm(kinds[0].mean(axis=0) - kinds[1].mean(axis=0))
        assert apart > max(np.linalg.norm(kind - kind.mean(axis=0), axis=1).max() for kind in kinds)


@pytest.mark.long
@pytest.mark.parametrize("n_classes", [16, MANY])
def test_umap_survives_layers_that_tell_nothing_apart(n_classes: int) -> None:
    zero = np.zeros((n_classes, 12), np.int32)
    one_different = zero + np.int32(1)
    one_different[3] = 0
    layers = {"zero": zero, "equal": zero + np.int32(3), "one": one_different, "full": grouped_counts(n_classes)}
    for place in embed_layers(layers, 0).values():
        assert place.dtype == np.float32
        assert np.isfinite(place).all()


def test_umap_is_asked_as_the_design_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Recorder:
        def __init__(self, **given: Any) -> None:
            asked.append({name: value for name, value in given.items() if name != "init"})

        def fit_transform(self, counts: Any) -> Any:
            return np.zeros((len(counts), 2))

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Recorder))  # importing the real one compiles for long
    embed_layers({"a": grouped_counts(16)}, 7)
    embed_layers({"a": grouped_counts(15)}, 7)  # too few for UMAP
    assert asked == [{"n_neighbors": 15, "min_dist": 0.1, "metric": "cosine", "random_state": 7, "n_jobs": 1}]


def test_what_umap_has_compiled_is_kept_on_disk() -> None:
    def doubled(number: int) -> int:
        return 2 * number

    with _keeping_compiled():
        kept = numba.njit(fastmath=True)(doubled)
    assert isinstance(kept._cache, FunctionCache)
    assert not isinstance(numba.njit(doubled)._cache, FunctionCache)  # ours and other people's are left alone


def test_only_embedding_itself_imports_umap() -> None:
    code = "import summit_dask.arrays.embedding, sys; assert 'umap' not in sys.modules and 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
