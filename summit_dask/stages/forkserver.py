"""The process that a local cluster's workers are copied from; it imports what they need while the network is looked at.

    command ──── imports, network, layout ─────── cluster ── partitions
       └── fork server: imports, kernels ──┬── worker
                                           └── worker

Nothing slow is imported here: what matters is that the server starts first. It has one thread and never touches a GPU,
so that it can be copied; it ends with this process.
"""

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from multiprocessing import forkserver
from typing import Any

from summit_dask.facts.config import ClusterOptions

#: How Python starts workers; elsewhere than on Linux a process that has imported much can't be copied safely.
METHOD = "forkserver" if sys.platform == "linux" else "spawn"

#: What the server imports, and workers then have.
PRELOADED = "summit_dask.stages.preloaded"

#: As in every worker, one a core; libraries read it when they are loaded.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def prepare_workers(options: ClusterOptions) -> None:
    """Have the server started for a local cluster, unless it runs; returns at once."""
    if METHOD != "forkserver" or options.scheduler or options.scheduler_file:
        return
    multiprocessing.set_forkserver_preload([PRELOADED])
    with silent_about_semaphores(), deaf_to_ctrl_c(), _environment(_ONE_THREAD):
        forkserver.ensure_running()
    atexit.register(_end)


def _end() -> None:
    """End the server with this process, in the middle of its imports too."""
    server: Any = forkserver._forkserver
    if server._forkserver_pid is not None:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(server._forkserver_pid, signal.SIGTERM)
            os.waitpid(server._forkserver_pid, 0)


def starting_workers() -> AbstractContextManager[None]:
    """Workers that are started in the block are deaf to Ctrl-C; so is this process where they aren't copied."""
    return nullcontext() if METHOD == "forkserver" else deaf_to_ctrl_c()


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
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
def silent_about_semaphores() -> Iterator[None]:
    """The process that keeps them is started in the block, and would complain of those that killed workers leave."""
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    try:
        yield
    finally:
        sys.warnoptions.pop()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
