"""A Dask cluster to run on: a local one by default, or one that exists already.

Connecting takes seconds, so stages get a function that connects when it is first called. What a cluster lacks is told
before any work is sent to it: no workers, other versions, a folder that can't be written.
"""

import json
import logging
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Worker, WorkerPlugin

from summit_dask.facts.config import ClusterOptions
from summit_dask.facts.errors import ClusterError
from summit_dask.facts.location import storage_options, use_storage_options
from summit_dask.stages.forkserver import METHOD, prepare_workers, starting_workers
from summit_dask.store.progress import duration, say

GPU = "GPU"
CONNECT_SECONDS = 15

#: Dask's settings for a local cluster: starting may be slow, nobody looks at profiles, which cost time, and a machine
#: that has slept for a while has lost no worker (when one dies, its nanny knows).
LOCAL = {
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.memory.terminate": False,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.worker.profile.enabled": False,
    "distributed.worker.multiprocessing-method": METHOD,
}

#: What has to be of one version everywhere, since it travels between the machines or decides the results.
_OF_ONE_VERSION = ("python", "dask", "distributed", "summit-dask")


class Cluster(NamedTuple):
    """A cluster that is connected to, and how many seconds to wait for workers when none are left."""

    client: Client
    worker_timeout: float


#: Connects at the first call, and gives the same cluster ever after.
Connect = Callable[[], Cluster]


@contextmanager
def cluster(options: ClusterOptions) -> Iterator[Connect]:
    """The cluster that a run asks for, once somebody connects; a local one ends with the block.

    Raises
    ------
    ClusterError
        On connecting, if the cluster can't be started or reached, has too few workers, or other versions.
    """
    prepare_workers(options)
    with ExitStack() as stack:

        @cache
        def connect() -> Cluster:
            return Cluster(stack.enter_context(_connected(options)), options.worker_timeout)

        yield connect


@contextmanager
def _connected(options: ClusterOptions) -> Iterator[Client]:
    address = options.scheduler or (options.scheduler_file and _address_in(options.scheduler_file))
    with _quiet_dask():
        if address:
            with _existing(address) as client:
                _wait_for_workers(client, address, options)
                _check_versions(client)
                _share_storage_options(client)
                yield client
        else:
            with dask.config.set(LOCAL), _local(options.workers) as local, Client(local) as client, _dropping(local):
                _share_storage_options(client)
                yield client


@contextmanager
def _quiet_dask() -> Iterator[None]:
    """What goes wrong is told by us, in one message, and not by Dask's logs with their tracebacks as well."""
    known = ["asyncio", *logging.root.manager.loggerDict]
    names = [name for name in known if name.partition(".")[0] in ("distributed", "tornado", "asyncio")]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # For good: it comes when memory is cleared, after the block.
    logging.getLogger("asyncio").addFilter(_is_not_left_behind)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _is_not_left_behind(record: logging.LogRecord) -> bool:
    """Not what Dask's own tasks leave that wait for results, or for workers, when all comes to an end."""
    was_waiting = record.getMessage().startswith("Task was destroyed but it is pending")
    frames = traceback.walk_tb(record.exc_info[2] if record.exc_info else None)
    return not was_waiting and not any(_is_of_dask(frame) for frame, _ in frames)


