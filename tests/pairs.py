"""Graphs of other pairs of measures than the paper's, and what they are made of, put into a store by hand."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.graph.attribution import class_graph
from summit_dask.facts.pairs import Pair
from summit_dask.store.counts import edge_counts, edge_values, node_counts, node_values, read_counts
from summit_dask.store.graphs import write_graphs
from summit_dask.store.store import Store
from tests.stores import finish

RELEVANT = Pair("relevance", "contribution")


def add_counts(store: Store, pair: Pair = RELEVANT, seed: int = 1) -> None:
    """Counts that graphs of a pair are made of; from then on the run is one that kept them."""
    rng = np.random.default_rng(seed)
    graph, n_classes = store.layer_graph, store.header.n_classes
    for layer in graph.visible:
        _put(store, node_counts(layer.name, pair), _counted(rng, (n_classes, layer.channels)))
    for hop in graph.hops:
        shape = (n_classes, hop.channels, graph.layer(hop.source).channels)
        _put(store, edge_counts(hop.name, pair), _counted(rng, shape))
        _put(store, f"matrices/{hop.name}/inhibition_count", _counted(rng, shape))
    keep(store)


def add_values(store: Store, pair: Pair = RELEVANT, seed: int = 1) -> None:
    """Values of single images that a pair's counts are made of, the same sources as by influence but another way."""
    rng = np.random.default_rng(seed)
    for layer in store.layer_graph.visible:
        values = rng.normal(size=(store.header.n_images, layer.channels)).astype(np.float32)
        _put(store, node_values(layer.name, pair), values)
    for layer in store.layer_graph.influenced:
        source, hop = (store.read(address) for address in edge_values(layer.name, Pair()))
        for address, values in zip(edge_values(layer.name, pair), (source[::-1], hop[::-1]), strict=True):
            _put(store, address, values.copy())
    keep(store)


def add_inhibitors(path: Path, seed: int = 2) -> None:
    """Of single images, the sources that lower channels most."""
    rng = np.random.default_rng(seed)
    store = Store.open(path, writable=True)
    for layer in store.layer_graph.influenced:
        source, hop = (store.read(address) for address in edge_values(layer.name, Pair()))
        order = rng.permutation(len(source))
        with store.changing():
            _put(store, f"contributions/{layer.name}/inhibitor_source", source[order])
            _put(store, f"contributions/{layer.name}/inhibitor_hop", hop[order])


def add_graphs(store: Store, pair: Pair = RELEVANT) -> None:
    """The graphs of a pair, from the store's counts, as the stage makes them."""
    options = store.header.run.config
    counts = read_counts(store.read, store.layer_graph, slice(0, store.header.n_classes), pair)
    graphs = [class_graph(store.layer_graph, of_class, options.excluded_by_layer(), options) for of_class in counts]
    with store.renewing(pair.group) as draft:
        write_graphs(draft, graphs, pair)
        finish(draft, pair.group)


def add_pair(path: Path, pair: Pair = RELEVANT) -> None:
    """The graphs of a pair, and all that they are made of."""
    store = Store.open(path, writable=True)
    with store.changing():
        add_counts(store, pair)
        add_values(store, pair)
        add_graphs(store, pair)


def keep(store: Store) -> None:
    """Have the run be one that kept relevance."""
    run = store.header.run
    store.update_run(run.model_copy(update={"config": run.config.replaced(relevance=True)}))


def _counted(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Few channels much used, most hardly."""
    return rng.binomial(6, rng.beta(0.3, 2, shape)).astype(np.int32)


def _put(store: Store, address: str, values: NDArray[Any]) -> None:
    """Write an array, whether or not it was laid out."""
    if store.has(address):
        store.write(address, values)
    else:
        store.add(address, values)
