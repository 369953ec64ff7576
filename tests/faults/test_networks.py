"""Clusters over TCP whose machines come, go, are cut off, lack something or are too small: real processes, each of the
machines a network namespace."""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from safetensors.torch import save_file
from torch import nn

from summit_dask.facts.config import RunConfig
from summit_dask.stages.init import init
from tests.faults.kills import files_of
from tests.faults.machines import COMMAND, SCHEDULER, STARTS_WITHIN, WORKER, Process, started, wait_for
from tests.faults.spaces import Network, Place, why_none
from tests.networks import tiny_config, write_images
from tests.runs import run_here

pytestmark = pytest.mark.long

#: The machine of the scheduler; workers have others, and the command may have.
HUB = 0

#: How soon Dask gives up a connection over which nothing comes, as soon as it can.
SOON = {"distributed.comm.timeouts.tcp": "11s"}


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Of four machines."""
    if why := why_none():
        pytest.skip(why)
    made = Network(4)
    yield made
    made.end()


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A store of ten partitions, nothing measured yet; its images and the store lie in folders of their own."""
    folder = tmp_path_factory.mktemp("laid-out")
    config = tiny_config(folder, crop=48, out=folder / "stores" / "store.zarr")
    write_images(folder / "images", 107)
    init(config)
    return config


@pytest.fixture(scope="module")
def expected(laid_out: RunConfig, client: Client) -> Mapping[Path, bytes]:
    """Its files after extraction, undisturbed."""
    out = copied(laid_out, laid_out.out.parent.with_name("undisturbed"))
    run_here(laid_out.replaced(out=out), client, "extract")
    return files_of(out)


def copied(config: RunConfig, folder: Path) -> Path:
    """The store with what lies beside it, in another folder."""
    shutil.copytree(config.out.parent, folder)
    return folder / config.out.name


class Deep(nn.Sequential):
    """Forty convolutions in a row: a value is small, all that a backward pass keeps of them is not."""

    def __init__(self) -> None:
        wide = (part for _ in range(40) for part in (nn.Conv2d(16, 16, 1), nn.ReLU()))
        super().__init__(nn.Conv2d(3, 16, 1), *wide, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A store whose worker takes 1.2 GB until its network runs, and 3.9 GB over a partition."""
    folder = tmp_path_factory.mktemp("deep")
    weights = folder / "deep.safetensors"
    save_file(Deep().state_dict(), weights)
    network = {"model": "tests.faults.test_networks:Deep", "weights": str(weights), "relevance": True}
    config = tiny_config(folder, crop=128, resize=128, batch_size=32, **network)
    init(config)
    return config


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A store whose worker takes 0.9 GB at first, and 2.3 GB to try its network."""
    config = tiny_config(tmp_path_factory.mktemp("large"), crop=448, resize=448, batch_size=32)
    init(config)
    return config


class Lab:
    """A scheduler and its workers, each on its machine; without a network all on this one."""

    def __init__(self, folder: Path, network: Network | None = None) -> None:
        self.folder, self.network = folder, network
        self.port = 8786 if network else 0
        self.settings: Mapping[str, Any] = {}
        self.processes: list[Process] = []

    def scheduler(self) -> Process:
        host = self.network.address(HUB) if self.network else "127.0.0.1"
        self._file.unlink(missing_ok=True)
        process = self._started(SCHEDULER, HUB, f"--host={host}", f"--port={self.port}", "--no-dashboard")
        wait_for(self._file)
        return process

    def worker(self, number: int, *flags: str, **place: tuple[Path, ...]) -> Process:
        own = ("--nthreads=1", "--no-dashboard", f"--local-directory={self.folder / f'worker-{number}'}")
        before = self.said(number)
        process = self._started(WORKER, number, *own, *(flags or ["--no-nanny"]), **place)
        until(lambda: "Registered to" in self.said(number)[len(before) :])
        return process

    def extract(self, store: Path, number: int = HUB) -> Process:
        self.log = self.folder / "command.log"
        self.log.unlink(missing_ok=True)
        arguments = ["extract", str(store), f"--scheduler-file={self._file}", f"--worker-timeout={STARTS_WITHIN:g}"]
        self.processes.append(started(COMMAND, arguments, self.log, self._place(number), self.settings))
        return self.processes[-1]

    def said(self, number: int) -> str:
        log = self.folder / f"{number}.log"
        return log.read_text() if log.exists() else ""

    def _started(self, program: str, number: int, *flags: str, **place: tuple[Path, ...]) -> Process:
        arguments = [f"--scheduler-file={self._file}", *flags]
        log = self.folder / f"{number}.log"
        self.processes.append(started(program, arguments, log, self._place(number, **place), self.settings))
        return self.processes[-1]

    def _place(self, number: int, **place: tuple[Path, ...]) -> Place:
        return Place(self.network.spaces[number] if self.network else "", **place)

    @property
    def _file(self) -> Path:
        return self.folder / "scheduler.json"

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture
def lab(tmp_path: Path, network: Network) -> Iterator[Lab]:
    """Without processes yet."""
    made = Lab(tmp_path, network)
    yield made
    made.end()


def until(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.02)


def n_done(store: Path) -> int:
    return sum(1 for _ in store.glob("partitions/fingerprint/c/*"))


def ended(process: Process) -> int | None:
    process.join(STARTS_WITHIN)
    return process.exitcode


def said_by(lab: Lab, command: Process) -> str:
    """What a command says that ends with a user's error."""
    code, said = ended(command), lab.log.read_text()
    assert code == 2 and "Traceback" not in said, said
    return said.splitlines()[-1]


def check(lab: Lab, command: Process, store: Path, expected: Mapping[Path, bytes]) -> None:
    """See that a command has ended well and made the bytes that it should."""
    assert ended(command) == 0, lab.log.read_text()
    assert files_of(store) == expected


def test_workers_that_join_and_leave_do_not_show(lab: Lab, laid_out: RunConfig, expected: Mapping[Path, bytes]) -> None:
    lab.scheduler()
    first = lab.worker(1)
    store = copied(laid_out, lab.folder / "stores")
    command = lab.extract(store)
    until(lambda: n_done(store) >= 1)
    lab.worker(2)
    first.terminate()
    check(lab, command, store, expected)
    assert ended(first) == 0


@pytest.mark.parametrize("settings", [{}, SOON], ids=["heals in time", "is given up"])
def test_a_worker_that_is_cut_off_for_a_while_does_not_show(
    settings: Mapping[str, str], lab: Lab, network: Network, laid_out: RunConfig, expected: Mapping[Path, bytes]
) -> None:
    """One that was given up may still write its partition, while another one does it again."""
    lab.settings = settings
    lab.scheduler()
    workers = [lab.worker(1), lab.worker(2)]
    store = copied(laid_out, lab.folder / "stores")
    command = lab.extract(store)
    until(lambda: n_done(store) >= 1)
    network.cut(1)
    time.sleep(3)
    until(lambda: not settings or "Remove worker" in lab.said(HUB))
    network.heal(1)
    check(lab, command, store, expected)
    assert [worker.is_alive() for worker in workers] == [not settings, True]


def test_a_scheduler_that_is_started_again_gives_out_what_is_left(
    lab: Lab, laid_out: RunConfig, expected: Mapping[Path, bytes]
) -> None:
    scheduler = lab.scheduler()
    worker = lab.worker(1)
    store = copied(laid_out, lab.folder / "stores")
    command = lab.extract(store)
    until(lambda: n_done(store) >= 1)
    scheduler.kill()
    assert "The Dask scheduler went away" in said_by(lab, command)
    ended(worker)
    assert 0 < n_done(store) < 11
    lab.scheduler()
    lab.worker(1)
    check(lab, lab.extract(store), store, expected)


def test_the_network_runs_on_workers_with_a_gpu_alone(
    lab: Lab, laid_out: RunConfig, expected: Mapping[Path, bytes]
) -> None:
    """The other one sees no images, so that it could not."""
    lab.scheduler()
    lab.worker(1, "--no-nanny", "--resources=GPU=1")
    lab.worker(2, hidden=(laid_out.images,))
    store = copied(laid_out, lab.folder / "stores")
    check(lab, lab.extract(store), store, expected)


def test_a_worker_with_other_versions_is_named(lab: Lab, laid_out: RunConfig) -> None:
    old = lab.folder / "old" / "summit_dask-0.0.1.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: summit-dask\nVersion: 0.0.1\n")
    lab.scheduler()
    lab.worker(1)
    lab.worker(2, packages=(old.parent,))
    said = said_by(lab, lab.extract(copied(laid_out, lab.folder / "stores")))
    assert said.startswith(f"Error: The worker tcp://{lab.network.address(2)}:")
    assert " has summit-dask 0.0.1, this process summit-dask " in said


