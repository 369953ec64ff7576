"""The evidence for graphs as the pages take it: of the stored graphs of a pair, and of no others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.parts import PARTS
from summit_dask.arrays.graph.attribution import Marks
from summit_dask.facts import schema
from summit_dask.facts.pairs import Pair
from summit_dask.store.evidence import Settings, group_of, is_tested, read_marks, stored_settings

#: Ends of an interval, as the names of variables end.
ENDS = ("_low", "_high")


@dataclass(frozen=True)
class Share:
    """A share of a loss, and the middle 90 % of what samples of the images gave for it; NaN: not known."""

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether it could be measured."""
        return bool(np.isfinite(self.value))


@dataclass(frozen=True)
class Evidence:
    """What was found about the graphs of a pair, by the names of the registry (schema, group "evidence")."""

    data: StoreData
    pair: Pair

    def read(self, name: str) -> NDArray[Any]:
        """All values of a variable."""
        return self.data.read(self._address(name))

    def labels(self, dim: str) -> list[Any]:
        """Names of the places along a dim."""
        values: list[Any] = self.read(dim).tolist()
        return values

    @property
    def settings(self) -> Settings:
        """How the graphs were tested."""
        return stored_settings(self.data.store, self.pair)

    def number(self, name: str, index: int) -> Any:
        """What a variable says of a class as a whole."""
        return self.read(name)[index].item()

    def share(self, name: str, index: int, label: str) -> Share:
        """A share with its interval, of the index-th class, at a place along the variable's own dim."""
        place = self.labels(self._dims(name)[0]).index(label)
        return Share(*(float(self.read(f"{name}{end}")[index, place]) for end in ("", *ENDS)))

    def table(self, name: str, index: int, *more: str) -> pd.DataFrame:
        """A variable of the index-th class, a row a value.

        Columns are the labels along its dims, value, and of some more variables of the same dims what follows the
        name: low and high of `name_low` and `name_high`.
        """
        dims = self._dims(name)
        grid = pd.MultiIndex.from_product([self.labels(dim) for dim in dims], names=dims).to_frame(index=False)
        columns = {"value": name, **{other.removeprefix(f"{name}_"): other for other in more}}
        return grid.assign(**{column: self.read(known)[index].ravel() for column, known in columns.items()})

    def intervals(self, name: str, index: int) -> pd.DataFrame:
        """A share of the index-th class, a row a value: labels, value, low, high."""
        return self.table(name, index, *(f"{name}{end}" for end in ENDS))

    def _dims(self, name: str) -> tuple[str, ...]:
        """Dims of a variable, without the class."""
        return schema.variable(self._address(name)).dims[1:]

    def _address(self, name: str) -> str:
        return f"{group_of(self.pair)}/{name}"


@kept_with_store(None)
def evidence_of(data: StoreData, pair: Pair) -> Evidence | None:
    """What was found about a pair's graphs; None if they, as they are now, weren't tested."""
    return Evidence(data, pair) if is_tested(data.store, pair) else None


@kept_with_store(64)
def marks_of(data: StoreData, index: int, pair: Pair) -> Marks | None:
    """What evidence says of the nodes and edges of a class's stored graph; None if it wasn't tested."""
    return read_marks(data.read, index, pair) if evidence_of(data, pair) else None


def is_renewed(data: StoreData, pair: Pair) -> bool:
    """Whether a pair's graphs were made again after they were tested."""
    tested = data.store.finished(group_of(pair))
    return tested is not None and not is_tested(data.store, pair)


def why_untested(data: StoreData, pair: Pair) -> str:
    """Why a pair's graphs have no evidence, and what makes it, in plain words."""
    if pair not in data.pairs:
        return data.why_absent("graphs")
    _, command = PARTS["evidence"]
    command = f"'summit-dask {command}'"
    if pair != data.options.pair:
        command = f"'summit-dask graphs {pair.flags}', then {command}"
    if is_renewed(data, pair):
        return f"These graphs were made again after they were tested; {command} tests them anew."
    if len(data.pairs) > 1 and not data.is_imported:
        return f"This store holds no evidence for graphs with {pair.words}; {command} makes that."
    return data.why_absent("evidence")
