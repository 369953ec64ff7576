"""Waiting for tasks on a cluster: results as they come, failures in our words, and an end where nobody works."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

from dask.delayed import Delayed
from distributed import as_completed
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from summit_dask.facts.errors import ClusterError, StoreError
from summit_dask.stages.cluster import Cluster, n_workers, scheduler_went_away
from summit_dask.store.progress import duration, say, size

_POLL_SECONDS = 0.02
_LOOK_SECONDS = 1.0
_FETCH_SECONDS = 2.0

#: Seconds without workers after which it is said.
_SAID_AFTER = 5.0


def finished(
    cluster: Cluster, futures: Sequence[Any], labels: Sequence[Any], what: str = "task"
) -> Iterator[tuple[Any, Any]]:
    """Label and result of each task as it ends; a failure ends all.

    Parameters
    ----------
    what
        What a label stands for, where one has to be named: "partition".

    Raises
    ------
    ClusterError
        If the cluster has been without workers for its `worker_timeout`, or they died on a task.
    """
    label = {future.key: name for future, name in zip(futures, labels, strict=True)}
    watch = _Watch(cluster)
    try:
        waiting = as_completed(futures)
        while waiting.count():
            if not waiting.has_ready():
                watch.look()
                time.sleep(_POLL_SECONDS)
                continue
            for future in waiting.next_batch(block=False):
                name = label[future.key]
                yield name, _fetched(future, watch, f"{what} {name}")
    except BaseException:
        with suppress(Exception):  # the scheduler may be gone as well, and what came first is told
            cluster.client.cancel(list(futures))
        raise


def _fetched(future: Any, watch: "_Watch", name: str) -> Any:
    """Result of a task that has ended; if its worker died with the result, it is computed again by another one."""
    patience = _FETCH_SECONDS
    while True:
        try:
            return result_of(future, patience, name)
        except TimeoutError:
            watch.look()
            patience *= 2  # large results take their time


class _Watch:
    """Looks at the number of workers from time to time: tasks without workers would wait for ever, in silence."""

    def __init__(self, cluster: Cluster) -> None:
        self._client = cluster.client
        self._limit = cluster.worker_timeout
        self._looked = self._seen = time.monotonic()
        self._said = False

    def look(self) -> None:
        """Say that there are no workers, and end when that has lasted too long."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        if n_workers(self._client):
            self._seen = now
            self._said = False
            return
        missing = now - self._seen
        if missing > min(_SAID_AFTER, self._limit / 2) and not self._said:
            self._said = True
            say(f"No workers are left on the cluster; waiting up to {duration(self._limit)} for new ones.")
        elif missing > self._limit:
            raise ClusterError(
                f"The cluster has had no workers for {duration(missing)}: their job's time may be up, or they died. "
                "Start new ones, then run the same command: finished partitions are kept. (--worker-timeout sets how "
                "long to wait.)"
            )


def computed(cluster: Cluster, tasks: Sequence[Delayed]) -> list[Any]:
    """Results of delayed computations, in their order.

    Raises
    ------
    ClusterError
        As `finished` does.
    """
    order = list(range(len(tasks)))
    results = dict(finished(cluster, cluster.client.compute(list(tasks)), order))
    return [results[index] for index in order]


class WorkersDiedError(ClusterError):
    """Workers died, as for want of memory; `memory` is what one had, in bytes (0: not known)."""

    def __init__(self, message: str, memory: int) -> None:
        self.memory = memory
        super().__init__(message)


def _died_on(name: str, error: KilledWorker) -> WorkersDiedError:
    """One worker after the other, on the same task."""
    last = error.last_worker
    memory = int(getattr(last, "memory_limit", 0))
    had = f" with {size(memory)} of memory" if memory else ""
    return WorkersDiedError(
        f"Workers died again and again on {name}: {error.allowed_failures + 1} in all, the last one "
        f"{last.address}{had}, which may have run out. Use fewer --workers on a machine, or give each more "
        "(--memory-limit of 'dask worker'), then run the same command: finished partitions are kept.",
        memory,
    )


def result_of(future: Any, seconds: float | None = None, name: str = "the same task") -> Any:
    """Result of a task, once it has ended; `name` is how to call it.

    Raises
    ------
    ClusterError, StoreError
        If its worker died, or writing failed; else what the task raised.
    TimeoutError
        If the result isn't here after some seconds.
    """
    try:
        return future.result(seconds)
    except TimeoutError:
        raise
    except (CancelledError, CommClosedError) as error:
        raise scheduler_went_away(error) from error
    except KilledWorker as error:
        raise _died_on(name, error) from error
    except OSError as error:
        raise StoreError(
            f"Writing failed on a worker: {error}. Make room or restore access, then run the same command: "
            "finished partitions are kept."
        ) from error
