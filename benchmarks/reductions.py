"""Speed and memory of the counts A and I.

    python benchmarks/reductions.py [--store STORE]

Speed: from memory, one thread, process CPU time, the variants in turn; the medians of the rounds. "dask" is what a
run does (a tree reduction over partitions of 1024 images, here with the single-threaded scheduler); "numpy" is the
plain form over all images at once.

Memory: 1000 classes of 128 images, every layer-wide reduction in a fresh process; growth of its peak over what it
held when its inputs were ready. Every channel of a class has about 25 favourite sources.

Store: the time to read a real store's arrays, partition by partition, beside the time to count them.

Prints JSON lines, then tables.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from scipy.sparse import csr_array

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.matrices import add_counts, count_selected, count_sources, tree_reduce
from summit_dask.store.store import Store

PARTITION, ROUNDS, MASS, K = 1024, 9, 0.03, 5
N_CLASSES, IMAGES_PER_CLASS = 1000, 128
#: Hops into the widest layer of InceptionV1 with 832 channels below: (channels, channels of the source).
HOPS = ((384, 832), (384, 192), (128, 48), (128, 832))
Row = dict[str, Any]
Array = NDArray[Any]


class Images(NamedTuple):
    """Values of images and their classes."""

    values: Array
    classes: Array

    def __call__(self, partition: int) -> tuple[Array, Array]:
        """One partition of them."""
        part = slice(partition * PARTITION, (partition + 1) * PARTITION)
        return self.values[part], self.classes[part]

    @property
    def n_partitions(self) -> int:
        """Number of partitions."""
        return -(-len(self.classes) // PARTITION)


def invented_values(rng: np.random.Generator, n_images: int, n_channels: int) -> Array:
    """Channel maxima after a ReLU: some zeros, a long tail."""
    return np.maximum(rng.gamma(2.0, 1.0, (n_images, n_channels)) - 0.5, 0).astype(np.float32)


def invented_sources(rng: np.random.Generator, classes: Array, n_channels: int, n_sources: int) -> Array:
    """K different sources per image and channel, drawn from favourites of the class and channel."""
    ranks = np.cumsum(rng.geometric(0.35, (len(classes), n_channels, K)).astype(np.int32), axis=2)
    channels = np.arange(n_channels)
    start, stride = classes[:, None] * 131 + channels * 37, 2 * ((classes[:, None] + channels) % 50) + 5
    return ((start[..., None] + ranks * stride[..., None]) % n_sources).astype(np.int16)


# Plain NumPy, over all images at once.


def numpy_activation_counts(images: Images, n_classes: int, n_top: int) -> Array:
    """A from the `n_top` largest values of each image (all of them: a full sort)."""
    values = np.maximum(images.values, 0)
    total = values.sum(axis=1, dtype=np.float64, keepdims=True)
    top = np.argpartition(values, -n_top, axis=1)[:, -n_top:]
    order = np.argsort(-np.take_along_axis(values, top, axis=1), axis=1)
    top = np.take_along_axis(top, order, axis=1)
    share = np.cumsum(np.take_along_axis(values, top, axis=1) / total, axis=1)
    used = np.concatenate([np.ones((len(values), 1), bool), share[:, :-1] < MASS], axis=1)
    key = (images.classes[:, None] * values.shape[1] + top)[used]
    return np.bincount(key, minlength=n_classes * values.shape[1]).reshape(n_classes, -1)


def numpy_influence_counts(images: Images, n_classes: int, n_sources: int) -> Array:
    """I as a dense array, a class at a time; the images lie by class."""
    n_channels = images.values.shape[1]
    counts = np.zeros((n_classes, n_channels * n_sources), np.int32)
    bounds = np.searchsorted(images.classes, np.arange(n_classes + 1))
    rows = np.arange(n_channels)[:, None] * n_sources
    for k in range(n_classes):
        key = images.values[bounds[k] : bounds[k + 1]] + rows
        counts[k] = np.bincount(key.ravel(), minlength=counts.shape[1])
    return counts


# The package's own.


def dask_activation_counts(images: Images, n_classes: int) -> Array:
    """A as a run computes it."""
    result: Array = activation_graph(images, images.n_partitions, n_classes).compute(scheduler="sync").toarray()
    return result


def activation_graph(read: Callable[[int], tuple[Array, Array]], n_partitions: int, n: int) -> Delayed:
    """A, not yet computed."""
    count = delayed(lambda p: csr_array(count_selected(select_channels(read(p)[0], MASS), read(p)[1], n)), pure=False)
    return tree_reduce([count(p) for p in range(n_partitions)], add_counts)


def influence_graph(read: Callable[[int], tuple[Array, Array]], n_partitions: int, n: int, n_sources: int) -> Delayed:
    """I of one hop, not yet computed."""
    count = delayed(lambda p: count_sources(*read(p), n, n_sources), pure=False)
    return tree_reduce([count(p) for p in range(n_partitions)], add_counts)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Process CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(what: str, n_images: int, variants: dict[str, Callable[[], object]]) -> list[Row]:
    """Images per second of every variant, and its speed as a multiple of the first one's, round by round."""
    for work in variants.values():
        work()
    rounds = [{name: cpu_seconds(work) for name, work in variants.items()} for _ in range(ROUNDS)]
    base = next(iter(variants))
    rows = []
    for name in variants:
        ratios = [times[base] / times[name] for times in rounds]
        low, middle, high = quantiles(ratios)
        speed = n_images / median(times[name] for times in rounds)
        row = {"what": what, "variant": name, "images_per_s": round(speed), "ratio": middle, "low": low, "high": high}
        rows.append(report(row))
    return rows


