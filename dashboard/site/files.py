"""How the site's data stand in files: scripts that hand over JSON, since a page opened from a folder may fetch nothing.

summit("channel/0/2",[{…},…])
summit("class/3","eJy…")       its JSON compressed, where that is much shorter
"""

import base64
import json
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts.errors import StoreError
from summit_dask.formats.job import told

#: What is compressed is to be less than this part as long, for browsers have to take it apart again.
WORTH = 0.8

#: By this file a folder is known as a site of ours, which may be written again.
MARK = "summit-dask-site.txt"


def as_json(value: Any) -> str:
    """JSON that may stand within a script or a page: no sign in it ends either."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def deflated(values: NDArray[Any]) -> dict[str, str]:
    """An array's dtype and its compressed bytes (C order, little-endian)."""
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    return {"dtype": str(values.dtype), "deflate": _compressed(little.tobytes())}


def _compressed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def write_part(folder: Path, key: str, value: Any) -> None:
    """One part of the data, by its name: an object or a list, or its JSON compressed."""
    text = as_json(value)
    packed = f'"{_compressed(text.encode())}"'
    written = packed if len(packed) < WORTH * len(text.encode()) else text
    write_bytes(folder / "data" / f"{key}.js", f"summit({as_json(key)},{written})\n".encode())


def write_bytes(path: Path, content: bytes) -> None:
    """A file, in a folder that is made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@contextmanager
def new_site(folder: Path) -> Iterator[Path]:
    """A draft beside the folder, which takes its place once it is whole; a site of ours that was there goes then.

    Raises
    ------
    StoreError
        If there is something else in the folder, or the disk is full or can't be written.
    """
    with told(folder):
        if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise StoreError(
                f"{folder} is there and isn't a site that this command wrote: it has no {MARK}. "
                "Give a new folder, or remove that one."
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft, old = (folder.with_name(f".{folder.name}.{what}") for what in ("unfinished", "replaced"))
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            yield draft
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
