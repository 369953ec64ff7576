"""Nulls of the graphs: how much is left of them when labels are permuted, and when the network's layers are randomised.

    python benchmarks/sanity.py STORE [--data FOLDER] [--classes 10] [--per-class 8] [--depths 4]
                                [--samples 30] [--permutations 30]

STORE is a finished store, as that of the demo; where there is none, `googlenet_bvlc` is measured on some classes of
imagenet_val first (the links beside STORE are to their images). Prints two Markdown tables, means over the classes of
the Jaccard index of a graph's nodes and edges with those of the class's own graph, for each pair of measures that the
store has counts of.

Labels: graphs of bootstrap samples of the class's images; of one half of them against the other half's; of as many
images as the class has, of permuted labels, and of half as many; of the other classes.
Layers: a part of the network is all that has parameters under one name at the top. Each parameter's entries are
permuted among themselves: in the head alone, in more and more parts from the top down, and from the bottom up; a few
images of each class are measured again. With the class's row and, as PageRank carries what it holds down to all rows,
without it; beside, the cosine of the counts of all channels. The first row, of other classes with nothing randomised,
is what any two graphs share.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from evidence import chosen_images
from evidence import measure as make_store
from extraction_cost import DATA, table
from numpy.typing import NDArray
from torch import nn

from summit_dask.arrays.graph.attribution import class_graph
from summit_dask.arrays.resampling import ClassImages, bootstrap_weights
from summit_dask.facts.addresses import why_not_counted
from summit_dask.facts.config import ClusterOptions
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.pairs import PAIRS, Pair
from summit_dask.facts.run import NetworkSpec
from summit_dask.measure.extractor import Extractor
from summit_dask.measure.partition import Partition, extract_partition
from summit_dask.network.load import find_network, load_network
from summit_dask.network.trace import trace_network
from summit_dask.store.counts import Read, read_images, readable_classes
from summit_dask.store.imagefiles import ImageFiles
from summit_dask.store.store import Store

Weights = NDArray[np.int32]  # (sample, image)
Labels = NDArray[np.int32]


class Likeness(NamedTuple):
    """Jaccard indices of two graphs, cosine of their counts."""

    nodes: float
    edges: float
    counts: float


@dataclass(frozen=True)
class Made:
    """What a graph holds, and the counts of all channels."""

    nodes: frozenset[Any]
    edges: frozenset[Any]
    counts: NDArray[np.int64]

    def likeness(self, other: "Made") -> Likeness:
        """Of two graphs."""
        length = float(np.linalg.norm(self.counts) * np.linalg.norm(other.counts))
        cosine = float(self.counts @ other.counts) / length if length else 0.0
        return Likeness(jaccard(self.nodes, other.nodes), jaccard(self.edges, other.edges), cosine)


def jaccard(one: frozenset[Any], other: frozenset[Any]) -> float:
    """Of two sets; two empty ones have nothing in common that anyone could see."""
    return len(one & other) / len(one | other) if one and other else 0.0


@dataclass(frozen=True)
class Measured:
    """Values of single images, and how graphs are made of them."""

    read: Read
    store: Store
    labels: Labels
    pair: Pair
    with_class: bool = True

    @property
    def layer_graph(self) -> LayerGraph:
        """Layers that take part."""
        return self.store.layer_graph if self.with_class else self.store.layer_graph.without_class()

    @cached_property
    def images(self) -> ClassImages:
        """All readable images."""
        options = self.store.header.run.config
        excluded = options.excluded_by_layer()
        return read_images(self.read, self.layer_graph, self.labels >= 0, options.mass, excluded, self.pair)

    @cached_property
    def own(self) -> Weights:
        """One row a class: its images."""
        known = self.labels[self.labels >= 0]
        return np.asarray(known == np.unique(known)[:, None], np.int32)

    def graphs(self, weights: Weights) -> Iterator[Made]:
        """Of samples of the images."""
        options, graph = self.store.header.run.config, self.layer_graph
        for counts in self.images.counts(weights):
            made = class_graph(graph, counts, options.excluded_by_layer(), options)
            channels = np.concatenate([counts.activation[layer.name] for layer in graph.with_maps])
            yield Made(frozenset(made.nodes(graph)), frozenset(made.edges(graph)), channels.astype(np.int64))


def mean(likenesses: Iterable[Likeness]) -> Likeness:
    """Of many."""
    return Likeness(*np.mean(list(likenesses), axis=0).tolist())


def all_pairs(store: Store) -> list[Pair]:
    """Those that the store has counts of."""
    return [pair for pair in PAIRS if not why_not_counted(pair, store.header.run.config)]


# Labels


def half(weights: Weights, rng: np.random.Generator) -> Weights:
    """A random half of the images of each sample."""
    keys = np.where(weights > 0, rng.random(weights.shape), -1)
    kept = keys.argsort(1).argsort(1) >= weights.shape[1] - (weights.sum(1, keepdims=True) // 2)
    return np.asarray(weights * kept, np.int32)


def of_labels(measured: Measured, n_samples: int, n_permutations: int) -> dict[str, Likeness]:
    """Likeness of each class's graph and those of samples, by what was sampled; means over classes."""
    rng = np.random.default_rng(0)
    permuted = np.stack([rng.permuted(np.arange(measured.own.shape[1])) for _ in range(n_permutations)])
    originals = list(measured.graphs(measured.own))
    found = []
    for k, row in enumerate(measured.own):
        found.append(of_class(measured, row, row[permuted], n_samples, rng))
        found[-1] |= {"other classes": compared(others_of(originals, k), repeat(originals[k]))}
    return {name: mean(own[name] for own in found) for name in found[0]}


