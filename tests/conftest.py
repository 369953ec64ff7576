"""What several test files share. Imports of the package stand inside, after pytest has set up the checks of shapes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import pytest
from distributed import Client, LocalCluster

if TYPE_CHECKING:
    from summit_dask.facts.config import RunConfig
    from tests.stores import Made


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real networks and images; tests that need it skip where it is absent."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("SUMMIT_TEST_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set SUMMIT_TEST_DATA")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _exported_once() -> Iterator[None]:
    from tests.exported import exported_once

    with exported_once():
        yield


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """One worker in this process."""
    from summit_dask.stages.cluster import LOCAL

    with dask.config.set(LOCAL):
        local = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0")
    with local, Client(local) as client:
        yield client


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, client: Client) -> "RunConfig":
    """A finished run on tiny things; copy its store before changing anything."""
    from tests.networks import tiny_config
    from tests.runs import run_here

    config = tiny_config(tmp_path_factory.mktemp("run"))
    run_here(config, client)
    return config


@pytest.fixture(scope="session")
def stores_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the stores that the dashboard is tested with."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="session")
def made(stores_folder: Path) -> "Made":
    """What the complete store was made from."""
    from tests.stores import make_store

    return make_store(stores_folder / "complete")


@pytest.fixture(scope="session")
def complete(stores_folder: Path, made: "Made") -> Path:
    """A store of our own run that holds everything."""
    return stores_folder / "complete"


@pytest.fixture(scope="session")
def half_finished(stores_folder: Path) -> Path:
    """A run that has only read images so far."""
    from tests.stores import make_store

    make_store(stores_folder / "half", parts={"values"})
    return stores_folder / "half"


@pytest.fixture(scope="session")
def imported(stores_folder: Path) -> Path:
    """The original's published graphs and pictures: no images, no counts."""
    return _import(stores_folder, "imported", imagenet=False)


@pytest.fixture(scope="session")
def imported_classes(stores_folder: Path) -> Path:
    """The same with imagenet.json: counts, an embedding, and how sure the network was of each image."""
    return _import(stores_folder, "imported_classes", imagenet=True)


def _import(folder: Path, name: str, imagenet: bool) -> Path:
    import numpy as np

    from summit_dask.formats.original_import import import_summit
    from summit_dask.store.pictures import add_pictures
    from summit_dask.store.store import Store
    from tests import originals
    from tests.stores import picture

    originals.make(folder / f"{name}.files", imagenet=imagenet, n_layers=3)
    import_summit(folder / f"{name}.files", folder / name)
    store = Store.open(folder / name, writable=True)
    rng = np.random.default_rng(0)
    pictures = {(channel, kind): picture(rng) for channel in range(256) for kind in ("channel", "dataset-p-0")}
    with store.changing():
        add_pictures(store, "mixed3a", pictures)
    return folder / name
