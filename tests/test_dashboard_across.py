"""The page that follows classes through the stores of a folder."""

from pathlib import Path

import numpy as np
import pytest

from dashboard.selection import Selection
from dashboard.views.across import _natural
from summit_dask import across, open_store
from tests.pages import open_page
from tests.stores import add_evidence, layer_graph, make_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stores of one layer graph, of which one was tested, and one of another."""
    folder = tmp_path_factory.mktemp("folder")
    for seed, name in enumerate(("clean", "blur-10", "blur-2")):
        make_store(folder / f"{name}.zarr", n_classes=4, images_per_class=3, parts=("matrices", "graphs"), seed=seed)
    add_evidence(folder / "blur-2.zarr")
    make_store(folder / "other.zarr", n_classes=4, images_per_class=3, parts=("matrices",), graph=layer_graph((8, 12)))
    return folder


def test_a_class_is_followed_through_the_stores_of_its_layers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Selection(store="clean.zarr", class_="n00000001")
    app = open_page(folder, "across", monkeypatch, wanted)
    assert not app.exception
    names = ["clean.zarr", "blur-2.zarr", "blur-10.zarr"]
    one, everything = (element.value for element in app.dataframe)
    assert one["store"].tolist() == names
    expected = across([open_store(folder / name) for name in names])
    own = expected[expected["class"] == "n00000001"]
    np.testing.assert_allclose(one["similarity"], own["similarity"])
    np.testing.assert_allclose(one["necessity"].astype(float), own["necessity"])
    least = expected.groupby("class")["similarity"].min().sort_values(kind="stable")
    np.testing.assert_allclose(everything["least"], least)
    assert len(everything["similarity"].iloc[0]) == 3 and len(everything["necessity"].iloc[0]) <= 1
    assert any("Without other.zarr: its network has other layers." in html.proto.body for html in app.get("html"))
    assert app.button(key="across blur-2.zarr").label == r"Compare with blur\-2\.zarr"


def test_the_address_says_which_stores_and_in_which_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Selection(store="clean.zarr", across=("blur-10.zarr", "gone.zarr"))
    app = open_page(folder, "across", monkeypatch, wanted)
    assert app.dataframe[0].value["store"].tolist() == ["clean.zarr", "blur-10.zarr"]
    assert app.multiselect(key="across").value == ["blur-10.zarr"]
    assert "necessity" not in app.dataframe[0].value
    app.multiselect(key="across").set_value(["blur-10.zarr", "blur-2.zarr"]).run()
    assert app.query_params["across"] == ["blur-10.zarr", "blur-2.zarr"]


def test_a_store_alone_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(folder, "across", monkeypatch, Selection(store="other.zarr"))
    assert not app.exception and "no other store in this folder" in app.info[0].value


def test_numbers_in_names_stand_by_their_size() -> None:
    assert sorted(["epoch-10", "epoch-2", "b", "epoch-2-ema", "10", "9"], key=_natural) == [
        "9",
        "10",
        "b",
        "epoch-2",
        "epoch-2-ema",
        "epoch-10",
    ]
