"""What a store says, found out again: images measured, classes counted, graphs made, from what they were made of.

Each function gives a finding for everything that it looks at: None for what is right, else a sentence.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.evidence import p_value
from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.arrays.graph.checks import verify_graph
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.arrays.graph.pagerank import pagerank, personalisation, whole_graph
from summit_dask.arrays.matrices import count_selected, count_sources, sources_by_hop
from summit_dask.facts import schema
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.pairs import Pair
from summit_dask.measure.extractor import Extractor
from summit_dask.measure.partition import extract_partition
from summit_dask.measure.viewing import ExampleViewer, Wanted
from summit_dask.network.build import built, built_beside
from summit_dask.network.completeness import check_completeness
from summit_dask.questions.layers import wrong_of
from summit_dask.stages.classevidence import (
    TRUTH_IMAGES,
    TRUTH_TARGETS,
    Opened,
    as_columns,
    class_images,
    class_stability,
)
from summit_dask.stages.examples import originals
from summit_dask.stages.extract import partition_of
from summit_dask.stages.workers import prepare_process
from summit_dask.store.counting import RANKED, USED, Count, kept
from summit_dask.store.counts import read_counts, readable_classes
from summit_dask.store.evidence import Settings, group_of, stored_settings
from summit_dask.store.graphs import read_graph
from summit_dask.store.status import fingerprints
from summit_dask.store.store import Store

Findings = Iterator[str | None]
Compare = Callable[[NDArray[Any], NDArray[Any]], str | None]

TOLERANCE = 1e-4  # of the largest value; forward passes in other batches differ by about 1e-6
HALF_TOLERANCE = 2e-3  # the same of values that were stored in half precision
SOURCES_DIFFERING = 0.01  # near ties may swap places for the same reason
SCORE_TOLERANCE = 1e-9


def images(store: Store, rows: NDArray[np.int64]) -> Findings:
    """Some images, measured again one by one."""
    spec = store.network
    options = store.header.run.config
    prepare_process()
    extractor = Extractor(built(spec, options.batch_size), spec.preprocessing, options)
    done = store.done(fingerprints(store)["extract"])
    for row in rows[done[rows // store.header.partition_size]]:
        one = slice(int(row), int(row) + 1)
        again = extract_partition(extractor, spec.preprocessing, partition_of(store, one), options)
        yield _same_image(store, one, again)


def _same_image(store: Store, row: slice, again: Mapping[str, NDArray[Any]]) -> str | None:
    for address, values in again.items():
        if not store.has(address):
            continue  # laid out before images had checksums
        problem = COMPARED[_kind(address)](store.read(address, row), values)
        if problem:
            return f"image {row.start}: {address} {problem}"
    return None


def _kind(address: str) -> str:
    """An address without the name of its layer: activations/value."""
    head, *_, name = address.split("/")
    return f"{head}/{name}"


def _near(stored: NDArray[Any], again: NDArray[Any]) -> str | None:
    tolerance = HALF_TOLERANCE if stored.dtype == np.float16 else TOLERANCE
    scale = max(float(np.abs(again).max(initial=0)), 1e-6)
    difference = float(np.abs(stored.astype(np.float64) - again.astype(np.float64)).max(initial=0))
    return None if difference <= tolerance * scale else f"differs by {difference:g}"


def _nearly_all(stored: NDArray[Any], again: NDArray[Any]) -> str | None:
    differing = float((stored != again).mean()) if stored.size else 0.0
    return None if differing <= SOURCES_DIFFERING else f"differs in {differing:.1%} of its values"


def _same(stored: NDArray[Any], again: NDArray[Any]) -> str | None:
    return None if (stored == again).all() else f"is {stored.tolist()[0]!r}, now {again.tolist()[0]!r}"


def _same_outputs(stored: NDArray[Any], again: NDArray[Any]) -> str | None:
    """Near ties may swap, which the probabilities tell; outputs that are no longer among the first are wrong."""
    lost = sorted(set(stored[0, :-1].tolist()) - set(again[0].tolist()))
    return f"holds the outputs {lost}, which are not among the first now" if lost else None


#: How each variable that the extraction writes is held against its second measurement.
COMPARED: Mapping[str, Compare] = {
    "images/status": _same,
    "images/reason": _same,
    "images/file_size": _same,
    "images/checksum": _same,
    "images/predicted": _same_outputs,
    "images/probability": _near,
    "images/true_probability": _near,
    "activations/value": _near,
    "activations/position": _nearly_all,
    "influences/hop": _nearly_all,
    "influences/source": _nearly_all,
    "influences/value": _near,
    "contributions/hop": _nearly_all,
    "contributions/source": _nearly_all,
    "contributions/value": _near,
    "contributions/inhibitor_hop": _nearly_all,
    "contributions/inhibitor_source": _nearly_all,
    "contributions/inhibitor_value": _near,
    "relevances/value": _near,
}


def examples(store: Store, n_images: int) -> Findings:
    """Where channels fire in some of the images that excite them most, seen again."""
    prepare_process()
    options = store.header.run.config
    viewer = ExampleViewer(built(store.network, options.batch_size), store.network.preprocessing)
    indices = [store.read(f"examples/{layer.name}/image_index") for layer in store.layer_graph.with_maps]
    images = np.unique(np.concatenate([index[index >= 0] for index in indices]))
    some = images[np.linspace(0, len(images) - 1, min(n_images, len(images))).round().astype(np.int64)]
    for place, (layer, index) in enumerate(zip(store.layer_graph.with_maps, indices, strict=True)):
        channel, rank = np.nonzero(np.isin(index, some))
        image = index[channel, rank]
        position = store.read(f"activations/{layer.name}/position", np.isin(np.arange(store.header.n_images), some))
        where = position[np.searchsorted(some, image), channel]
        wanted = Wanted(image, np.full_like(image, place), channel.astype(np.int32), where)
        seen, _ = viewer(wanted, originals(store), options.thumbnail)
        for name, near in VIEWED.items():
            stored = store.read(f"examples/{layer.name}/{name}")[channel, rank]
            problem = near(stored, getattr(seen, name))
            yield problem and f"examples/{layer.name}/{name} {problem}"


def _steps(stored: NDArray[Any], again: NDArray[Any]) -> str | None:
    """Values beside the border of two steps may change sides."""
    differing = float((np.abs(stored.astype(int) - again) > 1).mean()) if stored.size else 0.0
    return None if differing <= SOURCES_DIFFERING else f"differs in {differing:.1%} of its values"


def _nearly_all_near(stored: NDArray[Any], again: NDArray[Any]) -> str | None:
    """A position beside half of the maximum may change sides, and move what depends on it."""
    same = np.isclose(stored, again, rtol=0, atol=TOLERANCE, equal_nan=True)
    return None if (~same).mean() <= SOURCES_DIFFERING else f"differs in {(~same).mean():.1%} of its values"


#: How what was seen of an example is held against what is seen now.
VIEWED: Mapping[str, Compare] = {
    "box": _nearly_all,
    "centre": _nearly_all_near,
    "share": _nearly_all_near,
    "map": _steps,
}


def completeness(store: Store) -> Findings:
    """Whether contributions add up to what the network computes, in every layer (DESIGN 4)."""
    prepare_process()
    module, network = built_beside(store.network, 1)
    for layer in check_completeness(module, network):
        wrong = tuple(wrong_of(layer))
        yield from wrong or (None,)


def statistics(store: Store) -> Findings:
    """Images of each class, and those that the network gets right."""
    classes = readable_classes(store.read, slice(None))
    n_classes = store.header.n_classes
    yield equal("n_images", store.read("classes/n_images"), np.bincount(classes[classes >= 0], minlength=n_classes))
    own = store.read("classes/output_index")[classes]
    right = (store.read("images/predicted")[:, 0] == own) & (classes >= 0)
    yield equal("n_correct", store.read("classes/n_correct"), np.bincount(classes[right], minlength=n_classes))


def equal(name: str, stored: NDArray[Any], again: NDArray[Any]) -> str | None:
    """A finding about two arrays that must be the same."""
    wrong = np.argwhere(stored != again)
    if not len(wrong):
        return None
    first = tuple(wrong[0].tolist())
    return f"{name}: {len(wrong)} values differ; at {first} the store has {stored[first]}, counted again {again[first]}"


def counts(store: Store, classes: NDArray[np.int64]) -> Findings:
    """All counts of some classes, counted again from the values of their images."""
    readable = store.read("images/status") == schema.READ
    for index in classes.tolist():
        yield from counts_of(store, "matrices", index, readable & (store.read("images/class_index") == index))


def counts_of(store: Store, group: str, index: int, rows: NDArray[np.bool_]) -> Findings:
    """All counts of a class, or of another group of images, counted again from the values of these."""
    options = store.header.run.config
    for count in kept(USED, options):
        yield from _used(store, count, rows, group, index)
    for count in kept(RANKED, options):
        yield from _ranked(store, count, rows, group, index)


def _used(store: Store, count: Count, rows: NDArray[np.bool_], group: str, index: int) -> Findings:
    """Channels that the images use, of every visible layer."""
    options = store.header.run.config
    for layer in store.layer_graph.visible:
        values = store.read(count.address(layer.name, "value"))[rows]
        used = select_channels(values, options.mass, options.excluded_channels(layer.name))
        again = count_selected(used, np.zeros(len(used), np.int32), 1)
        stored = _of_group(store, f"{group}/{layer.name}/{count.name}", index)
        yield equal(f"{_row(group, index)}, {count.name} of {layer.name}", stored, again)


def _ranked(store: Store, count: Count, rows: NDArray[np.bool_], group: str, index: int) -> Findings:
    """Sources of every hop."""
    graph = store.layer_graph
    for layer in graph.influenced:
        source, by_hop = (store.read(count.address(layer.name, name))[rows] for name in ("source", "hop"))
        for place, hop in enumerate(graph.incoming(layer.name)):
            own = sources_by_hop(source[:, hop.rows], by_hop[:, hop.rows], place)
            again = count_sources(own, np.zeros(len(own), np.int32), 1, graph.layer(hop.source).channels)
            stored = _of_group(store, f"{group}/{hop.name}/{count.name}", index)
            what = f"{_row(group, index)}, {count.name} of {hop.name}"
            yield equal(what, stored, again.toarray().reshape(stored.shape))


def _row(group: str, index: int) -> str:
    return f"class {index}" if group == "matrices" else f"{group}, group {index}"


def _of_group(store: Store, address: str, index: int) -> NDArray[np.int32]:
    """One row of a matrix, the axis of classes or groups kept."""
    return store.read(address, slice(index, index + 1))


def graphs(store: Store, classes: NDArray[np.int64], pair: Pair) -> Findings:
    """Graphs of some classes, made from a pair's counts; their scores also by networkx."""
    options = store.header.run.config
    for index in classes.tolist():
        name = f"{pair.group}, class {index}"
        (of_class,) = read_counts(store.read, store.layer_graph, slice(index, index + 1), pair)
        made = class_graph(store.layer_graph, of_class, options.excluded_by_layer(), options)
        stored = read_graph(store.read, index, pair)
        for column in (field.name for field in fields(ClassGraph)):
            if not np.array_equal(getattr(made, column), getattr(stored, column), equal_nan=column == "reached_p"):
                yield f"{name}: {column} is not what the counts give"
        yield _scores(store, of_class, options, name)


