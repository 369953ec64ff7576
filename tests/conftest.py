"""What several test files share. Imports of the package stand inside, after pytest has set up the checks of shapes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from distributed import Client, LocalCluster

if TYPE_CHECKING:
    from summit_dask.facts.config import RunConfig


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real networks and images; tests that need it skip where it is absent."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("SUMMIT_TEST_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set SUMMIT_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """One worker in this process."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as local,
        Client(local) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, client: Client) -> "RunConfig":
    """A finished run on tiny things; copy its store before changing anything."""
    from tests.networks import tiny_config
    from tests.runs import run_here

    config = tiny_config(tmp_path_factory.mktemp("run"))
    run_here(config, client)
    return config
