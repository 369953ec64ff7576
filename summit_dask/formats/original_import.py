"""From a folder of the original's files to a store (github.com/fredhohman/summit-data).

    DIR/data/imagenet.json     classes, A, embedding, probabilities      may be absent
    DIR/data/ag/ag-N.json      attribution graph of the network's output N
    DIR/data/feature-vis/...   pictures and examples                     may be absent
    DIR/data/layers.json       layer graph of another network            written by our export only

What the files do not hold, the store does not hold: no I, no value of a single image but its probability.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.errors import FormatError, StoreError, SummitError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.formats import original_network
from summit_dask.formats.checks import ENCODING, fault, read_json
from summit_dask.formats.imported_store import create_store, write_results
from summit_dask.formats.job import told
from summit_dask.formats.original_classes import ClassEntry, parse_entry, read_entries
from summit_dask.formats.original_graphs import GraphReader
from summit_dask.formats.picture_files import PicturesReport, add_found, find_pictures
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store

_GRAPH_FILE = re.compile(r"ag-(\d+)\.json")
_NO_IMAGES = np.empty(0, np.float32)

#: Missing files that a message names.
_NAMED = 5


@dataclass(frozen=True)
class Report:
    """What an import found, and a sentence for each thing that was left out."""

    n_classes: int
    n_images: int
    n_nodes: int
    n_edges: int
    n_pictures: int
    problems: tuple[str, ...]


class _Problems:
    """Errors that do not end an import: with keep_going each is noted, otherwise the first is raised."""

    def __init__(self, keep_going: bool) -> None:
        self.keep_going = keep_going
        self.noted: list[str] = []

    def add(self, error: FormatError) -> None:
        if not self.keep_going:
            raise FormatError(f"{error} Or leave it out with --keep-going.") from error
        self.noted.append(str(error))


def import_summit(folder: Path, out: Path, classes: Path | None = None, keep_going: bool = False) -> Report:
    """Make a store of a folder in the layout of the original's published data.

    Parameters
    ----------
    folder
        Holds ``data/ag`` (or ``ag``) and what else there is.
    out
        The store to be made; it appears whole or not at all.
    classes
        JSON or CSV table (index, synset, name) of the outputs; its names and synsets come before the folder's.
    keep_going
        Leave out what is wrong and import the rest: a class whose entry is wrong is absent, one whose graph is
        wrong has an empty graph. A wrong picture is left out in any case.

    Returns
    -------
    Report
        Sizes and what was left out.

    Raises
    ------
    FormatError
        Without keep_going, for the first file that is not what it should be; always, if there is nothing to import,
        or the folder was exported for the front end.
    StoreError
        If `out` exists, or the disk is full or can't be written.
    """
    if out.exists():
        raise StoreError(f"{out} exists already; give another --out, or delete it first.")
    root = _root(folder)
    problems = _Problems(keep_going)
    layer_graph, through = _layers(root / "layers.json")
    table = _class_table(classes) if classes else {}
    entries = _entries(root, layer_graph, table, problems)
    graphs = list(_graphs(root, entries, GraphReader(layer_graph, through), layer_graph, problems))
    draft = out.with_name(f"{out.name}.import")  # a folder around the store, for what writing puts beside it
    with told(out):
        try:
            shutil.rmtree(draft, ignore_errors=True)
            store = create_store(draft / out.name, layer_graph, through, entries, table)
            write_results(store, entries, graphs)
            pictures = _pictures(store, root / "feature-vis")
            store.consolidate()
            store.path.rename(out)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return Report(
        n_classes=len(entries),
        n_images=store.header.n_images,
        n_nodes=sum(len(graph.node_layer) for graph in graphs),
        n_edges=sum(len(graph.edge_influence) for graph in graphs),
        n_pictures=pictures.n_pictures,
        problems=(*problems.noted, *pictures.problems),
    )


def _root(folder: Path) -> Path:
    for root in (folder / "data", folder):
        if (root / "ag").is_dir() or (root / "imagenet.json").is_file():
            return root
    raise FormatError(
        f"{folder}: expected the folder data with ag/ag-N.json in it, found neither data/ag nor ag. Give the folder "
        "of a copy of github.com/fredhohman/summit-data, or one that 'summit-dask export --format summit' wrote."
    )


def _layers(path: Path) -> tuple[LayerGraph, bool]:
    """The layer graph the files speak of, and whether their sources are named through the bottlenecks."""
    if not path.is_file():
        return original_network.layer_graph(), False
    facts = read_json(path)
    try:
        layer_graph = LayerGraph.from_json(json.dumps(facts["layer_graph"]))
        through = bool(facts["sources_in_layer_below"])
        for_front_end = bool(facts.get("front_end"))
    except (SummitError, KeyError, TypeError, AttributeError) as error:
        raise fault(path, "an object with layer_graph and sources_in_layer_below", str(error)) from error
    if for_front_end:
        raise FormatError(
            f"{path.parent}: expected the results of a run, found an export for the original's front end, whose counts "
            "are scaled. Export the store again without --front-end."
        )
    return layer_graph, through


def _class_table(path: Path) -> dict[int, tuple[str, str]]:
    """Synset and name by output, from a JSON list or a CSV file; empty where the table has none.

    A class may be called NA or 007, and that stays text.
    """
    try:
        if path.suffix.lower() == ".json":
            table = pd.DataFrame(read_json(path))
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding=ENCODING)
    except (OSError, ValueError, TypeError) as error:
        raise fault(path, "a JSON list or a CSV table with index, synset and name", str(error)) from error
    if missing := {"index", "synset", "name"} - set(table.columns):
        raise fault(path, f"the columns index, synset and name (without {', '.join(sorted(missing))})", [*table])
    index = pd.to_numeric(table["index"], errors="coerce").fillna(-1).astype(int).tolist()
    if index != sorted(set(index)) or min(index, default=0) < 0:
        raise fault(path, "each index once, ascending from 0", index)
    texts = table[["synset", "name"]].fillna("").astype(str)
    synsets = texts["synset"][texts["synset"] != ""]
    if synsets.duplicated().any():
        raise fault(path, "each synset once", sorted(synsets[synsets.duplicated()]))
    return dict(zip(index, zip(texts["synset"], texts["name"], strict=True), strict=True))


def _entries(
    root: Path, layer_graph: LayerGraph, table: Mapping[int, tuple[str, str]], problems: _Problems
) -> list[ClassEntry]:
    """Classes in the order of the network's outputs."""
    path = root / "imagenet.json"
    targets = _graph_targets(root / "ag")
    if path.is_file():
        entries = list(_consistent(_parsed(path, layer_graph, problems), path, problems))
        for target in sorted(set(targets) - {entry.target for entry in entries}):
            found = f"no entry with target_class {target} there"
            problems.add(fault(root / f"ag/ag-{target}.json", f"a class that {path} knows", found))
    else:
        _check_gaps(root / "ag", targets, problems)
        entries = [ClassEntry(str(n), n + 1, f"class {n}", n, {}, {}, _NO_IMAGES, 0) for n in targets]
    if not entries:
        raise FormatError(f"{root}: expected at least one class in imagenet.json or ag/ag-N.json, found none.")
    return sorted((_named(entry, table) for entry in entries), key=_target)