def _scores(store: Store, of_class: ClassCounts, options: ResultOptions, name: str) -> str | None:
    whole = whole_graph(store.layer_graph, of_class, options.excluded_by_layer())
    start = personalisation(whole, of_class)
    ours = pagerank(whole.edges, whole.is_node, start, options.directed)
    if not ours.any():
        return None
    empty: nx.Graph[int] = nx.DiGraph() if options.directed else nx.Graph()
    graph = nx.from_scipy_sparse_array(whole.edges, create_using=empty)
    graph.remove_nodes_from(np.flatnonzero(~whole.is_node).tolist())
    theirs = nx.pagerank(graph, personalization={node: start[node] for node in graph})
    worst = max(abs(ours[node] - score) for node, score in theirs.items())
    return None if worst <= SCORE_TOLERANCE else f"{name}: scores differ from networkx by {worst:g}"


def evidence(store: Store, classes: NDArray[np.int64], pair: Pair) -> Findings:
    """Whether what was found about a pair's graphs fits together, over all classes; stability of some, found again."""
    group, settings = group_of(pair), stored_settings(store, pair)
    read = cache(lambda name: store.read(f"{group}/{name}"))
    for name in ("necessity", "specificity", "layer_necessity", "sufficiency", "loss_elsewhere"):
        low, value, high = (read(name + end) for end in ("_low", "", "_high"))
        is_there = np.isfinite(value)
        yield None if (low <= high)[is_there].all() else f"{group}: {name}_low and {name}_high are no interval"
        missing = np.stack([low, value, high])[:, ~is_there]
        yield None if np.isnan(missing).all() else f"{group}/{name} is infinite, or missing where its interval is not"
    chosen = dict(zip(read("choice").tolist(), read("necessity").T, strict=True))
    for place, rival in enumerate(read("rival").tolist()):
        yield _alike(f"{group}/specificity", read("specificity")[:, place], chosen["graph"] - chosen[rival])
    draws = read("random_necessity")
    yield _alike(f"{group}/random_necessity", draws.mean(1), chosen["random"])
    again = np.array([p_value(own, row) for own, row in zip(read("necessity_beside_random"), draws, strict=True)])
    yield _alike(f"{group}/p_value", read("p_value"), again)
    lost = read("margin") - read("margin_without")
    yield None if (lost > 0)[np.isfinite(chosen["graph"])].all() else f"{group}/margin is not above margin_without"
    yield None if np.isfinite(read("replacement")).all() else f"{group}/replacement is not finite"
    yield from _tested(store, group, settings.images)
    yield from _truth(store, group)
    opened = Opened.of(store)
    for index in classes.tolist():
        yield from _stability(opened, settings, pair, index)


