"""A table of the network's outputs, in the forms that people have it, as rows of index, synset, name and folder.

CSV, Parquet     columns index (or idx, id, …) and at least one of synset, name (or class, label, …), folder
JSON list        ["tench", …] of all outputs in order, or [{"index": 0, "synset": …, "name": …}, …]
JSON object      {"0": "tench"}, {"0": ["n01440764", "tench"]}, {"tench": 0},
                 or with one of these under id2label or label2id (Hugging Face's config.json)
.txt             a line for each output in order: tench, n01440764, or n01440764 tench
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from summit_dask.facts.errors import ClassMappingError
from summit_dask.facts.names import composed
from summit_dask.images.tables import ENCODING, plain_header, read_columns, read_json, reading

#: Other headers for a column, taken where the column itself is missing.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "index": ("idx", "id", "class_index", "class_idx", "class_id", "output"),
    "synset": ("wnid",),
    "name": ("class", "class_name", "label", "category"),
    "folder": ("directory",),
}
TEXTS = frozenset({"synset", "name", "folder", *ALIASES["synset"], *ALIASES["name"], *ALIASES["folder"]})

#: An identifier of a WordNet synset, alone or in front of a name.
_SYNSET = re.compile(r"(n\d{8})(?:\s+(.*))?", re.ASCII)


def read_outputs_table(path: Path, n_outputs: int) -> pd.DataFrame:
    """The rows of a table of outputs: index, an int from 0 on, and texts in composed Unicode.

    Raises
    ------
    ClassMappingError
        If it can't be read, has none of the forms, or an index is missing, repeated or beyond the outputs.
    """
    with reading(path, ClassMappingError, "table of classes"):
        content = _content(path)
    table = content if isinstance(content, pd.DataFrame) else _in_order(path, content, n_outputs)
    table = _named(path, table)
    if "index" not in table or not {"synset", "name", "folder"} & set(table.columns):
        raise ClassMappingError(
            f"The table {path} has the columns {list(table.columns)}; it needs index and at least one of synset, "
            "name and folder."
        )
    return table.assign(index=_checked(path, table["index"], n_outputs))


def _checked(path: Path, column: "pd.Series[Any]", n_outputs: int) -> "pd.Series[int]":
    index = pd.to_numeric(column, errors="coerce")
    if index.duplicated().any() or not index.isin(range(n_outputs)).all():
        raise ClassMappingError(
            f"The table {path} must give each index once, from 0 to {n_outputs - 1} (the network's outputs); "
            f"found {index.min()} to {index.max()} in {len(index)} rows, {int(index.duplicated().sum())} repeated."
        )
    return index.astype(int)


def _content(path: Path) -> pd.DataFrame | list[str]:
    """Rows with their index, or texts of all outputs in order."""
    if path.suffix.lower() == ".txt":
        return [line.strip() for line in path.read_text(encoding=ENCODING).strip().splitlines()]
    if path.suffix.lower() == ".json":
        return _of_json(read_json(path))
    return read_columns(path, TEXTS)


def _of_json(data: Any) -> pd.DataFrame | list[str]:
    if isinstance(data, Mapping):
        return pd.DataFrame(_of_object(data.get("id2label") or data.get("label2id") or data))
    if isinstance(data, list) and data and all(isinstance(item, str) for item in data):
        return data
    if isinstance(data, list):
        return pd.DataFrame(data)
    raise TypeError(f"it holds {data!r}, neither a list nor an object")


def _of_object(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of {"0": name}, {"0": [synset, name]} or {name: 0}."""
    if all(type(value) is int for value in data.values()):
        _check_one_reading(data)
        return [{"index": index, "name": name} for name, index in data.items()]
    pairs = ((int(index), value if isinstance(value, list) else ["", value]) for index, value in data.items())
    return [{"index": index, "synset": synset, "name": name} for index, (synset, name) in pairs]


def _check_one_reading(data: Mapping[str, int]) -> None:
    """Numbers mapped to numbers may be {name: index} or {index: name}, unless both say the same."""
    turned = {str(index): name for name, index in data.items()}
    if all(name.isdecimal() for name in data) and turned != {name: str(index) for name, index in data.items()}:
        raise ValueError(
            "it maps numbers to numbers, and either may be the output; give a list of all names in order, or rows of "
            "index and name"
        )


def _in_order(path: Path, texts: Sequence[str], n_outputs: int) -> pd.DataFrame:
    """Rows of texts that stand for the outputs by their place."""
    if len(texts) != n_outputs:
        raise ClassMappingError(
            f"The list {path} has {len(texts)} entries and the network {n_outputs} outputs; without indices it must "
            "name all of them in order. Give a table of index and name instead."
        )
    parts = [_SYNSET.fullmatch(text) for text in texts]
    return pd.DataFrame(
        {
            "index": range(n_outputs),
            "synset": [part[1] if part else "" for part in parts],
            "name": [(part[2] or "") if part else text for part, text in zip(parts, texts, strict=True)],
        }
    )


def _named(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Columns under their own names, texts in composed Unicode."""
    headers = [plain_header(str(header)) for header in table.columns]
    for name, others in ALIASES.items():
        present = [header for header in headers if header in others]
        if name in headers or not present:
            continue
        if len(present) > 1:
            raise ClassMappingError(f"The columns {present} of {path} could each be the {name}; call one {name!r}.")
        headers[headers.index(present[0])] = name
    if twice := sorted({header for header in headers if headers.count(header) > 1}):
        raise ClassMappingError(f"The table {path} has the columns {twice} more than once; rename or remove them.")
    renamed = table.set_axis(headers, axis="columns")
    texts = [name for name in ("synset", "name", "folder") if name in headers]
    return renamed.assign(**{name: renamed[name].map(_composed) for name in texts})


def _composed(value: Any) -> Any:
    return composed(value) if isinstance(value, str) else value
