"""Workers keep the memory that a batch frees; compiled code finds a place."""

import os
import platform
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("may_write", "environment", "kept"),
    [
        ("code", {}, None),
        ("home", {}, None),
        ("cache", {"XDG_CACHE_HOME": "/cache/not/yet/there"}, None),
        ("cache", {}, "summit-dask-compiled-"),
        ("nothing", {}, "summit-dask-compiled-"),
        ("nothing", {"NUMBA_CACHE_DIR": "/mine"}, "mine"),
    ],
)
def test_compiled_code_goes_elsewhere_only_where_numba_finds_no_place(
    monkeypatch: pytest.MonkeyPatch, may_write: str, environment: dict[str, str], kept: str | None
) -> None:
    """`may_write` is the one folder at the top that can be written; below it, nothing is there yet."""
    tops = [Path("/"), Path("/code"), Path("/home"), Path("/cache"), Path("/code/package")]
    monkeypatch.setattr(Path, "exists", lambda path: path in tops)
    monkeypatch.setattr(os, "access", lambda path, _: path in tops and may_write in path.parts)
    monkeypatch.setattr(os, "environ", {"HOME": "/home/me", **environment})
    keep_compiled_code("/code/package/__init__.py")
    found = os.environ.get("NUMBA_CACHE_DIR")
    assert found is None if kept is None else Path(str(found)).name.startswith(kept)


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
