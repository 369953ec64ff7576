"""A store's results as tables, CSV and Parquet, and the matrices as the original wrote them.

A class may be called NA or 007, which pandas takes for a missing value and a number unless it is told otherwise:

    pandas.read_csv("classes.csv", dtype={"class": str, "name": str}, keep_default_na=False, na_values=[""])

Then an empty field alone is missing. Parquet needs no such care.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from summit_dask.formats.job import Job, Remarks
from summit_dask.formats.tidy import tidy_tables
from summit_dask.store.channelnames import read_names
from summit_dask.store.progress import Progress

#: Writes a table, chunk after chunk, to a file.
Write = Callable[[Path, Iterator[pd.DataFrame]], None]


def write_csv(job: Job) -> Remarks:
    """Tidy tables with headers, UTF-8, and A-<mass>-<layer>.csv: a row a class, no header."""
    remarks = _write_tables(job, _write_csv, "csv")
    if "matrices" in job.store.group:
        mass = job.store.header.run.config.mass
        for layer, name in job.names.items():
            counts = job.store.read(f"matrices/{layer}/activation_count")[list(job.classes)]
            np.savetxt(job.folder / f"A-{mass:g}-{name}.csv", counts, fmt="%d", delimiter=",")
    return remarks


def write_parquet(job: Job) -> Remarks:
    """Tidy tables."""
    return _write_tables(job, _write_parquet, "parquet")


def _write_tables(job: Job, write: Write, suffix: str) -> Remarks:
    left_out = []
    tables = tidy_tables(job.store, job.classes, job.pair)
    with Progress("export", "tables", len(tables)) as progress:
        for name, table in tables.items():
            if table.needs in job.store.group:
                write(job.folder / f"{name}.{suffix}", table.chunks())
            else:
                left_out.append(f"{name}.{suffix}: the store has no {table.needs}.")
            progress.add(1)
    if names := read_names(job.store.path):
        rows = [(channel.layer, channel.index, *called) for channel, called in sorted(names.items())]
        frame = pd.DataFrame(rows, columns=["layer", "channel", "name", "note"])
        write(job.folder / f"channel_names.{suffix}", iter([frame]))
    return Remarks(left_out)


def _write_csv(path: Path, chunks: Iterator[pd.DataFrame]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for index, chunk in enumerate(chunks):
            chunk.to_csv(file, index=False, header=index == 0)


def _write_parquet(path: Path, chunks: Iterator[pd.DataFrame]) -> None:
    writer = None
    try:
        for chunk in chunks:
            # An empty column of objects would be stored as nulls, another type than the next chunk's.
            texts = {name: "string" for name in chunk if chunk[name].dtype == object}
            table = pa.Table.from_pandas(chunk.astype(texts), preserve_index=False)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer:
            writer.close()
