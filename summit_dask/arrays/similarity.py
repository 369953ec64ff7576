"""How alike rows of counts are: classes by the channels they use, or channels by the classes that use them."""

import numpy as np
from jaxtyping import Float64, Int


def similarity(counts: Int[np.ndarray, "row column"]) -> Float64[np.ndarray, "row row"]:
    """Cosine of every two rows (DESIGN 3.7).

    Parameters
    ----------
    counts
        At least 0.

    Returns
    -------
    Float64[row row]
        0 to 1. A row of zeros is similar to none, itself included: 0.

    Examples
    --------
    >>> import numpy as np
    >>> similarity(np.array([[3, 4], [6, 8], [4, 0], [0, 0]]))
    array([[1. , 1. , 0.6, 0. ],
           [1. , 1. , 0.6, 0. ],
           [0.6, 0.6, 1. , 0. ],
           [0. , 0. , 0. , 0. ]])
    """
    rows = unit_rows(counts)
    cosine: Float64[np.ndarray, "row row"] = np.clip(rows @ rows.T, 0.0, 1.0)
    return cosine


def similarity_to(counts: Int[np.ndarray, "row column"], index: int) -> Float64[np.ndarray, " row"]:
    """One row of `similarity`, without the others: some milliseconds for 1000 rows of 1000 columns.

    Examples
    --------
    >>> import numpy as np
    >>> similarity_to(np.array([[3, 4], [6, 8], [4, 0], [0, 0]]), 2)
    array([0.6, 0.6, 1. , 0. ])
    """
    rows = unit_rows(counts)
    cosine: Float64[np.ndarray, " row"] = np.clip(rows @ rows[index], 0.0, 1.0)
    return cosine


def unit_rows(counts: Int[np.ndarray, "row column"]) -> Float64[np.ndarray, "row column"]:
    """Rows scaled to length 1; rows of zeros stay.

    Examples
    --------
    >>> import numpy as np
    >>> unit_rows(np.array([[3, 4], [0, 0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    rows: Float64[np.ndarray, "row column"] = counts.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    rows /= np.where(lengths > 0, lengths, 1.0)[:, None]
    return rows
