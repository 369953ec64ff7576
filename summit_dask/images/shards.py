"""Image sets in shards: tar files, Parquet files with images in them, and what Hugging Face's datasets wrote to disk.

Only headers, labels and the like are read here; of each image the table says where its bytes are:

    path                   label   shard_offset   shard_length
    train-00.tar/ant/x.jpg   ant           1536          20311      bytes of the shard
    train-00.arrow/17        ant         204800          18004      the same, in an Arrow file
    train-00.parquet/17      ant             17             -1      row of the shard

The images are in the order of the shards, and in a shard in its own, so that a partition is read in one go.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import IOBase
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from summit_dask.facts.errors import DatasetError
from summit_dask.facts.location import Location
from summit_dask.facts.names import composed
from summit_dask.images.classes import PARTS
from summit_dask.images.files import PARQUET, check_file
from summit_dask.images.folder import LITTER, Unused, ending_of
from summit_dask.images.patterns import is_pattern, matching
from summit_dask.images.rows import bytes_of, find_columns, labels_of, parquet_file
from summit_dask.images.tars import list_tar

COLUMNS = ("path", "label", "shard_offset", "shard_length")
SHARDS = (".tar", *PARQUET, ".arrow")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
THREADS = 8

#: What a finished stream of Arrow ends with.
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_NUMBER = re.compile(r"[-_.]?(?P<own>\d+)-of-(?P<all>\d+)|[-_.]?\d+")


class Listing(NamedTuple):
    """Images of one shard or several, a table of `COLUMNS`; and what is in them besides."""

    table: pd.DataFrame
    unused: Unused


def find_shards(place: Location) -> list[Location]:
    """The shards that a place names: itself, those of a folder or of a pattern; empty if it names something else.

    Raises
    ------
    DatasetError
        If some are missing, of a kind that can't be read, or belong to several parts of a data set.
    """
    if is_pattern(place.name) and not place.exists():
        return _readable(matching(place))
    if is_folder(place):
        return _checked(place, _of_folder(place))
    return _readable([place]) if place.name.lower().endswith((*SHARDS, *COMPRESSED)) and not _is_manifest(place) else []


def is_folder(place: Location) -> bool:
    """Whether a place is a folder; over http everything could be one, so there the name tells files."""
    is_file = not isinstance(place, Path) and place.name.lower().endswith((*SHARDS, *COMPRESSED, ".csv", ".json"))
    return not is_file and place.is_dir()


def _of_folder(folder: Location) -> list[Location]:
    """Of a folder without folders, or of one that `save_to_disk` wrote."""
    if (folder / "dataset_dict.json").is_file():
        parts = sorted(place.name for place in folder.iterdir() if place.is_dir())
        raise DatasetError(
            f"{folder} holds a data set in several parts ({', '.join(parts)}); give --images one of them."
        )
    if (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file():
        return _saved(folder)
    places = [place for place in folder.iterdir() if not place.name.startswith((".", "_")) and place.name not in LITTER]
    shards = [place for place in places if place.name.lower().endswith((*SHARDS, *COMPRESSED))]
    if not shards or any(place.is_dir() for place in places):
        return []
    return _readable(sorted(shards, key=lambda place: place.name))


def _saved(folder: Location) -> list[Location]:
    """The Arrow files of a folder that Hugging Face's `save_to_disk` wrote."""
    state = folder / "state.json"
    try:
        known = json.loads(state.read_text(encoding="utf-8"))
        names = [str(file["filename"]) for file in known["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{state} can't be read ({type(error).__name__}: {error}); save the data set again."
        ) from error
    if known.get("_indices_files") or known.get("_indices_data_files"):
        raise DatasetError(f"{folder} holds a selection of rows beside them; call flatten_indices() and save it again.")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise DatasetError(
            f"{len(missing)} of the {len(names)} shards of {folder} are missing, the first is {missing[0]!r}. Restore "
            "them, or save the data set again."
        )
    return [folder / name for name in names]


def _readable(shards: Sequence[Location]) -> list[Location]:
    for shard in shards:
        name = shard.name.lower()
        if name.endswith(COMPRESSED):
            raise DatasetError(
                f"{shard} is compressed, so no image in it can be read by itself. Decompress it to a .tar (gunzip, or "
                "its like); images hardly get smaller by it."
            )
        if not name.endswith(SHARDS):
            raise DatasetError(f"{shard} is no shard: expected one of {', '.join(SHARDS)}. Correct --images.")
    return list(shards)


def _checked(folder: Location, shards: Sequence[Location]) -> list[Location]:
    """A folder's shards are of one part of a data set, and none of those that they count themselves is missing."""
    by_stem: dict[str, list[re.Match[str]]] = {}
    for shard in shards:
        stem = shard.name[: -len(ending_of(shard.name))]
        if numbers := list(_NUMBER.finditer(stem)):
            by_stem.setdefault(stem[: numbers[-1].start()], []).append(numbers[-1])
    if len(parts := sorted(stem for stem in by_stem if stem.lower() in PARTS)) > 1:
        raise DatasetError(
            f"{folder} holds shards of several parts of a data set ({', '.join(parts)}); give --images one of them, as "
            f"in {folder / (parts[0] + '*' + shards[0].suffix)}."
        )
    for stem, numbers in by_stem.items():
        there = {int(number["own"]) for number in numbers if number["own"]}
        total = max((int(number["all"]) for number in numbers if number["all"]), default=0)
        if there and (missing := sorted(set(range(min(total, 10**6))) - there)):
            raise DatasetError(
                f"{len(missing)} of the {total} shards {folder / stem}… are missing, the first is number {missing[0]}. "
                "Restore them, or give --images a pattern of those that are to be read."
            )
    return list(shards)


def _is_manifest(place: Location) -> bool:
    """Whether a Parquet file lists paths instead of holding images; a damaged one is taken for a list."""
    if place.suffix.lower() not in PARQUET:
        return False
    try:
        find_columns(parquet_file(place).schema_arrow)
    except (OSError, ValueError):
        return True
    return False


def list_shards(shards: Sequence[Location]) -> Listing:
    """Find the images of shards, in their order.

    Raises
    ------
    DatasetError
        If a shard is missing, damaged or cut off, or holds an image without a label; names it.
    """
    with ThreadPoolExecutor(THREADS, "list") as pool:
        listings = list(pool.map(_listed, shards))
    table = pd.concat([listing.table for listing in listings], ignore_index=True)
    return Listing(table, Unused(sum((listing.unused.endings for listing in listings), Counter[str]())))


def _listed(shard: Location) -> Listing:
    try:
        check_file(shard)
        return _READERS[ending_of(shard.name)](shard)
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"There is no shard {shard}; restore it, or correct --images.") from error
    except Exception as error:  # file systems and readers raise whatever they like on damaged files
        raise _broken(shard, error) from error


