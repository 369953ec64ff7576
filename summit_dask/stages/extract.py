"""The extract stage: every partition of images is measured once, on Dask workers, and written as whole shards."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
from distributed import Worker, get_worker, secede

from summit_dask.facts import schema
from summit_dask.facts.addresses import bytes_per_image
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.errors import ClusterError, DatasetError
from summit_dask.facts.location import Location
from summit_dask.measure.compiled import compile_kernels
from summit_dask.measure.extractor import Extractor
from summit_dask.measure.memory import said_of_worker
from summit_dask.measure.partition import Partition, extract_partition
from summit_dask.network.build import built
from summit_dask.stages.cluster import Cluster, Connect, resources
from summit_dask.stages.tasks import WorkersDiedError, finished
from summit_dask.stages.workers import NetworkPlugin, device_of, installed, plugin_of, prepare_process
from summit_dask.store.durable import flush
from summit_dask.store.extend import joined, measured
from summit_dask.store.imagefiles import ImageFiles
from summit_dask.store.progress import Progress, duration, say
from summit_dask.store.status import fingerprints
from summit_dask.store.store import Store

COMPILED_SECONDS = 5.0

#: Of a GPU that a task asks for. One measures, while what others have measured is written: at most three of them.
GPU_SHARE = 0.25


def extract(store: Store, options: ResultOptions, connect: Connect) -> None:
    """Measure the partitions that are not done.

    Raises
    ------
    NumericalError, StoreError, ClusterError
        As they come from the workers; finished partitions stay.
    """
    key = fingerprints(store, options)["extract"]
    todo = np.flatnonzero(~store.done(key)).tolist()
    seconds = compile_kernels()
    if seconds > COMPILED_SECONDS:
        say(f"Compiled the kernels in {duration(seconds)}; they are kept on disk for the next time.")
    cluster = connect()
    extractor = ExtractorPlugin(store.path, key)
    with _saying_what_would_fit(store), installed(cluster.client, extractor, store.network.model) as plugin:
        unreadable = measure(store, cluster, todo, key, plugin)
    if unreadable:
        say(f"{unreadable} images could not be read and are left out; /images/reason says why.")


def forget_unreadable(store: Store) -> int:
    """Have the partitions of unreadable images measured again; returns the number of such images."""
    lost = np.flatnonzero(store.read("images/status") == schema.UNREADABLE)
    if len(lost):
        store.forget(np.unique(lost // store.header.partition_size).tolist())
    return len(lost)


def measure(store: Store, cluster: Cluster, todo: Sequence[int], key: int, plugin: str) -> int:
    """Measure some partitions on workers that have the plugin; returns the number of unreadable images."""
    n_images = store.header.n_images
    sizes = {index: len(range(*store.partition(index).indices(n_images))) for index in todo}
    unreadable = 0
    with Progress("extract", "images", n_images, n_images - sum(sizes.values())) as progress:
        client = cluster.client
        asked = resources(client, GPU_SHARE)
        futures = client.map(extract_task, todo, plugin_name=plugin, run=key, pure=False, resources=asked)
        for index, lost in finished(cluster, futures, todo, "partition"):
            unreadable += lost
            progress.add(sizes[index])
    return unreadable


@contextmanager
def _saying_what_would_fit(store: Store) -> Iterator[None]:
    try:
        yield
    except WorkersDiedError as error:
        raise ClusterError(f"{error} {_what_would_fit(store, error.memory)}") from error


def _what_would_fit(store: Store, memory: int) -> str:
    """Of a worker's memory, as a sentence."""
    options, header = store.header.run.config, store.header
    values = bytes_per_image(header.layer_graph, options) * header.partition_size
    network = built(store.network, options.batch_size, store.path)
    return said_of_worker(network, memory, int(values), backward=options.relevance)


class ExtractorPlugin(NetworkPlugin):
    """Opens the store of one run and builds its extractor on every worker, once."""

    def __init__(self, path: Location, key: int) -> None:
        super().__init__(path, key)
        self.path = path

    @cached_property
    def lacking(self) -> frozenset[str]:
        """What an earlier version's store has no arrays for: checksums of images."""
        return frozenset(address for address in schema.MEASURED_OF_IMAGES if not self.store.has(address))

    def prepare(self, worker: Worker) -> None:
        """See `NetworkPlugin`."""
        compile_kernels()
        prepare_process()
        self.store = Store.open(self.path, writable=True)
        spec = self.store.network
        run, device = self.store.header.run, device_of(worker)
        compiled = bool(run.facts["compiled"]) and device == "cpu"
        network = built(spec, run.config.batch_size, self.path)
        self.extractor = Extractor(network, spec.preprocessing, run.config, device, compiled)


def extract_task(index: int, plugin_name: str, run: int) -> int:
    """Measure one partition and write it; returns the number of unreadable images. Runs on a worker."""
    plugin = plugin_of(plugin_name, ExtractorPlugin)
    store = plugin.store
    rows = store.partition(index)
    options = store.header.run.config
    n_before = measured(store, index)
    images = partition_of(store, slice(rows.start + n_before, rows.stop))
    new = extract_partition(plugin.extractor, store.network.preprocessing, images, options)
    arrays = joined(store, index, n_before, new)
    if (arrays["images/status"] == schema.UNREADABLE).all():
        raise _blind(store, rows, str(arrays["images/reason"][0]))
    if plugin.extractor.on_gpu:
        secede()  # writing needs the GPU no more; the next partition can begin
    for address, values in arrays.items():
        if address not in plugin.lacking:
            store.write(address, values, rows.start)
    flush(store.path)
    store.mark_done(index, run)
    return int((arrays["images/status"] == schema.UNREADABLE).sum())


def _blind(store: Store, rows: slice, reason: str) -> DatasetError:
    """Nothing readable in a whole partition is a fault of the place, not of the images: it stays undone."""
    root = store.images_root
    where = f"the worker {get_worker().address} on {socket.gethostname()}"
    remedy = "Mount it there, or give --images anew where the images lie now; finished partitions are kept."
    if isinstance(root, Path) and not root.is_dir():
        return DatasetError(f"There is no folder {root} on {where}, so none of its images can be read. {remedy}")
    paths = store.read("images/path", rows)
    return DatasetError(
        f"None of {len(paths)} neighbouring images in {root} can be read on {where}; the first is "
        f"{paths[0]} ({reason}). {remedy} Images that are really broken have to be taken out of the set."
    )


def partition_of(store: Store, rows: slice) -> Partition:
    """Files and outputs of some images."""
    files = ImageFiles.of(store, lambda address: store.read(address, rows)).all()
    output = store.read("classes/output_index")[store.read("images/class_index", rows)]
    return Partition(files, output, store.header.n_outputs)