def _is_of_dask(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "distributed"


def _local(workers: int | None) -> LocalCluster:
    import torch  # slow to import, and no other cluster needs it

    gpus = torch.cuda.device_count()  # one process each
    try:
        with starting_workers():
            return LocalCluster(
                n_workers=workers or gpus or CPU_COUNT,
                resources={GPU: 1} if gpus else {},
                threads_per_worker=1,
                processes=True,
                env=dict(os.environ),  # as it is now, and not when the fork server was started
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
                silence_logs="CRITICAL",
            )
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        folder = dask.config.get("temporary-directory") or "the system's temporary folder"
        raise ClusterError(
            f"A local cluster can't be started: {_reason(error)}. Its processes need {folder} to be writable (DASK_"
            "TEMPORARY_DIRECTORY names another one) and connections to this machine itself to be allowed."
        ) from error


@contextmanager
def _dropping(local: LocalCluster) -> Iterator[None]:
    """After a failure or an interruption its workers die at once: else closing would wait for what they are at."""
    try:
        yield
    except BaseException:
        for nanny in local.workers.values():
            nanny.auto_restart = False
            if nanny.pid is not None:
                os.kill(nanny.pid, signal.SIGKILL)
        raise


def _reason(error: BaseException) -> str:
    """The innermost cause, which says more than what Dask makes of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


@contextmanager
def _existing(place: str) -> Iterator[Client]:
    try:
        client = Client(place, timeout=CONNECT_SECONDS, set_as_default=True)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        certificates = " Addresses with tls:// need Dask's certificates (distributed.comm.tls in its configuration)."
        raise ClusterError(
            f"The Dask scheduler at {place} doesn't answer within {CONNECT_SECONDS} s ({_reason(error)}). Start it "
            "with 'dask scheduler', check the address, or leave --scheduler out for a local cluster."
            + (certificates if place.startswith("tls://") else "")
        ) from error
    with client:
        yield client


def _address_in(file: Path) -> str:
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{file} is no scheduler file ({type(error).__name__}: {error}); start the scheduler with "
            f"'dask scheduler --scheduler-file {file}'."
        ) from error


class _StorageOptions(WorkerPlugin):
    """Gives a worker what this process gives to fsspec's file systems."""

    name = "summit-storage-options"

    def __init__(self) -> None:
        self.options = storage_options()

    def setup(self, worker: Worker) -> None:
        """Called by Dask on each worker, also on those that come later."""
        use_storage_options(self.options)


def _share_storage_options(client: Client) -> None:
    if storage_options():
        client.register_plugin(_StorageOptions())


def _wait_for_workers(client: Client, place: str, options: ClusterOptions) -> None:
    """Without a number to wait for, one worker has to be there already."""
    wanted = options.wait_for_workers
    if wanted is not None and n_workers(client) < wanted:
        say(f"Waiting up to {duration(options.worker_timeout)} for {wanted} workers of {place}.")
        try:
            client.wait_for_workers(wanted, timeout=options.worker_timeout)
        except TimeoutError as error:
            raise ClusterError(
                f"{n_workers(client)} of {wanted} workers joined the Dask scheduler at {place} within "
                f"{duration(options.worker_timeout)}; ask for fewer with --wait-for-workers, or for more time with "
                "--worker-timeout."
            ) from error
    if not n_workers(client):
        raise ClusterError(
            f"The Dask scheduler at {place} has no workers; start some with 'dask worker {place}' where "
            "summit-dask is installed and the images, the weights and the store can be reached. For workers that are "
            "still queued, give --wait-for-workers."
        )


def _check_versions(client: Client) -> None:
    versions: Any = client.get_versions(packages=["summit-dask"])
    ours = _versions(versions["client"])
    for address, worker in versions["workers"].items():
        theirs = _versions(worker)
        for package in _OF_ONE_VERSION:
            if theirs[package] != ours[package]:
                raise ClusterError(
                    f"The worker {address} has {package} {theirs[package] or '(not installed)'}, this process "
                    f"{package} {ours[package]}; install the same version on every machine."
                )


def _versions(facts: Mapping[str, Any]) -> dict[str, str | None]:
    """Versions of what matters, Python's without its last part."""
    versions = {package: facts["packages"].get(package) for package in _OF_ONE_VERSION}
    return {**versions, "python": ".".join(str(versions["python"]).split(".")[:2])}


def scheduler_went_away(why: object) -> ClusterError:
    """What is said when it dies in the middle of a run; of the reason its first line, as Dask adds advice."""
    reason = str(why).partition("\n")[0].rstrip(".")
    return ClusterError(
        f"The Dask scheduler went away ({reason}). Start it again, then run the same command: finished partitions are "
        "kept."
    )


def n_workers(client: Client) -> int:
    """Workers that the cluster has now.

    Raises
    ------
    ClusterError
        If the scheduler went away.
    """
    return len(_workers(client))


def _workers(client: Client) -> Mapping[str, Any]:
    known = client.scheduler_info(n_workers=-1)
    if "workers" not in known:
        raise scheduler_went_away("the connection is lost")
    workers: Mapping[str, Any] = known["workers"]
    return workers


def least_memory(client: Client) -> int:
    """Bytes that the worker with the least of them may take; 0 where none has a limit."""
    return min(filter(None, (int(worker.get("memory_limit") or 0) for worker in _workers(client).values())), default=0)


def resources(client: Client, share: float = 1.0) -> dict[str, float]:
    """What a task that runs the network asks for: so much of a GPU where any worker offers one, else nothing.

    A task that asks for a resource nobody has would wait for ever, so the workers are asked first.
    """
    offers = [worker.get("resources", {}).get(GPU) for worker in _workers(client).values()]
    return {GPU: share} if any(offers) else {}
