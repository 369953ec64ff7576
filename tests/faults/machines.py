"""Real processes, of which any can be killed and replaced: commands, and a Dask cluster over TCP.

They are copied from one that has imported all that they need: starting one takes no time, and a kill is worth a second
and not half a minute.
"""

import importlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import dask

from summit_dask.stages.forkserver import silent_about_semaphores
from tests.faults.spaces import HERE, Place

#: On a busy machine.
STARTS_WITHIN = 120.0

Process = ForkServerProcess

#: Entry points, by module and name.
COMMAND = "summit_dask.cli:program"
SCHEDULER = "distributed.cli.dask_scheduler:main"
WORKER = "distributed.cli.dask_worker:main"

_COPIES = multiprocessing.get_context("forkserver")


class Machines:
    """A scheduler and its workers.

    Parameters
    ----------
    folder
        Of the scheduler's file, the workers' own files, and what the processes say.
    """

    def __init__(self, folder: Path, n_workers: int = 2) -> None:
        self.folder = folder
        self.n_workers = n_workers
        self.file = folder / "scheduler.json"
        self.scheduler: Process | None = None
        self.workers: list[Process] = []
        folder.mkdir(parents=True, exist_ok=True)

    def mend(self) -> None:
        """Start whatever doesn't run; workers of a dead scheduler go with it."""
        if self.scheduler is None or not self.scheduler.is_alive():
            self.end()
            self.file.unlink(missing_ok=True)
            self.scheduler = self._start(SCHEDULER, "--host=127.0.0.1", "--port=0", "--no-dashboard")
            wait_for(self.file)
        self.workers = [worker for worker in self.workers if worker.is_alive()]
        while len(self.workers) < self.n_workers:
            own = f"--local-directory={self.folder / 'workers'}"
            self.workers.append(self._start(WORKER, "--nthreads=1", "--no-nanny", "--no-dashboard", own))

    def _start(self, program: str, *flags: str) -> Process:
        log = self.folder / f"{program.partition(':')[0].rpartition('.')[2]}.log"
        return started(program, [f"--scheduler-file={self.file}", *flags], log)

    @property
    def flags(self) -> tuple[str, ...]:
        """Of a command that runs here."""
        return (f"--scheduler-file={self.file}", "--wait-for-workers=1", f"--worker-timeout={STARTS_WITHIN:g}")

    def end(self) -> None:
        """Kill all."""
        doomed = [process for process in (self.scheduler, *self.workers) if process]
        for process in doomed:
            process.kill()
        for process in doomed:
            process.join()


def command(arguments: Sequence[str], log: Path, place: Place = HERE) -> Process:
    """A command of summit-dask as a process of its own."""
    return started(COMMAND, arguments, log, place)


def started(
    program: str, arguments: Sequence[str], log: Path, place: Place = HERE, settings: Mapping[str, Any] | None = None
) -> Process:
    """A process that runs a program; its output is added to a file.

    Parameters
    ----------
    program
        Module and name of its entry point.
    settings
        Of Dask, beside its own.
    """
    multiprocessing.set_forkserver_preload(["tests.faults.preloaded"])
    process = _COPIES.Process(target=_become, args=(program, list(arguments), log, place, dict(settings or {})))
    with silent_about_semaphores():
        process.start()
    return process


def _become(program: str, arguments: list[str], log: Path, place: Place, settings: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs in the background is deaf to it
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    place.enter()
    sys.argv = [sys.argv[0], *arguments]
    module, _, name = program.partition(":")
    with dask.config.set({"distributed.worker.profile.enabled": False, **settings}):
        getattr(importlib.import_module(module), name)()


def wait_for(file: Path) -> None:
    """Until a JSON file is there and whole."""
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end:
        with suppress(OSError, ValueError):
            json.loads(file.read_text())
            return
        time.sleep(0.02)
    raise TimeoutError(f"{file} did not appear within {STARTS_WITHIN:g} s")
