"""Clusters: what tasks ask for, and what failures of a cluster end in. Unreachable ones: see test_cli."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import dask
import pytest
import torch
from distributed import Client, LocalCluster, Worker
from distributed.client import FutureCancelledError
from distributed.comm import get_address_host
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker
from distributed.security import Security

from summit_dask.facts.config import ClusterOptions, RunConfig
from summit_dask.facts.errors import ClusterError, NumericalError, StoreError
from summit_dask.facts.location import storage_options, use_storage_options
from summit_dask.stages.cluster import Cluster, _is_not_left_behind, _local, cluster, n_workers, resources
from summit_dask.stages.extract import ExtractorPlugin, _saying_what_would_fit, measure
from summit_dask.stages.tasks import finished, result_of
from summit_dask.stages.workers import device_of, installed, prepare_process
from summit_dask.store.store import Store
from tests.networks import tiny_config, write_images

ROOT = Path(__file__).parents[1]


def fail(error: Exception) -> None:
    raise error


def test_results_come_with_their_labels(client: Client) -> None:
    assert sorted(finished(Cluster(client, 60.0), client.map(abs, [-1, 2], pure=False), ["one", "two"])) == [
        ("one", 1),
        ("two", 2),
    ]


@pytest.mark.parametrize(
    ("error", "kind", "match"),
    [
        (OSError(28, "No space left on device"), StoreError, "No space left.*Make room.*finished partitions are kept"),
        (NumericalError("layer upper"), NumericalError, "layer upper"),
    ],
)
def test_a_task_s_error_is_told_as_what_it_is(
    client: Client, error: Exception, kind: type[Exception], match: str
) -> None:
    with pytest.raises(kind, match=match):
        list(finished(Cluster(client, 60.0), [client.submit(fail, error, pure=False)], ["only"]))


def test_a_failure_stops_the_other_tasks(client: Client) -> None:
    tasks = [client.submit(fail, NumericalError("at once"), pure=False), client.submit(time.sleep, 1, pure=False)]
    with pytest.raises(NumericalError):
        list(finished(Cluster(client, 60.0), tasks, [0, 1]))
    assert tasks[1].cancelled()


def test_a_scheduler_that_went_away_is_named(client: Client) -> None:
    task = client.submit(time.sleep, 1, pure=False)
    task.cancel()
    with pytest.raises(ClusterError, match=r"scheduler went away.*same command"):
        result_of(task)


def test_of_a_lost_connection_the_reason_is_told_in_a_line() -> None:
    lost = FutureCancelledError("task-1", "scheduler-connection-lost", "Client lost the connection. Please check.")
    with pytest.raises(ClusterError, match=r"\(task-1 cancelled for reason: scheduler-connection-lost\)\. Start it"):
        result_of(Mock(**{"result.side_effect": lost}))


def test_a_scheduler_that_went_away_between_two_looks_is_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "scheduler_info", lambda n_workers: {})
    for ask in (n_workers, resources):
        with pytest.raises(ClusterError, match=r"scheduler went away.*same command"):
            ask(client)


def test_workers_that_died_are_named() -> None:
    class Dead:
        def result(self, seconds: float | None) -> None:
            raise KilledWorker("extract-1", SimpleNamespace(address="tcp://x"), 3)

    with pytest.raises(ClusterError, match=r"Workers died.*fewer --workers"):
        result_of(Dead())


def test_a_death_by_memory_names_the_partition_and_what_the_worker_had(
    finished: RunConfig, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dead(SimpleNamespace):
        def result(self, seconds: float | None) -> None:
            last = SimpleNamespace(address="tcp://10.0.0.7:1", memory_limit=200_000_000)
            raise KilledWorker("extract-1", last, 3)

    store = Store.open(finished.out)
    dead = Dead(key="extract-1")
    waiting = SimpleNamespace(count=lambda: 1, has_ready=lambda: True, next_batch=lambda block: [dead])
    monkeypatch.setattr("summit_dask.stages.tasks.as_completed", lambda futures: waiting)
    monkeypatch.setattr(client, "map", lambda *_, **__: [dead])
    monkeypatch.setattr(client, "cancel", lambda futures: None)
    with pytest.raises(ClusterError) as error, _saying_what_would_fit(store):
        measure(store, Cluster(client, 60.0), [2], 0, "plugin")
    assert "on partition 2: 4 in all, the last one tcp://10.0.0.7:1 with 200 MB of memory" in str(error.value)
    assert "With a batch of 8 images a worker takes about 1.1 GB. In what it had, not even one" in str(error.value)


@pytest.mark.parametrize(
    ("fail", "is_told"),
    [(lambda: get_address_host("nonsense://x"), False), (lambda: int("x"), True)],
    ids=["of Dask", "of others"],
)
def test_errors_of_tasks_that_nobody_waits_for_are_told_unless_dask_left_them(
    fail: Callable[[], object], is_told: bool
) -> None:
    with pytest.raises(ValueError) as error:
        fail()
    told = (type(error.value), error.value, error.tb)
    record = logging.LogRecord("asyncio", logging.ERROR, "", 0, "Task exception was never retrieved", (), told)
    assert _is_not_left_behind(record) == is_told


def test_a_gpu_is_asked_for_only_where_a_worker_has_one(client: Client) -> None:
    assert resources(client) == {}
    with (
        LocalCluster(n_workers=1, processes=False, resources={"GPU": 1}, dashboard_address="127.0.0.1:0") as local,
        Client(local, set_as_default=False) as other,
    ):
        assert resources(other) == {"GPU": 1}


@pytest.mark.parametrize(("workers", "gpus", "processes"), [(None, 0, 6), (3, 0, 3), (None, 2, 2), (1, 2, 1)], ids=str)
def test_a_local_cluster_has_a_process_a_core_or_a_gpu(
    monkeypatch: pytest.MonkeyPatch, workers: int | None, gpus: int, processes: int
) -> None:
    class AskedError(Exception):
        pass

    def started(**given: object) -> None:
        raise AskedError(given["n_workers"], given["processes"], given["threads_per_worker"], given["resources"])

    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("summit_dask.stages.cluster.CPU_COUNT", 6)
    monkeypatch.setattr("summit_dask.stages.cluster.LocalCluster", started)
    with pytest.raises(AskedError) as asked:
        _local(workers)
    assert asked.value.args == (processes, True, 1, {"GPU": 1} if gpus else {})


@pytest.mark.parametrize(
    ("offers", "has_cuda", "name", "device"),
    [
        ({"GPU": 1}, True, 3, "cuda:1"),
        ({"GPU": 1}, True, "gpu-node", "cuda:0"),
        ({"GPU": 1}, False, 3, "cpu"),
        ({}, True, 3, "cpu"),
        ({}, False, 3, "cpu"),
    ],
)
def test_a_worker_takes_a_gpu_only_if_it_offers_one_and_there_is_one(
    monkeypatch: pytest.MonkeyPatch, offers: dict[str, int], has_cuda: bool, name: object, device: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_cuda)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    worker = Mock(spec=Worker, state=SimpleNamespace(total_resources=offers))
    worker.name = name
    assert device_of(worker) == device


def test_a_worker_computes_in_one_thread() -> None:
    torch.set_num_threads(2)
    prepare_process()
    assert torch.get_num_threads() == 1


def test_an_existing_cluster_has_to_have_our_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Client.get_versions

    def of_old_workers(client: Client, **given: Any) -> Any:
        versions: Any = ours(client, **given)
        for worker in versions["workers"].values():
            worker["packages"]["summit-dask"] = "0.0.1"
        return versions

    with LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as local:
        options = ClusterOptions(scheduler=local.scheduler_address, worker_timeout=7)
        with cluster(options) as connect:
            assert connect() is connect()
            assert (n_workers(connect().client), connect().worker_timeout) == (1, 7)
        monkeypatch.setattr(Client, "get_versions", of_old_workers)
        with (
            pytest.raises(ClusterError, match=r"has summit-dask 0\.0\.1, this process summit-dask \d"),
            cluster(options) as connect,
        ):
            connect()


def test_storage_options_reach_workers_that_come_late_too() -> None:
    try:
        with LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as local:
            use_storage_options({"anon": True})
            with cluster(ClusterOptions(scheduler=local.scheduler_address)) as connect:
                connect()
                use_storage_options({})  # the workers are in this process
                local.scale(2)
                connect().client.wait_for_workers(2, timeout=30)
                assert storage_options() == {"anon": True}
    finally:
        use_storage_options({})


def test_a_cluster_without_workers_is_told_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as local,
        Client(local, set_as_default=False) as alone,
        pytest.raises(ClusterError, match=r"no workers for \d s.*finished partitions are kept.*--worker-timeout"),
    ):
        list(finished(Cluster(alone, 2.0), [alone.submit(abs, -1)], ["only"]))
    assert capsys.readouterr().err == "No workers are left on the cluster; waiting up to 2 s for new ones.\n"


def test_workers_that_come_late_do_the_work() -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as local,
        Client(local, set_as_default=False) as alone,
    ):
        task = alone.submit(abs, -1)
        threading.Timer(1.5, lambda: local.scale(1)).start()
        assert list(finished(Cluster(alone, 30.0), [task], ["only"])) == [("only", 1)]


def test_a_scheduler_with_tls_is_reached(tmp_path: Path) -> None:
    """By what Dask's own configuration says, here of certificates made on the spot."""
    made = Security.temporary()
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    files["ca"].write_text(made.tls_ca_file)
    files["cert"].write_text(made.tls_client_cert)
    files["key"].write_text(made.tls_client_key)
    roles = {
        f"{role}.{name}": str(files[name]) for role in ("scheduler", "worker", "client") for name in ("cert", "key")
    }
    told = {f"distributed.comm.tls.{name}": file for name, file in {"ca-file": str(files["ca"]), **roles}.items()}
    with (
        dask.config.set(told),
        LocalCluster(
            n_workers=1, processes=False, protocol="tls://", security=Security(), dashboard_address="127.0.0.1:0"
        ) as local,
        cluster(ClusterOptions(scheduler=local.scheduler_address)) as connect,
    ):
        assert local.scheduler_address.startswith("tls://")
        assert connect().client.submit(abs, -1).result() == 1


