"""Finding images in folders and manifests, and saying what is not used, twice there, or not there."""

import math
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

from summit_dask.facts.errors import DatasetError
from summit_dask.images.readable import check_readable
from summit_dask.images.sources import read_image_set
from summit_dask.stages.init import init
from tests.networks import tiny_config

CAFE = unicodedata.normalize("NFC", "café")
DECOMPOSED = unicodedata.normalize("NFD", "café")


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path)
    return path


def found(folder: Path, **options: Any) -> dict[str, list[str]]:
    """Paths by label."""
    table = read_image_set(folder, **options).table
    return {str(label): rows["path"].tolist() for label, rows in table.groupby("label")}


def test_images_lie_at_any_depth_and_the_first_folder_names_the_class(tmp_path: Path) -> None:
    for name in ("bee/b.png", "bee/a/deep/er/z.JPEG", "ant/x.webp", "stray.png"):
        save(tmp_path / name)
    assert found(tmp_path) == {"ant": ["ant/x.webp"], "bee": ["bee/a/deep/er/z.JPEG", "bee/b.png"]}
    images = read_image_set(tmp_path)
    assert images.classes == ("ant", "bee")
    assert images.class_index.tolist() == [0, 1, 1]


def test_links_are_followed_but_never_round_a_circle(tmp_path: Path) -> None:
    """A link to a link to a folder, a link to a file, a link to its own parent, two ways to one folder."""
    store, root = tmp_path / "store", tmp_path / "images"
    save(store / "ants" / "a.png")
    save(store / "b.png")
    (root / "bee").mkdir(parents=True)
    (tmp_path / "again").symlink_to(store / "ants")
    (root / "ant").symlink_to(tmp_path / "again")
    (root / "bee" / "linked.png").symlink_to(store / "b.png")
    (root / "bee" / "round").symlink_to(root / "bee")
    (root / "bee" / "two").symlink_to(store / "ants")
    (root / "bee" / "one").symlink_to(store / "ants")
    (store / "ants" / "up").symlink_to(store / "ants")
    (tmp_path / "link").symlink_to(root)
    assert found(tmp_path / "link") == {"ant": ["ant/a.png"], "bee": ["bee/linked.png", "bee/one/a.png"]}


def test_what_is_in_a_folder_and_not_used_is_counted_and_said(tmp_path: Path) -> None:
    save(tmp_path / "ant" / "x.png")
    for name in ("ant/b.heic", "ant/in/c.HEIC", "ant/scan", "bee/notes.txt", "labels.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    save(tmp_path / "stray.png")
    (tmp_path / "cat").mkdir()
    assert read_image_set(tmp_path).remarks == (
        "5 files passed over, of endings that are not read as images: 2 .heic, 1 without ending, 1 .csv, 1 .txt. "
        "Convert images of other formats; a manifest may list images without an ending.",
        "1 image directly in the image folder passed over: no folder names the class.",
        "2 folders without images passed over: bee, cat.",
    )


def test_what_is_hidden_or_left_behind_by_systems_is_not_used_and_needs_no_word(tmp_path: Path) -> None:
    for name in ("ant/x.png", "ant/._x.png", "ant/.thumbs/y.png", ".git/z.png", "ant/@eaDir/x.png", "__MACOSX/x.png"):
        save(tmp_path / name)
    for name in (".DS_Store", "Thumbs.db", "ant/desktop.ini"):
        (tmp_path / name).write_text("")
    images = read_image_set(tmp_path)
    assert images.table["path"].tolist() == ["ant/x.png"]
    assert images.remarks == ()


def test_a_folder_that_is_not_there_or_holds_no_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"There is no image folder or manifest at .*nowhere; check --images"):
        read_image_set(tmp_path / "nowhere")
    (tmp_path / "ant").mkdir()
    with pytest.raises(DatasetError, match=r"holds no images\. Expected a folder for each class"):
        read_image_set(tmp_path)
    (tmp_path / "ant" / "x.heic").write_text("")
    with pytest.raises(DatasetError, match=r"holds no images.* 1 file passed over, .*1 \.heic"):
        read_image_set(tmp_path)


def test_a_folder_one_level_too_deep_names_the_one_above(tmp_path: Path) -> None:
    save(tmp_path / "ant" / "x.png")
    above = f"holds 1 image but no folders of images.*the folder above.*: {tmp_path} if 'ant' is a class"
    with pytest.raises(DatasetError, match=above):
        read_image_set(tmp_path / "ant")