def of_class(
    measured: Measured, row: Weights, permuted: Weights, n_samples: int, rng: np.random.Generator
) -> dict[str, Likeness]:
    """As `of_labels`, of one class, whose images are those of a row."""
    (own,) = measured.graphs(row[None])
    halves = half(np.repeat(row[None], n_samples, 0), rng)
    bootstrap = row * bootstrap_weights(n_samples, len(row), rng)
    parts = list(measured.graphs(halves))
    return {
        "bootstrap": compared(measured.graphs(bootstrap), repeat(own)),
        "permuted": compared(measured.graphs(permuted), repeat(own)),
        "half": compared(measured.graphs(row - halves), parts),
        "half, permuted": compared(measured.graphs(half(permuted, rng)), parts),
    }


def compared(made: Iterable[Made], others: Iterable[Made]) -> Likeness:
    """Mean over pairs of graphs."""
    return mean(a.likeness(b) for a, b in zip(made, others, strict=False))


def others_of(made: Sequence[Made], k: int) -> list[Made]:
    """All but one."""
    return [*made[:k], *made[k + 1 :]]


def labels_rows(store: Store, n_samples: int, n_permutations: int) -> Iterator[dict[str, Any]]:
    """One for each pair and kind of thing."""
    labels = readable_classes(rows_of(store), slice(None))
    for pair in all_pairs(store):
        found = of_labels(Measured(rows_of(store), store, labels, pair), n_samples, n_permutations)
        for part in ("nodes", "edges"):
            values = {name: getattr(likeness, part) for name, likeness in found.items()}
            ratios = {
                "permuted / bootstrap": values["permuted"] / values["bootstrap"],
                "... of halves": values["half, permuted"] / values["half"],
            }
            yield {"pair": pair.name, "of": part, **values, **ratios}


def rows_of(store: Store) -> Read:
    """Read some rows of a store's arrays."""
    return lambda address, rows: store.read(address, rows)


# Layers


def parts_of(module: nn.Module) -> list[str]:
    """Names at the top that have parameters, input side first."""
    return list(dict.fromkeys(name.split(".")[0] for name, _ in module.named_parameters()))


