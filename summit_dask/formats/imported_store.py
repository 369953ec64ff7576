"""The store of what an import read: what the original's files do not hold, it does not hold."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts import schema
from summit_dask.facts.config import ResultOptions, fingerprint
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import PAPERS
from summit_dask.facts.run import Imported, Run
from summit_dask.formats.original_classes import ClassEntry
from summit_dask.store.graphs import write_graphs
from summit_dask.store.header import Header
from summit_dask.store.layout import partition_size
from summit_dask.store.store import Store

#: Stands for the fingerprint of everything that was imported.
IMPORTED = fingerprint({"imported": "summit"})

_SYNSET = re.compile(r"n\d{8}")

#: Synset and name of an output of the network, by its index.
Outputs = Mapping[int, tuple[str, str]]


def create_store(
    path: Location, layer_graph: LayerGraph, through: bool, entries: Sequence[ClassEntry], outputs: Outputs
) -> Store:
    """Lay out a store and fill its tables of outputs, classes and images.

    Parameters
    ----------
    through
        Whether the graphs' sources are named through the bottlenecks.
    entries
        Of the classes, at least one, in the order of the outputs.
    outputs
        What is known of outputs beside the classes' own entries, and comes before it.
    """
    n_images = sum(len(entry.probability) for entry in entries)
    known = {**{entry.target: (entry.synset, entry.name) for entry in entries}, **outputs}
    n_outputs = max(known) + 1
    run = Run(
        config=ResultOptions(model="imported", images=Path("imported")),
        imported=Imported(labels=tuple(entry.label for entry in entries), sources_in_layer_below=through),
    )
    header = Header(layer_graph, run, n_images, len(entries), n_outputs, partition_size(n_images))
    tables = {
        "": {"image": np.arange(n_images), "class": _strings(entry.synset for entry in entries)},
        "outputs": _output_table([known.get(index, ("", "")) for index in range(n_outputs)]),
        "images": _image_table(entries, header.lengths()["prediction_rank"]),
        "classes": _class_table(entries),
    }
    return Store.create(path, header, tables)


def _output_table(outputs: Sequence[tuple[str, str]]) -> dict[str, NDArray[Any]]:
    return {
        "synset": _strings(_wordnet(synset) for synset, _ in outputs),
        "name": _strings(name for _, name in outputs),
    }


def _class_table(entries: Sequence[ClassEntry]) -> dict[str, NDArray[Any]]:
    return {
        "name": _strings(entry.name for entry in entries),
        "synset": _strings(_wordnet(entry.synset) for entry in entries),
        "output_index": np.array([entry.target for entry in entries], np.int32),
        "n_images": np.array([len(entry.probability) for entry in entries], np.int32),
        "n_correct": np.array([entry.n_correct for entry in entries], np.int32),
    }


def _image_table(entries: Sequence[ClassEntry], n_ranks: int) -> dict[str, NDArray[Any]]:
    """All that is known of an image: its class, and the probability of whatever it was taken for; NaN: unknown."""
    counts = [len(entry.probability) for entry in entries]
    n_images = sum(counts)
    probability = np.full((n_images, n_ranks), np.nan, np.float32)
    probability[:, 0] = np.concatenate([entry.probability for entry in entries])
    return {
        "class_index": np.repeat(np.arange(len(entries), dtype=np.int32), counts),
        "status": np.full(n_images, schema.READ, np.uint8),
        "probability": probability,
    }


def _strings(texts: Iterable[str]) -> NDArray[Any]:
    return np.array(list(texts), dtype=schema.STRING)


def _wordnet(synset: str) -> str:
    """The text if it is a WordNet number; imagenet.json needs some text there for every class."""
    return synset if _SYNSET.fullmatch(synset) else ""


def write_results(store: Store, entries: Sequence[ClassEntry], graphs: Sequence[ClassGraph]) -> None:
    """Fill the groups of counts, embedding and graphs, as far as the first entry has something for them."""
    names = [layer.name for layer in store.layer_graph.visible]
    if entries[0].counts:
        with store.renewing("matrices") as part:
            for name in names:
                counts = np.stack([entry.counts[name] for entry in entries])
                part.add(f"matrices/{name}/activation_count", counts)
            part.finish("matrices", IMPORTED)
    if entries[0].embed:
        with store.renewing("embedding") as part:
            for name in names:
                points = np.array([entry.embed[name] for entry in entries], np.float32)
                part.add(f"embedding/{name}/x", points[:, 0].copy())
                part.add(f"embedding/{name}/y", points[:, 1].copy())
            part.finish("embedding", IMPORTED)
    with store.renewing(PAPERS.group) as part:
        write_graphs(part, graphs, PAPERS)
        part.finish(PAPERS.group, IMPORTED)
