"""The extract stage as a whole against a bare loop of the same workers.

    python benchmarks/pipeline.py [--images-per-class 2] [--workers 2] [--rounds 3]

The loop decodes and measures the same partitions in the same number of processes, in memory: no Dask, no
Zarr. The stage does what `summit-dask extract` does once the workers have the network. Both are timed from
the first image to the last, in turn; wall time is what the machine gives, CPU time what the work takes. One
JSON line a run, then a table. The network and images are googlenet_bvlc and ImageNet's from SUMMIT_TEST_DATA.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from summit_dask.facts.config import RunConfig
from summit_dask.measure.compiled import compile_kernels
from summit_dask.measure.extractor import Extractor
from summit_dask.measure.partition import extract_partition
from summit_dask.network.build import built
from summit_dask.stages.cluster import cluster
from summit_dask.stages.extract import ExtractorPlugin, measure, partition_of
from summit_dask.stages.init import init
from summit_dask.stages.workers import installed, prepare_process
from summit_dask.store.status import fingerprints
from summit_dask.store.store import Store

DATA = Path(os.environ.get("SUMMIT_TEST_DATA", "../shared/data"))


def configuration(folder: Path, images_per_class: int, workers: int) -> RunConfig:
    """A run of googlenet_bvlc over some images of each class."""
    return RunConfig.of(
        {
            "model": f"{DATA / 'models' / 'googlenet_bvlc.py'}:GoogLeNetBVLC",
            "weights": str(DATA / "models" / "googlenet_bvlc.safetensors"),
            "images": DATA / "images" / "imagenet_val",
            "classes": str(DATA / "imagenet_classes.json"),
            "images_per_class": images_per_class,
            "workers": workers,
            "out": folder / "store.zarr",
        }
    )


def loop(path: Path, workers: int) -> tuple[float, float]:
    """Wall and CPU seconds of processes that measure the partitions in memory."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(workers + 1), context.Queue()
    queue: Any = context.Queue()
    for index in range(Store.open(path).header.n_partitions):
        queue.put(index)
    processes = [context.Process(target=measure_all, args=(path, queue, start, results)) for _ in range(workers)]
    for process in processes:
        process.start()
    start.wait()
    began = time.perf_counter()
    cpu = sum(results.get() for _ in processes)
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
    return seconds, cpu


def measure_all(path: Path, queue: Any, start: Any, results: Any) -> None:
    """What each process of the loop does; the network is built before the clock starts."""
    prepare_process()
    store = Store.open(path)
    spec = store.network
    options = store.header.run.config
    extractor = Extractor(built(spec, options.batch_size), spec.preprocessing, options)
    start.wait()
    before = time.process_time()
    while not queue.empty():
        rows = store.partition(queue.get())
        extract_partition(extractor, spec.preprocessing, partition_of(store, rows), options)
    results.put(time.process_time() - before)


def stage(path: Path, config: RunConfig) -> tuple[float, float]:
    """Wall and CPU seconds of the extract stage on a local cluster whose workers have the network."""
    store = Store.open(path, writable=True)
    key = fingerprints(store)["extract"]
    with (
        cluster(config) as connect,
        installed(connect().client, ExtractorPlugin(store.path, key), store.network.model) as plugin,
    ):
        before, began = busy(), time.perf_counter()
        measure(store, connect(), list(range(store.header.n_partitions)), key, plugin)
        return time.perf_counter() - began, busy() - before


def busy() -> float:
    """CPU seconds of this process and all below it."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return float(sum(t.user + t.system for t in times))


def main() -> None:
    """Run both in turn and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images-per-class", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(Path(folder), options.images_per_class, options.workers)
        store = init(config)
        compile_kernels()
        rows = []
        for number in range(options.rounds):
            for name, (wall, cpu) in (
                ("loop", loop(store.path, options.workers)),
                ("stage", stage(store.path, config)),
            ):
                rows.append({"what": name, "round": number, "images": store.header.n_images, "wall": wall, "cpu": cpu})
                print(json.dumps(rows[-1]), flush=True)
    show(rows)


def show(rows: list[dict[str, Any]]) -> None:
    """Medians, and the stage's speed as a share of the loop's, round by round."""
    for name in ("loop", "stage"):
        own = [row for row in rows if row["what"] == name]
        speed = statistics.median(row["images"] / row["wall"] for row in own)
        cpu = statistics.median(row["cpu"] / row["images"] for row in own)
        print(f"{name:6} {speed:6.2f} images/s   {cpu * 1000:6.1f} ms of CPU per image")
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    for unit in ("wall", "cpu"):
        shares = sorted(first[unit] / second[unit] for first, second in pairs)
        print(f"stage at {statistics.median(shares):.0%} of the loop by {unit} ({shares[0]:.0%} to {shares[-1]:.0%})")


if __name__ == "__main__":
    main()