def _tested(store: Store, group: str, images: int) -> Findings:
    """How many images tested, some of them single layers too; and whose graphs the class's own was held against."""
    n_images = store.read("classes/n_images")
    expected = np.minimum(n_images // 2, images) + np.minimum(n_images - n_images // 2, images)
    n_tested = store.read(f"{group}/n_tested")
    yield equal(f"{group}/n_tested", n_tested, np.where(n_images > 1, expected, 0))
    for name in ("n_tested_by_layer", "n_drawn"):
        some = store.read(f"{group}/{name}")
        yield None if ((some >= 0) & (some <= n_tested)).all() else f"{group}/{name} is out of range"
    rivals = store.read(f"{group}/rival_class")
    own = np.arange(store.header.n_classes)[:, None]
    is_other = (rivals >= -1) & (rivals < store.header.n_classes) & (rivals != own)
    yield None if is_other.all() else f"{group}/rival_class is no other class"


def _truth(store: Store, group: str) -> Findings:
    """Whether what was found about sources and edges is in range."""
    read = cache(lambda name: store.read(f"{group}/{name}"))
    n_targets = read("n_targets")
    limit = TRUTH_IMAGES * TRUTH_TARGETS
    yield None if ((n_targets >= 0) & (n_targets <= limit)).all() else f"{group}/n_targets is out of range"
    tested = np.broadcast_to((n_targets > 0)[:, :, None], read("capture").shape)
    for name, lowest in (("capture", -np.inf), ("class_capture", -np.inf), ("rank_correlation", -1.0)):
        values = read(name)
        known = np.isfinite(values)
        in_range = (values[known] >= lowest - TOLERANCE) & (values[known] <= 1 + TOLERANCE)
        yield None if in_range.all() and tested[known].all() else f"{group}/{name} is out of range"
    yield None if not np.isinf(read("edge_effect")).any() else f"{group}/edge_effect is infinite"
    others = store.read("classes/n_images").sum() - store.read("classes/n_images")
    yield None if (read("n_elsewhere") <= others).all() else f"{group}/n_elsewhere is out of range"


def _stability(opened: Opened, settings: Settings, pair: Pair, index: int) -> Findings:
    """Stability of one class's graph, found again from the values of its images."""
    group = group_of(pair)
    found = as_columns(class_stability(opened, settings, pair, index, class_images(opened, index, pair)))
    for name, again in found.items():
        kind = name.partition("_")[0]
        bounds = opened.table(f"{pair.group}/{kind}_offset")[index : index + 2]
        rows = slice(*bounds.tolist()) if name.endswith("stability") else slice(index, index + 1)
        yield _alike(f"{group}/{name} of class {index}", opened.table(f"{group}/{name}")[rows], again)


def _alike(name: str, stored: NDArray[Any], again: NDArray[Any]) -> str | None:
    """A finding about shares that must be the same, or missing alike."""
    if np.allclose(stored, again, rtol=0, atol=SCORE_TOLERANCE, equal_nan=True):
        return None
    return f"{name} is {stored.ravel()[:3].tolist()}..., found again {np.ravel(again)[:3].tolist()}..."


def invariants(store: Store, pair: Pair) -> Findings:
    """What is true of every graph (DESIGN 8), over all classes, of a pair of measures."""
    excluded = store.header.run.config.excluded_by_layer()
    read = cache(lambda address: store.read(address))
    for kind in ("node", "edge"):
        sizes = np.diff(read(f"{pair.group}/{kind}_offset"))
        classes = np.repeat(np.arange(store.header.n_classes), sizes)
        yield equal(f"{pair.group}/{kind}_class", read(f"{pair.group}/{kind}_class"), classes)
    for index in range(store.header.n_classes):
        wrong = verify_graph(store.layer_graph, read_graph(read, index, pair), excluded)
        yield f"{pair.group}, class {index}: {wrong[0]}" if wrong else None
