"""Workers keep the memory that a batch frees."""

import os
import platform
import subprocess
import sys

import pytest

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
