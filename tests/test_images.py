"""Finding images, reading them as torchvision would, and matching classes to outputs."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import ClassMappingError, ConfigError, DatasetError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.classes import FOLDER_ORDER, Outputs, map_classes
from summit_dask.images.decode import decode
from summit_dask.images.sources import read_image_set
from summit_dask.stages.init import init
from tests.networks import SIDE, tiny_config

AS_IT_IS = Preprocessing(None, (SIDE, SIDE), (0.0,) * 3, (1.0,) * 3)


def picture(seed: int = 0, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """Smooth colours, so that lossy formats keep them."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR)


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path)
    return path


def found(folder: Path, **options: Any) -> dict[str, list[str]]:
    """Paths by label."""
    table = read_image_set(folder, **options).table
    return {str(label): rows["path"].tolist() for label, rows in table.groupby("label")}


def test_images_lie_at_any_depth_and_the_first_folder_names_the_class(tmp_path: Path) -> None:
    for name in ("bee/b.png", "bee/a/deep/er/z.JPEG", "ant/x.webp", "stray.png"):
        save(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bee" / "notes.txt").write_text("no image")
    assert found(tmp_path) == {"ant": ["ant/x.webp"], "bee": ["bee/a/deep/er/z.JPEG", "bee/b.png"]}
    images = read_image_set(tmp_path)
    assert images.classes == ("ant", "bee")
    assert images.class_index.tolist() == [0, 1, 1]


def test_hidden_files_and_folders_are_no_images(tmp_path: Path) -> None:
    for name in ("ant/x.png", "ant/._x.png", "ant/.thumbnails/y.png", ".git/z.png"):
        save(tmp_path / name)
    assert found(tmp_path) == {"ant": ["ant/x.png"]}


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


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda path: save(path / "flat.png")])
def test_a_source_without_images_is_refused(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path / "images")
    with pytest.raises(DatasetError, match=r"no image folder|holds no images.*folder for each class"):
        read_image_set(tmp_path / "images")


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
    assert {column: images[column].dtype.kind for column in STORED} == STORED
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
    path = write_manifest(tmp_path / "list.csv", {}, ("007", "NA", "1.50"))
    assert read_image_set(path).classes == ("007", "1.50", "NA")
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


def test_the_digest_sees_paths_labels_and_columns(tmp_path: Path) -> None:
    first = write_manifest(tmp_path / "a.csv", {"fold": [1, 2, 3]})
    same, other = (write_manifest(tmp_path / f"{n}.csv", {"fold": [1, 2, n]}) for n in (3, 4))
    digest = read_image_set(first).digest()
    assert digest == read_image_set(same).digest() != read_image_set(other).digest()


# Pixels


@pytest.mark.parametrize(
    ("suffix", "mode", "tolerance"),
    [
        (".png", "RGB", 0),
        (".png", "RGBA", 0),
        (".png", "L", 0),
        (".png", "LA", 0),
        (".png", "1", 0),
        (".png", "P", 0),
        (".gif", "P", 0),
        (".bmp", "RGB", 0),
        (".tif", "RGB", 0),
        (".tif", "CMYK", 0),
        (".ppm", "RGB", 0),
        (".tga", "RGB", 0),
        (".webp", "RGB", 12),
        (".jpg", "RGB", 12),
        (".jpg", "L", 12),
        (".jpg", "CMYK", 12),
        (".jp2", "RGB", 12),
    ],
)
def test_pixels_of_every_kind_of_file(tmp_path: Path, suffix: str, mode: str, tolerance: int) -> None:
    image = picture().convert(mode)
    path = tmp_path / f"x{suffix}"
    image.save(path)
    pixels = decode(AS_IT_IS, path)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels.astype(int), np.asarray(image.convert("RGB"), int), atol=tolerance)


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (SIDE, SIDE), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "x.png")
    np.testing.assert_array_equal(decode(AS_IT_IS, tmp_path / "x.png"), (deep >> 8)[..., None].repeat(3, 2))


def test_transparent_palettes_keep_their_colours(tmp_path: Path) -> None:
    image = picture().quantize(8)
    image.save(tmp_path / "x.png", transparency=bytes(range(8)))
    np.testing.assert_array_equal(decode(AS_IT_IS, tmp_path / "x.png"), np.asarray(image.convert("RGB")))


