"""Groups of images by what the store knows of them: class, prediction, right or wrong, columns of the manifest.

    images     class  predicted  correct  site (a column of the manifest)
    0          ant    ant        right    A
    1          ant    bee        wrong    B
    2          bee    bee        right    A

    by "correct"             right: 0, 2      wrong: 1
    by "class" and "site"    ant, A: 0        ant, B: 1      bee, A: 2

Images that can't be read are in no group, nor are those without a value in a column.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from summit_dask.facts import schema
from summit_dask.facts.config import fingerprint
from summit_dask.facts.errors import GroupNotFoundError, suggestion
from summit_dask.store.counts import Read, readable_classes
from summit_dask.store.present import GROUPED, stored_groupings
from summit_dask.store.status import fingerprints
from summit_dask.store.store import Store
from summit_dask.store.tree import made_with, reader_of, run_of

#: What images can be grouped by in every store; "label" is another word for the first.
CLASS, PREDICTED, CORRECT = "class", "predicted", "correct"
BUILT_IN = (CLASS, PREDICTED, CORRECT)

#: Groups by anything but the class, at most.
MOST_GROUPS = 10_000


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of a store's images, each with at least one.

    Attributes
    ----------
    columns
        What they are grouped by.
    names
        Of each group, unique: its values, with commas between them.
    values
        Of each group (group,), by column.
    index
        Group of each image (image,); -1: none.
    """

    columns: tuple[str, ...]
    names: tuple[str, ...]
    values: Mapping[str, NDArray[Any]]
    index: NDArray[np.int32]

    @property
    def n_images(self) -> NDArray[np.int32]:
        """Of each group."""
        return np.bincount(self.index[self.index >= 0], minlength=len(self.names)).astype(np.int32)

    @property
    def address(self) -> str:
        """The store's group of their counts; names of columns hold no spaces."""
        return f"{GROUPED}/{' '.join(self.columns)}"

    def find(self, name: str) -> int:
        """Place of a group.

        Raises
        ------
        GroupNotFoundError
            If there is none of that name, or it has no image that could be read.
        """
        if name in self.names:
            return self.names.index(name)
        raise GroupNotFoundError(
            f"By {' and '.join(self.columns)} there is no group {name!r} of images that could be read. "
            f"{suggestion(name, self.names)}"
        )

    def fingerprint(self, before: int) -> int:
        """What their counts depend on: the groups, and what the same counts by class were made with."""
        index = hashlib.sha256(self.index.tobytes()).hexdigest()
        return fingerprint({"before": before, "columns": self.columns, "names": self.names, "index": index})


def groups_of_tree(tree: xr.DataTree, by: str | Sequence[str]) -> Groups:
    """Groups of an open tree's images; see `groups_of`."""
    images = tree["images"]
    columns = [str(name) for name in images.coords if images.coords[name].dims == ("image",) and name != "image"]
    return groups_of(reader_of(tree), columns, by)


def groups_of_store(store: Store, by: str | Sequence[str]) -> Groups:
    """Groups of a store's images; see `groups_of`."""
    return groups_of(store.read, manifest_columns(store), by)


def counted_groups(store: Store) -> dict[str, Groups | None]:
    """Groupings of whose counts the store has finished ones; None: not those that would be counted now."""
    before = fingerprints(store)["reduce"]
    found: dict[str, Groups | None] = {}
    for name in stored_groupings(store):
        try:
            groups = groups_of_store(store, name.split(" "))
        except GroupNotFoundError:
            found[name] = None
            continue
        is_current = store.finished(groups.address) == groups.fingerprint(before)
        found[name] = groups if is_current else None
    return found


def is_counted(tree: xr.DataTree, groups: Groups) -> bool:
    """Whether an open tree has the counts of these groups, made with the run's options."""
    before = run_of(tree).stage_fingerprints()
    made = made_with(tree, groups.address)
    return before is not None and made is not None and made == groups.fingerprint(before["reduce"])


def manifest_columns(store: Store) -> list[str]:
    """Further columns of the manifest that a store was made from."""
    return str(store.group["images"].attrs.get("coordinates", "")).split()


