"""Images appended to a store: only they are measured, and counts and graphs are those of a run over all."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import Client

from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import StoreMismatchError
from summit_dask.questions.verify import KINDS
from summit_dask.stages import extract as extracting
from summit_dask.stages.init import init
from summit_dask.stages.sources import tables_again
from summit_dask.store import extend
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests.runs import run_here

#: Classes and images of each append; "bee", between the others, comes last, and the last partition is filled up twice.
ROUNDS = ({"ant": 25, "cat": 22}, {"ant": 28}, {"bee": 30, "cat": 30})


def given(source: Path, images: Path, classes: dict[str, int]) -> None:
    """The first images of some classes."""
    for name, count in classes.items():
        (images / name).mkdir(parents=True, exist_ok=True)
        for file in sorted((source / name).iterdir())[:count]:
            shutil.copy2(file, images / name / file.name)


@pytest.fixture
def config(finished: RunConfig, tmp_path: Path) -> RunConfig:
    """A run on the first round's images."""
    given(finished.images, tmp_path / "images", ROUNDS[0])
    return finished.replaced(images=tmp_path / "images", out=tmp_path / "store.zarr")


def by_path(tree: xr.DataTree, address: str) -> dict[str, bytes]:
    return dict(zip(tree["images/path"].values.tolist(), (row.tobytes() for row in tree[address].values), strict=True))


def count_measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counts: list[int] = []
    measure = extracting.extract_partition

    def counting(*args: object) -> object:
        counts.append(len(args[2].files))  # type: ignore[attr-defined]
        return measure(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(extracting, "extract_partition", counting)
    return counts


def test_images_appended_twice_give_what_a_run_over_all_gives(
    config: RunConfig, finished: RunConfig, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ("extract", "reduce", "graphs")
    run_here(config, client, *stages)
    counts = count_measured(monkeypatch)
    given(finished.images, config.images, ROUNDS[1])
    run_here(config, client, *stages, append=True)
    given(finished.images, config.images, ROUNDS[2])
    store = run_here(config, client, *stages, append=True)
    assert counts == [3, 14, 24]  # of 47, 50 and 88 images in partitions of 32
    everything = finished.replaced(images=config.images, out=config.out.with_name("all.zarr"))
    run_here(everything, client, *stages)
    made, expected = open_store(config.out), open_store(everything.out)
    assert made["class"].values.tolist() == ["ant", "bee", "cat"]
    assert store.header.run.facts == Store.open(everything.out).header.run.facts
    for address in ("activations/upper/value", "influences/upper/source", "images/predicted", "images/file_size"):
        assert by_path(made, address) == by_path(expected, address)
    for group in ("matrices", "graphs", "classes"):
        for node in expected[group].subtree:
            for name, values in node.data_vars.items():
                np.testing.assert_array_equal(made[f"{node.path}/{name}"].values, values.values)
    for kind in KINDS[:2]:
        assert not any(kind.find(store, 1)), kind.name
    assert {file.name for file in config.out.parent.glob("store.zarr*")} == {"store.zarr", "store.zarr.network"}


def test_without_append_new_images_are_refused(config: RunConfig, finished: RunConfig) -> None:
    init(config)
    given(finished.images, config.images, {"bee": 1})
    with pytest.raises(StoreMismatchError, match=r"images: 1 images are new \('bee/000.png'\)\nGive --append"):
        init(config)


def test_an_image_that_is_gone_is_refused(config: RunConfig, finished: RunConfig) -> None:
    init(config)
    (config.images / "ant" / "003.png").unlink()
    given(finished.images, config.images, {"bee": 6})
    with pytest.raises(StoreMismatchError, match=r"1 images of the store are gone \('ant/003.png'\)"):
        init(config, append=True)


def test_an_unfinished_store_takes_images_too(
    config: RunConfig, finished: RunConfig, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = count_measured(monkeypatch)
    store = run_here(config, client, "extract")
    with store.changing():
        store.forget([0])
    given(finished.images, config.images, ROUNDS[1])
    run_here(config, client, "extract", append=True)
    assert counts == [32, 15, 32, 3]


@pytest.mark.parametrize(
    ("killed", "n_images"),
    [
        ("mark", 47),
        pytest.param("swap", None, marks=pytest.mark.long),
        pytest.param("delete", 85, marks=pytest.mark.long),
    ],
)
def test_a_killed_append_leaves_the_old_store_or_the_new_one(
    killed: str, n_images: int | None, config: RunConfig, finished: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the two renamings, between them, and after."""
    init(config)
    given(finished.images, config.images, ROUNDS[2])

    owner, name = {"mark": (extend, "_mark"), "swap": (Path, "rename"), "delete": (shutil, "rmtree")}[killed]
    whole = getattr(owner, name)

    def is_time(path: Path) -> bool:
        draft = config.out.with_name("store.zarr.append")
        return killed == "mark" or (
            path == draft / "store.zarr" if killed == "swap" else path == draft and path.exists()
        )

    def kills(path: Path, *more: object, **options: object) -> object:
        if is_time(path):
            raise KeyboardInterrupt
        return whole(path, *more, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, name, kills)
        init(config, append=True)
    found = Store.open(config.out).header.n_images if config.out.exists() else None
    assert found == n_images
    assert init(config, append=True).header.n_images == 85
    assert {file.name for file in config.out.parent.glob("store.zarr*")} == {"store.zarr", "store.zarr.network"}


@pytest.mark.long
def test_tables_that_images_were_appended_to_are_not_looked_up_again(
    config: RunConfig, finished: RunConfig, client: Client
) -> None:
    run_here(config, client, "extract")
    given(finished.images, config.images, ROUNDS[1])
    init(config, append=True)
    with pytest.raises(StoreMismatchError, match="images were appended to it, in an order that nothing else tells"):
        tables_again(Store.open(config.out))