def _target(entry: ClassEntry) -> int:
    return entry.target


def _graph_targets(folder: Path) -> list[int]:
    """The N of all files ag-N.json."""
    matches = [_GRAPH_FILE.fullmatch(path.name) for path in folder.glob("ag-*.json")]
    return sorted(int(match[1]) for match in matches if match)


def _check_gaps(folder: Path, targets: Sequence[int], problems: _Problems) -> None:
    missing = sorted(set(range(max(targets, default=0))) - set(targets))
    if missing:
        listed = ", ".join(map(str, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
        found = f"{len(missing)} missing: {listed}"
        problems.add(fault(folder, f"ag-N.json for each N from 0 to {targets[-1]}", found))


def _parsed(path: Path, layer_graph: LayerGraph, problems: _Problems) -> Iterator[ClassEntry]:
    try:
        for index, entry in enumerate(read_entries(path)):
            try:
                yield parse_entry(entry, layer_graph, f"{path}, entry {index}")
            except FormatError as error:
                problems.add(error)
    except FormatError as error:
        problems.add(error)


def _consistent(entries: Iterable[ClassEntry], path: Path, problems: _Problems) -> Iterator[ClassEntry]:
    """Entries that repeat none of the earlier ones and hold the same parts as the first."""
    seen: set[tuple[str, object]] = set()
    parts = None
    for entry in entries:
        keys = {("synset", entry.synset), ("label", entry.label), ("target_class", entry.target)}
        own = [name for name, part in (("topChannels", entry.counts), ("embed", entry.embed)) if part]
        if parts is None:
            parts = own
        if seen & keys:
            problems.add(fault(path, "each synset, label and target_class once", sorted(seen & keys)))
        elif own != parts:
            problems.add(fault(f"{path}, class {entry.synset!r}", f"the parts {parts} that the first class has", own))
        else:
            seen |= keys
            yield entry


def _named(entry: ClassEntry, table: Mapping[int, tuple[str, str]]) -> ClassEntry:
    synset, name = table.get(entry.target, ("", ""))
    return replace(entry, synset=synset or entry.synset, name=name or entry.name)


def _graphs(
    root: Path, entries: Sequence[ClassEntry], reader: GraphReader, layer_graph: LayerGraph, problems: _Problems
) -> Iterator[ClassGraph]:
    """The graph of each class; an empty one where a problem was noted."""
    nothing = reader.parse({layer.name: [] for layer in layer_graph.visible}, root)
    with Progress("import", "graphs", len(entries)) as progress:
        for entry in entries:
            path = root / f"ag/ag-{entry.target}.json"
            try:
                yield reader.parse(read_json(path), path)
            except FormatError as error:
                problems.add(error)
                yield nothing
            progress.add(1)


def _pictures(store: Store, folder: Path) -> PicturesReport:
    """Pictures where there are any; a wrong file among them never ends an import."""
    if not folder.is_dir():
        return PicturesReport(0, ())
    try:
        return add_found(store, find_pictures(folder, store.layer_graph))
    except FormatError as error:
        return PicturesReport(0, (str(error),))