def groups_of(read: Read, columns: Sequence[str], by: str | Sequence[str]) -> Groups:
    """Groups of images by one column or several.

    Parameters
    ----------
    columns
        Those of the manifest.
    by
        "class" (or "label"), "predicted", "correct" or one of these columns, or several of all.

    Raises
    ------
    GroupNotFoundError
        If there is no such column, it has a value of its own for nearly every image, or no image has one.
    """
    asked = _asked(by, columns)
    index = readable_classes(read, slice(None))
    found = [_column(read, name, index) for name in asked]
    codes = np.where(index >= 0, 0, -1).astype(np.int64)
    for places, values in found:
        codes = np.where((codes >= 0) & (places >= 0), codes * len(values) + places, -1)
    present, place = np.unique(codes, return_inverse=True)
    if not (present >= 0).any():
        raise GroupNotFoundError(
            f"No image that could be read has a value in {' and '.join(asked)}; run the extract stage, or choose "
            "another column."
        )
    place = place.ravel() - int(present[0] < 0)
    own = _values_of(present[present >= 0], {name: values for name, (_, values) in zip(asked, found, strict=True)})
    return Groups(asked, _names(asked, own), own, place.astype(np.int32))


def _asked(by: str | Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    names = dict.fromkeys([by] if isinstance(by, str) else by)
    asked = tuple(dict.fromkeys(CLASS if name == "label" else name for name in names))
    known = {*BUILT_IN, *columns}
    for name in asked:
        if name not in known:
            raise GroupNotFoundError(
                f"Images have no column {name!r} to group them by. {suggestion(name, known)} A manifest's further "
                "columns come along when a store is made from it."
            )
    if not asked:
        raise GroupNotFoundError(f"There is no column to group images by. {suggestion('', known)}")
    return asked


def _column(read: Read, name: str, classes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Place of each image's value among the column's values (-1: it has none), and these."""
    if name == CLASS:
        return classes.astype(np.int64), read("class", slice(None))
    if name == PREDICTED:
        return read("images/predicted", slice(None))[:, 0].astype(np.int64), _outputs(read)
    if name == CORRECT:
        own = read("classes/output_index", slice(None))[classes]
        is_wrong = read("images/predicted", slice(None))[:, 0] != own
        return is_wrong.astype(np.int64), np.array(["right", "wrong"], schema.STRING)
    return _of_manifest(read, name, classes)


def _outputs(read: Read) -> NDArray[Any]:
    """A name for each of the network's outputs: that of its class, or else its own with its number."""
    labels = read("class", slice(None)).tolist()
    by_output = dict(zip(read("classes/output_index", slice(None)).tolist(), labels, strict=True))
    names = enumerate(read("outputs/name", slice(None)).tolist())
    return np.array([by_output.get(output, f"{name} (output {output})") for output, name in names], schema.STRING)


def _of_manifest(read: Read, name: str, classes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    column = read(f"images/{name}", slice(None))
    is_text = column.dtype.kind in "OTU"
    stated = pd.Series(column.astype(object) if is_text else column)
    codes, values = pd.factorize(stated.where(stated != "", None) if is_text else stated, sort=True)
    n_images = int((classes >= 0).sum())
    if len(values) > max(2, n_images // 2):
        raise GroupNotFoundError(
            f"The column {name!r} has {len(values)} different values for {n_images} images that could be read, too "
            "many to group them by. Choose another column, or make a store with a column of few values (ranges of "
            "numbers) in its manifest."
        )
    return codes.astype(np.int64), np.array(values, schema.STRING if is_text else column.dtype)


def _values_of(codes: NDArray[np.int64], values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Each column's value in each group, from the groups' codes."""
    own: dict[str, NDArray[Any]] = {}
    for name in reversed([*values]):
        codes, place = np.divmod(codes, len(values[name]))
        own[name] = values[name][place]
    return {name: own[name] for name in values}


def _names(asked: tuple[str, ...], values: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    rows = zip(*(_texts(column) for column in values.values()), strict=True)
    names = tuple(", ".join(row) for row in rows)
    if len(names) > MOST_GROUPS and asked != (CLASS,):
        raise GroupNotFoundError(
            f"By {' and '.join(asked)} there are {len(names)} groups of images, at most {MOST_GROUPS} can be counted. "
            "Choose fewer columns, or one of fewer values."
        )
    if len(set(names)) < len(names):
        raise GroupNotFoundError(
            f"By {' and '.join(asked)} two groups have the same name, for values hold commas; change one in the "
            "manifest."
        )
    return names


def _texts(column: Iterable[Any]) -> Iterable[str]:
    """Values as people write them: 3, not 3.0."""
    return (str(value).removesuffix(".0") if isinstance(value, np.floating) else str(value) for value in column)
