"""Tables that users write: manifests of images and lists of the network's outputs, as CSV, Parquet or JSON."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from summit_dask.facts.errors import DatasetError

TEXTS = frozenset({"path", "label", "synset", "name", "folder"})


def read_table(path: Path, error: type[DatasetError], what: str) -> pd.DataFrame:
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
