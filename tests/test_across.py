"""Stores in a row: each class against itself in the first, and the recipe that makes shifted images."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from summit_dask import across, open_store
from summit_dask.cli import commands
from summit_dask.facts.errors import StoreMismatchError
from summit_dask.questions.across import across_stores, printed
from summit_dask.store.store import Store
from tests.networks import write_images
from tests.stores import add_evidence, layer_graph, make_store

ROOT = Path(__file__).parents[1]
LAYERS = ("stem", "mixed1", "mixed2", "mixed3")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The second has other counts, and lacks a class."""
    folder = tmp_path_factory.mktemp("across")
    for number, n_classes in enumerate((5, 4)):
        make_store(folder / f"{number}.zarr", n_classes=n_classes, parts=("values", "matrices"), seed=number)
    return [folder / f"{number}.zarr" for number in range(2)]


def test_classes_are_held_against_themselves_in_the_first_store(stores: list[Path]) -> None:
    trees = [open_store(path) for path in stores]
    table = across(trees)
    assert table["class"].tolist() == [name for k in range(4) for name in [f"n0000000{k}"] * 2] + ["n00000004"]
    assert table["store"].tolist() == [0, 1] * 4 + [0]
    for row in table.itertuples():
        place = int(str(row[1])[1:])
        a, b = ([tree[f"matrices/{layer}/activation_count"].values[place] for layer in LAYERS]
                for tree in (trees[row.store], trees[0]))  # fmt: skip
        cosines = [x @ y / np.sqrt((x @ x) * (y @ y)) for x, y in zip(a, b, strict=True)]
        assert row.similarity == pytest.approx(np.mean(cosines))
        tables = trees[row.store]["classes"]
        assert row.accuracy == tables["n_correct"].values[place] / tables["n_images"].values[place]


def test_necessity_is_that_of_graphs_that_were_tested(tmp_path: Path) -> None:
    paths = [tmp_path / "untested.zarr", tmp_path / "tested.zarr"]
    for path in paths:
        make_store(path, n_classes=3, images_per_class=4, parts=("matrices", "graphs"))
    add_evidence(paths[1])
    necessity = across([open_store(path) for path in paths]).set_index(["class", "store"])["necessity"].unstack()
    assert necessity[0].isna().all()
    stored = open_store(paths[1])["evidence/activation-influence/necessity"].sel(choice="graph")
    np.testing.assert_array_equal(necessity[1], stored)
    lines = printed(across_stores(paths)).splitlines()[1:3]
    assert [", necessity " in line for line in lines] == [False, True]
    store = Store.open(paths[1], writable=True)
    with store.changing():
        store.finish("graphs/activation-influence", 99)  # made again
    assert across([open_store(path) for path in paths])["necessity"].isna().all()


def test_other_layers_are_refused(stores: list[Path], tmp_path: Path) -> None:
    make_store(tmp_path / "other.zarr", parts=("matrices",), graph=layer_graph((8, 12, 20, 10)))
    with pytest.raises(StoreMismatchError, match=r"Store 1 has other layers .* mixed2 has 16 channels in a and 20"):
        across([open_store(stores[0]), open_store(tmp_path / "other.zarr")])


def test_the_command_names_the_stores(stores: list[Path]) -> None:
    def said(*words: str) -> str:
        return CliRunner().invoke(commands, ["across", *map(str, stores), *words], catch_exceptions=False).output

    lines = said().splitlines()
    assert lines[0] == "Means over 5 classes; then those that change most:"
    assert lines[1].startswith(f"  {stores[0]}: similarity 1.00, accuracy ")
    assert json.loads(said("--format=json"))[1]["store"] == str(stores[1])
    assert said("--format=csv").startswith("class,store,n_images,accuracy,similarity,necessity\n")
    alone = CliRunner().invoke(commands, ["across", str(stores[0])])
    assert "two stores or more, found 1" in alone.output


def test_the_recipe_of_shifts_keeps_names_and_blurs_and_adds_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_images(tmp_path / "images", 2)
    monkeypatch.setattr("sys.argv", ["shifted.py", str(images), str(tmp_path / "out")])
    runpy.run_path(str(ROOT / "config" / "shifted.py"), run_name="__main__")
    names = sorted(file.relative_to(images) for file in images.rglob("*.png"))
    roughness = {}
    for shift in sorted(path.name for path in (tmp_path / "out").iterdir()):
        folder = tmp_path / "out" / shift
        assert sorted(file.relative_to(folder) for file in folder.rglob("*.png")) == names
        with Image.open(folder / names[0]) as opened:
            roughness[shift] = np.abs(np.diff(np.asarray(opened, float), axis=0)).mean()
    assert roughness["blur-1"] > roughness["blur-2"] > roughness["blur-4"]
    assert roughness["noise-10"] < roughness["noise-20"] < roughness["noise-40"]
