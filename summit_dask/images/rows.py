"""Images in the rows of a table: which columns hold them and their labels, and reading them in their order."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from summit_dask.facts.location import Location

#: Names that columns usually have, the first one first; others are taken if there is no choice.
IMAGE_NAMES = ("image", "img", "jpg", "png", "picture")
LABEL_NAMES = ("label", "labels", "cls", "class", "category")

#: Rows that are decompressed at once.
BATCH = 16


class Columns(NamedTuple):
    """The columns of images and of their labels; `names` are those of the labels' numbers, if the schema has any."""

    image: str
    label: str
    names: tuple[str, ...]


def find_columns(schema: pa.Schema) -> Columns:
    """The columns of images and labels, by Hugging Face's description in the schema, else by type and name.

    Raises
    ------
    ValueError
        If there is none, or several; lists them.
    """
    features = _features(schema)
    image = _one("images", [field.name for field in schema if _holds_bytes(field.type)], IMAGE_NAMES, schema)
    described = [name for name in schema.names if _kind(features, name) == "ClassLabel"]
    plain = [field.name for field in schema if _is_label(field.type) and field.name in LABEL_NAMES]
    label = _one("labels", described or plain, LABEL_NAMES, schema)
    names = features[label].get("names") if label in described else None
    return Columns(image, label, tuple(map(str, names)) if isinstance(names, list) else ())


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    """Hugging Face's description of the columns; empty if there is none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _kind(features: Mapping[str, Any], name: str) -> Any:
    feature = features.get(name)
    return feature.get("_type") if isinstance(feature, dict) else None


def _one(what: str, found: Sequence[str], usual: Sequence[str], schema: pa.Schema) -> str:
    if len(found) == 1:
        return found[0]
    for name in usual:
        if found.count(name) == 1:
            return name
    several = f"the columns {list(found)} could each hold the {what}" if found else f"no column holds {what}"
    raise ValueError(f"{several}; it has {schema.names}. Call one {usual[0]!r}")


def _holds_bytes(kind: pa.DataType) -> bool:
    """Binary, or Hugging Face's struct of bytes and path."""
    if pa.types.is_struct(kind):
        return "bytes" in {field.name for field in kind} and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_label(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def bytes_of(images: pa.Array) -> pa.Array:
    """The bytes of a column of images; null where there are none."""
    return pa.compute.struct_field(images, "bytes") if pa.types.is_struct(images.type) else images


def labels_of(values: pa.Array, names: Sequence[str]) -> list[str | None]:
    """Labels as text; None where there is none."""
    return [None if value is None else _label(value, names) for value in values.to_pylist()]


def _label(value: Any, names: Sequence[str]) -> str | None:
    if not (names and isinstance(value, int)):
        return str(value)
    return names[value] if 0 <= value < len(names) else None  # Hugging Face's -1: unknown


def parquet_file(shard: Location) -> pq.ParquetFile:
    """Open a Parquet file, here or at an address."""
    return pq.ParquetFile(shard if isinstance(shard, Path) else shard.open("rb"), pre_buffer=False)


class ImageRows:
    """The images of a Parquet file; each row group is read once where rows are asked for in order."""

    def __init__(self, shard: Location) -> None:
        self.shard = shard
        self._file = parquet_file(shard)
        self._group, self._first = -1, 0
        self._images: pa.Array = pa.array([], pa.binary())
        self._batches: Any = iter(())

    def read(self, row: int) -> bytes | Exception:
        """Bytes of the image of a row, or why it can't be read."""
        try:
            self._go_to(row)
            value: bytes | None = self._images[row - self._first].as_py()
        except (OSError, ValueError, StopIteration) as error:
            self._group = -1
            return error
        return ValueError("the row holds no image") if value is None else value

    def _go_to(self, row: int) -> None:
        group = int(np.searchsorted(self._starts, row, "right")) - 1
        if group != self._group or row < self._first:
            self._group, self._first = group, int(self._starts[group])
            self._images = self._images[:0]
            self._batches = self._file.iter_batches(BATCH, [group], [self._column], use_threads=False)
        while row >= self._first + len(self._images):
            self._first += len(self._images)
            self._images = bytes_of(next(self._batches).column(0))

    @cached_property
    def _starts(self) -> np.ndarray:
        """First row of each row group, and one past the last."""
        metadata = self._file.metadata
        return np.cumsum([0, *(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))])

    @cached_property
    def _column(self) -> str:
        schema = self._file.schema_arrow
        image = find_columns(schema).image
        return f"{image}.bytes" if pa.types.is_struct(schema.field(image).type) else image
