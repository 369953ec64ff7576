"""The stages of a run, each restartable: init, extract, reduce, graphs, embed.

    init     network, images, layout          -> an empty store
    extract  partitions on Dask workers       -> /images /activations /influences
    reduce   Dask reductions over the store   -> /matrices /classes /examples
    graphs   classes on Dask workers          -> /graphs
    embed    one task                         -> /embedding

What a stage makes is kept under a fingerprint of the options it depends on. A second run does what is
missing or was made with other options, and refuses to mix extractions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from summit_dask.arrays.embedding import embed_layers
from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.arrays.graph.selection import GraphOptions
from summit_dask.facts import schema
from summit_dask.facts.config import RESULT_STAGES, STAGE_OF, RunConfig, command_of, fingerprint, options_of
from summit_dask.facts.errors import StoreError, StoreIncompleteError, StoreMismatchError
from summit_dask.images.classes import Outputs, map_classes
from summit_dask.images.sources import ImageSet, read_image_set
from summit_dask.measure.compiled import compile_kernels
from summit_dask.questions.query import read_counts, run_config
from summit_dask.stages.cluster import cluster, finished, resources, result_of
from summit_dask.stages.examples import make_examples
from summit_dask.stages.reduce import count_activations, count_influences, make_matrices, write_statistics
from summit_dask.stages.workers import NetworkSpec, extract_task, extracting
from summit_dask.store.graphs import write_graphs
from summit_dask.store.progress import Progress, duration, say, size
from summit_dask.store.store import Header, Store, partition_size, stored_bytes_per_image

PACKAGES = ("summit-dask", "torch", "torchvision", "numpy", "numba", "zarr", "xarray", "dask", "networkx")
CLASSES_PER_TASK = 8
COMPILED_SECONDS = 2.0


def run(config: RunConfig) -> Path:
    """All stages, from images to attribution graphs; goes on where an earlier run stopped.

    Parameters
    ----------
    config
        Made by ``RunConfig.of({"model": ..., "images": ..., "out": ...})``. In a script, call this under
        ``if __name__ == "__main__"``: workers are processes.

    Returns
    -------
    Path
        The store, to open with `open_store`.

    Raises
    ------
    SummitError
        One of its kinds, for everything that can be mended; what was computed stays in the store.
    """
    store = init(config)
    if pending(store):
        with store.changing():
            with cluster(config) as client:
                extract(store, client)
                reduce(store, client)
                graphs(store, client)
            embed(store)
    elif not store.is_consolidated:
        store.consolidate()
    return store.path


def init(config: RunConfig) -> Store:
    """Lay out the store, or open the one that an equal configuration laid out.

    Raises
    ------
    StoreMismatchError
        If the store was extracted with other options; says which.
    """
    config = resolved(config)
    spec, network = NetworkSpec.of(config)
    images = read_image_set(config.images, config.images_per_class)
    outputs = map_classes(images.classes, network.n_outputs, config.classes, network.categories)
    facts = {**spec.facts(), **_facts(config, images, outputs), "layers": _layer_names(network.layer_graph)}
    facts = json.loads(json.dumps(facts))  # as they come back from the store
    header = Header(
        network.layer_graph,
        {
            "config": _plain_options(config),
            "facts": facts,
            "fingerprint": fingerprint(facts),
            "network": asdict(spec),
            "images_root": str(images.root),
            "versions": {package: version(package) for package in PACKAGES},
        },
        len(images.table),
        len(images.classes),
        network.n_outputs,
        partition_size(len(images.table)),
    )
    _check_exclusions(config, network.layer_graph)
    if config.out.exists() and not _is_empty_folder(config.out):
        return _reopened(config, header)
    _say_cost(header, config)
    return Store.create(config.out, header, _tables(images, outputs), config.k)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def resolved(config: RunConfig) -> RunConfig:
    """The same options with whole paths, so that the stages can run from anywhere."""
    changes: dict[str, Any] = {"images": config.images.resolve(), "out": config.out.resolve()}
    for name in ("classes", "weights"):
        value = getattr(config, name)
        if value is not None and Path(value).is_file():
            changes[name] = str(Path(value).resolve())
    file, colon, factory = config.model.rpartition(":")
    if colon and Path(file).is_file():
        changes["model"] = f"{Path(file).resolve()}:{factory}"
    return config.replaced(**changes)


def _plain_options(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", include=set(options_of(*RESULT_STAGES)))


def _layer_names(graph: Any) -> list[str]:
    return [layer.name for layer in graph.layers]


def _facts(config: RunConfig, images: ImageSet, outputs: Outputs) -> dict[str, Any]:
    """What decides the extracted values, beside the network."""
    mapping = [outputs.of_class[label] for label in images.classes]
    return {
        "images": f"{len(images.table)} images, digest {images.digest()[:16]}",
        "classes": f"{len(images.classes)} classes, digest {fingerprint({'outputs': mapping}):x}",
        "k": config.k,
        "influence_values": config.influence_values,
        "batch_size": config.batch_size,
    }


def _check_exclusions(config: RunConfig, graph: Any) -> None:
    for exclusion in config.excluded:
        layer = graph.layer(exclusion.layer)
        if max(exclusion.channels) >= layer.channels:
            raise StoreError(
                f"The excluded channel {max(exclusion.channels)} of {layer.name} doesn't exist; the layer has "
                f"{layer.channels} channels, 0 to {layer.channels - 1}. Correct the option 'excluded'."
            )


def _reopened(config: RunConfig, header: Header) -> Store:
    store = Store.open(config.out, writable=True)
    differing = _differences(store.header.run["facts"], header.run["facts"])
    if differing:
        raise StoreMismatchError(
            f"The store {config.out} was made with another configuration:\n{differing}\n"
            "Give the same options again, or another --out."
        )
    if store.header.run["config"] != header.run["config"]:
        with store.changing():
            store.update_run({"config": header.run["config"]})
    return store


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    keys = sorted({*stored, *asked})
    return "\n".join(
        f"  {key}: the store has {stored.get(key)}, this run asks for {asked.get(key)}"
        for key in keys
        if stored.get(key) != asked.get(key)
    )


def _tables(images: ImageSet, outputs: Outputs) -> dict[str, dict[str, NDArray[Any]]]:
    index = np.array([outputs.of_class[label] for label in images.classes], np.int32)
    names, synsets = _strings(outputs.names), _strings(outputs.synsets)
    return {
        "": {"image": np.arange(len(images.table)), "class": _strings(images.classes)},
        "outputs": {"name": names, "synset": synsets},
        "images": {
            "path": _strings(images.table["path"].tolist()),
            "class_index": images.class_index,
            **images.columns,
        },
        "classes": {"name": names[index], "synset": synsets[index], "output_index": index},
    }


def _strings(texts: Sequence[str]) -> NDArray[Any]:
    return np.array(texts, dtype=schema.STRING)


def _say_cost(header: Header, config: RunConfig) -> None:
    each = stored_bytes_per_image(header.layer_graph, config.k, config.influence_values)
    say(
        f"{header.n_images} images of {header.n_classes} classes in {-(-header.n_images // header.partition_size)} "
        f"partitions; {len(header.layer_graph.visible)} layers, {len(header.layer_graph.hops)} hops. "
        f"The store takes at most {size(each)} per image, {size(each * header.n_images)} in all, before compression."
    )


def pending(store: Store) -> list[str]:
    """Stages that have to run, in order."""
    prints = stage_fingerprints(store)
    waiting = [] if store.done(prints["extract"]).all() else ["extract"]
    missing = [stage for group, stage in STAGE_OF.items() if store.stage_fingerprint(group) != prints[stage]]
    return list(dict.fromkeys(waiting + [command_of(stage) for stage in missing]))


def stage_fingerprints(store: Store) -> dict[str, int]:
    """What each stage's results depend on, as one number: the extraction's facts, then the options stage by stage.

    Raises
    ------
    StoreIncompleteError
        If the store was imported: there are no images and no network to run a stage with.
    """
    prints = store.header.stage_fingerprints()
    if prints is None:
        raise StoreIncompleteError(
            f"{store.path} was imported; it has neither images nor a network to run this stage with. "
            "Make a store of your own with 'summit-dask run'."
        )
    return prints


def extract(store: Store, client: Client) -> None:
    """Measure the partitions that are not done, on the cluster's workers.

    Raises
    ------
    NumericalError, StoreError, ClusterError
        As they come from the workers; finished partitions stay.
    """
    key = stage_fingerprints(store)["extract"]
    todo = np.flatnonzero(~store.done(key)).tolist()
    if not todo:
        return
    if (seconds := compile_kernels()) > COMPILED_SECONDS:
        say(f"Compiled the kernels in {duration(seconds)}; they are kept on disk for the next time.")
    with extracting(client, store, key) as plugin:
        unreadable = measure(store, client, todo, key, plugin)
    if unreadable:
        say(f"{unreadable} images could not be read and are left out; /images/reason says why.")


def measure(store: Store, client: Client, todo: Sequence[int], key: int, plugin: str) -> int:
    """Measure some partitions on workers that have the plugin; returns the number of unreadable images."""
    images = {index: len(range(*store.partition(index).indices(store.header.n_images))) for index in todo}
    n_images, unreadable = store.header.n_images, 0
    with Progress("extract", "images", n_images, n_images - sum(images.values())) as progress:
        futures = client.map(extract_task, todo, plugin_name=plugin, run=key, pure=False, resources=resources(client))
        for index, lost in finished(futures, todo):
            unreadable += lost
            progress.add(images[index])
    return unreadable


def reduce(store: Store, client: Client) -> None:
    """Count A, I and the classes' images from the stored values; find each channel's strongest images.

    Raises
    ------
    StoreIncompleteError
        If partitions are missing.
    """
    prints = stage_fingerprints(store)
    for stage, group, make in (("reduce", "matrices", _count), ("examples", "examples", _find_examples)):
        if store.stage_fingerprint(group) != prints[stage]:
            _check_extracted(store, prints["extract"])
            store.begin_stage(group)
            make(store, client, run_config(store.header.run))
            store.finish_stage(group, prints[stage])


def _count(store: Store, client: Client, config: RunConfig) -> None:
    make_matrices(store)
    write_statistics(store)
    excluded = {layer.name: config.excluded_channels(layer.name) for layer in store.layer_graph.visible}
    n_partitions = store.header.lengths()["partition"]
    influenced = store.layer_graph.influenced
    with Progress("reduce", "layers", len(influenced) + len(store.layer_graph.visible)) as progress:
        for task in count_activations(store, config.mass, excluded, n_partitions):
            result_of(client.compute(task))
            progress.add(1)
        for layer in influenced:
            for future in client.compute(count_influences(store, layer.name, n_partitions)):
                result_of(future)
            progress.add(1)


def _find_examples(store: Store, client: Client, config: RunConfig) -> None:
    make_examples(store, client, config.examples, config.thumbnail)


def _check_extracted(store: Store, key: int) -> None:
    done = store.done(key)
    if not done.all():
        raise StoreIncompleteError(
            f"{int((~done).sum())} of {len(done)} partitions of {store.path} are not extracted; run "
            f"'summit-dask extract {store.path}' first."
        )


def graphs(store: Store, client: Client) -> None:
    """Attribution graphs of all classes, from the counts.

    Raises
    ------
    StoreIncompleteError
        If the counts are missing or made with other options.
    """
    prints = stage_fingerprints(store)
    if store.stage_fingerprint("graphs") == prints["graphs"]:
        return
    _check_reduced(store, prints["reduce"])
    n_classes = store.header.n_classes
    starts = list(range(0, n_classes, CLASSES_PER_TASK))
    found: dict[int, ClassGraph] = {}
    with Progress("graphs", "classes", n_classes) as progress:
        futures = client.map(graph_task, starts, path=store.path, pure=False)
        for start, made in finished(futures, starts):
            found.update(enumerate(made, start))
            progress.add(len(made))
    write_graphs(store, [found[i] for i in range(n_classes)])
    store.finish_stage("graphs", prints["graphs"])


def _check_reduced(store: Store, key: int) -> None:
    if store.stage_fingerprint("matrices") != key:
        raise StoreIncompleteError(
            f"The counts of {store.path} are missing or were made with other options; run "
            f"'summit-dask reduce {store.path}' first."
        )


def graph_task(start: int, path: Path) -> list[ClassGraph]:
    """Graphs of some neighbouring classes; runs on a worker."""
    store = Store.open(path)
    config = run_config(store.header.run)
    graph = store.layer_graph
    excluded = {layer.name: config.excluded_channels(layer.name) for layer in graph.visible}
    classes = slice(start, min(start + CLASSES_PER_TASK, store.header.n_classes))
    options = GraphOptions(config.p, config.unified, config.directed)
    return [class_graph(graph, counts, excluded, options) for counts in read_counts(store.read, graph, classes)]


def embed(store: Store) -> None:
    """Place the classes in the plane, layer by layer.

    Raises
    ------
    StoreIncompleteError
        If the counts are missing or made with other options.
    """
    prints = stage_fingerprints(store)
    if store.stage_fingerprint("embedding") == prints["embed"]:
        return
    _check_reduced(store, prints["reduce"])
    names = [layer.name for layer in store.layer_graph.visible]
    counts = {name: store.read(f"matrices/{name}/activation_count") for name in names}
    store.begin_stage("embedding")
    with Progress("embed", "layers", len(names)) as progress:
        for name, places in embed_layers(counts, run_config(store.header.run).seed).items():
            store.make_group("embedding/{layer}", name)
            for column, axis in (("x", 0), ("y", 1)):
                store.write("embedding/{layer}", name, column, np.ascontiguousarray(places[:, axis]))
            progress.add(1)
    store.finish_stage("embedding", prints["embed"])


def run_stage(name: str, path: Path, options: Mapping[str, Any]) -> None:
    """One stage on an existing store, with some options changed.

    Raises
    ------
    SummitError
        As the stage does.
    """
    store = Store.open(path, writable=True)
    stage_fingerprints(store)  # refuses an imported store before anything is touched
    config = run_config(store.header.run).replaced(**options)
    _check_exclusions(config, store.layer_graph)
    with store.changing():
        store.update_run({"config": _plain_options(config)})
        if name == "embed":
            embed(store)
        else:
            with cluster(config) as client:
                {"extract": extract, "reduce": reduce, "graphs": graphs}[name](store, client)