def test_a_file_name_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path / "ant" / "x.png")
    (tmp_path / "ant" / "x.png").rename(tmp_path / "ant" / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(DatasetError, match=r"1 images .* not UTF-8, as 'ant/caf.*png'; rename"):
        read_image_set(tmp_path)


def test_a_folder_that_can_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "ant" / "in" / "x.png")
    scan = os.scandir

    def scandir(place: Any) -> Any:
        if str(place).endswith("in"):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DatasetError, match=r"ant/in.*Permission denied"):
        read_image_set(tmp_path)


def test_a_sample_is_fixed_and_does_not_depend_on_the_other_classes(tmp_path: Path) -> None:
    for number in range(20):
        save(tmp_path / "ant" / f"{number}.png")
    first = found(tmp_path, images_per_class=5)
    assert len(first["ant"]) == 5
    assert first["ant"] == sorted(first["ant"]) != found(tmp_path)["ant"][:5]
    save(tmp_path / "bee" / "0.png")
    both = found(tmp_path, images_per_class=5)
    assert both == {**first, "bee": ["bee/0.png"]}
    assert set(found(tmp_path, images_per_class=3)["ant"]) < set(first["ant"])
    assert found(tmp_path, images_per_class=99)["ant"] == found(tmp_path)["ant"]


def test_labels_in_both_unicode_forms_are_one_class(tmp_path: Path) -> None:
    save(tmp_path / DECOMPOSED / "x.png")
    save(tmp_path / CAFE / "y.png")
    assert found(tmp_path) == {CAFE: [f"{DECOMPOSED}/x.png", f"{CAFE}/y.png"]}


@pytest.mark.parametrize(
    ("labels", "ordered"),
    [
        (["10", "9", "2", "-1"], ("-1", "2", "9", "10")),
        (["1.5", "10.0", "1.25"], ("1.25", "1.5", "10.0")),
        (["10", "9", "2a"], ("10", "2a", "9")),
        (["1", "01"], ("01", "1")),
    ],
)
def test_classes_and_images_are_ordered_as_numbers_if_all_labels_are_numbers(
    tmp_path: Path, labels: list[str], ordered: tuple[str, ...]
) -> None:
    for label in labels:
        save(tmp_path / label / "x.png")
    images = read_image_set(tmp_path)
    assert images.classes == ordered
    assert images.table["label"].tolist() == list(ordered)
    assert images.class_index.tolist() == list(range(len(ordered)))


def test_files_that_occur_twice_are_counted_and_said(tmp_path: Path) -> None:
    """Under one label twice; by links under two labels; a label that is a link to another's folder."""
    for name in ("ant/a.png", "ant/b.png", "bee/c.png"):
        save(tmp_path / name)
    (tmp_path / "ant" / "again.png").symlink_to(tmp_path / "ant" / "a.png")
    (tmp_path / "bee" / "b.png").symlink_to(tmp_path / "ant" / "b.png")
    (tmp_path / "wasp").symlink_to(tmp_path / "bee")
    assert read_image_set(tmp_path).remarks == (
        "Files that occur more than once under the same label: 1, for example 'ant/a.png' as 'ant' and "
        "'ant/again.png' as 'ant'. Each time counts as an image.",
        "Files that occur under more than one label: 2, for example 'ant/b.png' as 'ant' and 'bee/b.png' as 'bee' and "
        "'wasp/b.png' as 'wasp'. They count for each of their classes.",
    )


# Manifests


COLUMNS = {
    "fold": [3, 1, 2],
    "weight": [0.5, math.nan, -1.0],
    "night": [True, False, True],
    "my camera/s": ["left", None, "NA"],
}
STORED = {"fold": "i", "weight": "f", "night": "b", "my_camera_s": "T"}


