"""A complete store as that of InceptionV1 over ImageNet, for whoever measures what is made of one.

real        the graphs of the original's 1000 classes (a store imported from its data), and encoded pictures and
            example images at their own sizes: the published ones of 221 channels, dealt out to all channels of graphs
invented    counts of 1300 images for each class and channel, counts of sources, predictions and strongest activations
            of 50 images of each class, an embedding
"""

import shutil
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.dashboard import patterns, write_sources
from summit_dask.arrays.regions import GRID, TOP
from summit_dask.facts import encoded
from summit_dask.facts.layergraph import Layer
from summit_dask.facts.pairs import PAPERS
from summit_dask.store.graphs import read_graphs, write_graphs
from summit_dask.store.header import Header
from summit_dask.store.layout import partition_size
from summit_dask.store.pictures import add_pictures, read_pictures
from summit_dask.store.store import Store
from tests.stores import FINGERPRINT, Made, finish, run_of_images, tables, write_part

PER_CLASS, LISTED, EXAMPLES = 1300, 50, 10

Encoded = dict[tuple[int, str], bytes]


def make_store(imported: Path, path: Path) -> None:
    """Write it; a few minutes and gigabytes."""
    given = Store.open(imported)
    graph, n_classes = given.layer_graph, given.header.n_classes
    rng = np.random.default_rng(0)
    run = run_of_images()
    run = run.model_copy(update={"config": run.config.replaced(excluded=())})  # the tests' network has other layers
    n_images = n_classes * LISTED
    shown = tables(rng, n_classes, LISTED, given.read("classes/name").tolist())
    shown["classes"] |= {
        "n_images": np.full(n_classes, PER_CLASS, np.int32),
        "n_correct": rng.binomial(PER_CLASS, 0.7, n_classes).astype(np.int32),
    }
    draft = path.with_name(path.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    store = Store.create(draft, Header(graph, run, n_images, n_classes, n_classes, partition_size(n_images)), shown)
    write_graphs(store, list(read_graphs(given)))
    finish(store, PAPERS.group)
    made = Made(graph, *patterns(rng, PER_CLASS))
    write_part("embedding", store, made, rng)
    for layer in graph.visible:
        _write_counts(store, layer, rng)
        _write_values(store, layer, rng)
        _write_pictures(given, store, layer, rng)
    for partition in range(store.header.n_partitions):
        store.mark_done(partition, FINGERPRINT)
    for group in ("pictures", "examples"):
        finish(store, group)
    write_sources(store, made)
    store.consolidate()
    draft.rename(path)


def _write_counts(store: Store, layer: Layer, rng: np.random.Generator) -> None:
    """Few channels much used, most hardly; channels of graphs as the graphs have them."""
    shape = (store.header.n_classes, layer.channels)
    counts = rng.binomial(PER_CLASS, rng.beta(0.05, 4, shape)).astype(np.int32)
    own, of_class, channel, count = _nodes(store, layer)
    counts[of_class[own], channel[own]] = count[own]
    store.add(f"matrices/{layer.name}/activation_count", counts)


def _nodes(store: Store, layer: Layer) -> tuple[NDArray[np.bool_], *tuple[NDArray[np.int64], ...]]:
    """Which nodes of all graphs are of a layer; class, channel and count of all."""
    of_layer, *columns = (store.read(f"{PAPERS.group}/node_{name}") for name in ("layer", "class", "channel", "count"))
    return of_layer == store.layer_graph.layers.index(layer), *columns


def _write_values(store: Store, layer: Layer, rng: np.random.Generator) -> None:
    """In coarse steps, so that they take little room."""
    values = rng.gamma(0.5, 2, (store.header.n_images, layer.channels)).round(1)
    store.write(f"activations/{layer.name}/value", values.astype(np.float32))


def _write_pictures(given: Store, store: Store, layer: Layer, rng: np.random.Generator) -> None:
    """Of each channel of any graph a picture and ten examples."""
    published = read_pictures(given, layer.name)
    givers = cycle(sorted({channel for channel, kind in published if kind == "channel"}))
    own, _, channel, _ = _nodes(store, layer)
    donor = dict(zip(np.unique(channel[own]).tolist(), givers, strict=False))
    add_pictures(store, layer.name, {(k, "channel"): published[of, "channel"] for k, of in donor.items()}, FINGERPRINT)
    shape = (layer.channels, EXAMPLES)
    thumbnails = [item for k in range(layer.channels) for item in _examples(published, donor.get(k))]
    data, offsets = encoded.pack(thumbnails)
    centre = rng.random((*shape, 2), dtype=np.float32)
    values = {
        "image_index": rng.integers(0, store.header.n_images, shape, dtype=np.int32),
        "value": np.sort(rng.gamma(2, 2, shape).astype(np.float32), axis=1)[:, ::-1],
        "box": np.broadcast_to(np.array([40, 40, 113, 113], np.int32), (*shape, 4)),
        "centre": centre,
        "share": rng.uniform(0.01, 0.5, shape).astype(np.float32),
        "map": _hills(centre, rng.uniform(1, 6, shape)),
        "thumbnail_bytes": data,
        "thumbnail_offset": offsets,
    }
    for name, array in values.items():
        store.add(f"examples/{layer.name}/{name}", array)


def _hills(centre: NDArray[np.float32], width: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Maps of channels that fire around one place."""
    place = np.arange(GRID) + 0.5
    y, x = ((place - GRID * centre[..., k, None]) / width[..., None] for k in (1, 0))
    return np.rint(TOP * np.exp(-(y[..., :, None] ** 2) - x[..., None, :] ** 2)).astype(np.uint8)


def _examples(published: Encoded, donor: int | None) -> Iterator[bytes]:
    for rank in range(EXAMPLES):
        yield b"" if donor is None else published.get((donor, f"dataset-p-{rank}"), b"")
