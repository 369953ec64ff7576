"""What scheduling, storing and reducing cost by the number of images, without a network.

    python benchmarks/scale.py [--images 10000 100000] [--classes 1000] [--layers 2] [--workers 2] [--folder FOLDER]

The extract and reduce stages as they are, on a local cluster; workers make values up, of InceptionV1's size, instead of
running a network. `--layers` of its nine visible layers, from the lowest, and all that leads to them: less than all
where the disk is too small. Prints a JSON line for each number of images: wall and CPU seconds of each stage,
milliseconds of CPU an image, the largest memory (resident) of this process, which holds client and scheduler, and of a
worker, and bytes of the store; the store is deleted.
"""

import argparse
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from distributed import Worker

from benchmarks.graphs import inception_v1
from benchmarks.invented import invented_store
from benchmarks.reductions import invented_sources, invented_values
from summit_dask.facts import schema
from summit_dask.facts.config import ClusterOptions, ExtractOptions
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.measure.partition import Arrays, Partition, _Buffers
from summit_dask.stages import extract, reduce
from summit_dask.stages.cluster import cluster
from summit_dask.stages.workers import installed
from summit_dask.store.status import fingerprints
from summit_dask.store.store import Store

MB = 2**20


class Inventor(extract.ExtractorPlugin):
    """Makes values up on a worker where a network would measure them."""

    on_gpu = False

    def prepare(self, worker: Worker) -> None:
        """See `NetworkPlugin`."""
        self.store = Store.open(self.path, writable=True)
        self.extractor: Any = self
        nothing = Partition((), np.zeros(0, np.int64), self.store.header.n_outputs)
        invented_partition(self, None, nothing, self.store.header.run.config)  # making them up takes a second, once
        extract.extract_partition = invented_partition


def invented_partition(plugin: Any, preprocessing: object, images: Partition, options: ExtractOptions) -> Arrays:
    """In place of `extract_partition`; images of a class have the same favourites."""
    graph, n = plugin.store.layer_graph, len(images.files)
    arrays = _Buffers(graph, images, options).values
    arrays["images/status"][:] = schema.READ
    for layer in graph.visible:
        arrays[f"activations/{layer.name}/value"][:] = some_values(layer.channels)[:n]
    for layer in graph.influenced:
        for index, hop in enumerate(graph.incoming(layer.name)):
            n_sources = graph.layer(hop.source).channels
            shift = 7 * images.outputs[:, None, None]
            source = (some_sources(hop.channels, n_sources)[:n] + shift) % n_sources
            arrays[f"influences/{layer.name}/source"][:, hop.rows] = source
            arrays[f"influences/{layer.name}/hop"][:, hop.rows] = index
    return arrays


@cache
def some_values(n_channels: int) -> Any:
    """Of a partition's images."""
    return invented_values(np.random.default_rng(0), 1024, n_channels)


@cache
def some_sources(n_channels: int, n_sources: int) -> Any:
    """Of a partition's images of the first class."""
    return invented_sources(np.random.default_rng(0), np.zeros(1024, np.int64), n_channels, n_sources)


def lowest(graph: LayerGraph, n_layers: int) -> LayerGraph:
    """The lowest visible layers, and all that leads to them."""
    names = [layer.name for layer in graph.layers]
    layers = graph.layers[: names.index(graph.visible[n_layers - 1].name) + 1]
    kept = {layer.name for layer in layers}
    return LayerGraph(layers, tuple(hop for hop in graph.hops if hop.target in kept))


class Memory(threading.Thread):
    """Looks at this process and its workers twice a second; `here` and `worker` are the largest they held."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.here = self.worker = 0
        self.done = threading.Event()

    def run(self) -> None:
        """Until `done`."""
        own = psutil.Process()
        while not self.done.wait(0.5):
            self.here = max(self.here, own.memory_info().rss)
            for child in own.children(recursive=True):
                try:
                    self.worker = max(self.worker, child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue


@contextmanager
def timed(row: dict[str, Any], name: str) -> Iterator[None]:
    """Wall and CPU seconds of a stage, this process and its workers."""
    before, began = busy(), time.perf_counter()
    yield
    row |= {f"{name}, wall s": time.perf_counter() - began, f"{name}, CPU s": busy() - before}


def busy() -> float:
    """CPU seconds of this process and all below it."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return float(sum(t.user + t.system for t in times))


def measure(path: Path, n_images: int, options: argparse.Namespace) -> dict[str, Any]:
    """One run over so many images."""
    memory = Memory()
    memory.start()
    store = invented_store(path, lowest(inception_v1(), options.layers), n_images, min(options.classes, n_images))
    key, asked = fingerprints(store)["extract"], store.header.run.config
    n_partitions = store.header.n_partitions
    row: dict[str, Any] = {"images": store.header.n_images, "layers": options.layers, "partitions": n_partitions}
    with store.changing(), cluster(ClusterOptions(workers=options.workers)) as connect:
        with installed(connect().client, Inventor(path, key), "invented") as plugin, timed(row, "extract"):
            extract.measure(store, connect(), list(range(n_partitions)), key, plugin)
        with store.renewing(reduce.GROUP) as draft, timed(row, "reduce"):
            tasks = reduce.count_classes(draft, asked).values()
            row["tasks of reduce"] = len(set().union(*(task.__dask_graph__() for task in tasks)))
            reduce.reduce(draft, asked, connect)
    memory.done.set()
    for name in ("extract", "reduce"):
        row[f"{name}, CPU ms an image"] = 1000 * row[f"{name}, CPU s"] / store.header.n_images
        row[f"{name}, wall s per 1000 partitions"] = 1000 * row[f"{name}, wall s"] / n_partitions
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return {**row, "here, MB": memory.here // MB, "worker, MB": memory.worker // MB, "store, MB": size // MB}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    for n_images in options.images:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            row = measure(Path(folder) / "store.zarr", n_images, options)
            shutil.rmtree(folder, ignore_errors=True)
        print(json.dumps({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()}), flush=True)


if __name__ == "__main__":
    main()
