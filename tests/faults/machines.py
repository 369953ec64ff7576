"""Real processes, of which any can be killed and replaced: commands, and a Dask cluster over TCP.

They are forked off this process, which has imported all that they need: starting one takes no time, and a kill is worth
a second and not half a minute. So this process must have no threads, and tests start it as one of its own.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.context import ForkProcess
from pathlib import Path

import dask
from distributed.cli import dask_scheduler, dask_worker

import summit_dask.cli

#: On a busy machine.
STARTS_WITHIN = 120.0

Process = ForkProcess

#: What a process runs: a program, as its entry point, and where its output goes.
Program = Callable[[], object]

_FORK = multiprocessing.get_context("fork")


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
            self.scheduler = self._start(dask_scheduler.main, "--host=127.0.0.1", "--port=0", "--no-dashboard")
            _wait_for(self.file)
        self.workers = [worker for worker in self.workers if worker.is_alive()]
        while len(self.workers) < self.n_workers:
            own = f"--local-directory={self.folder / 'workers'}"
            self.workers.append(self._start(dask_worker.main, "--nthreads=1", "--no-nanny", "--no-dashboard", own))

    def _start(self, program: Program, *flags: str) -> Process:
        name = program.__module__.rpartition(".")[2]
        return started(program, [f"--scheduler-file={self.file}", *flags], self.folder / f"{name}.log")

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


def command(arguments: Sequence[str], log: Path) -> Process:
    """A command of summit-dask as a process of its own."""
    return started(summit_dask.cli.program, arguments, log)


def started(program: Program, arguments: Sequence[str], log: Path) -> Process:
    """Fork a process that runs a program; its output is added to a file."""
    process = _FORK.Process(target=_become, args=(program, list(arguments), log))
    process.start()
    return process


def _become(program: Program, arguments: list[str], log: Path) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs in the background is deaf to it
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = [sys.argv[0], *arguments]
    with dask.config.set({"distributed.worker.profile.enabled": False}):
        program()


def _wait_for(file: Path) -> None:
    """Until a JSON file is there and whole."""
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end:
        with suppress(OSError, ValueError):
            json.loads(file.read_text())
            return
        time.sleep(0.02)
    raise TimeoutError(f"{file} did not appear within {STARTS_WITHIN:g} s")
