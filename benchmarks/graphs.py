"""Time of one class's attribution graph at the sizes of InceptionV1 and of ResNet-50.

    OMP_NUM_THREADS=1 python benchmarks/graphs.py

Invented counts: every channel has 5 sources in each of 1300 images, drawn from a few favourites of its own, so
that the numbers of sources and of edges are near the published ones. Process CPU time, so that other work on the
machine counts for nothing; reading and writing are not in it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median, quantiles

import networkx as nx
import numpy as np
from scipy import sparse

from summit_dask.arrays.graph.attribution import class_graph
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.arrays.graph.pagerank import pagerank, personalisation, whole_graph
from summit_dask.facts.config import GraphOptions
from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph, Window

N_IMAGES, N_CLASSES, REPEATS = 1300, 5, 7
#: Layer: channels of the 1x1, 3x3, 5x5 and pool branch; of the two bottlenecks.
INCEPTION_V1 = {
    "3a": ((64, 128, 32, 32), (96, 16)),
    "3b": ((128, 192, 96, 64), (128, 32)),
    "4a": ((192, 204, 48, 64), (96, 16)),
    "4b": ((160, 224, 64, 64), (112, 24)),
    "4c": ((128, 256, 64, 64), (128, 24)),
    "4d": ((112, 288, 64, 64), (144, 32)),
    "4e": ((256, 320, 128, 128), (160, 32)),
    "5a": ((256, 320, 128, 128), (160, 48)),
    "5b": ((384, 384, 128, 128), (192, 48)),
}


def inception_v1() -> LayerGraph:
    """The nine visible layers and the bottlenecks above the lowest."""
    layers, hops = [_layer("3a", sum(INCEPTION_V1["3a"][0]))], []
    for below, name in pairwise(INCEPTION_V1):
        branches, bottlenecks = INCEPTION_V1[name]
        for k, size in enumerate(bottlenecks):
            layers.append(_layer(f"{name}.{k}", size, visible=False))
            hops.append(Hop(f"{name}.{k}.in", below, f"{name}.{k}", range(size), Convolution()))
        ends = [0, *np.cumsum(branches).tolist()]
        for k, source in enumerate((below, f"{name}.0", f"{name}.1", below)):
            hops.append(Hop(f"{name}.hop{k}", source, name, range(ends[k], ends[k + 1]), Convolution()))
        layers.append(_layer(name, ends[-1]))
    return LayerGraph(tuple(layers), tuple(hops))


#: ResNet-50: channels of the bottlenecks, and blocks, of each stage.
RESNET_50 = ((64, 3), (128, 4), (256, 6), (512, 3))


def resnet_50() -> LayerGraph:
    """The sixteen blocks, each with two hidden layers beside an identity or, in a stage's first, a convolution."""
    layers = [_layer("stem", 64)]
    hops: list[Hop] = []
    for width, n_blocks in RESNET_50:
        for _ in range(n_blocks):
            below, name = layers[-1], f"block{len(layers) // 3}"
            skip = None if below.channels == 4 * width else Convolution()
            layers += [_layer(f"{name}.1", width, False), _layer(f"{name}.2", width, False), _layer(name, 4 * width)]
            hops += [
                Hop(f"{name}.conv1", below.name, f"{name}.1", range(width), Convolution()),
                Hop(f"{name}.conv2", f"{name}.1", f"{name}.2", range(width), Convolution((3, 3), padding=(1, 1))),
                Hop(f"{name}.conv3", f"{name}.2", name, range(4 * width), Convolution()),
                Hop(f"{name}.skip", below.name, name, range(4 * width), skip),
            ]
    return LayerGraph(tuple(layers), tuple(hops))


def _layer(name: str, channels: int, visible: bool = True) -> Layer:
    return Layer(name, channels, 7, 7, visible, Window((1, 1), (1, 1), (0, 0)))


def invented_counts(layer_graph: LayerGraph, seed: int) -> ClassCounts:
    """Counts of a class of 1300 images."""
    rng = np.random.default_rng(seed)
    activation = {
        layer.name: np.minimum(rng.zipf(1.5, layer.channels) - 1, N_IMAGES).astype(np.int32)
        for layer in layer_graph.visible
    }
    influence = {
        hop.name: _favourites(rng, hop.channels, layer_graph.layer(hop.source).channels)
        if hop.convolution
        else sparse.diags_array(rng.integers(0, N_IMAGES, hop.channels, dtype=np.int32), dtype=np.int32).tocsr()
        for hop in layer_graph.hops
    }
    return ClassCounts(activation, influence)


def _favourites(rng: np.random.Generator, n_targets: int, n_sources: int) -> sparse.csr_array:
    chance = 1.0 / np.arange(1, n_sources + 1) ** 3.0
    rows = rng.multinomial(5 * N_IMAGES, chance / chance.sum(), n_targets)
    return sparse.csr_array(np.minimum(rng.permuted(rows, axis=1), N_IMAGES).astype(np.int32))


def cpu_ms(work: Callable[[], object]) -> float:
    """Process CPU time of one call."""
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def main() -> None:
    """Print the times of both networks."""
    _measure("InceptionV1", inception_v1(), {"3a": [67, 190], "3b": [390, 399, 412]})
    _measure("ResNet-50", resnet_50(), {})


def _measure(title: str, layer_graph: LayerGraph, excluded: Mapping[str, Sequence[int]]) -> None:
    """Print the median and the quartiles of every part."""
    print(f"{title}:")
    classes = [invented_counts(layer_graph, seed) for seed in range(N_CLASSES)]
    print(f"first call: {cpu_ms(lambda: class_graph(layer_graph, classes[0], {})):.0f} ms")
    unified = GraphOptions(unified=True)
    times: dict[str, list[float]] = {"widest paths": [], "pagerank": [], "whole class": [], "whole class, unified": []}
    for counts in classes * REPEATS:
        whole = whole_graph(layer_graph, counts, excluded)
        weights = personalisation(whole, counts)
        times["widest paths"].append(cpu_ms(lambda c=counts: whole_graph(layer_graph, c, excluded)))
        times["pagerank"].append(cpu_ms(lambda w=whole, p=weights: pagerank(w.edges, w.is_node, p)))
        times["whole class"].append(cpu_ms(lambda c=counts: class_graph(layer_graph, c, excluded)))
        times["whole class, unified"].append(cpu_ms(lambda c=counts: class_graph(layer_graph, c, excluded, unified)))
    network = nx.from_scipy_sparse_array(whole.edges + whole.edges.T)
    slow = cpu_ms(lambda: nx.pagerank(network, personalization=dict(enumerate(weights.tolist()))))
    print(f"networkx.pagerank, the network already built: {slow:.0f} ms")
    graph = class_graph(layer_graph, classes[0], excluded)
    print(f"whole graph: {whole.is_node.sum()} nodes, {whole.edges.nnz} edges")
    print(f"attribution graph: {graph.node_layer.size} nodes, {graph.edge_influence.size} edges")
    for name, values in times.items():
        low, _, high = quantiles(values)
        print(f"{name}: {median(values):.1f} ms ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
