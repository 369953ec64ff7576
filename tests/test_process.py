"""Workers keep the memory that a batch frees; compiled code finds a place."""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from summit_dask.facts.process import keep_compiled_code

ROOT = Path(__file__).parents[1]

PASSES = """
import resource, sys
import numpy as np
from summit_dask.facts.process import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        np.empty(2**24, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
returned = faults()
assert keep_freed_memory()
faults()
print(returned, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep memory")
def test_freed_memory_comes_back_without_page_faults() -> None:
    as_dask_starts_workers = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    run = subprocess.run(
        [sys.executable, "-c", PASSES], capture_output=True, text=True, check=True, env=as_dask_starts_workers
    )
    returned, kept = map(int, run.stdout.split())
    assert kept < returned / 100


@pytest.mark.parametrize("writable", [True, False])
def test_compiled_code_goes_to_a_temporary_folder_where_nothing_else_can_be_written(
    writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    monkeypatch.setattr("summit_dask.facts.process.os.access", lambda folder, mode: writable)
    keep_compiled_code(str(tmp_path / "code.py"))
    assert ("NUMBA_CACHE_DIR" in os.environ) != writable
    if not writable:
        assert os.environ["NUMBA_CACHE_DIR"].startswith(tempfile.gettempdir())


NOBODY = 65534


def interpreter_for_nobody() -> str:
    """A Python of this version that another user may start."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/python{version}"):
        try:
            subprocess.run([candidate, "-c", ""], user=NOBODY, group=NOBODY, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip("no Python that another user may start, or no right to become one")


def test_kernels_compile_for_a_user_who_may_write_nowhere(tmp_path: Path) -> None:
    """As in a container that runs as another user: neither home nor the installed package can be written."""
    code = (
        "import numpy as np\n"
        "from summit_dask.arrays.activations import select_channels\n"
        "print(select_channels(np.ones((1, 2), np.float32), 0.5).sum())"
    )
    paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))])
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": paths}
    command = [interpreter_for_nobody(), "-c", code]
    done = subprocess.run(
        command, env=environment, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True, text=True
    )
    assert done.stdout == "1\n", done.stderr
