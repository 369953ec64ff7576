"""What is exported where, and folders that are there whole or not at all."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.errors import StoreError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.pairs import PAPERS, Pair
from summit_dask.facts.run import Imported
from summit_dask.formats.names import file_name, renamed
from summit_dask.store.graphs import read_graphs
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store

#: Where files lie inside their folder until all are written.
UNFINISHED = ".unfinished"


class Remarks(NamedTuple):
    """Sentences for whoever reads an export: what the store does not hold, and what else is to be known."""

    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Job:
    """One export.

    Parameters
    ----------
    store
        What is exported.
    classes
        Indices of the classes, ascending.
    names
        The original's name of every visible layer.
    folder
        Where the files go.
    front_end
        Whether to change what the original's front end can't show otherwise (see `front_end`).
    pair
        What the exported graphs are measured by.
    """

    store: Store
    classes: tuple[int, ...]
    names: Mapping[str, str]
    folder: Path
    front_end: bool = False
    pair: Pair = PAPERS

    @cached_property
    def layer_graph(self) -> LayerGraph:
        """The store's layer graph in the original's names, without the row of the class, which it doesn't know."""
        return renamed(self.store.layer_graph.without_class(), self.names)

    @property
    def imported(self) -> Imported | None:
        """What an import noted of the files, None for a run of our own."""
        return self.store.header.run.imported

    @cached_property
    def labels(self) -> list[str]:
        """Folder names of all the store's classes."""
        return list(map(str, self.store.read("class")))

    @property
    def has_graphs(self) -> bool:
        """Whether there are graphs to export."""
        return self.pair.group in self.store.group

    def graphs(self) -> Iterator[tuple[int, ClassGraph]]:
        """Index and graph of each class, with progress."""
        with Progress("export", "graphs", len(self.classes)) as progress:
            for index, graph in enumerate(read_graphs(self.store, self.pair)):
                if index in self.classes:
                    yield index, graph
                    progress.add(1)

    def write_text(self, path: str, text: str) -> None:
        """Write a file below the folder."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def write_json(self, path: str, data: Any) -> None:
        """Write JSON below the folder."""
        self.write_text(path, json.dumps(data, allow_nan=False))

    def file_name(self, index: int) -> str:
        """A class's index and folder name, safe on any file system."""
        return file_name(index, self.labels[index])


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, whose files appear in their place when the block has ended well, and else not at all.

    Until then they lie in a folder inside, so that nobody takes the half for the whole; what a killed process left
    there is thrown away.

    Raises
    ------
    StoreError
        If the folder holds something already, or the disk is full or can't be written.
    """
    draft = folder / UNFINISHED
    is_new = not folder.exists()
    with told(folder):
        if not is_new and any(path.name != UNFINISHED for path in folder.iterdir()):
            raise StoreError(f"{folder} is not empty; files of two exports would mix. Give a new folder.")
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            yield draft
            for path in list(draft.iterdir()):
                path.rename(folder / path.name)
        except BaseException:
            shutil.rmtree(folder if is_new else draft, ignore_errors=True)
            raise
        draft.rmdir()


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file to write, which takes its place when the block has ended well; else what was there stays.

    Raises
    ------
    StoreError
        If the disk is full or can't be written.
    """
    draft = path.with_name(f"{UNFINISHED}-{path.name}")  # the ending says how it is compressed
    with told(path):
        try:
            yield draft
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into one message.

    Raises
    ------
    StoreError
        Names the place, the reason and what to do.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        at = f" ({error.filename})" if error.filename else ""
        raise StoreError(
            f"Writing {path} failed: {reason}{at}. Nothing of it was kept. Make room or choose another place, then "
            "give the same command again."
        ) from error
