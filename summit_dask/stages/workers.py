"""What runs on a Dask worker during extraction.

The network is built on each worker from a specification; modules never travel in the task graph.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from distributed import Client, Worker, WorkerPlugin, get_worker
from numpy.typing import NDArray

from summit_dask.facts import schema
from summit_dask.facts.config import RunConfig, fingerprint
from summit_dask.facts.errors import ClusterError, SummitError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.facts.process import keep_freed_memory
from summit_dask.measure.compiled import compile_kernels
from summit_dask.measure.extractor import Extractor, Partition, extract_partition
from summit_dask.network.load import load_network, n_outputs
from summit_dask.network.trace import TracedNetwork, trace_network
from summit_dask.stages.cluster import GPU
from summit_dask.store.store import Store


@dataclass(frozen=True)
class NetworkFacts:
    """What a run needs to know of a network beside the module."""

    layer_graph: LayerGraph
    n_outputs: int
    categories: tuple[str, ...] | None


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that a network is built from, and the digest that its weights must have."""

    model: str
    weights: str | None
    layers: tuple[str, ...]
    preprocessing: Preprocessing
    k: int
    digest: str

    @classmethod
    def of(cls, config: RunConfig) -> tuple["NetworkSpec", NetworkFacts]:
        """Specification and facts of the network that a run asks for; loads and traces it once.

        Raises
        ------
        ModelError, ConfigError
            If it can't be loaded or traced.
        """
        loaded = load_network(config.model, config.weights)
        preprocessing = Preprocessing.of(config, loaded.preprocessing)
        traced = trace_network(loaded.module, config.layers, preprocessing.input_size)
        spec = cls(config.model, config.weights, config.layers, preprocessing, config.k, loaded.digest)
        outputs = n_outputs(loaded.module, preprocessing.input_size)
        return spec, NetworkFacts(traced.layer_graph, outputs, loaded.categories)

    @classmethod
    def of_run(cls, run: Mapping[str, Any]) -> "NetworkSpec":
        """From the store's attribute `run`."""
        facts = run["network"]
        preprocessing = Preprocessing.from_json(facts["preprocessing"])
        return cls(**{**facts, "layers": tuple(facts["layers"]), "preprocessing": preprocessing})

    def facts(self) -> dict[str, Any]:
        """What decides the extracted values, wherever the files lie."""
        return {
            "model": Path(self.model).name,
            "weights": self.digest[:16],
            "preprocessing": asdict(self.preprocessing),
        }

    def build(self) -> TracedNetwork:
        """The traced network.

        Raises
        ------
        ClusterError
            If the weights at hand are not those the run began with.
        """
        loaded = load_network(self.model, self.weights)
        if loaded.digest != self.digest:
            raise ClusterError(
                f"The weights of {self.model} here have the digest {loaded.digest[:16]}, the run began with "
                f"{self.digest[:16]}; put the same weights on every machine."
            )
        return trace_network(loaded.module, self.layers, self.preprocessing.input_size)


class NetworkPlugin(WorkerPlugin):
    """Holds the network of one run on a worker; `setup` ends by saying that it is ready."""

    ready = False

    def __init__(self, path: Path, key: int) -> None:
        # Runs that share a cluster must not meet, so the store is part of the name.
        self.name = f"summit-{fingerprint({'store': path, 'key': key}):x}"


PluginKind = TypeVar("PluginKind", bound=NetworkPlugin)


class ExtractorPlugin(NetworkPlugin):
    """Opens the store of one run and builds its extractor on every worker, once."""

    def __init__(self, path: Path, key: int) -> None:
        super().__init__(path, key)
        self.path = path

    def setup(self, worker: Worker) -> None:
        """Called by Dask on each worker, also on those that come later."""
        compile_kernels()
        prepare_process()
        self.store = Store.open(self.path, writable=True)
        self.spec = NetworkSpec.of_run(self.store.header.run)
        self.extractor = Extractor(self.spec.build(), self.spec.preprocessing, self.spec.k, device_of(worker))
        self.ready = True


def prepare_process() -> None:
    """Set this process up for running networks: one thread, memory that is kept."""
    torch.set_num_threads(1)  # one worker a core; and results that don't depend on the number of threads
    keep_freed_memory()


def device_of(worker: Worker) -> str:
    """The GPU of a worker that offers one as a resource, by its place on the machine; else the CPU."""
    if not (worker.state.total_resources.get(GPU) and torch.cuda.is_available()):
        return "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # it would change ranks
    place = int(worker.name) if str(worker.name).isdigit() else 0
    return f"cuda:{place % torch.cuda.device_count()}"


def extracting(client: Client, store: Store, key: int) -> AbstractContextManager[str]:
    """Every worker has the store open and its network built, until the block has ended well; gives the plugin's name.

    Raises
    ------
    SummitError
        What a worker raised: the files may be out of its reach.
    """
    return installed(client, ExtractorPlugin(store.path, key), store.header.run["network"]["model"])


@contextmanager
def installed(client: Client, plugin: NetworkPlugin, model: str) -> Iterator[str]:
    """A plugin is set up on every worker, until the block has ended well; gives its name.

    Raises
    ------
    SummitError
        What a worker raised: the files may be out of its reach.
    """
    try:
        client.register_plugin(plugin)
    except SummitError:
        raise
    except Exception as error:
        raise ClusterError(
            f"A worker could not build the network {model}: {error}. Workers need summit-dask and the same "
            "paths to the model, the weights, the images and the store."
        ) from error
    yield plugin.name
    # After a failure the cluster may be gone, and asking it would only keep the user waiting.
    client.unregister_worker_plugin(plugin.name)


def plugin_of(name: str, kind: type[PluginKind]) -> PluginKind:
    """The plugin of a run on the worker that runs the calling task.

    Raises
    ------
    ClusterError
        If the worker came late and could not build the network.
    """
    plugin = get_worker().plugins.get(name)
    if not (isinstance(plugin, kind) and plugin.ready):
        raise ClusterError(
            f"The worker {get_worker().address} joined late and could not build the network; its log says why. "
            "Workers need summit-dask and the same paths to the model, the weights, the images and the store."
        )
    return plugin


def extract_task(index: int, plugin_name: str, run: int) -> int:
    """Measure one partition and write it; returns the number of unreadable images. Runs on a worker."""
    plugin = plugin_of(plugin_name, ExtractorPlugin)
    store = plugin.store
    rows = store.partition(index)
    images = partition_of(store, rows)
    arrays = extract_partition(plugin.extractor, plugin.spec.preprocessing, images, store.header.run["config"])
    arrays["images", "images", "file_size"] = file_sizes(images.files)
    for (template, name, variable), values in arrays.items():
        store.write(template, name, variable, values, rows.start)
    store.mark_done(index, run)
    return int((arrays["images", "images", "status"] == schema.UNREADABLE).sum())


def file_sizes(files: Sequence[Path]) -> NDArray[np.int64]:
    """Bytes of each file, 0 if it isn't there."""
    return np.array([file.stat().st_size if file.is_file() else 0 for file in files], np.int64)


def partition_of(store: Store, rows: slice) -> Partition:
    """Files and outputs of some images."""
    root = Path(store.header.run["images_root"])
    files = [root / str(path) for path in store.read("images/path", rows)]
    output = store.read("classes/output_index")
    return Partition(files, output[store.read("images/class_index", rows)])
