"""Relevance without a backward pass: the class's logit pushed down what is stored of each image's contributions.

    python benchmarks/pushed_relevance.py STORE [--data FOLDER] [--classes 10]

STORE is a finished store with contributions and relevance; where there is none, it is made as `sanity.py` makes it.

    r(class) = logit ── shared among its stored sources by what each contributes ── r of these ── ... ── lowest layer

Of each target every stored source gets its share of the target's r: its contribution, divided by the sum of the kept
positive ones, or by the target's pre-activation (its stored activation; a hidden layer's isn't stored, there it is the
sum of the kept). Positive sources alone, or those that lower the target too, with their sign. By every hop, identities
too. The stored arrays alone are used.

Prints, by layer, what is pushed beside relevance: rank correlation over an image's channels and over those alone that
it reaches, the Jaccard index of the channels an image uses (the `mass` rule), and how many of relevance's ten largest
are among its own ten; the Jaccard index of the nodes of the classes' graphs; the necessity of as many channels in each
layer as the graph by relevance has, chosen by one half of the class's images and tested by the other.
"""

import argparse
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from extraction_cost import DATA, table
from numpy.typing import NDArray
from sanity import Measured, finished_store, partition_of, rows_of
from scipy.stats import spearmanr

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.evidence import first_of, halves
from summit_dask.facts.pairs import Pair
from summit_dask.measure.ablation import Ablations, margins_of, means_of
from summit_dask.measure.evidence import pixels_of
from summit_dask.measure.partial import PartialNetwork
from summit_dask.network.build import built
from summit_dask.store.counts import Read, readable_classes
from summit_dask.store.store import Store

PAIR = Pair("relevance", "contribution")
Values = Mapping[str, NDArray[np.float64]]


class Way(NamedTuple):
    """How r is shared."""

    divided_by: str
    inhibitors: bool

    @property
    def words(self) -> str:
        """For the tables."""
        return f"{'positive and inhibitors' if self.inhibitors else 'positive'} / {self.divided_by}"


WAYS = tuple(Way(*both) for both in product(("sum of kept", "pre-activation"), (False, True)))


def pushed(store: Store, way: Way) -> Values:
    """r of every channel for each image, by layer."""
    graph = store.layer_graph
    result = {layer.name: np.zeros((store.header.n_images, layer.channels)) for layer in graph.layers}
    top = graph.visible[-1].name
    result[top] = store.read(f"activations/{top}/value").astype(np.float64)
    for layer in reversed(graph.influenced):
        parts = ("", "inhibitor_") if way.inhibitors else ("",)
        hop, source, value = (joined(store, layer.name, name, parts) for name in ("hop", "source", "value"))
        total = total_of(store, layer.name, way, np.maximum(value, 0).sum(2))
        share = value * np.divide(result[layer.name], total, out=np.zeros_like(total), where=total > 0)[:, :, None]
        for index, incoming in enumerate(graph.incoming(layer.name)):
            image, channel, rank = np.nonzero(hop == index)
            at = image, source[image, channel, rank]
            np.add.at(result[incoming.source], at, share[image, channel, rank])
    return result


def joined(store: Store, layer: str, name: str, parts: tuple[str, ...]) -> NDArray[Any]:
    """Sources of both kinds side by side."""
    values = [store.read(f"contributions/{layer}/{part}{name}") for part in parts]
    return np.concatenate(values, 2).astype(np.float64 if name == "value" else np.int64)