def report(row: Row) -> Row:
    """Print a row as JSON."""
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
    return row


def activation_speed() -> list[Row]:
    """A: against a full sort and a partial one."""
    rows = []
    rng = np.random.default_rng(0)
    for n_channels in (480, 1024):
        images = Images(invented_values(rng, 4 * PARTITION, n_channels), np.sort(rng.integers(0, 125, 4 * PARTITION)))
        expected = numpy_activation_counts(images, 125, n_channels)
        assert np.array_equal(dask_activation_counts(images, 125), expected)
        variants = {
            "numpy, argpartition": lambda i=images: numpy_activation_counts(i, 125, 32),
            "numpy, full sort": lambda i=images, n=n_channels: numpy_activation_counts(i, 125, n),
            "dask": lambda i=images: dask_activation_counts(i, 125),
        }
        rows += compare(f"A, {n_channels} channels", len(images.classes), variants)
    return rows


def influence_speed() -> list[Row]:
    """I of a hop of 384 channels from 832, for few and many images per class."""
    rows = []
    rng = np.random.default_rng(0)
    n_channels, n_sources = HOPS[0]
    for per_class in (1300, 50, 9, None):
        n = 4 * PARTITION
        classes = rng.integers(0, N_CLASSES, n) if per_class is None else np.arange(n) // per_class
        n_classes = int(classes.max()) + 1
        images = Images(invented_sources(rng, classes, n_channels, n_sources), classes.astype(np.int32))
        variants: dict[str, Callable[[], object]] = {
            "numpy, bincount": lambda i=images, c=n_classes: numpy_influence_counts(i, c, n_sources),
            "dask": lambda i=images, c=n_classes: influence_graph(i, i.n_partitions, c, n_sources).compute(
                scheduler="sync"
            ),
        }
        if per_class is None:
            del variants["numpy, bincount"]
        what = "1000 classes, shuffled" if per_class is None else f"{per_class} images a class"
        rows += compare(f"I, {what}", n, variants)
    return rows


# Peak memory, each case in its own process.


