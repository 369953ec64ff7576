"""A Dask cluster to run on: a local one by default, or one that exists already.

Connecting takes seconds, so stages get a function that connects when it is first called.
"""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, as_completed
from distributed.scheduler import KilledWorker

from summit_dask.facts.config import ClusterOptions
from summit_dask.facts.errors import ClusterError, StoreError

GPU = "GPU"
CONNECT_SECONDS = 15

#: Dask's settings for a local cluster: starting may be slow, and nobody looks at profiles, which cost time.
LOCAL = {
    "distributed.worker.memory.terminate": False,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.worker.profile.enabled": False,
}


#: Connects to the cluster at the first call, and gives the same client ever after.
Connect = Callable[[], Client]


@contextmanager
def cluster(options: ClusterOptions) -> Iterator[Connect]:
    """The cluster that a run asks for, once somebody connects; a local one ends with the block.

    Raises
    ------
    ClusterError
        On connecting, if the scheduler doesn't answer or has no workers.
    """
    with ExitStack() as stack:

        @cache
        def connect() -> Client:
            return stack.enter_context(_connected(options))

        yield connect


@contextmanager
def _connected(options: ClusterOptions) -> Iterator[Client]:
    address = options.scheduler or (options.scheduler_file and _address_in(options.scheduler_file))
    if address:
        with _existing(address) as client:
            yield client
        return
    with dask.config.set(LOCAL), _local(options.workers) as local, Client(local) as client:
        yield client


def _local(workers: int | None) -> LocalCluster:
    import torch  # slow to import, and no other cluster needs it

    gpus = torch.cuda.device_count()  # one process each
    with _deaf_to_ctrl_c():
        return LocalCluster(
            n_workers=workers or gpus or os.cpu_count() or 1,
            resources={GPU: 1} if gpus else {},
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs="CRITICAL",  # a task's error is told by us
        )


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started in the block stay deaf: a terminal tells all of them, this one answers, later."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals can be set in the main thread alone
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _existing(place: str) -> Iterator[Client]:
    try:
        client = Client(place, timeout=CONNECT_SECONDS, set_as_default=True)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"The Dask scheduler at {place} doesn't answer within {CONNECT_SECONDS} s ({error}). Start it with "
            "'dask scheduler', check the address, or leave --scheduler out for a local cluster."
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise ClusterError(
                f"The Dask scheduler at {place} has no workers; start some with 'dask worker {place}' where "
                "summit-dask is installed and the images, the weights and the store can be reached."
            )
        yield client


def _address_in(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{file} is no scheduler file ({type(error).__name__}: {error}); start the scheduler with "
            f"'dask scheduler --scheduler-file {file}'."
        ) from error


def resources(client: Client) -> dict[str, float]:
    """What a task that runs the network asks for: a GPU where any worker offers one, else nothing.

    A task that asks for a resource nobody has would wait for ever, so the workers are asked first.
    """
    workers: Sequence[dict[str, Any]] = list(client.scheduler_info(n_workers=-1)["workers"].values())
    return {GPU: 1.0} if any(worker.get("resources", {}).get(GPU) for worker in workers) else {}


def finished(futures: Sequence[Any], labels: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Label and result of each task as it ends; a failure ends all."""
    label = {future.key: name for future, name in zip(futures, labels, strict=True)}
    try:
        for future in as_completed(futures):
            yield label[future.key], result_of(future)
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def result_of(future: Any) -> Any:
    """Result of a task, once it has ended.

    Raises
    ------
    ClusterError, StoreError
        If its worker died, or writing failed; else what the task raised.
    """
    try:
        return future.result()
    except CancelledError as error:
        raise ClusterError(
            f"The Dask scheduler went away ({error}). Start it again, then run the same command: finished partitions "
            "are kept."
        ) from error
    except KilledWorker as error:
        raise ClusterError(
            f"Workers died again and again on the same task ({error}); memory may have run out. Use fewer "
            "--workers, then run the same command: finished partitions are kept."
        ) from error
    except OSError as error:
        raise StoreError(
            f"Writing failed on a worker: {error}. Make room or restore access, then run the same command: "
            "finished partitions are kept."
        ) from error