def _broken(shard: Location, error: BaseException) -> DatasetError:
    return DatasetError(
        f"The shard {shard} can't be read: {str(error) or type(error).__name__}. If it is cut off or damaged, fetch or "
        "make it again, or leave it out of --images."
    )


def _tar(shard: Location) -> Listing:
    with shard.open("rb") as file:
        images, others = list_tar(cast(IOBase, file))
    rows = [(f"{shard.name}/{at.name}", label, at.offset, at.size) for at, label in images]
    return Listing(
        _table(shard, *zip(*rows, strict=True)) if rows else _table(), Unused(Counter(map(ending_of, others)))
    )


def _parquet(shard: Location) -> Listing:
    file = parquet_file(shard)
    columns = find_columns(file.schema_arrow)
    labels = labels_of(file.read([columns.label]).column(0).combine_chunks(), columns.names)
    numbers = np.arange(len(labels))
    return Listing(_table(shard, _row_paths(shard, len(labels)), labels, numbers, np.full(len(labels), -1)), Unused())


def _arrow(shard: Location) -> Listing:
    """Images lie in an Arrow file as they are, so each is a range of its bytes."""
    data = pa.memory_map(str(shard)).read_buffer() if isinstance(shard, Path) else pa.py_buffer(shard.read_bytes())
    if data.size < len(_END_OF_STREAM) or data[data.size - len(_END_OF_STREAM) :].to_pybytes() != _END_OF_STREAM:
        raise ValueError("its end mark is missing")
    labels: list[str | None] = []
    offsets, lengths = [], []
    with pa.ipc.open_stream(data) as stream:
        columns = find_columns(stream.schema)
        for batch in stream:
            batch.validate(full=True)
            offset, length = _ranges(data, bytes_of(batch.column(columns.image)))
            labels += labels_of(batch.column(columns.label), columns.names)
            offsets.append(offset)
            lengths.append(length)
    nothing = np.array([], np.int64)
    paths = _row_paths(shard, len(labels))
    return Listing(
        _table(shard, paths, labels, np.concatenate([nothing, *offsets]), np.concatenate([nothing, *lengths])), Unused()
    )


def _ranges(data: pa.Buffer, images: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Where images begin in a buffer, and how long they are."""
    if images.null_count:
        raise ValueError("some of its rows hold no image, only a path at most: save the data set with the images in it")
    if not len(images):
        return np.array([], np.int64), np.array([], np.int64)
    kind = np.int64 if pa.types.is_large_binary(images.type) else np.int32
    _, bounds, values = images.buffers()
    ends = np.frombuffer(bounds, kind)[images.offset : images.offset + len(images) + 1].astype(np.int64)
    start = (values.address if values is not None else data.address) - data.address
    if not 0 <= start <= data.size - int(ends[-1]):
        raise ValueError("it is compressed; save the data set without compression")
    return start + ends[:-1], np.diff(ends)


def _row_paths(shard: Location, count: int) -> list[str]:
    return [f"{shard.name}/{row}" for row in range(count)]


def _table(shard: Location | None = None, *columns: Sequence[object] | np.ndarray) -> pd.DataFrame:
    """Images with labels in composed Unicode.

    Raises
    ------
    DatasetError
        If one has no label, or a name that is no text.
    """
    if not columns:
        return pd.DataFrame({name: np.array([], object if name in COLUMNS[:2] else np.int64) for name in COLUMNS})
    table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    if (missing := table["label"].isna()).any():
        raise DatasetError(
            f"{missing.sum()} of the {len(table)} images in {shard} have no label, the first is "
            f"{table['path'][missing].iloc[0]!r}. In a tar file the folder names the class, or a member of the "
            "same name that ends in .cls, or in .json with the key cls or label; in a table the column 'label'."
        )
    texts = [str(text) for column in COLUMNS[:2] for text in table[column]]
    if odd := [text for text in texts if text != text.encode(errors="replace").decode()]:
        raise DatasetError(f"Names in {shard} are not UTF-8, as {odd[0]!r}; make it again with others.")
    return table.assign(label=table["label"].map(composed)).astype({"shard_offset": np.int64, "shard_length": np.int64})


_READERS: Mapping[str, Callable[[Location], Listing]] = {
    ".tar": _tar,
    ".arrow": _arrow,
    **dict.fromkeys(PARQUET, _parquet),
}
