"""Channels that fire together: planted truths."""

import numpy as np
import pytest
import xarray as xr

from summit_dask import communities, open_store
from summit_dask.facts.errors import LayerNotFoundError
from summit_dask.store.store import Store
from tests.stores import make_store

PLANTED = {"mixed1": [1, 4, 7], "mixed2": [0, 9]}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    """Five channels of two layers fire with one another."""
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