def total_of(store: Store, layer: str, way: Way, kept: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a target's contributions are divided by."""
    if way.divided_by == "sum of kept" or not store.layer_graph.layer(layer).visible:
        return kept
    return store.read(f"activations/{layer}/value").astype(np.float64)


# Against relevance


def by_layer(store: Store, values: Values) -> Iterator[dict[str, Any]]:
    """How near it comes to relevance, mean over images, input side first."""
    options = store.header.run.config
    for layer in store.layer_graph.with_maps:
        true, own = store.read(f"relevances/{layer.name}/value"), values[layer.name].astype(np.float32)
        both = [select_channels(x, options.mass, options.excluded_channels(layer.name)) for x in (true, own)]
        common, either = (both[0] & both[1]).sum(1), (both[0] | both[1]).sum(1)
        yield {
            "layer": layer.name,
            "channels": layer.channels,
            "reached": float((own != 0).sum(1).mean()),
            "rank correlation": correlation(true, own, np.ones(own.shape, bool)),
            "... of those reached": correlation(true, own, own != 0),
            "used by relevance": float(both[0].sum(1).mean()),
            "Jaccard of those used": float((common / np.maximum(either, 1)).mean()),
            "the same ten": same_best(true, own, 10),
        }


def same_best(true: NDArray[Any], own: NDArray[Any], n: int) -> float:
    """Share of an image's n largest by relevance that are among the n largest, mean over images."""
    best = [np.argsort(-values, axis=1, kind="stable")[:, :n] for values in (true, own)]
    return float(np.mean([len(np.intersect1d(a, b)) / n for a, b in zip(*best, strict=True)]))


def correlation(true: NDArray[Any], own: NDArray[Any], where: NDArray[np.bool_]) -> float:
    """Spearman's, mean over images with three channels or more."""
    rows = [(a[w], b[w]) for a, b, w in zip(true, own, where, strict=True) if w.sum() > 2]
    found = [spearmanr(a, b).statistic for a, b in rows if np.ptp(a) > 0 and np.ptp(b) > 0]
    return float(np.mean(found)) if found else float("nan")


def reading(store: Store, values: Values) -> Read:
    """The store's values, but r for relevance."""
    own = {f"relevances/{name}/value": array.astype(np.float32) for name, array in values.items()}
    return lambda address, rows: own[address][rows] if address in own else store.read(address, rows)


def graph_likeness(store: Store, read: Read, pair: Pair) -> dict[str, float]:
    """Jaccard index of the graphs' nodes and edges, and cosine of counts; mean over classes."""
    labels = readable_classes(rows_of(store), slice(None))
    measured = [
        Measured(*of, labels=labels, pair=p) for of, p in (((rows_of(store), store), PAIR), ((read, store), pair))
    ]
    graphs = [list(one.graphs(one.own)) for one in measured]
    found = np.mean([a.likeness(b) for a, b in zip(*graphs, strict=True)], axis=0)
    return dict(zip(("nodes", "edges", "cosine of counts"), found.tolist(), strict=True))


# Necessity


def rankings(store: Store, all_values: Mapping[str, Values]) -> dict[str, NDArray[np.float64]]:
    """Of each choice: what all channels with maps are ranked by, (image, channel)."""
    layers = store.layer_graph.with_maps
    stored = {
        kind: {x.name: store.read(f"{kind}s/{x.name}/value") for x in layers} for kind in ("relevance", "activation")
    }
    random = np.random.default_rng(0).random((store.header.n_images, sum(x.channels for x in layers)))
    found = {name: np.concatenate([v[x.name] for x in layers], 1) for name, v in {**stored, **all_values}.items()}
    return {**found, "random": random}


def necessity(store: Store, ranked: Mapping[str, NDArray[np.float64]]) -> dict[str, list[float]]:
    """Of each choice, class by class."""
    network = PartialNetwork(
        built(store.network, store.header.run.config.batch_size, store.path), store.network.preprocessing
    )
    labels = readable_classes(rows_of(store), slice(None))
    rows = np.flatnonzero(labels >= 0)
    replacement = means(network, store, rows)
    found: dict[str, list[float]] = {name: [] for name in ranked}
    for k in np.unique(labels[rows]).tolist():
        own = np.flatnonzero(labels == k)
        a, b = halves(len(own), np.random.default_rng(k))
        first, second = own[a], own[b]
        lost = losses(store, network, replacement, ranked, first, second)
        lost += losses(store, network, replacement, ranked, second, first)
        for place, name in enumerate(ranked):
            found[name].append(float(lost[place] / lost[-1]))
    return found


def means(network: PartialNetwork, store: Store, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """What maps are replaced by: their means over all images."""
    files = partition_of(store, rows).files
    values = np.concatenate([means_of(network, pixels) for _, pixels in pixels_of(network, files)])
    return np.asarray(values.mean(0), np.float32)


def losses(
    store: Store,
    network: PartialNetwork,
    replacement: NDArray[np.float32],
    ranked: Mapping[str, NDArray[np.float64]],
    making: NDArray[np.int64],
    testing: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Sum over the tested images of what is lost without each choice's channels; the last: without any."""
    sizes = graph_sizes(store, making)
    sets = [first_of(values[making].mean(0), sizes, network.bounds) for values in ranked.values()]
    removed = np.stack([np.zeros(len(replacement), bool), *sets, np.ones(len(replacement), bool)])
    lost = np.zeros(len(sets) + 1)
    tested = partition_of(store, testing)
    for start, pixels in pixels_of(network, tested.files):
        n_images = min(len(pixels), len(testing) - start)
        ablations = Ablations.of([(place, removed) for place in range(n_images)])
        outputs = tested.outputs[start : start + n_images]
        margins = margins_of(network, pixels[:n_images], outputs, ablations, replacement).reshape(n_images, -1)
        lost += (margins[:, :1] - margins[:, 1:]).sum(0)
    return lost


def graph_sizes(store: Store, making: NDArray[np.int64]) -> NDArray[np.int64]:
    """Channels of each layer in the graph by relevance of some images."""
    labels = np.where(np.isin(np.arange(store.header.n_images), making), 0, -1).astype(np.int32)
    measured = Measured(rows_of(store), store, labels, PAIR)
    (made,) = measured.graphs(measured.own)
    return np.array([sum(c.layer == layer.name for c in made.nodes) for layer in store.layer_graph.with_maps])


def main() -> None:
    """Push, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    store = finished_store(options.store, options.data, options.classes)
    all_values = {way.words: pushed(store, way) for way in WAYS}
    beside = {x.name: store.read(f"activations/{x.name}/value") for x in store.layer_graph.with_maps}
    for name, values in {**all_values, "activation": beside}.items():
        print(f"{name}\n\n{table(list(by_layer(store, values)))}\n", flush=True)
    likeness = {name: graph_likeness(store, reading(store, values), PAIR) for name, values in all_values.items()}
    likeness["activation"] = graph_likeness(store, rows_of(store), Pair("activation", "contribution"))
    print(table([{"graphs by": name, **values} for name, values in likeness.items()]) + "\n", flush=True)
    found = necessity(store, rankings(store, all_values))
    true = np.array(found["relevance"])
    rows = [
        {
            "channels by": name,
            "necessity": float(np.mean(v)),
            "least": min(v),
            "of relevance's": float(np.mean(v) / true.mean()),
        }
        for name, v in found.items()
    ]
    print(table(rows))


if __name__ == "__main__":
    main()
