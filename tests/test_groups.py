"""Groups of images: counts and graphs by any column, against plain loops over whole arrays."""

import shutil
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from summit_dask import Channel, attribution_graph, attribution_graphs, compare, count, open_store
from summit_dask.facts import schema
from summit_dask.facts.errors import DatasetError, GroupNotFoundError, StoreError
from summit_dask.images.manifest import read_manifest
from summit_dask.questions import groups as groups_module
from summit_dask.store import counting
from summit_dask.store.groups import groups_of_tree
from summit_dask.store.store import Store
from tests import oracles_matrices as oracle
from tests.stores import make_store, skip_layer_graph

N_CLASSES, PER_CLASS = 5, 12
N = N_CLASSES * PER_CLASS
SITES = np.array(["B", "A", "", "A, B"], schema.STRING)[np.arange(N) % 4]
STRENGTHS = np.array([0.5, 0.1, np.nan])[np.arange(N) // 2 % 3]

#: A channel that all images from site B use, and no others do.
PLANTED = Channel("block2", 3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("groups") / "store.zarr"
    columns = {"site": SITES, "strength": STRENGTHS, "id": np.arange(N), "night": np.arange(N) % 2 == 0}
    make_store(path, N_CLASSES, PER_CLASS, ("values",), graph=skip_layer_graph(2), columns=columns)
    _plant(path)
    return path


def _plant(path: Path) -> None:
    store = Store.open(path, writable=True)
    values = store.read(f"activations/{PLANTED.layer}/value")
    values[:, PLANTED.index] = np.where(SITES == "B", 1e6, 0)
    store.write(f"activations/{PLANTED.layer}/value", values)


@pytest.fixture(scope="module")
def tree(store: Path) -> xr.DataTree:
    return open_store(store)


def expected_groups(tree: xr.DataTree, *by: str) -> list[Any]:
    """Of each image, its values, as the text of the module says; None: in no group."""
    own = tree["classes/output_index"].values[tree["images/class_index"].values]
    first = tree["images/predicted"].values[:, 0]
    columns = {
        "class": tree["class"].values[tree["images/class_index"].values],
        "predicted": tree["class"].values[first],
        "correct": np.where(first == own, "right", "wrong"),
        "site": tree["images/site"].values,
        "strength": tree["images/strength"].values,
        "night": tree["images/night"].values,
    }
    rows = zip(tree["images/status"].values, *(columns[name] for name in by), strict=True)
    return [row if s == schema.READ and all(v != "" and v == v for v in row) else None for s, *row in rows]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        (["correct"], ["right", "wrong"]),
        (["predicted"], [f"n0000000{i}" for i in range(5)]),
        (["site"], ["A", "A, B", "B"]),
        (["strength"], ["0.1", "0.5"]),
        (["night", "correct"], ["False, right", "True, right", "True, wrong"]),
    ],
)
def test_groups_are_those_of_the_values(tree: xr.DataTree, by: list[str], names: list[str]) -> None:
    found = groups_of_tree(tree, by)
    assert list(found.names) == names
    for row, index in zip(expected_groups(tree, *by), found.index.tolist(), strict=True):
        assert (index < 0) == (row is None)
        if row is not None:
            assert row == [found.values[name][index] for name in by]


def expected_counts(tree: xr.DataTree, codes: list[int], n: int) -> dict[str, NDArray[np.int64]]:
    graph = skip_layer_graph(2)
    found = {}
    for layer in graph.visible:
        used = oracle.selected(tree[f"activations/{layer.name}/value"].values, 0.03, [7] * (layer.name == "stem"))
        found[f"{layer.name}/activation_count"] = oracle.activation_count(used, codes, n)
    for layer in graph.influenced:
        source, by_hop = (tree[f"influences/{layer.name}/{name}"].values for name in ("source", "hop"))
        for place, hop in enumerate(graph.incoming(layer.name)):
            rows = np.array(hop.targets)
            own = np.where(by_hop[:, rows] == place, source[:, rows], -1)
            counts = np.zeros((n, hop.channels, graph.layer(hop.source).channels), np.int64)
            for image, channel, rank in np.argwhere(own >= 0):  # invented rankings may hold a source twice
                if codes[image] >= 0:
                    counts[codes[image], channel, own[image, channel, rank]] += 1
            found[f"{hop.name}/influence_count"] = counts
    return found


@pytest.fixture(scope="module")
def by_site(tree: xr.DataTree) -> dict[str, NDArray[np.int64]]:
    names = ["A", "A, B", "B"]
    codes = [-1 if row is None else names.index(row[0]) for row in expected_groups(tree, "site")]
    return expected_counts(tree, codes, 3)


