"""Which of the network's outputs each class of an image set is: by a table, by the weights' own names, or by order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from summit_dask.facts.errors import ClassMappingError, suggestion
from summit_dask.facts.names import composed
from summit_dask.images.outputs_table import read_outputs_table

FOLDER_ORDER = "folder-order"
PARTS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
SHOWN_AT_EACH_END = 3


@dataclass(frozen=True)
class Outputs:
    """The network's outputs and each class's index among them.

    `names` and `synsets` have one entry an output, empty where unknown; `of_class` maps each label to its output,
    in the order of the labels; `note` is what a reader may take for granted otherwise, empty if there is nothing.
    """

    names: tuple[str, ...]
    synsets: tuple[str, ...]
    of_class: Mapping[str, int]
    note: str = ""

    @property
    def summary(self) -> str:
        """The first and the last classes with their outputs, to be checked by eye."""
        rows = [self._row(label, index) for label, index in self.of_class.items()]
        if len(rows) > 2 * SHOWN_AT_EACH_END:
            rows = [*rows[:SHOWN_AT_EACH_END], "…", *rows[-SHOWN_AT_EACH_END:]]
        return f"Class to output of the network: {', '.join(rows)}. {self.note}".strip()

    def _row(self, label: str, index: int) -> str:
        name = self.names[index]
        return f"{label!r} → {index}" + (f" ({name})" if name not in ("", label) else "")


def map_classes(
    labels: Sequence[str], n_outputs: int, classes: str | None, categories: Sequence[str] | None
) -> Outputs:
    """Find the network's output for each class of the image set; never a guess.

    Parameters
    ----------
    labels
        Labels of the image set, in its order.
    classes
        A table of the outputs (see `outputs_table`), or "folder-order".
    categories
        Names of the outputs from the weights' metadata, used when `classes` is None.

    Raises
    ------
    ClassMappingError
        If the counts disagree, a class maps to nothing, or two map to the same output.
    """
    if classes == FOLDER_ORDER:
        return _by_order(labels, n_outputs)
    table = _table(labels, n_outputs, classes, categories)
    by_text = _outputs_by_text(table)
    of_class = {label: by_text[label] for label in labels if label in by_text}
    if lost := [label for label in labels if label not in of_class]:
        raise ClassMappingError(_no_output(labels, lost, table, by_text))
    _check_own(of_class)
    return Outputs(_column(table, "name", n_outputs), _column(table, "synset", n_outputs), of_class)


def _by_order(labels: Sequence[str], n_outputs: int) -> Outputs:
    if len(labels) != n_outputs:
        raise ClassMappingError(
            f"--classes {FOLDER_ORDER} needs as many classes as the network has outputs; there are {len(labels)} "
            f"classes and {n_outputs} outputs. Give a table of the outputs instead.{_wrong_level(labels)}"
        )
    note = "" if list(labels) == sorted(labels) else _order_note(labels)
    return Outputs(tuple(labels), ("",) * n_outputs, {label: i for i, label in enumerate(labels)}, note)


def _order_note(labels: Sequence[str]) -> str:
    text = ", ".join(map(repr, sorted(labels)[:SHOWN_AT_EACH_END]))
    return (
        f"These are sorted as numbers; torchvision's ImageFolder sorts them as text ({text}, …): if the network was "
        "trained in that order, give --classes a JSON list of the names in it."
    )


def _wrong_level(labels: Sequence[str]) -> str:
    """A hint where the class folders are the parts of a data set."""
    if not {label.lower() for label in labels} <= PARTS:
        return ""
    return (
        f" {' and '.join(map(repr, labels))} are the names of a data set's parts: give --images one of these folders."
    )


def _table(
    labels: Sequence[str], n_outputs: int, classes: str | None, categories: Sequence[str] | None
) -> pd.DataFrame:
    if classes is not None:
        return _table_of_file(classes, n_outputs)
    if categories is not None and len(categories) == n_outputs:
        return pd.DataFrame({"index": range(n_outputs), "name": [composed(name) for name in categories]})
    raise ClassMappingError(
        f"Nothing says which of the network's {n_outputs} outputs the {len(labels)} classes belong to. Give "
        f"--classes a JSON or CSV table (index, synset, name), or --classes {FOLDER_ORDER} if the sorted "
        "class folders are the outputs in order."
    )


def _table_of_file(classes: str, n_outputs: int) -> pd.DataFrame:
    path = Path(classes)
    if path.is_file():
        return read_outputs_table(path, n_outputs)
    word = f"the word {FOLDER_ORDER}"
    meant = f"Did you mean {word}?" if get_close_matches(classes, [FOLDER_ORDER]) else f"Give a table, or {word}."
    raise ClassMappingError(f"Can't read the table of classes {classes}: there is no such file. {meant}")


def _outputs_by_text(table: pd.DataFrame) -> dict[str, int]:
    """Output by every text that names exactly one: folder before synset before name."""
    by_text: dict[str, int] = {}
    for key in ("name", "synset", "folder"):
        if key in table:
            rows = table[~table[key].duplicated(keep=False) & table[key].notna() & (table[key] != "")]
            by_text.update(zip(rows[key].astype(str), rows["index"].astype(int), strict=True))
    return by_text


def _no_output(labels: Sequence[str], lost: Sequence[str], table: pd.DataFrame, by_text: Mapping[str, int]) -> str:
    texts = table.drop(columns="index")
    several = table["index"][(texts == lost[0]).any(axis="columns")].tolist()
    return (
        f"{len(lost)} of {len(labels)} classes match no output of the network by folder, synset or name: "
        f"{', '.join(map(repr, lost[:5]))}. "
        + (f"The outputs {several} are all called {lost[0]!r}." if several else suggestion(lost[0], by_text))
        + f" Correct --classes or the folders' names.{_wrong_level(labels)}"
    )


def _check_own(of_class: Mapping[str, int]) -> None:
    outputs = list(of_class.values())
    if shared := [label for label, index in of_class.items() if outputs.count(index) > 1]:
        raise ClassMappingError(f"The classes {shared[:4]} map to the same output; each needs its own. See --classes.")


def _column(table: pd.DataFrame, key: str, n_outputs: int) -> tuple[str, ...]:
    values = [""] * n_outputs
    for index, value in zip(table["index"], table.get(key, pd.Series([""] * len(table))), strict=True):
        values[index] = "" if pd.isna(value) else str(value)
    return tuple(values)
