"""A labelled image set: which images, which classes, how a file becomes the network's input."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

from summit_dask.facts import schema
from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import ClassMappingError, ConfigError, DatasetError, suggestion

FOLDER_ORDER = "folder-order"
TEXTS = frozenset({"path", "label", "synset", "name", "folder"})


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes the network's input: resize, centre crop, ``(x / 255 - mean) / std``.

    `resize` is the shorter side in pixels (bilinear, antialias), None for none; `crop` is (height, width).
    A mean of one value means grey input. Orientation tags of cameras are not applied, as in torchvision.
    """

    resize: int | None = 256
    crop: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width of the network's input."""
        return (len(self.mean), *self.crop)

    @classmethod
    def of(cls, config: RunConfig, preset: Mapping[str, Any] | None) -> "Preprocessing":
        """The options of a run, over the weights' own preset, over the ImageNet standard.

        Raises
        ------
        ConfigError
            If mean and std differ in length or are neither 1 nor 3 values.
        """
        known = {key: value for key, value in (preset or {}).items() if key in ("resize", "crop", "mean", "std")}
        given = {key: getattr(config, key) for key in ("resize", "crop", "mean", "std")}
        facts: dict[str, Any] = {**known, **{key: value for key, value in given.items() if value is not None}}
        if facts.get("resize") == "none":
            facts["resize"] = None
        if isinstance(crop := facts.get("crop"), int):
            facts["crop"] = (crop, crop)
        made = cls(**facts)
        if len(made.mean) != len(made.std) or len(made.mean) not in (1, 3):
            raise ConfigError(
                f"mean has {len(made.mean)} values and std {len(made.std)}; both need 3 (RGB) or 1 (grey input)."
            )
        return made

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Preprocessing":
        """From the store's attributes, where tuples are lists."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()
        }
        return cls(**plain)

    def open(self, path: Path) -> Image.Image:
        """Picture of an image file in the colours that the network takes, neither resized nor cropped.

        Raises
        ------
        Exception
            Whatever Pillow raises for a file that it can't read.
        """
        with Image.open(path) as image:
            return _plain_mode(image).convert("RGB" if len(self.mean) == 3 else "L")

    def decode(self, path: Path) -> UInt8[np.ndarray, "height width colour"]:
        """Pixels of an image file, resized and cropped.

        Raises
        ------
        Exception
            Whatever Pillow raises for a file that it can't read.
        """
        picture = self.open(path)
        if self.resize is not None:
            picture = functional.resize(picture, [self.resize], InterpolationMode.BILINEAR, antialias=True)
        pixels = np.asarray(functional.center_crop(picture, list(self.crop)))
        return pixels.reshape(*self.crop, len(self.mean))


def _plain_mode(image: Image.Image) -> Image.Image:
    """Sixteen-bit grey is scaled to eight bits, where Pillow would clip it; transparent palettes lose theirs."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, ordered by label, then path.

    `table` has the columns path (relative to `root` or absolute), label, and any further ones.
    """

    root: Path
    table: pd.DataFrame

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels that occur, ascending."""
        return tuple(sorted(self.table["label"].unique()))

    @property
    def class_index(self) -> np.ndarray:
        """Place of each image's label in `classes`."""
        return pd.Categorical(self.table["label"], categories=list(self.classes)).codes.astype(np.int32)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The manifest's further columns."""
        extra = self.table.drop(columns=["path", "label"])
        return {str(name): _plain(extra[name]) for name in extra}

    def digest(self) -> str:
        """A fingerprint of paths, labels and further columns."""
        return hashlib.sha256(self.table.to_csv(index=False).encode()).hexdigest()


def _plain(column: "pd.Series[Any]") -> np.ndarray:
    """Numbers and truth values as they are, everything else as text; a missing text is empty."""
    if pd.api.types.is_numeric_dtype(column) and (values := column.to_numpy()).dtype.kind in "biuf":
        return values
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy(dtype=schema.STRING)


