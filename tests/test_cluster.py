"""Clusters: what tasks ask for, and what failures of a cluster end in. Unreachable ones: see test_cli."""

import threading
import time
from types import SimpleNamespace

import pytest
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker

from summit_dask.facts.errors import ClusterError, NumericalError, StoreError
from summit_dask.stages.cluster import Cluster, resources
from summit_dask.stages.tasks import finished, result_of


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


def test_workers_that_died_are_named() -> None:
    class Dead:
        def result(self) -> None:
            raise KilledWorker("extract-1", SimpleNamespace(address="tcp://x"), 3)

    with pytest.raises(ClusterError, match=r"Workers died.*fewer --workers"):
        result_of(Dead())


def test_a_gpu_is_asked_for_only_where_a_worker_has_one(client: Client) -> None:
    assert resources(client) == {}
    with (
        LocalCluster(n_workers=1, processes=False, resources={"GPU": 1}, dashboard_address="127.0.0.1:0") as local,
        Client(local, set_as_default=False) as other,
    ):
        assert resources(other) == {"GPU": 1}


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