def scramble(module: nn.Module, parts: Sequence[str]) -> None:
    """Permute the entries of every parameter of some parts among themselves."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        if name.split(".")[0] in parts:
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.data = parameter.data.flatten()[order].view(parameter.shape)


def plain_module(spec: NetworkSpec) -> nn.Module:
    """The network as it was trained."""
    found = find_network(spec.model, spec.weights, spec.weights_key, spec.transform_input)
    return load_network(found, spec.preprocessing.input_size, spec.output).module


def changes(spec: NetworkSpec, depths: int) -> dict[str, list[str]]:
    """Parts that are randomised, by what it is called; nothing first."""
    parts = parts_of(plain_module(spec))
    counts = np.unique(np.linspace(1, len(parts), depths).round().astype(int)).tolist()
    found = {"nothing": [], f"the head alone ({parts[-1]})": parts[-1:]}
    found |= {f"from the top to {parts[-n]} ({n} of {len(parts)})": parts[-n:] for n in counts[1:-1]}
    found |= {f"from the bottom to {parts[n - 1]} ({n} of {len(parts)})": parts[:n] for n in counts[:-1]}
    return {**found, f"all {len(parts)} parts": parts}


def measured_again(store: Store, rows: NDArray[np.int64], parts: Sequence[str]) -> Read:
    """Values of some images with some parts of the network randomised."""
    spec, options = store.network, store.header.run.config.replaced(influence_values=False)
    module = plain_module(spec)
    scramble(module, parts)
    traced = trace_network(module, spec.layers, spec.preprocessing.input_size, options.batch_size, spec.logits)
    extractor = Extractor(traced, spec.preprocessing, options)
    found = extract_partition(extractor, spec.preprocessing, partition_of(store, rows), options)
    return lambda address, chosen: found[address][chosen]


def partition_of(store: Store, rows: NDArray[np.int64]) -> Partition:
    """Some images of a store."""
    own = store.read("classes/output_index")[store.read("images/class_index")[rows]].astype(np.int32)
    files = ImageFiles.of(store, lambda address: store.read(address)[rows]).all()
    return Partition(files, own, store.header.n_outputs)


def some_images(labels: Labels, n_classes: int, per_class: int) -> NDArray[np.int64]:
    """The first images of each of the first classes."""
    return np.concatenate([np.flatnonzero(labels == k)[:per_class] for k in range(min(n_classes, labels.max() + 1))])


def layers_rows(store: Store, rows: NDArray[np.int64], depths: int) -> Iterator[dict[str, Any]]:
    """One for each change and pair."""
    labels = readable_classes(rows_of(store), slice(None))[rows]
    originals: dict[tuple[Pair, bool], list[Made]] = {}
    for name, parts in changes(store.network, depths).items():
        read = measured_again(store, rows, parts)
        print(f"measured: {name}", flush=True)
        for pair in all_pairs(store):
            found = {}
            for with_class in (True, False):
                measured = Measured(read, store, labels, pair, with_class)
                made = list(measured.graphs(measured.own))
                own = originals.setdefault((pair, with_class), made)
                others = made if parts else [*made[1:], made[0]]
                found[with_class] = [a.likeness(b) for a, b in zip(own, others, strict=True)]
            yield {"randomised": name if parts else "nothing, other classes", "pair": pair.name, **columns(found)}


def columns(found: Mapping[bool, Sequence[Likeness]]) -> dict[str, Any]:
    """Means over the classes, with the class's row and without it."""
    whole, bare = mean(found[True]), mean(found[False])
    return {
        "nodes": whole.nodes,
        "edges": whole.edges,
        "cosine of counts": whole.counts,
        "nodes, no class row": bare.nodes,
        "edges, no class row": bare.edges,
        "the same nodes, no class row": f"{sum(x.nodes == 1 for x in found[False])} of {len(found[False])}",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--per-class", type=int, default=8, help="images that are measured again")
    parser.add_argument("--depths", type=int, default=4, help="how many parts of the network, evenly spread")
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--permutations", type=int, default=30)
    options = parser.parse_args()
    store = finished_store(options.store, options.data, options.classes)
    print(table(list(labels_rows(store, options.samples, options.permutations))) + "\n", flush=True)
    rows = some_images(readable_classes(rows_of(store), slice(None)), options.classes, options.per_class)
    found = list(layers_rows(store, rows, options.depths))
    print(f"\n{len(rows)} images\n\n" + table(found))


def finished_store(path: Path, data: Path, n_classes: int) -> Store:
    """The store, made first if it isn't there."""
    if not (path / "zarr.json").exists():
        links = path.with_name(f"{path.name}.images")
        links.mkdir(parents=True)
        make_store(path, data, chosen_images(data / "images/imagenet_val", 8, n_classes, links), 8, ClusterOptions())
    return Store.open(path)


if __name__ == "__main__":
    main()