@given(chunk=st.integers(4, N), block=st.integers(4, N), at_once=st.sampled_from([1, 500, 2**27]))
@settings(deadline=None, max_examples=3, phases=[Phase.generate])
def test_counts_follow_the_formula_whatever_the_chunks(
    tree: xr.DataTree, by_site: dict[str, NDArray[np.int64]], chunk: int, block: int, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups_module, "BLOCK", block)
        patch.setattr(groups_module, "COUNTED_AT_ONCE", at_once)
        with pytest.MonkeyPatch.context() as early:
            early.setattr(counting, "select_channels", lambda *_: pytest.fail("computed before it is asked for"))
            found = count(tree.chunk({"image": chunk}), by="site")
    assert found["group"].values.tolist() == ["A", "A, B", "B"]
    assert all(found[address].chunks is not None for address in by_site)
    with dask.config.set(scheduler="synchronous"):
        computed = found.compute()
    for address, expected in by_site.items():
        np.testing.assert_array_equal(computed[address].values, expected)


def test_counts_of_a_tree_without_chunks_are_numbers_at_once(
    tree: xr.DataTree, by_site: dict[str, NDArray[np.int64]]
) -> None:
    found = count(tree, by="site")
    assert all(array.chunks is None for node in found.subtree for array in node.data_vars.values())
    for address, expected in by_site.items():
        np.testing.assert_array_equal(found[address].values, expected)
    assert found["n_images"].values.sum() == sum(row is not None for row in expected_groups(tree, "site"))


def test_graphs_of_groups_are_those_of_their_images(tree: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "BLOCK", 7)
    graphs = attribution_graphs(tree, by=["site", "correct"], p=0.3)
    rows = expected_groups(tree, "site", "correct")
    for name, graph in graphs.items():
        own = [row is not None and ", ".join(row) == name for row in rows]
        expected = attribution_graph(tree, images=np.array(own), p=0.3)
        assert dict(graph.nodes) == dict(expected.nodes) and graph.edges == expected.edges
        assert graph.counted is not None and graph.counted.n_images == sum(own)


def test_what_one_group_alone_uses_is_found_as_the_difference(tree: xr.DataTree) -> None:
    graphs = attribution_graphs(tree, by="site")
    channels = compare(graphs["A"], graphs["B"]).channels
    largest = channels.loc[channels["difference"].abs().idxmax()]
    assert Channel(largest["layer"], int(largest["channel"])) == PLANTED
    assert (largest["share_a"], largest["share_b"], largest["is_clear"]) == (0, 1, True)


def test_few_images_are_told_with_how_much_stays(tree: xr.DataTree) -> None:
    graphs = attribution_graphs(tree, by="correct")
    assert graphs.few_images("right") == ""
    assert graphs.few_images("wrong").startswith("The group 'wrong' has 4 images, so that much of its graph may be")


@pytest.mark.parametrize(
    ("by", "group", "message"),
    [
        ("sites", "", r"no column 'sites' to group them by. Did you mean .*'site'\?"),
        ("id", "", "'id' has 60 different values for 56 images that could be read, too many"),
        ("site", "C", "By site there is no group 'C' of images that could be read. There are: A, A, B, B."),
        ([], "", "There is no column to group images by"),
    ],
)
def test_what_makes_no_group_is_said(tree: xr.DataTree, by: Any, group: str, message: str) -> None:
    with pytest.raises(GroupNotFoundError, match=message):
        attribution_graphs(tree, by)[group]


def test_names_that_two_groups_share_are_refused(tmp_path: Path) -> None:
    columns = {
        "one": np.array(["a", "a, b"] * 15, schema.STRING),
        "two": np.array(["b, c", "c"] * 15, schema.STRING),
    }
    make_store(tmp_path / "store", parts=("values",), columns=columns)
    with pytest.raises(GroupNotFoundError, match="By one and two two groups have the same name"):
        groups_of_tree(open_store(tmp_path / "store"), ["one", "two"])


def test_values_that_were_lost_are_never_counted_as_zeros(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    next((tmp_path / "store/activations/block1/value/c").iterdir()).joinpath("0").unlink()
    with pytest.raises(StoreError, match=r"activations/block1/value can't be read: .* is missing"):
        count(open_store(tmp_path / "store", chunks={}), by="site")


def test_a_manifest_leaves_the_names_of_groups_to_the_store(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("path,label,correct\na.png,ant,yes\n")
    with pytest.raises(DatasetError, match=r"\['correct'\] twice or the store uses the name itself"):
        read_manifest(tmp_path / "images.csv")
