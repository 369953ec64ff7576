"""From images to graphs on one worker, two and more; and the graphs of many classes, a class.

    python benchmarks/speedup.py images --model FILE.py:CLASS --weights FILE --images FOLDER --classes FILE
                                        [--images-per-class 4] [--workers 1 2 4 8]
    python benchmarks/speedup.py graphs [--classes 128] [--workers 1 2 4 8]

Local clusters of CPU workers, a GPU is hidden from them. Timed are the stages, wall time, once the workers are there
(`start` says how long that took); each number of workers begins with an empty store. The graphs are of a store of
InceptionV1's size with invented counts of 1300 images a class; reading and writing are in it. One JSON line a
measurement, then a table of how many times faster each is than the first.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np

from benchmarks.graphs import inception_v1, invented_counts
from benchmarks.invented import invented_store
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.facts.config import ClusterOptions, ResultOptions, RunConfig
from summit_dask.facts.stages import Stage, stage_named
from summit_dask.stages.cluster import Connect, cluster, n_workers
from summit_dask.stages.init import init
from summit_dask.stages.pipeline import run_stages
from summit_dask.store.status import fingerprints
from summit_dask.store.store import Store

Row = dict[str, Any]

#: What leads from images to graphs.
TO_GRAPHS = tuple(stage_named(name) for name in ("extract", "reduce", "graphs"))


def main() -> None:
    """Measure and print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    images = commands.add_parser("images")
    for name in ("model", "weights", "images", "classes"):
        images.add_argument(f"--{name}", required=True)
    images.add_argument("--images-per-class", type=int, default=4)
    images.set_defaults(measure=measure_images)
    graphs = commands.add_parser("graphs")
    graphs.add_argument("--classes", type=int, default=128)
    graphs.set_defaults(measure=measure_graphs)
    for command in (images, graphs):
        command.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [_printed(row) for row in options.measure(options, Path(folder))]
    show(rows)


def _printed(row: Row) -> Row:
    print(json.dumps({name: round(v, 2) if isinstance(v, float) else v for name, v in row.items()}), flush=True)
    return row


def measure_images(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Seconds of each stage, by number of workers."""
    names = ("model", "weights", "images", "classes", "images_per_class")
    for workers in options.workers:
        config = RunConfig.of(
            {**{name: getattr(options, name) for name in names}, "workers": workers, "out": folder / "store.zarr"}
        )
        store = init(config)
        yield {"images": store.header.n_images, **timed(store, TO_GRAPHS, config)}
        shutil.rmtree(store.path)


def measure_graphs(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Seconds of the graphs stage, by number of workers."""
    store = counted_store(folder / "store.zarr", options.classes)
    for workers in options.workers:
        row = timed(store, [stage_named("graphs")], ClusterOptions(workers=workers))
        yield {"classes": options.classes, **row, "seconds a class and core": row["graphs"] / options.classes * workers}
        shutil.rmtree(store.path / "graphs")


def timed(store: Store, stages: Sequence[Stage], where: ClusterOptions) -> Row:
    """Wall seconds until the workers are there, of each stage, and of all."""
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    with store.changing(), cluster(where) as connect:
        workers = n_workers(connect().client)
        load_kernels(connect)
        seconds["start"] = time.perf_counter() - began
        for stage in stages:
            before = time.perf_counter()
            run_stages(store, [stage], ResultOptions.part_of(store.header.run.config), connect)
            seconds[stage.name] = time.perf_counter() - before
    total = sum(value for name, value in seconds.items() if name != "start")
    return {"workers": workers, **seconds, "all stages": total}


def load_kernels(connect: Connect) -> None:
    """Once on every worker, as a long run has it."""
    from summit_dask.measure.compiled import compile_kernels

    connect().client.run(compile_kernels)


def counted_store(path: Path, n_classes: int) -> Store:
    """A store of InceptionV1's size whose counts are invented, ready for the graphs stage."""
    store = invented_store(path, inception_v1(), n_images=n_classes, n_classes=n_classes)
    some = [invented_counts(store.layer_graph, seed) for seed in range(8)]
    with store.changing(), store.renewing("matrices") as draft:
        for layer in store.layer_graph.visible:
            rows = np.stack([some[index % len(some)].activation[layer.name] for index in range(n_classes)])
            draft.add(f"matrices/{layer.name}/activation_count", rows)
        for hop in store.layer_graph.hops:
            _write_sources(draft, hop.name, some)
        draft.finish("matrices", fingerprints(store)["reduce"])
    return store


def _write_sources(store: Store, hop: str, some: Sequence[ClassCounts]) -> None:
    """Some classes' counts again and again."""
    address = f"matrices/{hop}/influence_count"
    store.lay_out(address)
    dense = np.stack([counts.influence[hop].toarray() for counts in some])
    n_classes, step = store.header.n_classes, store.rows_per_shard(address)
    for start in range(0, n_classes, step):
        classes = np.arange(start, min(start + step, n_classes))
        store.write(address, dense[classes % len(some)], start)


def show(rows: list[Row]) -> None:
    """How many times faster than the first."""
    first = rows[0]
    print(f"\n{'workers':>8} {'seconds':>8} {'faster':>7}")
    for row in rows:
        print(f"{row['workers']:8} {row['all stages']:8.1f} {first['all stages'] / row['all stages']:7.2f}")


if __name__ == "__main__":
    main()
