"""What commands, schedulers and workers import, once, in the process that they are copied from."""

import importlib
import pkgutil

import distributed.cli.dask_scheduler
import distributed.cli.dask_worker  # noqa: F401 - programs that are started by name

import summit_dask
import tests.faults.machines  # noqa: F401 - what a process starts with

for _module in pkgutil.walk_packages(summit_dask.__path__, "summit_dask."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)
