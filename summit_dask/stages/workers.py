"""What Dask workers hold while a stage runs a network: a plugin that builds it from a specification.

Modules never travel in the task graph.
"""

import socket
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import TypeVar

import torch
from distributed import Client, Worker, WorkerPlugin, get_worker
from distributed.comm.core import CommClosedError
from distributed.core import Status

from summit_dask.facts.config import fingerprint
from summit_dask.facts.errors import ClusterError, ModelError, StoreError, SummitError
from summit_dask.facts.location import Location
from summit_dask.facts.process import give_back_freed_memory, keep_freed_memory
from summit_dask.stages.cluster import GPU, least_memory
from summit_dask.stages.tasks import WorkersDiedError
from summit_dask.store.progress import size

_NEEDED = "Workers need summit-dask and the same paths to the model, the weights, the images and the store."


class NetworkPlugin(WorkerPlugin):
    """Holds the network of one run on a worker; what goes wrong there is told with the worker's name."""

    ready = False

    def __init__(self, path: Location, key: int) -> None:
        # Runs that share a cluster must not meet, so the store is part of the name.
        self.name = f"summit-{fingerprint({'store': path, 'key': key}):x}"

    def setup(self, worker: Worker) -> None:
        """Called by Dask on each worker, also on those that come later."""
        _never_pause(worker)
        try:
            self.prepare(worker)
        except (ModelError, StoreError, OSError) as error:
            raise ClusterError(
                f"The worker {worker.address} on {socket.gethostname()} can't begin: {error} "
                f"{_NEEDED} Finished partitions are kept."
            ) from error
        give_back_freed_memory()  # tasks run in another thread than this
        self.ready = True

    def prepare(self, worker: Worker) -> None:
        """Build what tasks will need."""
        raise NotImplementedError


PluginKind = TypeVar("PluginKind", bound=NetworkPlugin)


def prepare_process() -> None:
    """Set this process up for running networks: one thread, memory that is kept."""
    torch.set_num_threads(1)  # one worker a core; and results that don't depend on the number of threads
    keep_freed_memory()


def _never_pause(worker: Worker) -> None:
    """Dask would have a worker wait that holds 80 % of its limit: for ever, as memory that was freed is kept."""
    worker.memory_manager.memory_pause_fraction = False
    if worker.status == Status.paused:
        worker.status = Status.running


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
    ClusterError
        What went wrong on a worker, or that one died.
    """
    memory = least_memory(client)
    try:
        client.register_plugin(plugin)
    except SummitError:
        raise
    except (CommClosedError, CancelledError) as error:
        had = f", {size(memory)}," if memory else ""
        raise WorkersDiedError(
            f"A worker was lost while it built and tried the network {model} ({error}). Its memory limit{had} may be "
            "too small (--memory-limit of 'dask worker'), or its job's time may be up; its log says more. Run the same "
            "command again: finished partitions are kept.",
            memory,
        ) from error
    except Exception as error:
        raise ClusterError(f"A worker could not build the network {model}: {error}. {_NEEDED}") from error
    yield plugin.name
    # After a failure the cluster may be gone, and asking it would only keep the user waiting. If it goes just now, all
    # that it was for is done; what else needs it will say so.
    with suppress(CommClosedError, CancelledError):
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
            f"{_NEEDED}"
        )
    return plugin
