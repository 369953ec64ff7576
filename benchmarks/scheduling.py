"""What the command and the scheduler hold for the tasks of so many images, each a process of its own.

    python benchmarks/scheduling.py [--images 128000 1280000] [--classes 1000] [--workers 2] [--folder FOLDER]

The extract and reduce stages as they are, with partitions of 1024 images and workers over TCP, on a network of two
layers of four channels whose values are made up: scheduling is nearly all there is. Prints a JSON line for each number
of images: tasks that reached the scheduler, and in MB the largest resident memory of this process (with torch and all
its imports) and of the scheduler, and by how much each grew from before the tasks were sent to its largest.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Process
from pathlib import Path
from typing import Any

import psutil
from distributed import Client

from benchmarks.counting import Counting, counted
from benchmarks.invented import invented_store
from benchmarks.scale import Inventor, timed
from summit_dask.facts.config import ClusterOptions
from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph, Window
from summit_dask.stages import extract, reduce
from summit_dask.stages.cluster import Cluster, cluster
from summit_dask.stages.workers import installed
from summit_dask.store.status import fingerprints
from summit_dask.store.store import Store

MB = 2**20


def small_graph() -> LayerGraph:
    """Two layers of four channels."""
    layers = tuple(Layer(name, 4, 7, 7, True, Window((1, 1), (1, 1), (0, 0))) for name in ("lower", "upper"))
    return LayerGraph(layers, (Hop("hop", "lower", "upper", range(4), Convolution()),))


@contextmanager
def machines(folder: Path, n_workers: int) -> Iterator[Path]:
    """A scheduler and its workers; gives the scheduler's file."""
    file = folder / "scheduler.json"
    place = [f"--scheduler-file={file}", "--no-dashboard"]
    worker = ["worker", *place, "--nthreads=1", "--no-nanny", f"--local-directory={folder}"]
    commands = [["scheduler", *place, "--host=127.0.0.1", "--port=0"], *[worker] * n_workers]
    processes = [
        subprocess.Popen([sys.executable, "-m", "dask", *command], stderr=subprocess.DEVNULL) for command in commands
    ]
    try:
        while not file.exists():
            time.sleep(0.1)
        yield file
    finally:
        for process in processes:
            process.kill()
            process.wait()


def largest(process: psutil.Process) -> float:
    """Largest resident memory so far, in MB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def lay_out(path: Path, n_images: int, n_classes: int) -> None:
    """In a process of its own: its memory isn't that of a command that goes on."""
    invented_store(path, small_graph(), n_images, n_classes)


def measure(folder: Path, n_images: int, options: argparse.Namespace) -> dict[str, Any]:
    """One run over so many images."""
    laying_out = Process(target=lay_out, args=(folder / "store.zarr", n_images, options.classes))
    laying_out.start()
    laying_out.join()
    store = Store.open(folder / "store.zarr", writable=True)
    key, asked = fingerprints(store)["extract"], store.header.run.config
    n_partitions = store.header.n_partitions
    row: dict[str, Any] = {"images": store.header.n_images, "partitions": n_partitions}
    with machines(folder, options.workers) as file, store.changing():
        where = ClusterOptions(scheduler_file=file, wait_for_workers=options.workers)
        with cluster(where) as connect:
            here, there = psutil.Process(), scheduler_process(connect().client)
            before = [process.memory_info().rss / MB for process in (here, there)]
            connect().client.register_plugin(Counting())
            with installed(connect().client, Inventor(store.path, key), "invented") as plugin, timed(row, "extract"):
                extract.measure(store, connect(), list(range(n_partitions)), key, plugin)
            row["tasks of extract"] = so_far = tasks(connect())
            with store.renewing(reduce.GROUP) as draft, timed(row, "reduce"):
                reduce.reduce(draft, asked, connect)
            row["tasks of reduce"] = tasks(connect()) - so_far
            for name, process, first in zip(("command", "scheduler"), (here, there), before, strict=True):
                row |= {f"{name}, MB": largest(process), f"{name} grew by, MB": largest(process) - first}
    return row


def scheduler_process(client: Client) -> psutil.Process:
    """The process of a cluster's scheduler, on this machine."""
    return psutil.Process(client.run_on_scheduler(os.getpid))


def tasks(cluster: Cluster) -> int:
    """Tasks that have reached the scheduler."""
    return int(cluster.client.run_on_scheduler(counted))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[128_000, 1_280_000])
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    for n_images in options.images:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            row = measure(Path(folder), n_images, options)
        print(json.dumps({name: round(v, 1) if isinstance(v, float) else v for name, v in row.items()}), flush=True)


if __name__ == "__main__":
    main()