@pytest.mark.parametrize("lacks", ["store", "images"])
def test_a_worker_without_store_or_images_is_named_with_the_path(lacks: str, lab: Lab, laid_out: RunConfig) -> None:
    store = copied(laid_out, lab.folder / "stores")
    lab.scheduler()
    lab.worker(1)
    lab.worker(2, hidden=(store.parent if lacks == "store" else laid_out.images,))
    said = said_by(lab, lab.extract(store))
    assert f"worker tcp://{lab.network.address(2)}:" in said
    if lacks == "store":
        assert f"can't begin: There is no store at {store}." in said
    else:
        assert f"None of 32 neighbouring images in {laid_out.images} can be read on the worker" in said


def test_a_worker_that_is_killed_for_memory_over_a_partition(tmp_path: Path, deep: RunConfig) -> None:
    said = killed_for_memory(tmp_path, "2GB", deep.out)
    assert re.search(r"Workers died again and again on partition [012]: 1 in all, the last one tcp://127\.0", said)
    assert " with 2 GB of memory, which may have run out." in said


def test_a_worker_that_is_killed_for_memory_before_its_network_runs(tmp_path: Path, large: RunConfig) -> None:
    said = killed_for_memory(tmp_path, "1.5GB", large.out)
    assert "A worker was lost while it built and tried the network tests.networks:TinyInception" in said
    assert "Its memory limit, 1.5 GB, may be too small" in said


def killed_for_memory(folder: Path, limit: str, store: Path) -> str:
    """What a command says whose worker Dask's nanny kills; also which batch would fit."""
    lab = Lab(folder)
    lab.settings = {"distributed.scheduler.allowed-failures": 0}  # as long as each death takes
    try:
        lab.scheduler()
        lab.worker(1, f"--memory-limit={limit}")
        said = said_by(lab, lab.extract(store))
    finally:
        lab.end()
    fits = r"a batch of 32 images a worker takes about \d\.\d GB\. In what it had, \d+ images should fit"
    assert re.search(fits, said), said
    return said
