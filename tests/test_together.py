"""Channels that fire together and images that use the same ones: planted truths."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from summit_dask import communities, open_store, strategies
from summit_dask.arrays.strategies import cluster_images
from summit_dask.facts import schema
from summit_dask.facts.errors import ConfigError, LayerNotFoundError
from summit_dask.store.store import Store
from tests.stores import make_store

PLANTED = {"mixed1": [1, 4, 7], "mixed2": [0, 9]}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    """Five channels of two layers fire with one another; class 2 is recognised in two ways."""
    path = tmp_path_factory.mktemp("together") / "store.zarr"
    make_store(path, images_per_class=20, parts=("values", "matrices"))
    store = Store.open(path, writable=True)
    rng = np.random.default_rng(1)
    n = store.header.n_images
    common = rng.random(n)
    for layer, size in (("stem", 8), ("mixed1", 12), ("mixed2", 16), ("mixed3", 10)):
        values = rng.random((n, size))
        for channel in PLANTED.get(layer, []):
            values[:, channel] = common + 0.05 * rng.random(n)
        for row in range(40, 60):
            values[row, [2, 3] if row % 3 else [5, 6]] = 30
        store.write_whole(f"activations/{layer}/value", values.astype(np.float32))
    return open_store(path)


def test_planted_communities_are_found_within_a_layer_and_across_neighbours(tree: xr.DataTree) -> None:
    found = communities(tree, ["mixed2", "mixed1"])
    rows = found.channels
    assert rows["community"].is_monotonic_increasing
    numbers = {
        int(rows[(rows["layer"] == layer) & (rows["channel"] == channel)]["community"].item())
        for layer, channels in PLANTED.items()
        for channel in channels
    }
    (number,) = numbers
    own = rows[rows["community"] == number]
    assert {*zip(own["layer"], own["channel"], strict=True)} == {(x, y) for x, all_ in PLANTED.items() for y in all_}
    entry = found.communities.loc[number]
    assert entry["n_channels"] == 5 and entry["layers"] == ["mixed1", "mixed2"] and len(entry["classes"]) == 3
    again = communities(tree, ["mixed1", "mixed2"])
    assert again.channels.equals(found.channels)


def test_communities_are_named_by_the_classes_that_use_them(tree: xr.DataTree) -> None:
    found = communities(tree, ["mixed1"])
    own = found.channels[found.channels["community"] == 0]["channel"].to_numpy()
    counts = tree["matrices/mixed1/activation_count"].values[:, own] / tree["classes/n_images"].values[:, None]
    order = np.argsort(-counts.mean(axis=1), kind="stable")[:3]
    assert found.communities.loc[0, "classes"] == [str(tree["classes/name"].values[index]) for index in order]


def test_a_layer_that_is_not_there_is_named(tree: xr.DataTree) -> None:
    with pytest.raises(LayerNotFoundError, match="mixed9"):
        communities(tree, ["mixed9"])


def test_planted_strategies_are_found(tree: xr.DataTree) -> None:
    found = strategies(tree, "n00000002")
    rows = np.flatnonzero(found.strategy >= 0)
    readable = tree["images/status"].values == schema.READ
    assert rows.tolist() == [row for row in range(40, 60) if readable[row]]
    assert found.strategy[rows].tolist() == [0 if row % 3 else 1 for row in rows]
    assert not found.is_odd.any() and found.images(1).sum() == sum(row % 3 == 0 for row in rows)


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
