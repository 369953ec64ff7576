"""Sparse matrices as numba takes them: the three arrays of SciPy's `csr_array`, by name."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32
from scipy import sparse

from summit_dask.facts.layergraph import Channels


class Rows(NamedTuple):
    """A sparse matrix, row after row (CSR).

    Row r holds the entries `indptr[r]` up to `indptr[r + 1]`; here row 0 is ``7 at column 1, 9 at column 4``::

        indptr       0     2  3
        indices      1  4  0
        data         7  9  3
    """

    indptr: Int32[np.ndarray, " bound"]
    indices: Int32[np.ndarray, " entry"]
    data: Int32[np.ndarray, " entry"]


class Entries(NamedTuple):
    """A sparse matrix as a list of its entries, in any order; some may stand at the same place."""

    row: Int32[np.ndarray, " entry"]
    column: Int32[np.ndarray, " entry"]
    value: Int32[np.ndarray, " entry"]


def entries_of(matrix: sparse.csr_array, rows: Channels | None = None, first_column: int = 0) -> Entries:
    """The entries of a matrix that is part of a larger one.

    Parameters
    ----------
    matrix
        Counts.
    rows, first_column
        Where it lies in the larger one; None: in its first rows.

    Examples
    --------
    >>> entries = entries_of(sparse.csr_array([[0, 7], [3, 0]]), first_column=10)
    >>> entries.row, entries.column, entries.value
    (array([0, 1], dtype=int32), array([11, 10], dtype=int32), array([7, 3], dtype=int32))
    """
    own = np.arange(matrix.shape[0]) if rows is None else np.array(rows)
    return Entries(
        np.repeat(own, np.diff(matrix.indptr)).astype(np.int32),
        (matrix.indices + first_column).astype(np.int32),
        matrix.data.astype(np.int32, copy=False),
    )


def all_entries(parts: Iterable[Entries]) -> Entries:
    """Those of several parts of a matrix; none if there are no parts.

    Examples
    --------
    >>> upper = entries_of(sparse.csr_array([[0, 7]]))
    >>> lower = entries_of(sparse.csr_array([[3, 0]]), rows=range(1, 2))
    >>> all_entries([upper, lower]).row
    array([0, 1], dtype=int32)
    """
    parts = tuple(parts)
    return Entries(
        joined([part.row for part in parts]),
        joined([part.column for part in parts]),
        joined([part.value for part in parts]),
    )


def in_rows(entries: Entries, n_rows: int) -> Rows:
    """The same entries row after row; those at the same place stay apart, in their order.

    Examples
    --------
    >>> lower = entries_of(sparse.csr_array([[0, 7]]), range(1, 2))
    >>> in_rows(all_entries([lower, entries_of(sparse.csr_array([[3, 0]]))]), 2)
    Rows(indptr=array([0, 1, 2], dtype=int32), indices=array([0, 1], dtype=int32), data=array([3, 7], dtype=int32))
    """
    order = np.argsort(entries.row, kind="stable")  # linear where the rows ascend already
    lengths = np.bincount(entries.row, minlength=n_rows)
    return Rows(bounds(lengths), entries.column[order], entries.value[order])


def bounds(lengths: Int[np.ndarray, " part"]) -> Int32[np.ndarray, " bound"]:
    """Where parts of the given lengths begin when they lie one after the other, and where the last one ends.

    Examples
    --------
    >>> bounds(np.array([2, 0, 3]))
    array([0, 2, 2, 5], dtype=int32)
    """
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def joined(parts: Iterable[np.ndarray]) -> Int32[np.ndarray, " entry"]:
    """One array of several, int32; empty if there are none.

    Examples
    --------
    >>> joined([np.array([1, 2]), np.array([3])])
    array([1, 2, 3], dtype=int32)
    """
    return np.concatenate([np.empty(0, np.int32), *(part.astype(np.int32, copy=False) for part in parts)])
