"""What workers need, imported once in the process that they are copied from (`forkserver`)."""

from contextlib import suppress

import distributed.nanny  # noqa: F401 - Dask's own part of a worker

from summit_dask.facts.stages import STAGES
from summit_dask.measure.compiled import compile_kernels

for _stage in STAGES:
    _stage.load()

with suppress(Exception):  # a worker that needs them tries again, and says what is wrong
    compile_kernels()
