"""Tables that users write, manifests of images and tables of the network's outputs: UTF-8 in every locale."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from summit_dask.facts.errors import DatasetError
from summit_dask.facts.location import Location

#: A byte order mark at the start, as Windows writes it, is no part of the text.
ENCODING = "utf-8-sig"


@contextmanager
def reading(path: Location, error: type[DatasetError], what: str) -> Iterator[None]:
    """Turns whatever goes wrong in reading a file into one message."""
    try:
        yield
    except UnicodeDecodeError as problem:
        raise error(f"Can't read the {what} {path}: it is not UTF-8 ({problem}). Save it as UTF-8.") from problem
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        raise error(f"Can't read the {what} {path}: {problem}") from problem
    except Exception as problem:  # a damaged file can raise anything
        raise error(f"Can't read the {what} {path}: {type(problem).__name__} ({problem}). It is damaged.") from problem


def plain_header(header: str) -> str:
    """``class_name`` of `` Class Name``."""
    return re.sub(r"\s+", "_", header.strip().lower())


def read_json(path: Location) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text(encoding=ENCODING))


def read_columns(path: Location, texts: Collection[str]) -> pd.DataFrame:
    """A Parquet or CSV file; in a CSV file the columns `texts` hold text, whatever they look like."""
    if path.suffix.lower() in (".parquet", ".pq"):
        _check_texts(_file(path))
        return pd.read_parquet(_file(path))
    return _read_csv(path, texts)


def _file(path: Location) -> Path | BytesIO:
    """What pandas reads: it would ask for the keys to an address itself."""
    return path if isinstance(path, Path) else BytesIO(path.read_bytes())


def _check_texts(file: Path | BytesIO) -> None:
    """See that texts are UTF-8 now: pandas would find out when they are used."""
    from pyarrow.parquet import read_table  # slow to import

    read_table(file).validate(full=True)


def _read_csv(path: Location, texts: Collection[str]) -> pd.DataFrame:
    """In columns of texts an empty cell alone is missing; a class may be called NA or 007."""
    table = pd.read_csv(_file(path), encoding=ENCODING)
    kept = {name: str for name in table.columns if plain_header(name) in texts}
    as_text = pd.read_csv(_file(path), encoding=ENCODING, usecols=list(kept), dtype=str, keep_default_na=False)
    return table.assign(**as_text.where(as_text != ""))
