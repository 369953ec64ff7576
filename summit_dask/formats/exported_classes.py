"""What imagenet.json says of each class, from a store's arrays."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.embedding import embed_layers
from summit_dask.facts import schema
from summit_dask.formats import front_end
from summit_dask.formats.graph_parts import without_class
from summit_dask.formats.job import Job, Remarks
from summit_dask.formats.names import selector_word, unique
from summit_dask.formats.original_classes import ClassEntry
from summit_dask.store.graphs import read_graphs
from summit_dask.store.progress import say
from summit_dask.store.store import Store

#: End of a sentence about a part of imagenet.json that is not there.
_CANT_START = "the original's front end can't start without"

#: Columns of imagenet.json by class: a layer's (class, channel), and x and y (class,).
Counts = Mapping[str, NDArray[np.int32]]
Embed = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class ClassTable:
    """Columns of imagenet.json, by class index, and of the images that it sums up.

    `counts` and `embed` are by the original's names of layers, and empty if there is nothing.
    """

    synset: list[str]
    name: list[str]
    label: list[int]
    target: list[int]
    n_correct: list[int]
    counts: Counts
    embed: Embed
    image_class: NDArray[np.int32]
    image_probability: NDArray[np.float32]

    def entry(self, index: int) -> ClassEntry:
        """One class."""
        return ClassEntry(
            synset=self.synset[index],
            label=self.label[index],
            name=self.name[index],
            target=self.target[index],
            counts={layer: counts[index] for layer, counts in self.counts.items()},
            embed={layer: (float(x[index]), float(y[index])) for layer, (x, y) in self.embed.items()},
            probability=self.image_probability[self.image_class == index],
            n_correct=self.n_correct[index],
        )


def class_table(job: Job) -> tuple[ClassTable, Remarks]:
    """The table of all classes, and what it lacks."""
    store = job.store
    synset, name = _words(job)
    counts = _counts(job)
    embed = _embed(job, counts)
    is_read = store.read("images/status") == schema.READ
    table = ClassTable(
        synset=synset,
        name=name,
        label=_labels(job),
        target=targets(store),
        n_correct=store.read("classes/n_correct").tolist(),
        counts=counts,
        embed=embed,
        image_class=store.read("images/class_index")[is_read],
        image_probability=store.read("images/probability")[is_read, 0],
    )
    return table, _remarks(job, bool(counts), bool(embed))


def targets(store: Store) -> list[int]:
    """The N of each class's ag-N.json: its output, or its index where outputs are unknown or shared."""
    outputs: list[int] = store.read("classes/output_index").tolist()
    is_usable = len(set(outputs)) == len(outputs) and min(outputs) >= 0
    return outputs if is_usable else list(range(len(outputs)))


def _labels(job: Job) -> list[int]:
    """Positions in the synset file, from 1."""
    known = job.imported.labels if job.imported else ()
    return list(known or range(1, job.store.header.n_classes + 1))


def _words(job: Job) -> tuple[list[str], list[str]]:
    """Synset and name of each class; its folder name stands for a synset it does not have.

    Imported ones stay as they were; of ours, what the front end's selectors can't take becomes an underscore.
    """
    names = [str(name) for name in job.store.read("classes/name")]
    synsets = [str(synset) or label for synset, label in zip(job.store.read("classes/synset"), job.labels, strict=True)]
    if job.imported:
        return synsets, names
    words = unique(selector_word(synset) or "class" for synset in synsets)
    return words, [selector_word(name) or word for name, word in zip(names, words, strict=True)]


def _counts(job: Job) -> Counts:
    """A; for the front end, where there is none, what the graphs' nodes know of it."""
    store = job.store
    if "matrices" in store.group:
        return {name: store.read(f"matrices/{layer}/activation_count") for layer, name in job.names.items()}
    if job.front_end and job.has_graphs:
        graphs = [without_class(graph, store.layer_graph) for graph in read_graphs(store, job.pair)]
        return front_end.counts_of_nodes(graphs, job.layer_graph)
    return {}


def _embed(job: Job, counts: Counts) -> Embed:
    """The embedding; for the front end, where there is none, one of the counts."""
    store = job.store
    if "embedding" in store.group:
        return {
            name: (store.read(f"embedding/{layer}/x"), store.read(f"embedding/{layer}/y"))
            for layer, name in job.names.items()
        }
    if job.front_end and counts:
        say("embed: the store has no embedding, so one is made of the counts.")
        points = embed_layers(counts, store.header.run.config.seed)
        return {name: (xy[:, 0], xy[:, 1]) for name, xy in points.items()}
    return {}


def _remarks(job: Job, has_counts: bool, has_embed: bool) -> Remarks:
    """What imagenet.json lacks, or has from elsewhere than usual."""
    remedy = "--front-end makes them of the graphs." if job.has_graphs else "'summit-dask run' makes them."
    left_out = []
    notes = []
    if not has_counts:
        left_out.append(f"topChannels of imagenet.json: the store has no matrices; {_CANT_START} them. {remedy}")
    elif "matrices" not in job.store.group:
        notes.append("topChannels of imagenet.json are the channels of the graphs alone; the store has no matrices.")
    if not has_embed:
        left_out.append(f"embed of imagenet.json: the store has no embedding; {_CANT_START} it. {remedy}")
    elif "embedding" not in job.store.group:
        notes.append("embed of imagenet.json was made of its topChannels; the store has no embedding.")
    return Remarks(left_out, notes)
