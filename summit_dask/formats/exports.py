"""From a store to files for other programs: the original's own, tables, GraphML and JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from summit_dask.facts.errors import ConfigError
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import Edges, Nodes
from summit_dask.formats.graph_files import write_graphml, write_json
from summit_dask.formats.job import Job, Remarks, new_folder
from summit_dask.formats.names import original_names
from summit_dask.formats.original_export import write_summit
from summit_dask.formats.tables import write_csv, write_parquet
from summit_dask.questions.query import find_class
from summit_dask.store.graphs import chosen_pair
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store

Format = Literal["summit", "csv", "parquet", "graphml", "json"]

WRITERS: Mapping[Format, Callable[[Job], Remarks]] = {
    "summit": write_summit,
    "csv": write_csv,
    "parquet": write_parquet,
    "graphml": write_graphml,
    "json": write_json,
}


@dataclass(frozen=True)
class ExportReport:
    """Files written, a sentence for each part that the store does not hold, and for what else is to be known."""

    n_files: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


def export(
    path: Location,
    folder: Path,
    format: Format,
    classes: Sequence[str] | None = None,
    layers: Mapping[str, str] | None = None,
    front_end: bool = False,
    nodes: Nodes | None = None,
    edges: Edges | None = None,
) -> ExportReport:
    """Write a store's results in another program's format; all files appear at the end, or none.

    Parameters
    ----------
    path
        The store.
    folder
        Where the files go; new or empty.
    format
        "summit": the original's imagenet.json, ag-N.json and pictures. "csv", "parquet": tidy tables, and for csv
        the original's A-<mass>-<layer>.csv. "graphml": a graph a class, with label and weight as Gephi reads them.
        "json": a graph a class, and the original's I_<layer>.json.
    classes
        Folder names, or names where unique; all by default.
    layers
        The original's name of each layer, in the files that are the original's. By default GoogLeNet's inception
        modules become mixed3a to mixed5b, other names stay.
    front_end
        For "summit" alone: change what the original's front end can't show otherwise. Counts and influences become
        those of 1300 images a class; layers get the channels that it knows (mixed4a 508); a channel's picture, else
        its strongest example, stands where it asks for others; what the store lacks is made of the graphs. Such an
        export can't be imported again.
    nodes, edges
        What the graphs are measured by, as in `GraphOptions`; by default those of the first pair that the store has,
        the paper's before others.

    Returns
    -------
    ExportReport
        What was written and what the store does not hold.

    Raises
    ------
    StoreError
        If the folder holds something or can't be written, or the store lacks what the format can't do without, or
        graphs of the measures asked for.
    ClassNotFoundError, LayerNotFoundError
        For a class or layer that doesn't exist.
    ConfigError
        If two layers get the same name, or front_end is asked of another format.
    """
    if front_end and format != "summit":
        raise ConfigError(f"--front-end changes files of the format summit, not {format}. Leave it out.")
    store = Store.open(path)
    pair = chosen_pair(store, nodes, edges)
    tree = open_store(path)
    indices = {find_class(tree, name) for name in classes} if classes else set(range(store.header.n_classes))
    names = original_names(store.layer_graph, layers)
    with new_folder(folder) as draft:
        remarks = WRITERS[format](Job(store, tuple(sorted(indices)), names, draft, front_end, pair))
    n_files = sum(path.is_file() for path in folder.rglob("*"))
    return ExportReport(n_files, tuple(remarks.left_out), tuple(remarks.notes))
