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
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts import schema
from summit_dask.facts.config import ResultOptions, fingerprint
from summit_dask.facts.errors import FormatError, StoreError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.run import Imported, Run
from summit_dask.formats import original_network
from summit_dask.formats.checks import fault, read_json
from summit_dask.formats.original_classes import ClassEntry, parse_entry, read_entries
from summit_dask.formats.original_graphs import GraphReader
from summit_dask.formats.picture_files import PicturesReport, import_pictures
from summit_dask.store.graphs import write_graphs
from summit_dask.store.header import Header
from summit_dask.store.layout import partition_size
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store

#: Stands for the fingerprint of everything that was imported.
IMPORTED = fingerprint({"imported": "summit"})

_GRAPH_FILE = re.compile(r"ag-(\d+)\.json")
_SYNSET = re.compile(r"n\d{8}")
_NO_IMAGES = np.empty(0, np.float32)


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
        self.found: list[str] = []

    def add(self, error: FormatError) -> None:
        if not self.keep_going:
            raise FormatError(f"{error} Or leave it out with --keep-going.") from error
        self.found.append(str(error))


def import_summit(folder: Path, out: Path, classes: Path | None = None, keep_going: bool = False) -> Report:
    """Make a store of a folder in the layout of the original's published data.

    Parameters
    ----------
    folder
        Holds ``data/ag`` (or ``ag``) and what else there is.
    out
        The store to be made.
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
        Without keep_going, for the first file that is not what it should be; always, if there is nothing to import.
    StoreError
        If `out` exists.
    """
    if out.exists():
        raise StoreError(f"{out} exists already; give another --out, or delete it first.")
    root, problems = _root(folder), _Problems(keep_going)
    layer_graph, through = _layers(root / "layers.json")
    table = _class_table(classes) if classes else {}
    entries = _entries(root, layer_graph, table, problems)
    graphs = list(_graphs(root, [entry.target for entry in entries], layer_graph, through, problems))
    draft = out.with_name(f"{out.name}.import")
    shutil.rmtree(draft, ignore_errors=True)
    store = _create(draft, layer_graph, entries, table, through)
    _write_matrices(store, entries)
    _write_embedding(store, entries)
    with store.renewing("graphs") as part:
        write_graphs(part, graphs)
        part.finish("graphs", IMPORTED)
    pictures = _pictures(store, root / "feature-vis")
    store.consolidate()
    draft.rename(out)
    return Report(
        len(entries),
        store.header.n_images,
        sum(len(graph.node_layer) for graph in graphs),
        sum(len(graph.edge_influence) for graph in graphs),
        pictures.n_pictures,
        (*problems.found, *pictures.problems),
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
        return LayerGraph.from_json(json.dumps(facts["layer_graph"])), bool(facts["sources_in_layer_below"])
    except (StoreError, KeyError, TypeError) as error:
        raise fault(path, "an object with layer_graph and sources_in_layer_below", str(error)) from error


def _class_table(path: Path) -> dict[int, tuple[str, str]]:
    """Synset and name by output, from a JSON list or a CSV file."""
    try:
        table = pd.DataFrame(read_json(path)) if path.suffix.lower() == ".json" else pd.read_csv(path, dtype=str)
    except (OSError, ValueError, TypeError) as error:
        raise fault(path, "a JSON list or a CSV table with index, synset and name", str(error)) from error
    if missing := {"index", "synset", "name"} - set(table.columns):
        raise fault(path, f"the columns index, synset and name (without {', '.join(sorted(missing))})", [*table])
    index = pd.to_numeric(table["index"], errors="coerce").fillna(-1).astype(int).tolist()
    if index != sorted(set(index)) or min(index, default=0) < 0:
        raise fault(path, "each index once, ascending from 0", index)
    return dict(zip(index, zip(table["synset"].astype(str), table["name"].astype(str), strict=True), strict=True))


def _entries(
    root: Path, layer_graph: LayerGraph, table: Mapping[int, tuple[str, str]], problems: _Problems
) -> list[ClassEntry]:
    """Classes in the order of the network's outputs."""
    path, targets = root / "imagenet.json", _graph_targets(root / "ag")
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
    return sorted((_named(entry, table) for entry in entries), key=lambda entry: entry.target)


def _graph_targets(folder: Path) -> list[int]:
    found = (_GRAPH_FILE.fullmatch(path.name) for path in folder.glob("ag-*.json"))
    return sorted(int(match[1]) for match in found if match)


def _check_gaps(folder: Path, targets: Sequence[int], problems: _Problems) -> None:
    if missing := sorted(set(range(max(targets, default=0))) - set(targets)):
        listed = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        problems.add(
            fault(folder, f"ag-N.json for each N from 0 to {targets[-1]}", f"{len(missing)} missing: {listed}")
        )


def _parsed(path: Path, layer_graph: LayerGraph, problems: _Problems) -> Iterator[ClassEntry]:
    try:
        for place, entry in enumerate(read_entries(path)):
            try:
                yield parse_entry(entry, layer_graph, f"{path}, entry {place}")
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
        parts = own if parts is None else parts
        if seen & keys:
            problems.add(fault(path, "each synset, label and target_class once", sorted(seen & keys)))
        elif own != parts:
            problems.add(fault(f"{path}, class {entry.synset!r}", f"the parts {parts} that the first class has", own))
        else:
            seen |= keys
            yield entry


def _named(entry: ClassEntry, table: Mapping[int, tuple[str, str]]) -> ClassEntry:
    synset, name = table.get(entry.target, (entry.synset, entry.name))
    return replace(entry, synset=synset, name=name)


def _graphs(
    root: Path, targets: Sequence[int], layer_graph: LayerGraph, through: bool, problems: _Problems
) -> Iterator[ClassGraph]:
    """The graph of each class; an empty one where a problem was noted."""
    reader = GraphReader(layer_graph, through)
    nothing = reader.parse({layer.name: [] for layer in layer_graph.visible}, root)
    with Progress("import", "graphs", len(targets)) as progress:
        for target in targets:
            path = root / f"ag/ag-{target}.json"
            try:
                yield reader.parse(read_json(path), path)
            except FormatError as error:
                problems.add(error)
                yield nothing
            progress.add(1)


def _create(
    out: Path,
    layer_graph: LayerGraph,
    entries: Sequence[ClassEntry],
    table: Mapping[int, tuple[str, str]],
    through: bool,
) -> Store:
    """The laid-out store with its tables of outputs, classes and images."""
    n_images = sum(len(entry.probability) for entry in entries)
    known = {**{entry.target: (entry.synset, entry.name) for entry in entries}, **table}
    n_outputs = max(known) + 1
    run = Run(
        config=ResultOptions(model="imported", images=Path("imported")),
        imported=Imported(labels=tuple(entry.label for entry in entries), sources_in_layer_below=through),
    )
    header = Header(layer_graph, run, n_images, len(entries), n_outputs, partition_size(n_images))
    tables = {
        "": {"image": np.arange(n_images), "class": _strings(entry.synset for entry in entries)},
        "outputs": {
            "synset": _strings(_wordnet(known.get(n, ("", ""))[0]) for n in range(n_outputs)),
            "name": _strings(known.get(n, ("", ""))[1] for n in range(n_outputs)),
        },
        "images": _image_table(entries, header.lengths()["prediction_rank"]),
        "classes": {
            "name": _strings(entry.name for entry in entries),
            "synset": _strings(_wordnet(entry.synset) for entry in entries),
            "output_index": np.array([entry.target for entry in entries], np.int32),
            "n_images": np.array([len(entry.probability) for entry in entries], np.int32),
            "n_correct": np.array([entry.n_correct for entry in entries], np.int32),
        },
    }
    return Store.create(out, header, tables)


def _image_table(entries: Sequence[ClassEntry], n_ranks: int) -> dict[str, NDArray[Any]]:
    """All that is known of an image: its class, and the probability of whatever it was taken for; NaN: unknown."""
    counts = [len(entry.probability) for entry in entries]
    probability = np.full((sum(counts), n_ranks), np.nan, np.float32)
    probability[:, 0] = np.concatenate([entry.probability for entry in entries])
    return {
        "class_index": np.repeat(np.arange(len(entries), dtype=np.int32), counts),
        "status": np.full(sum(counts), schema.READ, np.uint8),
        "probability": probability,
    }


def _strings(texts: Iterable[str]) -> NDArray[Any]:
    return np.array(list(texts), dtype=schema.STRING)


def _wordnet(synset: str) -> str:
    """The text if it is a WordNet number; imagenet.json needs some text there for every class."""
    return synset if _SYNSET.fullmatch(synset) else ""


def _pictures(store: Store, folder: Path) -> PicturesReport:
    """Pictures where there are any; a wrong file among them never ends an import."""
    if not folder.is_dir():
        return PicturesReport(0, ())
    try:
        return import_pictures(store, folder)
    except FormatError as error:
        return PicturesReport(0, (str(error),))


def _write_matrices(store: Store, entries: Sequence[ClassEntry]) -> None:
    if not entries[0].counts:
        return
    with store.renewing("matrices") as part:
        for layer in store.layer_graph.visible:
            counts = np.stack([entry.counts[layer.name] for entry in entries])
            part.add(f"matrices/{layer.name}/activation_count", counts)
        part.finish("matrices", IMPORTED)


def _write_embedding(store: Store, entries: Sequence[ClassEntry]) -> None:
    if not entries[0].embed:
        return
    with store.renewing("embedding") as part:
        for layer in store.layer_graph.visible:
            points = np.array([entry.embed[layer.name] for entry in entries], np.float32)
            for name, values in zip("xy", points.T.copy(), strict=True):
                part.add(f"embedding/{layer.name}/{name}", values)
        part.finish("embedding", IMPORTED)
