"""Runs inside this process."""

import shutil
from pathlib import Path

from distributed import Client

from summit_dask.facts.config import RunConfig
from summit_dask.stages import pipeline
from summit_dask.store.store import Store


def run_here(config: RunConfig, client: Client) -> Store:
    """`pipeline.run` without processes of its own."""
    store = pipeline.init(config)
    pipeline.extract(store, client)
    pipeline.reduce(store, client)
    pipeline.graphs(store, client)
    pipeline.embed(store)
    store.consolidate()
    return store


def copied(config: RunConfig, folder: Path) -> RunConfig:
    """The same run with a copy of its store."""
    shutil.copytree(config.out, folder / "store.zarr")
    return config.replaced(out=folder / "store.zarr")
