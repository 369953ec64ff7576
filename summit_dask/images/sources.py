"""A labelled image set: which images there are and which class each belongs to, from a folder or a manifest."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from summit_dask.facts import schema
from summit_dask.facts.errors import DatasetError
from summit_dask.images.tables import read_table


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
    table = read_table(path, DatasetError, "manifest")
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


def _sample(table: pd.DataFrame, count: int) -> pd.DataFrame:
    draw = table["path"].map(lambda path: hashlib.sha256(path.encode()).hexdigest())
    kept = table.assign(draw=draw).sort_values(["label", "draw"]).groupby("label").head(count)
    return kept.sort_values(["label", "path"], kind="stable", ignore_index=True).drop(columns="draw")