# With processes of its own


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """A scheduler and a worker, each a process; the scheduler's file lies in the folder."""
    dask = [sys.executable, "-m", "dask"]
    place = [f"--scheduler-file={tmp_path / 'scheduler.json'}", "--no-dashboard"]
    alone = ["--nthreads=1", "--no-nanny", f"--local-directory={tmp_path / 'worker'}"]
    commands = {
        "scheduler": [*dask, "scheduler", *place, "--host=127.0.0.1", "--port=0"],
        "worker": [*dask, "worker", *place, *alone],
    }
    processes = {
        name: subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name, command in commands.items()
    }
    yield processes
    for process in processes.values():
        process.kill()
        process.wait()


@pytest.mark.long
@pytest.mark.parametrize(
    ("victim", "texts"),
    [
        (
            "worker",
            ("No workers are left on the cluster; waiting up to 6 s", "Error: The cluster has had no workers for"),
        ),
        ("scheduler", ("Error: The Dask scheduler went away",)),
    ],
)
def test_what_dies_during_a_run_is_named_without_a_traceback(
    victim: str, texts: tuple[str, ...], machines: dict[str, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    config = tiny_config(tmp_path)
    write_images(tmp_path / "images", 600)
    names = ("model", "weights", "images", "classes", "resize", "crop", "batch_size", "out")
    flags = [f"--{name.replace('_', '-')}={getattr(config, name)}" for name in names]
    cluster = [f"--scheduler-file={tmp_path / 'scheduler.json'}", "--wait-for-workers=1", "--worker-timeout=6"]
    while not (tmp_path / "scheduler.json").exists():
        time.sleep(0.1)
    command = [sys.executable, "-m", "summit_dask", "run", *flags, *cluster]
    done = config.out / "partitions" / "fingerprint" / "c" / "0"
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        while run.poll() is None and not done.exists():
            time.sleep(0.01)
        machines[victim].kill()
        threading.Timer(90, run.kill).start()
        said = run.communicate()[1]
    assert run.returncode == 2, said
    assert "Traceback" not in said
    for text in texts:
        assert text in said
    marks = Store.open(config.out).read("partitions/fingerprint") != 0
    assert marks.any() and not marks.all()


def test_a_scheduler_that_dies_after_the_work_is_done_changes_nothing() -> None:
    client, plugin = Mock(spec=Client), Mock(spec=ExtractorPlugin)
    plugin.name = "extractor"
    client.scheduler_info.return_value = {"workers": {}}
    client.unregister_worker_plugin.side_effect = CommClosedError("the scheduler is gone")
    with installed(client, plugin, "m:M") as name:
        assert name == "extractor"
    client.unregister_worker_plugin.assert_called_once_with("extractor")
