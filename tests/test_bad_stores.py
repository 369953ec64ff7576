"""Folders that are no stores, or no longer: one sentence each, from whatever opens them."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from summit_dask import open_store
from summit_dask.cli import commands
from summit_dask.facts.errors import StoreError
from summit_dask.store.store import Store
from tests.pages import component_of, open_page


def foreign(path: Path) -> None:
    shutil.rmtree(path)
    zarr.open_group(path, mode="w", zarr_format=3).create_array("x", data=np.arange(3))


def older_zarr(path: Path) -> None:
    shutil.rmtree(path)
    zarr.open_group(path, mode="w", zarr_format=2)


def one_array(path: Path) -> None:
    shutil.rmtree(path)
    zarr.create_array(str(path), data=np.arange(3))


def attribute(name: str, value: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        root = json.loads((path / "zarr.json").read_text())
        root["attributes"][name] = value
        (path / "zarr.json").write_text(json.dumps(root))

    return change


def cut_short(path: Path) -> None:
    (path / "zarr.json").write_text("{")


def resized(path: Path) -> None:
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"]["sizes"]["n_classes"] += 1
    (path / "zarr.json").write_text(json.dumps(root))


def retyped(path: Path) -> None:
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    values = group["images/class_index"][:]
    group.create_array("images/class_index", data=values.astype(np.int64), overwrite=True, dimension_names=["image"])
    Store.open(path, writable=True).consolidate()


BROKEN = [
    (foreign, "is a Zarr group, but no summit-dask store (its attributes lack 'summit_format')"),
    (older_zarr, "is no Zarr group"),
    (one_array, "is no Zarr group"),
    (cut_short, "if it is that one, its zarr.json is damaged"),
    (attribute("summit_format", 99), "has the store format 99; this version reads format"),
    (attribute("layer_graph", [1]), "This is not a layer graph"),
    (attribute("run", {"x": 1}), "restore its zarr.json"),
    (attribute("sizes", {"n_images": "many"}), "restore its zarr.json"),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_what_is_no_store_is_told_in_one_sentence(
    damage: Callable[[Path], None], message: str, complete: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(complete, tmp_path / "store")
    damage(path)
    with pytest.raises(StoreError) as opened:
        open_store(path)
    assert message in str(opened.value)
    for words in (
        ["info", str(path)],
        ["verify", str(path)],
        ["export", str(path), str(tmp_path / "x"), "--format=csv"],
    ):
        asked = CliRunner().invoke(commands, words)
        assert isinstance(asked.exception, StoreError)
        assert message in str(asked.exception)


@pytest.mark.parametrize("group", ["images", "classes", "matrices", "graphs"])
def test_a_group_whose_files_are_gone_is_named(
    group: str, complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name of its own: a dashboard takes a copy for the store that lay there before, which was made at the same time.
    path = shutil.copytree(complete, tmp_path / group)
    shutil.rmtree(path / group)
    asked = CliRunner().invoke(commands, ["export", str(path), str(tmp_path / "x"), "--format=csv"])
    assert isinstance(asked.exception, StoreError)
    assert f"{group}/" in str(asked.exception)
    assert "is missing" in str(asked.exception)
    page = open_page(path, "explore", monkeypatch)
    assert not page.exception
    if group == "graphs":  # as before they were made
        assert any("graphs" in text.value for text in page.text), [text.value for text in page.text]
    else:
        assert "is missing" in str(component_of(page, "error"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (resized, r"expected the shape \(6,\) for the dims \('class',\), found \(5,\)"),
        (retyped, r"images/class_index: expected values of dtype int32, found int64"),
    ],
)
def test_arrays_that_do_not_fit_the_header_are_told(
    change: Callable[[Path], None], message: str, complete: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(complete, tmp_path / "store")
    change(path)
    asked = CliRunner().invoke(commands, ["export", str(path), str(tmp_path / "x"), "--format=csv"])
    assert isinstance(asked.exception, StoreError), asked.exception
    assert re.search(message, str(asked.exception)), asked.exception
    assert "make the store again" in str(asked.exception)
