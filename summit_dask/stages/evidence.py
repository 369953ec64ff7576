"""The evidence stage: what the network loses without the channels of each class's graph, on Dask workers (DESIGN 3.8).

    a sample of all images ── workers ── each channel's mean
    classes ── workers ── drafts beside the store ── all there ── /evidence/<pair>

A class is saved as one file as soon as it is tested, so that a second run tests only the others.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Any
from zipfile import is_zipfile

import numpy as np
from distributed import Worker
from numpy.typing import NDArray

from summit_dask.arrays.evidence import CHOICES, KEPT, LAYER_CHOICES, RIVALS, SHARES
from summit_dask.arrays.similarity import similarity
from summit_dask.arrays.truth import MEASURES
from summit_dask.facts import schema
from summit_dask.facts.config import ClusterOptions, fingerprint
from summit_dask.facts.errors import StoreIncompleteError
from summit_dask.facts.files import folder
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import Pair
from summit_dask.measure.ablation import means_of
from summit_dask.measure.effects import Edges, effect_passes
from summit_dask.measure.evidence import found, pixels_of, total_passes
from summit_dask.measure.partial import PartialNetwork
from summit_dask.measure.sources import SourceTester
from summit_dask.network.build import built
from summit_dask.stages.classevidence import (
    MEANS,
    OTHERS,
    RATIOS,
    Job,
    Opened,
    as_columns,
    class_effects,
    class_elsewhere,
    class_images,
    class_margins,
    class_stability,
    class_truth,
)
from summit_dask.stages.cluster import Cluster, Connect, cluster, n_workers, resources
from summit_dask.stages.tasks import finished, result_of
from summit_dask.stages.workers import NetworkPlugin, device_of, installed, plugin_of, prepare_process
from summit_dask.store.counts import node_counts
from summit_dask.store.evidence import NUMBERS, Settings, group_of, is_tested, stored_settings
from summit_dask.store.graphs import read_graphs
from summit_dask.store.imagefiles import ImageFiles
from summit_dask.store.progress import Progress, duration, say
from summit_dask.store.status import fingerprints
from summit_dask.store.store import Store

#: Values of one class, by variable; those of its nodes and edges in the order of the graph's tables.
Found = dict[str, NDArray[Any]]

#: Values of nodes and edges; all others are of the class.
_BY_ROW = ("node_stability", "edge_stability", "edge_effect")

#: Images, of any class, that the channels' means are taken over.
MEAN_IMAGES = 256


def make_evidence(path: Location, settings: Settings, where: ClusterOptions) -> int:
    """Test the graphs of all classes of a store, of its pair of measures; returns the number of classes.

    Parameters
    ----------
    where
        The cluster to run on.

    Raises
    ------
    StoreIncompleteError
        If the store was imported, or has no graphs that were made with its present options.
    SummitError
        As it comes from the workers; finished classes are kept.
    """
    store = Store.open(path, writable=True)
    _check_ready(store)
    with store.changing(), cluster(where) as connect:
        find_evidence(store, settings, connect)
    return store.header.n_classes


def _check_ready(store: Store) -> None:
    pair = store.header.run.config.pair
    if store.finished(pair.group) != fingerprints(store)["graphs"]:
        raise StoreIncompleteError(
            f"{store.path} has no graphs with {pair.words}, made with its present options; run 'summit-dask graphs "
            f"{store.path}' first ('summit-dask info {store.path}' says what comes before that)."
        )


def find_evidence(store: Store, settings: Settings, connect: Connect) -> None:
    """Test the graphs of all classes, if they are not tested yet; within `Store.changing`.

    Raises
    ------
    SummitError
        As `make_evidence` does.
    """
    pair = store.header.run.config.pair
    if is_tested(store, pair) and stored_settings(store, pair) == settings:
        return
    key = fingerprint({**asdict(settings), "graphs": store.finished(pair.group)})
    drafts = _drafts_place(store) / f"{key:x}"
    saved = folder(drafts).sizes()
    tested = {name for name in saved if _is_whole(drafts / name)}
    todo = [index for index in range(store.header.n_classes) if _draft(drafts, index).name not in tested]
    workers = connect()
    plugin = EvidencePlugin(store.path, key)
    with installed(workers.client, plugin, store.network.model) as name:
        job = _job(store, workers, settings, pair, name, todo)
        _test_classes(workers, job, todo, drafts, name)
    with store.renewing(group_of(pair)) as draft:
        _write(draft, job, [_read_draft(_draft(drafts, index)) for index in range(store.header.n_classes)])
        draft.finish(group_of(pair), fingerprints(store)["graphs"])
    folder(_drafts_place(store)).remove()  # those of other settings too


def _job(store: Store, workers: Cluster, settings: Settings, pair: Pair, plugin: str, todo: Sequence[int]) -> Job:
    """What is found out before any class; says what all of them will cost."""
    client = workers.client
    asked: dict[str, Any] = {"plugin": plugin, "pure": False, "resources": resources(client)}
    shares, seconds = result_of(client.submit(cost_task, **asked))
    rows = _mean_rows(store, settings)
    _say_cost(store, settings, pair, todo, len(rows), shares, seconds / max(1, n_workers(client)))
    batches = np.array_split(rows, -(-len(rows) // store.header.run.config.batch_size))
    means = dict(finished(workers, client.map(means_task, batches, **asked), range(len(batches))))
    maps, inputs = zip(*(means[k] for k in range(len(batches))), strict=True)
    weights = [len(batch) for batch in batches]
    replacement = np.concatenate(maps).mean(0).astype(np.float32)
    input_means = {name: np.average([own[name] for own in inputs], 0, weights) for name in inputs[0]}
    if settings.ablation == "zero":
        replacement = np.zeros_like(replacement)
        input_means = {name: np.zeros_like(values) for name, values in input_means.items()}
    return Job(settings, pair, replacement, _rivals(store, settings, pair), shares, input_means)


def _mean_rows(store: Store, settings: Settings) -> NDArray[np.int64]:
    """Images that the channels' means are taken over, in the store's order."""
    readable = np.flatnonzero(store.read("images/status") == schema.READ)
    generator = np.random.default_rng([settings.seed, MEANS])
    return np.sort(generator.choice(readable, min(MEAN_IMAGES, len(readable)), replace=False))


def _say_cost(
    store: Store,
    settings: Settings,
    pair: Pair,
    todo: Sequence[int],
    n_means: int,
    shares: Sequence[float],
    seconds: float,
) -> None:
    """How many forward passes will be taken, and how long they take; `seconds` is that of one."""
    n_images = store.read("classes/n_images")[list(todo)].tolist()
    tested = [min(half, settings.images) for n in n_images for half in (n // 2, n - n // 2) if n > 1]
    passes = sum(total_passes(half, shares) for half in tested)
    per_image = [effect_passes(Edges.of(store.layer_graph, graph), shares) for graph in read_graphs(store, pair)]
    edges = sum(min(n, settings.images) * per_image[index] for index, n in zip(todo, n_images, strict=True))
    each = f", {passes / sum(tested):.1f} each" if tested else ""
    say(
        f"evidence: {sum(tested)} images of {len(todo)} classes are tested with {passes:,.0f} forward passes{each}; "
        f"edges take {edges:,.0f} more, the channels' means {n_means}. The passes will take about "
        f"{duration((passes + edges + n_means) * seconds)}."
    )


def _rivals(store: Store, settings: Settings, pair: Pair) -> NDArray[np.int32]:
    """Of each class: the nearest (cosine of the counts of all channels), and a random other one; -1: there is none."""
    n_classes = store.header.n_classes
    if n_classes == 1:
        return np.full((1, len(RIVALS)), -1, np.int32)
    counts = np.concatenate([store.read(node_counts(layer.name, pair)) for layer in store.layer_graph.with_maps], 1)
    generator = np.random.default_rng([settings.seed, OTHERS])
    others = (np.arange(n_classes) + generator.integers(1, n_classes, n_classes)) % n_classes
    likeness = similarity(counts)
    np.fill_diagonal(likeness, -1)
    return np.stack([likeness.argmax(1), others], 1).astype(np.int32)


def _test_classes(workers: Cluster, job: Job, todo: Sequence[int], drafts: Location, plugin: str) -> None:
    client = workers.client
    options: dict[str, Any] = {"job": job, "plugin": plugin, "pure": False, "resources": resources(client)}
    n_classes = len(job.rivals)
    with Progress("evidence", "classes", n_classes, n_classes - len(todo)) as progress:
        for index, values in finished(workers, client.map(class_task, todo, **options), todo, "class"):
            _write_draft(_draft(drafts, index), values)
            progress.add(1)


# What is kept


def _drafts_place(store: Store) -> Location:
    """Beside the store: what was found of single classes while others are still to be tested."""
    return store.path.with_name(f"{store.path.name}.evidence")


def _draft(drafts: Location, index: int) -> Location:
    return drafts / f"{index}.npz"


def _is_whole(path: Location) -> bool:
    """Whether a class is saved; a file that a power cut left is not."""
    try:
        return is_zipfile(BytesIO(folder(path.parent).read(path.name)))
    except FileNotFoundError:
        return False


def _write_draft(path: Location, values: Mapping[str, Any]) -> None:
    """One file a class, there whole or not at all."""
    content = BytesIO()
    np.savez(content, **values)
    folder(path.parent).write(path.name, content.getvalue())


def _read_draft(path: Location) -> Found:
    with np.load(BytesIO(folder(path.parent).read(path.name))) as values:
        return dict(values)


def _write(store: Store, job: Job, classes: Sequence[Found]) -> None:
    """Fill the empty group."""
    labels = {
        "choice": CHOICES,
        "layer_choice": LAYER_CHOICES,
        "rival": RIVALS,
        "kept": KEPT,
        "map_layer": [layer.name for layer in store.layer_graph.with_maps],
        "ranked_layer": [layer.name for layer in store.layer_graph.influenced if not layer.of_class],
        "measure": MEASURES,
        "ablation": [job.settings.ablation],
    }
    tables: Found = {name: np.array(texts, schema.STRING) for name, texts in labels.items()}
    tables |= {"share": np.array(SHARES), "replacement": job.replacement, "rival_class": job.rivals}
    tables |= {name: np.array([getattr(job.settings, name)], np.int64) for name in NUMBERS}
    for name in classes[0]:
        join = np.concatenate if name in _BY_ROW else np.stack
        tables[name] = join([values[name] for values in classes])
    for name, values in tables.items():
        store.add(f"{group_of(job.pair)}/{name}", values)


# On workers


class EvidencePlugin(NetworkPlugin):
    """Builds the network on every worker, once."""

    def __init__(self, path: Location, key: int) -> None:
        super().__init__(path, key)
        self.path = path

    def prepare(self, worker: Worker) -> None:
        """See `NetworkPlugin`."""
        prepare_process()
        self.opened = Opened.of(Store.open(self.path))
        spec = self.opened.store.network
        network = built(spec, self.opened.store.header.run.config.batch_size, self.path)
        self.partial = PartialNetwork(network, spec.preprocessing, device_of(worker))
        self.tester = SourceTester(self.partial)


def cost_task(plugin: str) -> tuple[list[float], float]:
    """What a run costs by the layer where it begins, and seconds of a forward pass. Runs on a worker."""
    network = plugin_of(plugin, EvidencePlugin).partial
    colours, height, width = network.preprocessing.input_size
    images = np.zeros((network.batch_size, height, width, colours), np.uint8)
    means_of(network, images)  # the first run is slower than all others
    start = time.perf_counter()
    means_of(network, images)
    return network.shares(), (time.perf_counter() - start) / network.batch_size


def means_task(rows: NDArray[np.int64], plugin: str) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Means of all channels, of each image; and of the steps' inputs by node, over all images. Runs on a worker."""
    at = plugin_of(plugin, EvidencePlugin)
    maps, inputs = [], []
    files = ImageFiles.of(at.opened.store, lambda address: at.opened.table(address)[rows]).all()
    for _, pixels in pixels_of(at.partial, files):
        maps.append(means_of(at.partial, pixels))
        inputs.append(at.tester.input_means(pixels))
    return np.concatenate(maps), {name: np.mean([own[name] for own in inputs], axis=0) for name in inputs[0]}


def class_task(index: int, job: Job, plugin: str) -> Found:
    """Evidence for one class's graph. Runs on a worker."""
    at = plugin_of(plugin, EvidencePlugin)
    images = class_images(at.opened, index, job.pair)
    margins = class_margins(at.opened, at.partial, job, index, images)
    return {
        **found(margins, [job.settings.seed, RATIOS, index]),
        **class_elsewhere(at.opened, at.partial, job, index),
        **class_truth(at.opened, at.tester, at.partial, job, index, images),
        **as_columns(class_stability(at.opened, job.settings, job.pair, index, images)),
        "edge_effect": class_effects(at.opened, at.partial, job, index, images),
    }
