"""Runs inside this process."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

from summit_dask.facts.config import ClusterOptions, ResultOptions, RunConfig
from summit_dask.facts.stages import STAGES, stage_named
from summit_dask.stages.cluster import Cluster, Connect
from summit_dask.stages.init import init
from summit_dask.stages.pipeline import run_stages
from summit_dask.store.store import Store


def run_here(config: RunConfig, client: Client, *names: str, append: bool = False) -> Store:
    """`pipeline.run` without processes of its own; all stages, or those of some names."""
    store = init(config, append)
    stages = [stage_named(name) for name in names] or STAGES
    with store.changing():
        run_stages(store, stages, ResultOptions.part_of(config), connected(client))
    return store


def cluster_of(client: Client) -> object:
    """In place of `stages.cluster.cluster`: always this client's."""

    @contextmanager
    def here(options: ClusterOptions) -> Iterator[Connect]:
        yield connected(client)

    return here


def connected(client: Client) -> Connect:
    """What stages get, to connect to this client's cluster."""
    return lambda: Cluster(client, 60.0)


def copied(config: RunConfig, folder: Path) -> RunConfig:
    """The same run with a copy of its store."""
    shutil.copytree(config.out, folder / "store.zarr")
    return config.replaced(out=folder / "store.zarr")
