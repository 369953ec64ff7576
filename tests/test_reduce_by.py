"""Counts by groups of images that a store keeps: made on a cluster, used, checked, made again, told when outdated."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from distributed import Client

from summit_dask import attribution_graphs, count, open_store
from summit_dask.cli import commands
from summit_dask.facts import schema
from summit_dask.questions.info import describe, printed
from summit_dask.stages import groups as stage
from summit_dask.stages import pipeline
from summit_dask.stages.repair import mend
from summit_dask.store.damage import find_damage
from summit_dask.store.store import Store
from tests.runs import cluster_of, connected
from tests.stores import layer_graph, make_store

N_CLASSES, PER_CLASS = 5, 12
BY = ["predicted", "site"]
GROUP = "grouped/predicted site"
SITES = np.array(["B", "A", ""], schema.STRING)[np.arange(N_CLASSES * PER_CLASS) % 3]

Stored = tuple[Path, xr.DataTree]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, client: Client) -> Stored:
    """A store with counts by groups, made by the command; and what these are without any that are stored."""
    path = tmp_path_factory.mktemp("by") / "store.zarr"
    parts = ("values", "matrices", "examples")
    make_store(path, N_CLASSES, PER_CLASS, parts, graph=layer_graph((8, 12)), columns={"site": SITES})
    expected = count(open_store(path), BY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "cluster", cluster_of(client))
        patch.setattr(stage, "COUNTED_AT_ONCE", 1)  # eight groups
        patch.setattr(stage, "PARTITIONS_PER_TASK", 1)
        result = CliRunner().invoke(commands, ["reduce", str(path), "--by", "predicted", "--by", "site"])
    assert result.exit_code == 0, result.output
    return path, expected


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_what_is_kept_is_what_count_counts(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    path, expected = stored
    assert len(expected["group"]) > 8
    tree = open_store(path)
    xr.testing.assert_equal(
        tree[f"{GROUP}/n_images"].reset_coords(drop=True), expected["n_images"].reset_coords(drop=True)
    )
    monkeypatch.setattr("summit_dask.store.counting.select_channels", lambda *_: pytest.fail("counted again"))
    found = count(tree, BY).load()
    for name in BY:  # older versions of xarray find texts unequal to themselves
        assert found[name].values.tolist() == expected[name].values.tolist()
    for node in expected.subtree:
        mine, theirs = (tree[node.path].to_dataset().drop_vars(BY, errors="ignore") for tree in (found, expected))
        xr.testing.assert_equal(mine, theirs)
    assert count(open_store(path, chunks={}), BY)["stem/activation_count"].chunks is not None
    graphs = attribution_graphs(tree, BY)
    name = next(iter(graphs))
    counted = graphs[name].counted
    assert counted is not None
    np.testing.assert_array_equal(counted.used["stem"], expected["stem/activation_count"].sel(group=name))


def test_counts_that_are_there_are_not_made_again(stored: Stored, client: Client) -> None:
    path, _ = stored
    before = contents(path / GROUP)
    store = Store.open(path, writable=True)
    with store.changing():
        stage.count_groups(store, BY, store.header.run.config, lambda: pytest.fail("needs no cluster"))
    assert contents(path / GROUP) == before


def test_damaged_counts_are_made_again_to_the_same_bytes(stored: Stored, client: Client) -> None:
    path, _ = stored
    before = contents(path / GROUP)
    file = path / GROUP / "mixed1.3x3/influence_count/c/0/0/0"
    file.write_bytes(file.read_bytes()[:-3] + b"xyz")
    damages = [damage for damage in find_damage(Store.open(path)) if damage]
    assert [damage.sentence(path).endswith("makes it again, as 'reduce --by' did.") for damage in damages] == [True]
    store = Store.open(path, writable=True)
    with store.changing():
        assert list(mend(store, damages, connected(client))) == [f"Made again: {GROUP}."]
    assert contents(path / GROUP) == before


def test_counts_of_other_options_are_told_and_not_used(stored: Stored) -> None:
    path, expected = stored
    assert "Counted by: predicted and site (10 groups)" in printed(describe(path))
    store = Store.open(path, writable=True)
    run = store.header.run
    try:
        with store.changing():
            store.update_run(run.model_copy(update={"config": run.config.replaced(mass=0.3)}))
        assert "Counted by: predicted and site (made with other options or values)" in printed(describe(path))
        assert not count(open_store(path), BY)["stem/activation_count"].equals(expected["stem/activation_count"])
    finally:
        with store.changing():
            store.update_run(run)


def test_a_column_that_is_not_there_ends_in_a_sentence(
    stored: Stored, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "cluster", cluster_of(client))
    result = CliRunner().invoke(commands, ["reduce", str(stored[0]), "--by", "sites"])
    assert "Images have no column 'sites' to group them by. Did you mean 'site'?" in str(result.exception)
