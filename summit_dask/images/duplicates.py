"""Files that occur more than once in an image set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Duplicates:
    """How many files occur several times under one label (`repeated`) and under several labels (`contradictory`).

    `rows` are the paths and labels of one file of each kind, empty where there is none.
    """

    repeated: int
    contradictory: int
    repeated_rows: tuple[tuple[str, str], ...]
    contradictory_rows: tuple[tuple[str, str], ...]

    def sentences(self) -> Iterator[str]:
        """What to tell the user, a sentence for each kind."""
        if self.repeated:
            yield (
                f"Files that occur more than once under the same label: {self.repeated}, for example "
                f"{_listed(self.repeated_rows)}. Each time counts as an image."
            )
        if self.contradictory:
            yield (
                f"Files that occur under more than one label: {self.contradictory}, for example "
                f"{_listed(self.contradictory_rows)}. They count for each of their classes."
            )


def _listed(rows: Sequence[tuple[str, str]]) -> str:
    return " and ".join(f"{path!r} as {label!r}" for path, label in rows[:3])


def find_duplicates(table: pd.DataFrame, files: "pd.Series[str]") -> Duplicates:
    """Rows of a table of path and label that stand for the same file.

    Parameters
    ----------
    files
        The real file of each row, written in one way.
    """
    ordered = files.sort_values()  # of a million files a tenth of the memory that `duplicated` takes
    same = ordered.eq(ordered.shift())
    own = ordered[same | same.shift(-1, fill_value=False)].sort_index()
    again = table.loc[own.index, ["path", "label"]].assign(file=own)
    n_labels = again.groupby("file")["label"].nunique()
    repeated = n_labels.index[n_labels == 1]
    contradictory = n_labels.index[n_labels > 1]
    return Duplicates(len(repeated), len(contradictory), _rows_of(again, repeated), _rows_of(again, contradictory))


def _rows_of(rows: pd.DataFrame, files: "pd.Index[str]") -> tuple[tuple[str, str], ...]:
    """Paths and labels of the first file."""
    own = rows[rows["file"].isin(files[:1])]
    return tuple(zip(own["path"], own["label"], strict=True))
