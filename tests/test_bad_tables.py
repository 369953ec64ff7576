"""Manifests, tables of classes and the original's files of any content: read, or refused by one message."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from summit_dask.facts.errors import ClassMappingError, DatasetError, FormatError, SummitError
from summit_dask.formats.checks import numbers
from summit_dask.formats.original_import import import_summit
from summit_dask.images.classes import map_classes
from summit_dask.images.sources import read_image_set
from tests import originals

FEW = settings(deadline=None, derandomize=True, max_examples=60)
DEEP = b"[" * 100_000
LONG = b"1" * 5000

_headers = st.sampled_from(["path", "label", "index", "name", "synset", "folder", "class", "a b", "", "image", "id"])
_cells = st.text(max_size=5) | st.sampled_from(["a", "b", "0", "1", "NA", "-1", "1e400", '"', "x.png", "s3://a/b"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def check(path: Path) -> None:
    """As a manifest, and as a table of the outputs."""
    try:
        images = read_image_set(path)
        assert images.digest() and len(images.class_index) == len(images.table) and "path" not in images.columns
    except DatasetError as error:
        assert str(path.parent) in str(error)
    try:
        assert set(map_classes(["a", "b"], 2, str(path), None).of_class) == {"a", "b"}
    except ClassMappingError as error:
        assert str(path) in str(error) or "match no output" in str(error) or "same output" in str(error)


@FEW
@given(headers=st.lists(_headers, max_size=4), rows=st.lists(st.lists(_cells, max_size=4), max_size=3))
def test_csv(folder: Path, headers: list[str], rows: list[list[str]]) -> None:
    lines = [",".join(row) for row in [headers, *rows]]
    (folder / "t.csv").write_bytes("\n".join(lines).encode(errors="replace"))
    check(folder / "t.csv")


@FEW
@given(content=st.binary(max_size=40), name=st.sampled_from(["t.csv", "t.json", "t.parquet", "t.txt", "t"]))
@example(DEEP, "t.json")
@example(LONG, "t.json")
def test_bytes(folder: Path, content: bytes, name: str) -> None:
    (folder / name).write_bytes(content)
    check(folder / name)


_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("\ud800")
_keys = st.sampled_from(["path", "label", "index", "name", "synset", "id2label", "0", "1", "a", "-1", "²"])
_json = st.recursive(_leaves, lambda x: st.lists(x, max_size=3) | st.dictionaries(_keys, x, max_size=3), max_leaves=10)


@FEW
@given(content=_json)
@example([["a"], ["b", 1]])
@example([{"path": "\ud800.png", "label": "a"}])
def test_json(folder: Path, content: Any) -> None:
    (folder / "t.json").write_text(json.dumps(content))
    check(folder / "t.json")


@FEW
@given(place=st.floats(0, 1), byte=st.integers(1, 255))
def test_a_flipped_byte_of_a_parquet_file(folder: Path, place: float, byte: int) -> None:
    pd.DataFrame({"path": ["a.png", "b.png"], "label": ["a", "b"], "index": [0, 1]}).to_parquet(folder / "t.parquet")
    content = bytearray((folder / "t.parquet").read_bytes())
    content[int(place * (len(content) - 1))] ^= byte
    (folder / "t.parquet").write_bytes(content)
    check(folder / "t.parquet")


# The original's files

WRONG = (None, True, 0, -1, 1.5, float("nan"), 2**31, 10**30, 10**400, "", "1", "²", "\ud800", [], {}, [1], {"a": 1})


@pytest.fixture(scope="module")
def original(folder: Path) -> dict[Path, bytes]:
    """The files of a sound folder."""
    made = originals.make(folder / "original", n_classes=2, n_layers=2)
    return {path: path.read_bytes() for path in sorted(made.rglob("*.json"))}


@settings(deadline=None, derandomize=True, max_examples=12)
@given(seed=st.integers(0, 2**32))
def test_original_files_with_anything_in_any_place(folder: Path, original: dict[Path, bytes], seed: int) -> None:
    rng = random.Random(seed)
    path = rng.choice(list(original))
    content = json.loads(original[path])
    damage(content, rng)
    check_import(folder, original, path, json.dumps(content).encode())


@pytest.mark.parametrize("content", [DEEP, LONG, b"[" + LONG + b"]", b"\xff"])
def test_original_files_that_json_can_not_be(folder: Path, original: dict[Path, bytes], content: bytes) -> None:
    for path in original:
        assert not check_import(folder, original, path, content)


def check_import(folder: Path, original: dict[Path, bytes], path: Path, content: bytes) -> bool:
    """Whether the folder with another content of one file is imported; else it is a message, and nothing is left."""
    for file, sound in original.items():
        file.write_bytes(sound if file != path else content)
    shutil.rmtree(folder / "out", ignore_errors=True)
    try:
        import_summit(folder / "original", folder / "out")
    except SummitError as error:
        assert str(folder) in str(error) and not [*folder.glob("out*")]
        return False
    return True


def damage(content: Any, rng: random.Random) -> None:
    """Another value in a place at random, or none, or one more."""
    inside = content
    while isinstance(inside, dict | list) and inside:
        place: Any = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        if not isinstance(inside[place], dict | list) or rng.random() < 0.3:
            inside[place] = rng.choice(WRONG)
            return
        inside = inside[place]


def test_a_number_too_large_for_floats_is_none() -> None:
    with pytest.raises(FormatError, match=r"expected x as a number, found 1000"):
        numbers([10**400], "here", "x")
