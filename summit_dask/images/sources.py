"""A labelled image set: which images there are and which class each belongs to, from a folder, a manifest or shards."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from summit_dask.facts import schema
from summit_dask.facts.errors import DatasetError
from summit_dask.facts.location import Location, location
from summit_dask.facts.names import in_order
from summit_dask.images.duplicates import Duplicates, find_duplicates
from summit_dask.images.files import ImageFile, check_file, image_file, is_remote
from summit_dask.images.folder import Unused, counted, extensions, scan
from summit_dask.images.manifest import read_manifest
from summit_dask.images.patterns import is_pattern
from summit_dask.images.shards import COLUMNS, SHARDS, find_shards, is_folder, list_shards


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, ordered by label, then path; those in shards as they lie there.

    `table` has the columns path (relative to `root`, absolute or an address), label, and any further ones; of images in
    shards also where they are in these (see `shards`). Labels that are all numbers are ordered as numbers.
    """

    root: Location
    table: pd.DataFrame
    unused: Unused
    duplicates: Duplicates

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels that occur, ascending."""
        return tuple(in_order(self.table["label"].unique()))

    @property
    def class_index(self) -> np.ndarray:
        """Index of each image's label in `classes`."""
        return pd.Categorical(self.table["label"], categories=list(self.classes)).codes.astype(np.int32)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The manifest's further columns."""
        extra = self.table.drop(columns=list(COLUMNS), errors="ignore")
        return {str(name): _plain(extra[name]) for name in extra}

    @property
    def in_shards(self) -> bool:
        """Whether the images are parts of larger files."""
        return "shard_offset" in self.table

    @property
    def shard_columns(self) -> dict[str, np.ndarray]:
        """Where images are in their shards; nothing for those that are files of their own."""
        return {name: self.table[name].to_numpy() for name in COLUMNS[2:] if self.in_shards}

    def file(self, row: int) -> ImageFile:
        """Where an image's bytes are."""
        at = self.table.iloc[row]
        return image_file(self.root, at["path"], *(int(at[name]) for name in COLUMNS[2:] if self.in_shards))

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


def read_image_set(source: Location | str, images_per_class: int | None = None) -> ImageSet:
    """Find the images of a folder of class folders, of a manifest, or of shards.

    Parameters
    ----------
    source
        A path or an address of a folder (the first level names the class, images lie at any depth, links are followed,
        what is hidden is not), of a CSV or Parquet file with the columns path and label (its relative paths start at
        the file's folder, blanks and slashes in the names of further columns become underscores), or of one shard, a
        folder of shards or a pattern of their names (see `shards`).
    images_per_class
        Take this many of each class: a sample that depends on the paths alone.

    Raises
    ------
    DatasetError
        If there is nothing there, no image, a folder or shard can't be read, or the manifest lacks a column.
    """
    place = _reached(source)
    found = _found(place)
    if found.table.empty:
        raise DatasetError(_no_images(place, found.unused))
    kept = found.table if images_per_class is None else _sample(found.table, images_per_class)
    ordered = kept.sort_index(ignore_index=True) if "shard_offset" in kept else _ordered(kept)
    return ImageSet(found.root, ordered, found.unused, find_duplicates(found.table, found.files))


def _reached(source: Location | str) -> Location:
    """The place that is meant, whole.

    Raises
    ------
    DatasetError
        If there is nothing, or no way to get there.
    """
    try:
        place = location(source)
        if not (place.exists() or is_pattern(place.name)):
            raise DatasetError(f"There is no image folder or manifest at {source}; check --images.")
    except DatasetError:
        raise
    except Exception as error:  # file systems raise whatever they like
        raise DatasetError(
            f"{source} can't be reached: {error}. Check --images, and --storage-options for what it takes to get there."
        ) from error
    if isinstance(place, Path) and place.exists() and not place.is_dir():
        _check_list(place)
    return place.resolve() if isinstance(place, Path) else place


def _check_list(place: Path) -> None:
    """A manifest or a shard is read more than once, so it can't come through a pipe."""
    try:
        check_file(place)
    except OSError as error:
        raise DatasetError(f"{place} can't be read: {error}. Give --images a file that holds the same.") from error


class _Found(NamedTuple):
    """A table of images, the real file of each, and what is there besides."""

    root: Location
    table: pd.DataFrame
    files: "pd.Series[str]"
    unused: Unused


def _found(place: Location) -> _Found:
    if shards := find_shards(place):
        table, unused = list_shards(shards)
        return _Found(shards[0].parent, table, table["path"], unused)
    if is_folder(place):
        return _Found(place, *scan(place))
    table = read_manifest(place)
    return _Found(place.parent, table, table["path"].map(lambda path: _real(place.parent, path)), Unused())


def _real(root: Location, path: str) -> str:
    """A file's path, written in one way."""
    return path if is_remote(path) else os.path.normpath(f"{root / path}")


def _sample(table: pd.DataFrame, count: int) -> pd.DataFrame:
    draw = table["path"].map(lambda path: hashlib.sha256(path.encode()).hexdigest())
    return table.assign(draw=draw).sort_values("draw", kind="stable").groupby("label").head(count).drop(columns="draw")


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """By label, then path."""
    by_path = table.sort_values("path", kind="stable", ignore_index=True)
    rank = pd.Categorical(by_path["label"], categories=in_order(by_path["label"].unique())).codes
    return by_path.iloc[np.argsort(rank, kind="stable")].reset_index(drop=True)


def _no_images(source: Location, unused: Unused) -> str:
    if unused.loose:
        return (
            f"{source} holds {counted(unused.loose, 'image')} but no folders of images; --images needs the folder "
            f"above, whose folders name the classes: {source.parent} if {source.name!r} is a class."
        )
    expected = f"a folder for each class with images in it ({', '.join(sorted(extensions())[:6])} …)"
    shards = "Shards lie there: give the folder just above them." if unused.endings.keys() & set(SHARDS) else ""
    return " ".join(
        [
            f"{source} holds no images. Expected {expected}, or a manifest with the columns path and label.",
            *unused.sentences(),
            *filter(None, [shards]),
        ]
    )
