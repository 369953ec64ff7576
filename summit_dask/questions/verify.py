"""Checks a store against its source: a sample of images is measured again, counts are counted again,
graphs are made again and hold what they must.

Every check gives the number of values it looked at and what it found wrong; nothing is ever repaired.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.arrays.graph.checks import verify_graph
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.arrays.graph.pagerank import pagerank, personalisation, whole_graph
from summit_dask.arrays.graph.selection import GraphOptions
from summit_dask.facts import schema
from summit_dask.facts.config import RunConfig
from summit_dask.measure.extractor import Extractor, extract_partition
from summit_dask.questions.query import count_images, read_counts, run_config
from summit_dask.stages.pipeline import pending, stage_fingerprints
from summit_dask.stages.reduce import readable_classes
from summit_dask.stages.workers import NetworkSpec, partition_of, prepare_process
from summit_dask.store.store import Store

SAMPLE_CLASSES = 4
TOLERANCE = 1e-4  # of the largest value; forward passes in other batches differ by about 1e-6
SOURCES_DIFFERING = 0.01  # near ties may swap places for the same reason
SCORE_TOLERANCE = 1e-9
WRONG_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One kind of thing that was looked at, and what is wrong with it."""

    name: str
    looked_at: int
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """All checks of a store."""

    checks: tuple[Check, ...]

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not any(check.wrong for check in self.checks)

    def lines(self) -> Iterator[str]:
        """One line a check, then the first things that are wrong with it."""
        for check in self.checks:
            state = f"{len(check.wrong)} WRONG" if check.wrong else "right"
            yield f"{check.name}: {state} ({check.looked_at} looked at)"
            yield from (f"  {text}" for text in check.wrong[:WRONG_SHOWN])


def verify_store(path: Path, n_images: int) -> Report:
    """Check every stored number that a sample reaches, and every invariant.

    Parameters
    ----------
    n_images
        Images to measure again, spread evenly over the store.

    Raises
    ------
    SummitError
        If the store can't be read or the network not be built again.
    """
    store = Store.open(path)
    checks = [_check("arrays as registered", _arrays(store)), _check("stages complete", _stages(store))]
    rows = _sample(store.header.n_images, n_images)
    if store.has("activations"):
        checks.append(_check("images measured again", _images(store, rows)))
    if store.stage_fingerprint("matrices") is not None:
        checks.append(_check("class statistics", _statistics(store)))
    classes = _sample(store.header.n_classes, SAMPLE_CLASSES)
    if store.stage_fingerprint("matrices") is not None and store.has("activations"):
        checks.append(_check("counts of classes", _counts(store, classes)))
    if store.stage_fingerprint("graphs") is not None:
        checks.append(_check("graphs of classes", _graphs(store, classes)))
        checks.append(_check("all graphs' invariants", _invariants(store)))
    if store.stage_fingerprint("embedding") is not None:
        checks.append(_check("embedding", _embedding(store)))
    return Report(tuple(checks))


def _check(name: str, findings: Iterator[str | None]) -> Check:
    """A finding is None for a thing that is right, else a sentence."""
    found = list(findings)
    return Check(name, len(found), tuple(text for text in found if text is not None))


def _sample(count: int, wanted: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.int64))


def _arrays(store: Store) -> Iterator[str | None]:
    """Dims and dtype of every array that the registry names."""
    graph = store.layer_graph
    names = {"{layer}": [layer.name for layer in graph.layers], "{hop}": [hop.name for hop in graph.hops]}
    for variable in schema.VARIABLES:
        ending = next((ending for ending in names if variable.group.endswith(ending)), None)
        for name in names[ending] if ending else [variable.group]:
            path = f"{schema.group_of(variable.group, name)}/{variable.name}".lstrip("/")
            if store.has(path):
                yield _registered(store, path, variable)


def _registered(store: Store, path: str, variable: schema.Variable) -> str | None:
    array: Any = store.group[path]
    if array.metadata.dimension_names == variable.dims and array.dtype == variable.numpy_dtype:
        return None
    return (
        f"{path}: expected {variable.dims} of {variable.dtype}, found {array.metadata.dimension_names} of {array.dtype}"
    )


def _stages(store: Store) -> Iterator[str | None]:
    if "fingerprint" in store.header.run:
        waiting = pending(store)
        yield f"still to run: {', '.join(waiting)}" if waiting else None