def kilobytes(key: str) -> int:
    """A figure of this process's memory: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def class_of(shuffled: bool) -> Array:
    """Class of each image, by class or in random order."""
    classes = np.repeat(np.arange(N_CLASSES, dtype=np.int32), IMAGES_PER_CLASS)
    return np.random.default_rng(0).permutation(classes) if shuffled else classes


def memory_activations(shuffled: bool) -> list[Delayed]:
    """A of 1024 channels."""
    classes = class_of(shuffled)

    def read(partition: int) -> tuple[Array, Array]:
        own = classes[partition * PARTITION : (partition + 1) * PARTITION]
        return invented_values(np.random.default_rng(partition), len(own), 1024), own

    return [activation_graph(read, len(classes) // PARTITION, N_CLASSES)]


def memory_influences(shuffled: bool) -> list[Delayed]:
    """I of all hops into one layer, each partition read once for all of them."""
    classes = class_of(shuffled)

    def count(partition: int) -> tuple[Any, ...]:
        own = classes[partition * PARTITION : (partition + 1) * PARTITION]
        rng = np.random.default_rng(partition)
        return tuple(count_sources(invented_sources(rng, own, c, s), own, N_CLASSES, s) for c, s in HOPS)

    blocks = [delayed(count, pure=False, nout=len(HOPS))(p) for p in range(len(classes) // PARTITION)]
    return [tree_reduce([block[i] for block in blocks], add_counts) for i in range(len(HOPS))]


def largest(counts: Any) -> int:
    """Stands for writing the result: only a number stays."""
    return int(counts.max())


MEMORY_CASES: dict[str, tuple[Callable[[bool], list[Delayed]], bool]] = {
    "A, 1024 channels, by class": (memory_activations, False),
    "A, 1024 channels, shuffled": (memory_activations, True),
    "I, 4 hops of 1024 channels, by class": (memory_influences, False),
    "I, 4 hops of 1024 channels, shuffled": (memory_influences, True),
}


def load_compiled() -> None:
    """Call everything once, so that loading compiled code is not measured."""
    one = Images(np.zeros((1, 1, 1), np.int16), np.zeros(1, np.int32))
    influence_graph(one, 1, 1, 1).compute(scheduler="sync")
    count_selected(select_channels(np.ones((1, 1), np.float32), MASS), one.classes, 1)


def measure_memory(case: str) -> Row:
    """Growth of the peak while a reduction runs."""
    build, shuffled = MEMORY_CASES[case]
    load_compiled()
    roots = [delayed(largest, pure=False)(root) for root in build(shuffled)]
    before = kilobytes("VmRSS")
    delayed(list)(roots).compute(scheduler="sync")
    grown = (kilobytes("VmHWM") - before) / 1024
    return {"what": case, "images": N_CLASSES * IMAGES_PER_CLASS, "before_mb": before // 1024, "peak_mb": round(grown)}


def memory() -> list[Row]:
    """All cases."""
    context = multiprocessing.get_context("spawn")
    rows = []
    for case in MEMORY_CASES:
        with context.Pool(1) as pool:
            rows.append(report(pool.apply(measure_memory, (case,))))
    return rows


def reading(path: Path) -> list[Row]:
    """Images per second of reading a store's arrays and of counting what was read."""
    load_compiled()
    store = Store.open(path)
    n_partitions = -(-store.header.n_images // store.header.partition_size)
    parts = [store.partition(p) for p in range(n_partitions)]
    classes = store.read("images/class_index")
    n_classes = store.header.n_classes
    rows = []
    for layer in store.layer_graph.visible:
        values, read = timed(lambda p, name=layer.name: store.read(f"activations/{name}/value", p), parts)
        count = cpu_seconds(lambda v=values: count_selected(select_channels(v, MASS), classes, n_classes))
        rows.append(report({"what": f"A, {layer.name}", **speeds(len(classes), read, count)}))
    for layer in store.layer_graph.influenced:
        sources, read = timed(lambda p, name=layer.name: store.read(f"influences/{name}/source", p), parts)
        hops = [
            (sources[:, hop.start : hop.stop], store.layer_graph.layer(hop.source).channels)
            for hop in store.layer_graph.incoming(layer.name)
        ]
        count = cpu_seconds(lambda h=hops: [count_sources(own, classes, n_classes, n) for own, n in h])
        rows.append(report({"what": f"I, {layer.name}", **speeds(len(classes), read, count)}))
    return rows


def timed(read: Callable[[slice], Array], parts: list[slice]) -> tuple[Array, float]:
    """All partitions of an array, and the CPU time of reading them."""
    start = time.process_time()
    blocks = [read(part) for part in parts]
    return np.concatenate(blocks), time.process_time() - start


def speeds(n_images: int, read: float, count: float) -> Row:
    """Images per second."""
    return {"read_images_per_s": round(n_images / read), "count_images_per_s": round(n_images / count)}


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description="Speed and memory of the counts A and I.")
    parser.add_argument("--store", type=Path, help="also read this store")
    store = parser.parse_args().store
    tables = [activation_speed() + influence_speed(), memory()]
    if store:
        tables.append(reading(store))
    for rows in tables:
        print(f"\n{table(rows)}")


if __name__ == "__main__":
    main()
