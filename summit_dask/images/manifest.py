"""A manifest: a table of image paths and labels, with further columns that come along."""

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

import pandas as pd

from summit_dask.facts import schema
from summit_dask.facts.errors import DatasetError
from summit_dask.facts.location import Location
from summit_dask.facts.names import composed
from summit_dask.images.tables import read_columns, read_json, reading

TEXTS = frozenset({"path", "label", "synset", "name", "folder"})
_FILE_URL = re.compile(r"file:(//(localhost)?)?(?=/(?!/))")


def read_manifest(path: Location) -> pd.DataFrame:
    """The rows of a manifest; labels are text in composed Unicode, paths those of files where there are any.

    Raises
    ------
    DatasetError
        If it can't be read, lacks path or label or has a row without, or uses names that the store needs.
    """
    with reading(path, DatasetError, "manifest"):
        table = pd.DataFrame(read_json(path)) if path.suffix.lower() == ".json" else read_columns(path, TEXTS)
        _check_texts(table)
    if missing := {"path", "label"} - set(table.columns):
        raise DatasetError(
            f"The manifest {path} lacks the column {' and '.join(sorted(missing))}; it has {list(table.columns)}."
        )
    table.columns = table.columns.astype(str).str.replace(r"[\s/]+", "_", regex=True)
    _check_columns(path, table)
    if empty := int(table[["path", "label"]].isna().any(axis=1).sum()):
        raise DatasetError(f"The manifest {path} has {empty} rows without a path or a label; fill or remove them.")
    texts = table.astype({"path": str, "label": str})
    paths = [file_path(path.parent, text) for text in texts["path"]]
    return texts.assign(path=paths, label=texts["label"].map(composed))


def _check_texts(table: pd.DataFrame) -> None:
    """Halves of surrogate pairs, which JSON can hold and no file: older versions of pandas take them too."""
    for name, column in table.items():
        f"{name}{''.join(map(str, column))}".encode()


def _check_columns(path: Location, table: pd.DataFrame) -> None:
    stored = schema.variables("images")
    reserved = {"class", "correct", *(v.name for v in stored), *(dim for v in stored for dim in v.dims)} - {"path"}
    if taken := sorted(reserved & set(table.columns) | set(table.columns[table.columns.duplicated()])):
        raise DatasetError(
            f"The manifest {path} has the columns {taken} twice or the store uses the name itself; rename them."
        )


def file_path(root: Location, text: str) -> str:
    """A manifest's path as this system writes it: the first spelling of which there is a file, else as it stands.

    Windows' backslashes, ``file://`` addresses, and names in the other Unicode form, as macOS writes them, are taken.
    """
    if text.isascii() and "\\" not in text and not text.startswith("file:"):
        return text
    path = _FILE_URL.sub("", text)
    return next((spelling for spelling in _spellings(path) if exists(root / spelling)), path)


def _spellings(path: str) -> Iterator[str]:
    for spelling in (path, unquote(path), path.replace("\\", "/")):
        yield spelling
        yield unicodedata.normalize("NFC", spelling)
        yield unicodedata.normalize("NFD", spelling)


def exists(file: Location) -> bool:
    """Whether something lies at a path that this user may see; a path that can't be one leads nowhere."""
    try:
        return file.exists()
    except (OSError, ValueError):
        return False