def _images(store: Store, rows: NDArray[np.int64]) -> Iterator[str | None]:
    spec = NetworkSpec.of_run(store.header.run)
    prepare_process()
    extractor = Extractor(spec.build(), spec.preprocessing, spec.k)
    done = store.done(stage_fingerprints(store)["extract"])
    for row in rows[done[rows // store.header.partition_size]]:
        place = slice(int(row), int(row) + 1)
        again = extract_partition(
            extractor, spec.preprocessing, partition_of(store, place), {**store.header.run["config"], "batch_size": 1}
        )
        yield _same_image(store, place, again)


def _same_image(store: Store, place: slice, again: Mapping[tuple[str, str, str], NDArray[Any]]) -> str | None:
    for (template, name, variable), values in again.items():
        path = f"{schema.group_of(template, name)}/{variable}"
        stored = store.read(path, place)
        if variable in ("value", "probability", "true_probability"):
            if not _close(stored, values):
                return f"image {place.start}: {path} differs by {np.abs(stored - values).max():g}"
        elif variable == "source" and (differing := float((stored != values).mean())) > SOURCES_DIFFERING:
            return f"image {place.start}: {differing:.1%} of {path} differ"
        elif variable in ("status", "reason") and (stored != values).any():
            return f"image {place.start}: {path} is {stored[0]!r}, now {values[0]!r}"
    return None


def _close(stored: NDArray[Any], values: NDArray[Any]) -> bool:
    precision = 2e-3 if stored.dtype == np.float16 else TOLERANCE
    scale = max(float(np.abs(values).max(initial=0)), 1e-6)
    difference = np.abs(stored.astype(np.float64) - values.astype(np.float64))
    return bool(difference.max(initial=0) <= precision * scale)


def _statistics(store: Store) -> Iterator[str | None]:
    classes = readable_classes(store, slice(None))
    n_classes = store.header.n_classes
    yield _equal("n_images", store.read("classes/n_images"), np.bincount(classes[classes >= 0], minlength=n_classes))
    own = store.read("classes/output_index")[classes]
    right = (store.read("images/predicted")[:, 0] == own) & (classes >= 0)
    yield _equal("n_correct", store.read("classes/n_correct"), np.bincount(classes[right], minlength=n_classes))


def _equal(name: str, stored: NDArray[Any], again: NDArray[Any]) -> str | None:
    wrong = np.argwhere(stored != again)
    if not len(wrong):
        return None
    first = tuple(wrong[0])
    return f"{name}: {len(wrong)} values differ; at {first} the store has {stored[first]}, counted again {again[first]}"


def _excluded(store: Store, config: RunConfig) -> dict[str, tuple[int, ...]]:
    return {layer.name: config.excluded_channels(layer.name) for layer in store.layer_graph.visible}


def _counts(store: Store, classes: NDArray[np.int64]) -> Iterator[str | None]:
    """A and I of some classes, counted again from the stored maxima and sources."""
    config = run_config(store.header.run)
    labels = store.read("images/class_index")
    for place in classes:
        again = count_images(store.read, store.layer_graph, labels == place, config.mass, _excluded(store, config))
        (stored,) = read_counts(store.read, store.layer_graph, slice(int(place), int(place) + 1))
        for name, counts in stored.activation.items():
            yield _equal(f"class {place}, A of {name}", counts, again.activation[name])
        for name, matrix in stored.influence.items():
            yield _equal(f"class {place}, I of {name}", matrix.toarray(), again.influence[name].toarray())


def _graphs(store: Store, classes: NDArray[np.int64]) -> Iterator[str | None]:
    """Graphs of some classes, made again; their scores also by networkx."""
    config = run_config(store.header.run)
    excluded, options = _excluded(store, config), GraphOptions(config.p, config.unified, config.directed)
    for place in classes:
        (counts,) = read_counts(store.read, store.layer_graph, slice(int(place), int(place) + 1))
        made, stored = class_graph(store.layer_graph, counts, excluded, options), stored_graph(store, int(place))
        for column in (field.name for field in fields(ClassGraph)):
            if not np.array_equal(getattr(made, column), getattr(stored, column), equal_nan=column == "reached_p"):
                yield f"class {place}: {column} is not what the counts give"
        yield _scores(store, counts, excluded, options, f"class {place}")


def _scores(
    store: Store, counts: ClassCounts, excluded: Mapping[str, Any], options: GraphOptions, name: str
) -> str | None:
    whole = whole_graph(store.layer_graph, counts, excluded)
    start = personalisation(whole, counts)
    ours = pagerank(whole.edges, whole.is_node, start, options.directed)
    if not ours.any():
        return None
    graph: nx.Graph[int] = nx.DiGraph() if options.directed else nx.Graph()
    graph = nx.from_scipy_sparse_array(whole.edges, create_using=graph)
    graph.remove_nodes_from(np.flatnonzero(~whole.is_node).tolist())
    theirs = nx.pagerank(graph, personalization={node: start[node] for node in graph})
    worst = max(abs(ours[node] - score) for node, score in theirs.items())
    return None if worst <= SCORE_TOLERANCE else f"{name}: scores differ from networkx by {worst:g}"


def stored_graph(store: Store, place: int) -> ClassGraph:
    """The graph of a class as the store holds it."""
    nodes, edges = (
        slice(*store.read(f"graphs/{kind}_offset", slice(place, place + 2)).tolist()) for kind in ("node", "edge")
    )
    columns: dict[str, Any] = {}
    for name in (field.name for field in fields(ClassGraph)):
        rows = nodes if name.startswith("node_") else edges
        columns[name] = store.read(
            f"graphs/{name}", rows if name.partition("_")[0] in ("node", "edge") else slice(None)
        )
        if name in ("reached_p", "valid"):
            columns[name] = columns[name][place]
    return ClassGraph(**columns)


def _invariants(store: Store) -> Iterator[str | None]:
    """What is true of every graph (DESIGN 8), over all classes."""
    excluded = _excluded(store, run_config(store.header.run)) if "model" in store.header.run["config"] else {}
    for place in range(store.header.n_classes):
        wrong = verify_graph(store.layer_graph, stored_graph(store, place), excluded)
        yield f"class {place}: {wrong[0]}" if wrong else None


def _embedding(store: Store) -> Iterator[str | None]:
    for layer in store.layer_graph.visible:
        for axis in ("x", "y"):
            finite = np.isfinite(store.read(f"embedding/{layer.name}/{axis}")).all()
            yield None if finite else f"embedding/{layer.name}/{axis} is not finite"
