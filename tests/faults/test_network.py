"""Workers on machines of their own, as far as one machine allows: each in a network of its own, joined by cables."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from summit_dask.store.store import Store
from tests.networks import tiny_config, write_images
from tests.test_cluster import ROOT

pytestmark = pytest.mark.long

DASK = (sys.executable, "-m", "dask")
HERE = "10.213.7.1"
ENDS_WITHIN = 240.0

Process = subprocess.Popen[str]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Network:
    """A scheduler here, and workers behind a cable each that can be pulled and put back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[Process] = []
        self.places: list[str] = []

    @property
    def address(self) -> str:
        return f"tcp://{HERE}:8786"

    def scheduler(self) -> Process:
        """Start it; it listens on the bridge that all cables lead to."""
        ip("link", "add", "summit-br", "type", "bridge")
        ip("address", "add", f"{HERE}/24", "dev", "summit-br")
        ip("link", "set", "summit-br", "up")
        return self.start(*DASK, "scheduler", f"--host={HERE}", "--port=8786", "--no-dashboard")

    def worker(self, *flags: str, before: str = "") -> Process:
        """Start one in a network of its own; `before` is what its machine does first."""
        place = f"summit-{len(self.places)}"
        self.places.append(place)
        ip("netns", "add", place)
        ip("link", "add", place, "type", "veth", "peer", "name", "eth0", "netns", place)
        ip("link", "set", place, "master", "summit-br", "up")
        own = f"10.213.7.{len(self.places) + 1}"
        for words in (("address", "add", f"{own}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            ip("-n", place, *words)
        ip("-n", place, "link", "set", "lo", "up")
        files = f"--local-directory={self.folder / place}"
        worker = [*DASK, "worker", self.address, "--nthreads=1", "--no-dashboard", f"--host={own}", files, *flags]
        script = f"{before}\nexec {' '.join(worker)}"
        return self.start("ip", "netns", "exec", place, "unshare", "--mount", "sh", "-ec", script)

    def start(self, *command: str) -> Process:
        quick = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s", "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s"}
        with (self.folder / "machines.log").open("a") as log:
            command = ("env", *(f"{name}={value}" for name, value in quick.items()), *command)
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, text=True, start_new_session=True)
        self.processes.append(process)
        return process

    def pull(self, place: int) -> None:
        """Take a worker's cable out."""
        ip("link", "set", self.places[place], "down")

    def put_back(self, place: int) -> None:
        ip("link", "set", self.places[place], "up")

    def end(self) -> None:
        for place in self.places:  # with all that runs there
            pids = subprocess.run(["ip", "netns", "pids", place], capture_output=True, text=True).stdout.split()
            subprocess.run(["kill", "-9", *pids], capture_output=True)
        for process in self.processes:
            process.kill()
            process.wait()
        for place in self.places:
            subprocess.run(["ip", "netns", "delete", place], capture_output=True)
        subprocess.run(["ip", "link", "delete", "summit-br"], capture_output=True)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path)
    try:
        made.scheduler()
    except (OSError, subprocess.CalledProcessError) as error:
        made.end()
        pytest.skip(f"no right to make networks: {error}")
    yield made
    made.end()


@contextmanager
def running(folder: Path, network: Network, *flags: str, out: str = "store.zarr") -> Iterator[Process]:
    """A run in the background, its output to be read."""
    config = tiny_config(folder, out=folder / out)
    names = ("model", "weights", "images", "classes", "resize", "crop", "batch_size", "out")
    options = [f"--{name.replace('_', '-')}={getattr(config, name)}" for name in names]
    where = [f"--scheduler={network.address}", "--wait-for-workers=1", f"--worker-timeout={ENDS_WITHIN:g}"]
    command = [sys.executable, "-m", "summit_dask", "run", *options, *where, *flags]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        yield run
        run.kill()


def said(run: Process) -> str:
    """All of it, once it has ended."""
    return run.communicate(timeout=ENDS_WITHIN)[1]


def done(store: Path) -> int:
    """Partitions that are."""
    return sum(1 for _ in store.glob("partitions/fingerprint/c/*"))


def test_workers_come_lose_their_cable_and_leave_and_the_bytes_are_the_same(network: Network, tmp_path: Path) -> None:
    tiny_config(tmp_path)
    write_images(tmp_path / "images", 600)
    store = tmp_path / "store.zarr"
    first = network.worker()
    with running(tmp_path, network) as run:
        while run.poll() is None and done(store) < 1:
            time.sleep(0.02)
        network.worker()  # joins late
        network.pull(0)
        while run.poll() is None and done(store) < 20:  # by the second alone
            time.sleep(0.02)
        network.put_back(0)
        first.send_signal(signal.SIGTERM)  # leaves
        text = said(run)
    assert run.returncode == 0, text
    with running(tmp_path, network, out="whole.zarr") as run:
        text = said(run)
    assert run.returncode == 0, text
    ours, theirs = ({p.relative_to(at): p.read_bytes() for p in at.rglob("*") if p.is_file()}
                    for at in (store, tmp_path / "whole.zarr"))  # fmt: skip
    assert ours == theirs


def test_a_worker_without_images_or_store_is_named_with_the_path(network: Network, tmp_path: Path) -> None:
    images = tiny_config(tmp_path).images
    blind = network.worker("--no-nanny", before=f"mount -t tmpfs none {images}")
    with running(tmp_path, network) as run:
        text = said(run)
    assert run.returncode == 2 and "Traceback" not in text
    assert f"neighbouring images in {images} can be read on the worker tcp://10.213.7.2:" in text
    assert not (Store.open(tmp_path / "store.zarr").read("partitions/fingerprint") != 0).any()
    blind.kill()
    hidden = tmp_path / "there"
    hidden.mkdir()
    shutil.move(tmp_path / "store.zarr", hidden)
    network.worker("--no-nanny", before=f"mount -t tmpfs none {hidden}")
    with running(tmp_path, network, out="there/store.zarr") as run:
        text = said(run)
    assert run.returncode == 2 and "Traceback" not in text
    assert "Error: The worker tcp://10.213.7.3:" in text
    assert f"can't begin: There is no store at {hidden / 'store.zarr'}" in text
