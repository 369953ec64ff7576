"""Whether the images of a store are still those that were measured.

size        of every image that is a file of its own on this machine
checksum    of those whose file was written after the store was laid out, a thousand at most: a copied data set is no
            other one, and isn't read whole by every run
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts import schema
from summit_dask.facts.files import HEAD, folder
from summit_dask.facts.location import Location
from summit_dask.images.files import ImageFile, Part, Reader, Row, checksum_of
from summit_dask.store.imagefiles import ImageFiles
from summit_dask.store.store import Store

CHECKSUM = "images/checksum"

#: Images that are read at a time, and in all.
_BATCH, _MOST_READ = 64, 1000

#: Files that are asked for at a time, as one on a network takes a while to answer; by a thread in a row; and between
#: two looks at the answers, which take a kilobyte each.
_ASKED, _EACH, _HELD = 32, 256, 32768


def changed_images(store: Store) -> list[int]:
    """Places of measured images whose files are others now, ascending; what lies at addresses is not looked at."""
    files = ImageFiles.of(store, store.read)
    measured = np.flatnonzero((store.read("images/status") == schema.READ) & _is_done(store) & (files.sizes > 0))
    laid_out = folder(store.path).written(f"images/{HEAD}")
    resized: list[int] = []
    younger: list[int] = []
    for start in range(0, len(measured), _HELD):
        found = _differing(files, measured[start : start + _HELD].tolist(), laid_out)
        resized += found.resized
        younger += found.younger
    some = younger[:: ceil(len(younger) / _MOST_READ) or 1]
    return sorted([*resized, *_rewritten(store, files, some)])


class _Differing(NamedTuple):
    """Images whose files have another size; and others whose files were written after the store was laid out."""

    resized: list[int]
    younger: list[int]


def _differing(files: ImageFiles, images: Sequence[int], laid_out: float) -> _Differing:
    own = {index: files.file(index) for index in images}
    found = _looked_at(map(_file_of, own.values()))
    differing = _Differing([], [])
    for index, file in own.items():
        status = found[_file_of(file)]
        if status and isinstance(file, Path) and status.st_size != files.sizes[index]:
            differing.resized.append(index)
        elif status and status.st_mtime > laid_out:
            differing.younger.append(index)
    return differing


def _is_done(store: Store) -> NDArray[np.bool_]:
    """Of each image: what will be measured again anyhow is not in question."""
    done: NDArray[np.bool_] = store.read("partitions/fingerprint") != 0
    return np.repeat(done, store.header.partition_size)[: store.header.n_images]


def _file_of(image: ImageFile) -> Location:
    return image.shard if isinstance(image, Part | Row) else image


def _looked_at(places: Iterable[Location]) -> dict[Location, os.stat_result | None]:
    """Size and time of each file of this machine that is there; many images may share one."""
    once = list(dict.fromkeys(places))
    with ThreadPoolExecutor(_ASKED) as pool:
        found = pool.map(_statuses, [once[start : start + _EACH] for start in range(0, len(once), _EACH)])
        return dict(zip(once, chain.from_iterable(found), strict=True))


def _statuses(places: Sequence[Location]) -> list[os.stat_result | None]:
    return [_status(place) for place in places]


def _status(place: Location) -> os.stat_result | None:
    try:
        return place.stat() if isinstance(place, Path) else None
    except OSError:
        return None


def _rewritten(store: Store, files: ImageFiles, places: Sequence[int]) -> Iterator[int]:
    """Those of some images whose bytes are others; none where no checksums were kept."""
    if not store.has(CHECKSUM):
        return
    stored = store.read(CHECKSUM)
    reader = Reader()
    for start in range(0, len(places), _BATCH):
        batch = places[start : start + _BATCH]
        checksums = map(checksum_of, reader.read([files.file(index) for index in batch]))
        yield from (index for index, now in zip(batch, checksums, strict=True) if now not in (0, stored[index]))