def write_manifest(path: Path, rows: dict[str, list[Any]], labels: tuple[str, ...] = ("bee", "ant", "ant")) -> Path:
    table = pd.DataFrame({"path": ["x/b.png", "x/c.png", "a.png"], "label": labels, **rows})
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_a_manifest_s_further_columns_are_coordinates_of_the_images(tmp_path: Path, name: str) -> None:
    for image in ("x/b.png", "x/c.png", "a.png"):
        save(tmp_path / image)
    config = tiny_config(tmp_path, images=write_manifest(tmp_path / name, COLUMNS))
    store = init(config)
    store.consolidate()
    images = xr.open_datatree(config.out, engine="zarr")["images"]
    assert images["path"].values.tolist() == ["a.png", "x/c.png", "x/b.png"]
    assert images["class_index"].values.tolist() == [0, 0, 1]
    assert set(STORED) <= set(images.coords)
    assert {column: store.group[f"images/{column}"].dtype.kind for column in STORED} == STORED
    assert images["fold"].values.tolist() == [2, 1, 3]
    np.testing.assert_array_equal(images["weight"].values, [-1.0, math.nan, 0.5])
    assert images["night"].values.tolist() == [True, False, True]
    assert images["my_camera_s"].values.tolist()[::2] == ["NA" if name.endswith("parquet") else "", "left"]
    assert store.images_root == tmp_path


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([1, None, 3], "Int64"), [1.0, math.nan, 3.0]),
        (pd.array([True, None, False], "boolean"), ["True", "", "False"]),
        (pd.Categorical(["u", None, "v"]), ["u", "", "v"]),
        (pd.Categorical([1, None, 2]), [1.0, math.nan, 2.0]),
        (pd.to_datetime(["2020-01-02", None, "2021-01-01"]), ["2020-01-02 00:00:00", "", "2021-01-01 00:00:00"]),
    ],
    ids=["Int64", "boolean", "texts", "numbers", "dates"],
)
def test_columns_of_every_kind_become_plain_arrays(tmp_path: Path, column: Any, expected: list[Any]) -> None:
    path = write_manifest(tmp_path / "list.parquet", {"more": column}, ("a", "b", "c"))
    more = read_image_set(path).columns["more"]
    if isinstance(expected[0], str):
        assert more.tolist() == expected
    else:
        np.testing.assert_array_equal(more, expected)
        assert more.dtype == np.float64


def test_labels_of_a_manifest_are_texts(tmp_path: Path) -> None:
    numbers = write_manifest(tmp_path / "numbers.csv", {}, ("007", "08", "1.50"))
    assert read_image_set(numbers).classes == ("1.50", "007", "08")
    missing = write_manifest(tmp_path / "missing.csv", {}, ("null", "NA", "ant"))
    assert read_image_set(missing).classes == ("NA", "ant", "null")
    integers = pd.DataFrame({"path": ["a.png"], "label": [7]})
    integers.to_parquet(tmp_path / "list.parquet")
    assert read_image_set(tmp_path / "list.parquet").classes == ("7",)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("path,class\nx.png,ant\n", r"lacks the column label; it has \['path', 'class'\]"),
        ("path;label\nx.png;ant\n", "lacks the column label and path"),
        ("path,label\nx.png,\n,ant\n", "2 rows without a path or a label"),
        ("path,label,status\nx.png,ant,1\n", r"columns \['status'\].*rename"),
        ("path,label,prediction_rank\nx.png,ant,1\n", r"columns \['prediction_rank'\].*rename"),
        ("path,label,a b,a_b\nx.png,ant,1,2\n", r"columns \['a_b'\].*rename"),
        ("path,label\n", "holds no images"),
        ("", "Can't read the manifest"),
        ("path,label\n\xe9,\xe9\n", "Can't read the manifest.*utf-8"),
    ],
)
def test_a_manifest_that_can_not_be_used_says_why(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="latin-1")
    with pytest.raises(DatasetError, match=match):
        read_image_set(tmp_path / "list.csv")


def test_a_damaged_parquet_manifest_says_so(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DatasetError, match="Can't read the manifest"):
        read_image_set(tmp_path / "list.parquet")


def listed(folder: Path, *rows: str) -> Path:
    """A manifest of rows of path and label."""
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]))
    return folder / "list.csv"


