"""Channels and layers of two networks held against each other: planted truths, and whole arrays in NumPy."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from summit_dask import match, open_store
from summit_dask.arrays import correlation as correlations_of
from summit_dask.arrays.correlation import Centred, Moments, correlation, linear_cka
from summit_dask.cli import commands
from summit_dask.facts import schema
from summit_dask.facts.errors import StoreMismatchError
from summit_dask.store.store import Store
from tests.stores import make_store

LAYERS = ("stem", "mixed1", "mixed2", "mixed3")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 99), st.sampled_from([0.0, 1e6]))
def test_moments_do_not_depend_on_how_images_are_cut_up(sizes: list[int], seed: int, far: float) -> None:
    """Also where values lie far from 0, where plain sums of squares would cancel."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(far, 1, (sum(sizes), 4)), rng.normal(-far, 1, (sum(sizes), 3))
    b[:, 0] = far
    ends = np.cumsum(sizes)[:-1]
    found, *more = (moments(*pair) for pair in zip(np.split(a, ends), np.split(b, ends), strict=True))
    for other in more:
        found = found.merged(other)
    from_a, from_b = a - a.mean(0), b - b.mean(0)
    np.testing.assert_allclose(found.cross, from_a.T @ from_b, atol=1e-6)
    np.testing.assert_allclose(found.square_a, (from_a**2).sum(0), rtol=1e-6, atol=1e-6)
    if len(a) > 1:
        expected = np.corrcoef(a.T, b[:, 1:].T)[:4, 4:]
        np.testing.assert_allclose(correlation(found)[:, 1:], expected, atol=1e-5)
    assert (correlation(found)[:, 0] == 0).all()  # the same on all images


def moments(a: np.ndarray, b: np.ndarray) -> Moments:
    return Moments.of(Centred.of(a), Centred.of(b))


def test_cka_is_that_of_the_formula_and_knows_turned_layers() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 6)), rng.normal(size=(50, 9))
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))

    def cka(x: np.ndarray, y: np.ndarray) -> float:
        return linear_cka(moments(x, y), moments(x, x), moments(y, y))

    centre = np.eye(50) - 1 / 50
    kernels = [centre @ x @ x.T @ centre for x in (a, b)]
    hsic = [[(one * other).sum() for other in kernels] for one in kernels]
    assert cka(a, b) == pytest.approx(hsic[0][1] / np.sqrt(hsic[0][0] * hsic[1][1]))
    assert cka(a, 3 * a @ turn + 2) == pytest.approx(1)
    assert cka(a, np.ones((50, 2))) == 0


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    """A store, and the same with the channels of one layer permuted, its images in another order and one unreadable."""
    folder = tmp_path_factory.mktemp("match")
    a, b = folder / "a.zarr", folder / "b.zarr"
    for path in (a, b):
        make_store(path, images_per_class=8, parts=("values",))
    rng = np.random.default_rng(5)
    permutation, order = rng.permutation(12), rng.permutation(40)
    store = Store.open(b, writable=True)
    for layer in LAYERS:
        values = store.read(f"activations/{layer}/value")
        own = values[:, permutation] if layer == "mixed1" else values
        store.write_whole(f"activations/{layer}/value", own[order])
    store.write_whole("images/path", store.read("images/path")[order])
    status = store.read("images/status")[order]
    status[np.flatnonzero(status == schema.READ)[0]] = schema.UNREADABLE
    store.write_whole("images/status", status)
    return a, b, permutation


def test_a_permuted_network_is_found_out_whatever_the_order_of_images(
    stores: tuple[Path, Path, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, permutation = stores
    monkeypatch.setattr(correlations_of, "PIECE", 7)
    trees = open_store(a), open_store(b)
    found = match(*trees, n_best=2)
    assert found.n_images == 40 - 4 - 1  # four can be read in neither, one in a alone
    own = found.channels[(found.channels["layer_a"] == "mixed1") & (found.channels["rank"] == 0)]
    assert (own["layer_b"] == "mixed1").all() and (own["correlation"] > 1 - 1e-9).all()
    assert permutation[own["channel_b"].to_numpy()].tolist() == list(range(12))
    np.testing.assert_allclose(np.diag(found.layers), 1)
    second = found.channels[found.channels["rank"] == 1]
    whole = correlations(trees, found.n_images)
    np.testing.assert_allclose(np.sort(second["correlation"]), np.sort(np.sort(whole, axis=1)[:, -2]), atol=1e-9)


def correlations(trees: tuple[xr.DataTree, xr.DataTree], n_images: int) -> np.ndarray:
    """Of all channels, by NumPy from whole arrays."""
    readable = [
        dict(zip(tree["images/path"].values.tolist(), tree["images/status"].values == schema.READ, strict=True))
        for tree in trees
    ]
    paths = [path for path in readable[0] if readable[0][path] and readable[1][path]]
    assert len(paths) == n_images
    values = []
    for tree in trees:
        places = [tree["images/path"].values.tolist().index(path) for path in paths]
        values.append(np.hstack([tree[f"activations/{layer}/value"].values[places] for layer in LAYERS]))
    n = values[0].shape[1]
    return np.corrcoef(values[0].T.astype(float), values[1].T.astype(float))[:n, n:]


def test_other_images_are_refused_with_numbers(stores: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    make_store(tmp_path / "few.zarr", n_classes=2, images_per_class=3, parts=("values",))
    with pytest.raises(StoreMismatchError, match=r"share 3 readable images, of 40 in a and 6 in b; at least 10"):
        match(open_store(stores[0]), open_store(tmp_path / "few.zarr"))


@pytest.mark.parametrize("kind", ["table", "csv", "json"])
def test_the_command_answers_in_three_ways(kind: str, stores: tuple[Path, Path, np.ndarray]) -> None:
    a, b, permutation = stores
    said = CliRunner().invoke(commands, ["match", str(a), str(b), f"--format={kind}"], catch_exceptions=False).output
    if kind == "table":
        assert "35 images are in both stores" in said and "  mixed1: mixed1 1.00, " in said
    elif kind == "csv":
        assert said.startswith("layer_a,channel_a,rank,layer_b,channel_b,correlation\nstem,0,0,stem,0,1.0\n")
    else:
        first = next(row for row in json.loads(said)["channels"] if row["layer_a"] == "mixed1")
        assert permutation[first["channel_b"]] == 0
