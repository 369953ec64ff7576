"""The process that workers are copied from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from summit_dask.facts.config import ClusterOptions
from summit_dask.stages import forkserver

ROOT = Path(__file__).parents[1]

STARTED = """
from multiprocessing import forkserver
from summit_dask.facts.config import ClusterOptions
from summit_dask.stages.forkserver import prepare_workers
prepare_workers(ClusterOptions())
pid = forkserver._forkserver._forkserver_pid
print(pid, end="")
"""


@pytest.mark.skipif(forkserver.METHOD != "forkserver", reason="processes are not copied on this system")
def test_the_server_ends_with_its_process_even_in_the_middle_of_its_imports() -> None:
    started = subprocess.run([sys.executable, "-c", STARTED], cwd=ROOT, capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.stdout), 0)


@pytest.mark.skipif(forkserver.METHOD != "forkserver", reason="processes are not copied on this system")
def test_what_is_preloaded_has_one_thread_and_all_that_workers_need() -> None:
    code = (
        "import os, sys, summit_dask.stages.preloaded; print(len(os.listdir('/proc/self/task')), "
        "*({'torch', 'numba', 'distributed', 'summit_dask.stages.extract', 'umap'} & set(sys.modules)))"
    )
    environment = {**os.environ, **forkserver._ONE_THREAD}
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    threads, *loaded = said.stdout.split()
    assert (threads, {*loaded}) == ("1", {"torch", "numba", "distributed", "summit_dask.stages.extract"}), said.stderr


def test_a_cluster_that_exists_needs_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", lambda: pytest.fail("started"))
    forkserver.prepare_workers(ClusterOptions(scheduler="tcp://127.0.0.1:1"))
