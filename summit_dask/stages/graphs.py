"""The graphs stage: the attribution graph of every class from the counts, some classes a task."""

from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.location import Location
from summit_dask.stages.cluster import Connect
from summit_dask.stages.tasks import finished
from summit_dask.store.counts import read_counts
from summit_dask.store.graphs import write_graphs
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store

CLASSES_PER_TASK = 8


def make_graphs(store: Store, options: ResultOptions, connect: Connect) -> None:
    """Attribution graphs of all classes, of the pair of measures in the options."""
    cluster = connect()
    n_classes = store.header.n_classes
    starts = list(range(0, n_classes, CLASSES_PER_TASK))
    made: dict[int, ClassGraph] = {}
    with Progress("graphs", "classes", n_classes) as progress:
        futures = cluster.client.map(graph_task, starts, path=store.path, options=options, pure=False)
        for start, graphs in finished(cluster, futures, starts):
            made.update(enumerate(graphs, start))
            progress.add(len(graphs))
    write_graphs(store, [made[index] for index in range(n_classes)], options.pair)


def graph_task(start: int, path: Location, options: ResultOptions) -> list[ClassGraph]:
    """Graphs of some neighbouring classes; runs on a worker."""
    store = Store.open(path)
    layer_graph = store.layer_graph
    classes = slice(start, min(start + CLASSES_PER_TASK, store.header.n_classes))
    excluded = options.excluded_by_layer()
    counts = read_counts(store.read, layer_graph, classes, options.pair)
    return [class_graph(layer_graph, of_class, excluded, options) for of_class in counts]