def read_image_set(source: Path, images_per_class: int | None = None) -> ImageSet:
    """Find the images of a folder of class folders, or of a manifest.

    Parameters
    ----------
    source
        A folder (the first level names the class, images lie at any depth, links are followed, what is hidden is
        not), or a CSV or Parquet file with the columns path and label; its relative paths start at the file's
        folder, blanks and slashes in the names of further columns become underscores.
    images_per_class
        Take this many of each class: a sample that depends on the paths alone.

    Raises
    ------
    DatasetError
        If there is nothing there, no image, a folder can't be read, or the manifest lacks a column.
    """
    if source.is_dir():
        root, table = source, _scan(source)
    elif source.is_file():
        root, table = source.parent, _read_manifest(source)
    else:
        raise DatasetError(f"There is no image folder or manifest at {source}; check --images.")
    if table.empty:
        raise DatasetError(
            f"{source} holds no images. Expected a folder for each class with images in it "
            f"({', '.join(sorted(_extensions())[:6])} …), or a manifest with the columns path and label."
        )
    table = table.sort_values(["label", "path"], kind="stable", ignore_index=True)
    if images_per_class is not None:
        table = _sample(table, images_per_class)
    return ImageSet(root.resolve(), table)


def _extensions() -> set[str]:
    return {ext for ext, kind in Image.registered_extensions().items() if kind in Image.OPEN}


def _scan(root: Path) -> pd.DataFrame:
    known = _extensions()
    try:
        rows = [
            (str(path.relative_to(root)), folder.name)
            for folder in root.iterdir()
            if folder.is_dir() and not folder.name.startswith(".")
            for path in _files_below(folder)
            if path.suffix.lower() in known and not path.name.startswith(".")
        ]
    except OSError as error:
        raise DatasetError(f"Can't read {error.filename}: {error.strerror}; its images would be missing.") from error
    if odd := [path for path, _ in rows if path != path.encode(errors="replace").decode()]:
        raise DatasetError(f"The names of {len(odd)} images in {root} are not UTF-8, as {odd[0]!r}; rename them.")
    return pd.DataFrame(rows, columns=["path", "label"])


def _files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, following links, but into each folder only once, or a circle would never end.

    Raises
    ------
    OSError
        If a folder can't be read.
    """
    seen = set()
    for place, inner, names in os.walk(folder, followlinks=True, onerror=_raise):
        if (real := Path(place).resolve()) in seen:
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (Path(place, name) for name in names)


def _raise(error: OSError) -> None:
    raise error


def _read_manifest(path: Path) -> pd.DataFrame:
    table = _read_table(path, DatasetError, "manifest")
    if missing := {"path", "label"} - set(table.columns):
        raise DatasetError(
            f"The manifest {path} lacks the column {' and '.join(sorted(missing))}; it has {list(table.columns)}."
        )
    table.columns = table.columns.astype(str).str.replace(r"[\s/]+", "_", regex=True)
    stored = schema.variables("images")
    reserved = {"class", *(v.name for v in stored), *(dim for v in stored for dim in v.dims)} - {"path"}
    if taken := sorted(reserved & set(table.columns) | set(table.columns[table.columns.duplicated()])):
        raise DatasetError(
            f"The manifest {path} has the columns {taken} twice or the store uses the name itself; rename them."
        )
    if empty := int(table[["path", "label"]].isna().any(axis=1).sum()):
        raise DatasetError(f"The manifest {path} has {empty} rows without a path or a label; fill or remove them.")
    return table.astype({"path": str, "label": str})


def _read_table(path: Path, error: type[DatasetError], what: str) -> pd.DataFrame:
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        if path.suffix.lower() == ".json":
            return pd.DataFrame(_json_rows(path))
        return _read_csv(path)
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        raise error(f"Can't read the {what} {path}: {problem}") from problem


def _read_csv(path: Path) -> pd.DataFrame:
    """In columns of texts an empty cell alone is missing; a class may be called NA or 007."""
    texts = pd.read_csv(path, usecols=TEXTS.__contains__, dtype=str, keep_default_na=False)
    return pd.read_csv(path).assign(**texts.where(texts != ""))


def _json_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a table of outputs: a list of objects, or {"0": ["n01440764", "tench"], …} or {"0": "tench", …}."""
    data = json.loads(path.read_text())
    if isinstance(data, list):
        return data
    pairs = ((index, value if isinstance(value, list) else ["", value]) for index, value in data.items())
    return [{"index": int(index), "synset": synset, "name": name} for index, (synset, name) in pairs]


def _sample(table: pd.DataFrame, count: int) -> pd.DataFrame:
    draw = table["path"].map(lambda path: hashlib.sha256(path.encode()).hexdigest())
    kept = table.assign(draw=draw).sort_values(["label", "draw"]).groupby("label").head(count)
    return kept.sort_values(["label", "path"], kind="stable", ignore_index=True).drop(columns="draw")


