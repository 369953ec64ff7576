"""What Dask workers hold while a stage runs a network: a plugin that builds it from a specification.

Modules never travel in the task graph.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from distributed import Client, Worker, WorkerPlugin, get_worker

from summit_dask.facts.config import fingerprint
from summit_dask.facts.errors import ClusterError, SummitError
from summit_dask.facts.process import keep_freed_memory
from summit_dask.stages.cluster import GPU


class NetworkPlugin(WorkerPlugin):
    """Holds the network of one run on a worker; `setup` ends by saying that it is ready."""

    ready = False

    def __init__(self, path: Path, key: int) -> None:
        # Runs that share a cluster must not meet, so the store is part of the name.
        self.name = f"summit-{fingerprint({'store': path, 'key': key}):x}"


PluginKind = TypeVar("PluginKind", bound=NetworkPlugin)


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
