"""Encoded pictures (JPEG, PNG, WebP) of one group, as one array of bytes and their offsets.

    data     |...jpeg 0...|...jpeg 1...||...jpeg 3...|     item 2 is empty: there is no such picture
    offsets  0            a            b b            c

So files are kept as they are, and a reader needs NumPy alone.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts.errors import StoreError


def pack(items: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Join encoded pictures.

    Parameters
    ----------
    items
        Encoded pictures; ``b""`` where there is none.

    Returns
    -------
    data : uint8 (byte,)
        All items, one after the other.
    offsets : int64 (item + 1,)
        Item i is ``data[offsets[i]:offsets[i + 1]]``.
    """
    lengths = np.fromiter(map(len, items), np.int64, len(items))
    return np.frombuffer(b"".join(items), np.uint8), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def unpack(data: Any, offsets: NDArray[np.int64], item: int) -> bytes:
    """One encoded picture, ``b""`` where there is none.

    Parameters
    ----------
    data : uint8 (byte,)
        As `pack` made it: a NumPy, Zarr or xarray array; only the item's own bytes are read.
    offsets : int64 (item + 1,)
        As `pack` made it.
    item
        Which one.

    Raises
    ------
    StoreError
        If there is no such item.
    """
    if not 0 <= item < len(offsets) - 1:
        raise StoreError(f"There is no picture {item}; there are {len(offsets) - 1}, counted from 0.")
    return np.asarray(data[int(offsets[item]) : int(offsets[item + 1])]).tobytes()


def unpack_all(data: Any, offsets: NDArray[np.int64]) -> Iterator[bytes]:
    """All encoded pictures in order; reads the data once."""
    whole = np.asarray(data[:]).tobytes()
    return (whole[start:stop] for start, stop in pairwise(offsets.tolist()))


def media_type(item: bytes) -> str:
    """What a data URL has to say about an encoded picture: "image/jpeg", "image/png" or "image/webp".

    Raises
    ------
    StoreError
        If the bytes are none of these; says how they begin.
    """
    if item.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if item.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if item[:4] == b"RIFF" and item[8:12] == b"WEBP":
        return "image/webp"
    raise StoreError(f"These bytes are no JPEG, PNG or WebP picture: they begin with {item[:12]!r}.")