@dataclass(frozen=True)
class Outputs:
    """The network's outputs and each class's place among them.

    `names` and `synsets` have one entry an output, empty where unknown; `of_class` maps each label to its output.
    """

    names: tuple[str, ...]
    synsets: tuple[str, ...]
    of_class: Mapping[str, int]


def map_classes(
    labels: Sequence[str], n_outputs: int, classes: str | None, categories: Sequence[str] | None
) -> Outputs:
    """Find the network's output for each class of the image set; never a guess.

    Parameters
    ----------
    labels
        Folder names or labels.
    classes
        A JSON or CSV file (index, synset, name; optional folder), or "folder-order".
    categories
        Names of the outputs from the weights' metadata, used when `classes` is None.

    Raises
    ------
    ClassMappingError
        If the counts disagree, a class maps to nothing, or two map to the same output.
    """
    if classes == FOLDER_ORDER:
        return _by_order(labels, n_outputs)
    if classes is not None:
        table = _output_table(Path(classes), n_outputs)
    elif categories is not None and len(categories) == n_outputs:
        table = pd.DataFrame({"index": range(n_outputs), "name": list(categories)})
    else:
        raise ClassMappingError(
            f"Nothing says which of the network's {n_outputs} outputs the {len(labels)} classes belong to. Give "
            f"--classes a JSON or CSV table (index, synset, name), or --classes {FOLDER_ORDER} if the sorted "
            "class folders are the outputs in order."
        )
    places = _places(table)
    of_class = {label: places[label] for label in labels if label in places}
    _check_mapping(labels, of_class, places)
    return Outputs(_column(table, "name", n_outputs), _column(table, "synset", n_outputs), of_class)


def _by_order(labels: Sequence[str], n_outputs: int) -> Outputs:
    if len(labels) != n_outputs:
        raise ClassMappingError(
            f"--classes {FOLDER_ORDER} needs as many classes as the network has outputs; there are {len(labels)} "
            f"classes and {n_outputs} outputs. Give a table of the outputs instead."
        )
    return Outputs(tuple(labels), ("",) * n_outputs, {label: i for i, label in enumerate(labels)})


def _output_table(path: Path, n_outputs: int) -> pd.DataFrame:
    table = _read_table(path, ClassMappingError, "table of classes")
    if "index" not in table or not {"synset", "name", "folder"} & set(table.columns):
        raise ClassMappingError(
            f"The table {path} has the columns {list(table.columns)}; it needs index and at least one of synset, "
            "name and folder."
        )
    index = pd.to_numeric(table["index"], errors="coerce")
    if index.duplicated().any() or not index.isin(range(n_outputs)).all():
        raise ClassMappingError(
            f"The table {path} must give each index once, from 0 to {n_outputs - 1} (the network's outputs); "
            f"found {index.min()} to {index.max()} in {len(index)} rows, {int(index.duplicated().sum())} repeated."
        )
    return table.assign(index=index.astype(int))


def _places(table: pd.DataFrame) -> dict[str, int]:
    """Output by every text that names exactly one: folder before synset before name."""
    places: dict[str, int] = {}
    for key in ("name", "synset", "folder"):
        if key in table:
            rows = table[~table[key].duplicated(keep=False) & table[key].notna() & (table[key] != "")]
            places.update(zip(rows[key].astype(str), rows["index"].astype(int), strict=True))
    return places


def _check_mapping(labels: Sequence[str], of_class: Mapping[str, int], places: Mapping[str, int]) -> None:
    if lost := [label for label in labels if label not in of_class]:
        raise ClassMappingError(
            f"{len(lost)} of {len(labels)} classes match no output of the network by folder, synset or name: "
            f"{', '.join(map(repr, lost[:5]))}. {suggestion(lost[0], places)} Correct --classes or the folders' names."
        )
    outputs = list(of_class.values())
    if shared := [label for label in labels if outputs.count(of_class[label]) > 1]:
        raise ClassMappingError(f"The classes {shared[:4]} map to the same output; each needs its own. See --classes.")


def _column(table: pd.DataFrame, key: str, n_outputs: int) -> tuple[str, ...]:
    values = [""] * n_outputs
    for index, value in zip(table["index"], table.get(key, pd.Series([""] * len(table))), strict=True):
        values[index] = "" if pd.isna(value) else str(value)
    return tuple(values)
