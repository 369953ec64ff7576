"""Which of the network's outputs each class of an image set is: by a table, by the weights' own names, or by order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from summit_dask.facts.errors import ClassMappingError, suggestion
from summit_dask.images.tables import read_table

FOLDER_ORDER = "folder-order"


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
    table = read_table(path, ClassMappingError, "table of classes")
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
