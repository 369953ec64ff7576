"""Images of a class that use the same channels: planted truths."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from summit_dask import open_store, strategies
from summit_dask.arrays.strategies import cluster_images
from summit_dask.facts import schema
from summit_dask.facts.errors import ConfigError
from summit_dask.store.store import Store
from summit_dask.store.tree import layer_graph_of
from tests.stores import make_store


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    """Class 2 is recognised in two ways, by channel 3 or by channel 6 of every layer."""
    path = tmp_path_factory.mktemp("strategies") / "store.zarr"
    make_store(path, n_classes=3, images_per_class=20, parts=("values", "matrices"))
    store = Store.open(path, writable=True)
    for layer in store.layer_graph.visible:
        values = np.random.default_rng(1).random((store.header.n_images, layer.channels))
        for row in range(40, 60):
            values[row, 3 if row % 3 else 6] = 30
        store.write_whole(f"activations/{layer.name}/value", values.astype(np.float32))
    return open_store(path)


def test_planted_strategies_are_found(tree: xr.DataTree) -> None:
    found = strategies(tree, "n00000002")
    rows = np.flatnonzero(found.strategy >= 0)
    readable = tree["images/status"].values == schema.READ
    assert rows.tolist() == [row for row in range(40, 60) if readable[row]]
    assert found.strategy[rows].tolist() == [0 if row % 3 else 1 for row in rows]
    assert not found.is_odd.any() and found.images(1).sum() == sum(row % 3 == 0 for row in rows)
    assert found.number == 2


def test_what_sets_a_strategy_apart_is_what_was_planted(tree: xr.DataTree) -> None:
    table = strategies(tree, "n00000002").channels
    layers = [layer.name for layer in layer_graph_of(tree).visible]
    for number, planted in enumerate((3, 6)):
        own = table[table["strategy"] == number]
        best = own.head(len(layers))
        assert best["layer"].tolist() == layers and (best["channel"] == planted).all()
        assert (best["share"] == 1).all() and (best["elsewhere"] == 0).all() and best["is_clear"].all()
        np.testing.assert_allclose(own["difference"], own["share"] - own["elsewhere"])


def test_few_images_cannot_be_parted(tmp_path: Path) -> None:
    make_store(tmp_path / "few.zarr", images_per_class=4, parts=("values",))
    with pytest.raises(ConfigError, match="'n00000001' has 3 readable images, too few"):
        strategies(open_store(tmp_path / "few.zarr"), "n00000001")


@settings(deadline=None)  # the first one loads scikit-learn's metrics
@given(st.integers(3, 12), st.integers(1, 3), st.integers(0, 99))
def test_groups_are_numbered_by_size_whatever_the_images(n_images: int, n_layers: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, is_odd = cluster_images([rng.random((n_images, 5)) < 0.4 for _ in range(n_layers)])
    sizes = np.bincount(group)
    assert (sizes[:-1] >= sizes[1:]).all() and sizes.all() and len(sizes) <= 4
    assert len(group) == len(is_odd) == n_images


def test_an_image_between_two_groups_is_odd() -> None:
    used = np.array([[1, 1, 0, 0]] * 4 + [[0, 0, 1, 1]] * 4 + [[1, 0, 1, 1]], bool)
    group, is_odd = cluster_images([used])
    assert group.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0] and not is_odd[:8].any()
    same, none = cluster_images([np.ones((5, 3), bool)])
    assert not same.any() and not none.any()
