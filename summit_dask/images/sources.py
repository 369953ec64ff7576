"""A labelled image set: which images there are and which class each belongs to, from a folder or a manifest."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from summit_dask.facts import schema
from summit_dask.facts.errors import DatasetError
from summit_dask.facts.names import in_order
from summit_dask.images.duplicates import Duplicates, find_duplicates
from summit_dask.images.folder import Unused, counted, extensions, scan
from summit_dask.images.manifest import read_manifest


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, ordered by label, then path; labels that are all numbers are ordered as numbers.

    `table` has the columns path (relative to `root` or absolute), label, and any further ones.
    """

    root: Path
    table: pd.DataFrame
    unused: Unused
    duplicates: Duplicates

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels that occur, ascending."""
        return tuple(in_order(self.table["label"]))

    @property
    def class_index(self) -> np.ndarray:
        """Index of each image's label in `classes`."""
        return pd.Categorical(self.table["label"], categories=list(self.classes)).codes.astype(np.int32)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The manifest's further columns."""
        extra = self.table.drop(columns=["path", "label"])
        return {str(name): _plain(extra[name]) for name in extra}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user should know of the images, a sentence each: what is not used, what occurs twice."""
        return (*self.unused.sentences(), *self.duplicates.sentences())

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
    if not source.exists():
        raise DatasetError(f"There is no image folder or manifest at {source}; check --images.")
    source = source.resolve()
    if source.is_dir():
        root = source
        table, files, unused = scan(root)
    else:
        root = source.parent
        table = read_manifest(source)
        files = [os.path.normpath(root / path) for path in table["path"]]
        unused = Unused()
    if table.empty:
        raise DatasetError(_no_images(source, unused))
    kept = table if images_per_class is None else _sample(table, images_per_class)
    return ImageSet(root, _ordered(kept), unused, find_duplicates(table, files))


def _sample(table: pd.DataFrame, count: int) -> pd.DataFrame:
    draw = table["path"].map(lambda path: hashlib.sha256(path.encode()).hexdigest())
    return table.assign(draw=draw).sort_values("draw", kind="stable").groupby("label").head(count).drop(columns="draw")


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """By label, then path."""
    rank = pd.Categorical(table["label"], categories=in_order(table["label"])).codes
    ordered = table.assign(rank=rank).sort_values(["rank", "path"], kind="stable", ignore_index=True)
    return ordered.drop(columns="rank")


def _no_images(source: Path, unused: Unused) -> str:
    if unused.loose:
        return (
            f"{source} holds {counted(unused.loose, 'image')} but no folders of images; --images needs the folder "
            f"above, whose folders name the classes: {source.parent} if {source.name!r} is a class."
        )
    expected = f"a folder for each class with images in it ({', '.join(sorted(extensions())[:6])} …)"
    return " ".join(
        [
            f"{source} holds no images. Expected {expected}, or a manifest with the columns path and label.",
            *unused.sentences(),
        ]
    )