def test_rows_of_a_manifest_for_the_same_file_are_counted_and_said(tmp_path: Path) -> None:
    rows = ("a.png,ant", "x/../a.png,ant", f"{tmp_path}/b.png,ant", "b.png,bee", "c.png,ant")
    once, twice = read_image_set(listed(tmp_path, *rows)).remarks
    assert "same label: 1, for example 'a.png' as 'ant' and 'x/../a.png' as 'ant'." in once
    assert f"one label: 1, for example '{tmp_path}/b.png' as 'ant' and 'b.png' as 'bee'." in twice


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("in\\b c.png", "in/b c.png"),
        ("file://{folder}/in/b%20c.png", "{folder}/in/b c.png"),
        ("file://localhost{folder}/in/b c.png", "{folder}/in/b c.png"),
        ("file:{folder}/in/b c.png", "{folder}/in/b c.png"),
        (f"{CAFE}.png", f"{DECOMPOSED}.png"),
        ("in\\nowhere.png", "in\\nowhere.png"),
        ("odd\\name.png", "odd\\name.png"),
        (f"{'x' * 300}é.png", f"{'x' * 300}é.png"),
    ],
)
def test_paths_that_other_systems_write_are_those_of_the_files(tmp_path: Path, written: str, file: str) -> None:
    for name in ("in/b c.png", f"{DECOMPOSED}.png", "odd\\name.png"):
        save(tmp_path / name)
    images = read_image_set(listed(tmp_path, f"{written.format(folder=tmp_path)},ant"))
    assert images.table["path"].tolist() == [file.format(folder=tmp_path)]


def test_a_manifest_may_begin_with_a_byte_order_mark_and_join_labels_of_both_unicode_forms(tmp_path: Path) -> None:
    text = f"path,label\na.png,{CAFE}\nb.png,{DECOMPOSED}\n"
    (tmp_path / "list.csv").write_text(text, encoding="utf-8-sig")
    assert found(tmp_path / "list.csv") == {CAFE: ["a.png", "b.png"]}


def test_the_digest_sees_paths_labels_and_columns(tmp_path: Path) -> None:
    variants = ("a.png,ant,1", "b.png,ant,1", "a.png,bee,1", "a.png,ant,2", "a.png,ant,1")
    for number, row in enumerate(variants):
        (tmp_path / f"{number}.csv").write_text(f"path,label,fold\n{row}\n")
    first, *others, same = (read_image_set(tmp_path / f"{n}.csv").digest() for n in range(len(variants)))
    assert first == same
    assert first not in others


# Whether anything can be read


def test_a_class_needs_one_image_that_can_be_opened(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("no picture")
    check_readable(read_image_set(listed(tmp_path, "bad.png,ant", "gone.png,ant", "good.png,ant")))
    lost = listed(tmp_path, "good.png,ant", "bad.png,bee", "gone.png,bee")
    message = (
        r"No image of 1 of the 2 classes can be read \('bee'; 2 images of 3\)\. For example 'bad\.png': "
        rf"{tmp_path}/bad\.png \(10 bytes\) holds no picture that Pillow can read\.$"
    )
    with pytest.raises(DatasetError, match=message):
        check_readable(read_image_set(lost))


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("in\\a.png", "The path has backslashes, and with slashes there is no such file either. Paths of a manifest"),
        ("C:\\in\\a.png", "has backslashes"),
        ("in/a.png", "Paths of a manifest start at its own folder, {folder}/lists, or are absolute."),
        ("images/a.png", "From {folder} the path would be right: move the manifest there."),
        ("images\\a.png", "From {folder} the path would be right"),
        ("{folder}/in/a.png", "Is that the path on this machine, and is its disk mounted?"),
        ("file://{folder}/in/a.png", "Is that the path on this machine"),
        ("file://server/share/a.png", "That is an address; images are read from files of this machine."),
        ("memory://bucket/a.png", "That is an address: check it, and --storage-options"),
        ("link.png", "It is a link to gone/a.png."),
        ("x" * 300, "File name too long"),
    ],
)
def test_if_nothing_can_be_read_one_path_is_shown_with_a_hint(tmp_path: Path, path: str, hint: str) -> None:
    (tmp_path / "lists").mkdir()
    save(tmp_path / "images" / "a.png")
    (tmp_path / "lists" / "link.png").symlink_to("gone/a.png")
    images = read_image_set(listed(tmp_path / "lists", f"{path.format(folder=tmp_path)},ant"))
    with pytest.raises(DatasetError) as error:
        check_readable(images)
    assert "No image of 1 of the 1 classes can be read ('ant'; 1 images of 1). For example" in str(error.value)
    assert hint.format(folder=tmp_path) in str(error.value)