def test_grey_input_takes_coloured_files(tmp_path: Path) -> None:
    grey = Preprocessing(None, (SIDE, SIDE), (0.5,), (0.5,))
    pixels = decode(grey, save(tmp_path / "x.png"))
    assert grey.input_size == (1, SIDE, SIDE)
    np.testing.assert_array_equal(pixels[..., 0], np.asarray(picture().convert("L")))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    resize=st.none() | st.integers(1, 60),
    crop=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    seed=st.integers(0, 99),
)
def test_preprocessing_is_torchvision_s(
    tmp_path: Path, size: tuple[int, int], resize: int | None, crop: tuple[int, int], seed: int
) -> None:
    """Resize, CenterCrop, ToTensor, Normalize; also where the picture is smaller than the crop."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    ours = Preprocessing(resize, crop)
    steps = [transforms.CenterCrop(crop), transforms.ToTensor(), transforms.Normalize(ours.mean, ours.std)]
    theirs = transforms.Compose([*([transforms.Resize(resize, antialias=True)] if resize else []), *steps])
    expected = theirs(Image.open(tmp_path / "x.png"))
    mean, std = (np.array(values, np.float32) for values in (ours.mean, ours.std))
    normalised = (decode(ours, tmp_path / "x.png").astype(np.float32) / np.float32(255) - mean) / std
    np.testing.assert_array_equal(normalised.transpose(2, 0, 1), expected.numpy())


def preprocessing(preset: dict[str, Any] | None = None, **options: Any) -> Preprocessing:
    return Preprocessing.of(RunConfig.of({"model": "m", "images": "i", "out": "o", **options}), preset)


def test_preprocessing_comes_from_options_then_the_weights_then_imagenet() -> None:
    preset = {"resize": 342, "crop": (299, 299), "mean": (0.5,) * 3, "std": (0.25,) * 3, "other": 1}
    assert preprocessing() == Preprocessing(256, (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert preprocessing(preset) == Preprocessing(342, (299, 299), (0.5,) * 3, (0.25,) * 3)
    assert preprocessing(preset, resize="none", crop=64, mean=[0, 0, 0]) == Preprocessing(
        None, (64, 64), (0.0,) * 3, (0.25,) * 3
    )
    assert preprocessing(crop=(10, 20), mean=0.5, std=0.5).input_size == (1, 10, 20)


@pytest.mark.parametrize("options", [{"mean": [0.5]}, {"mean": [0.5] * 2, "std": [0.5] * 2}])
def test_mean_and_std_must_fit_each_other(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"mean has \d values and std \d; both need 3"):
        preprocessing(**options)


# Classes

TABLE = [
    {"index": 0, "synset": "n01", "name": "crane"},
    {"index": 2, "synset": "n03", "name": "crane"},
    {"index": 1, "synset": "n02", "name": "tench"},
]


def mapped(path: Path, labels: list[str], content: Any, n_outputs: int = 3) -> Outputs:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return map_classes(labels, n_outputs, str(path), None)


def test_classes_are_found_by_synset_and_by_a_name_that_is_unique(tmp_path: Path) -> None:
    outputs = mapped(tmp_path / "t.json", ["tench", "n03"], TABLE)
    assert outputs == Outputs(("crane", "tench", "crane"), ("n01", "n02", "n03"), {"tench": 1, "n03": 2})


def test_a_folder_column_comes_before_synset_and_name(tmp_path: Path) -> None:
    table = "index,synset,name,folder\n0,n01,crane,tench\n1,n02,tench,\n2,,,007\n"
    assert mapped(tmp_path / "t.csv", ["tench", "n02", "007"], table).of_class == {"tench": 0, "n02": 1, "007": 2}


@pytest.mark.parametrize("table", [{"0": ["n01", "ant"], "2": ["n03", "bee"]}, {"0": "ant", "2": "bee"}])
def test_a_table_may_be_an_object_by_index_and_hold_some_outputs(tmp_path: Path, table: Any) -> None:
    outputs = mapped(tmp_path / "t.json", ["ant", "bee"], table)
    assert outputs.of_class == {"ant": 0, "bee": 2}
    assert outputs.names == ("ant", "", "bee")


def test_classes_by_the_weights_own_names_and_by_folder_order() -> None:
    assert map_classes(["bee"], 2, None, ["ant", "bee"]) == Outputs(("ant", "bee"), ("", ""), {"bee": 1})
    assert map_classes(["x", "y"], 2, FOLDER_ORDER, ["y", "x"]).of_class == {"x": 0, "y": 1}


@pytest.mark.parametrize(
    ("labels", "table", "match"),
    [
        (["tensch"], TABLE, r"1 of 1 classes match no output.*'tensch'.*Did you mean 'tench'"),
        (["crane"], TABLE, "match no output"),
        (["tench", "n02"], TABLE, r"\['tench', 'n02'\] map to the same output"),
        (["a"], [{"index": 3, "name": "a"}], "from 0 to 2 .*found 3 to 3"),
        (["a"], [{"index": 0.5, "name": "a"}], "from 0 to 2"),
        (["a"], [{"index": 1, "name": "a"}, {"index": 1, "name": "b"}], "1 repeated"),
        (["a"], [{"index": "first", "name": "a"}], "from 0 to 2"),
        (["a"], [{"place": 1, "name": "a"}], r"\['place', 'name'\]; it needs index"),
        (["a"], [{"index": 1}], "at least one of synset, name and folder"),
        (["a"], [], "it needs index"),
        (["a"], "no json", "Can't read the table of classes"),
        (["a"], "7", "Can't read the table of classes"),
        (["a"], {"0": ["n01", "ant", "more"]}, "Can't read the table of classes"),
    ],
)
def test_a_mapping_is_never_guessed(tmp_path: Path, labels: list[str], table: Any, match: str) -> None:
    with pytest.raises(ClassMappingError, match=match):
        mapped(tmp_path / "t.json", labels, table)


def test_without_a_table_of_fitting_length_the_ways_out_are_named() -> None:
    for categories in (None, ["too", "few"]):
        with pytest.raises(ClassMappingError, match=r"3 outputs the 1 classes.*--classes folder-order"):
            map_classes(["a"], 3, None, categories)
    with pytest.raises(ClassMappingError, match="there are 1 classes and 3 outputs"):
        map_classes(["a"], 3, FOLDER_ORDER, None)
    with pytest.raises(ClassMappingError, match=r"Can't read the table of classes nowhere\.csv"):
        map_classes(["a"], 3, "nowhere.csv", None)
