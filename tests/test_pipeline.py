"""A whole run on tiny things: results, resuming, killing, other options, bad images."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster, Scheduler, SchedulerPlugin

from summit_dask.facts import schema
from summit_dask.facts.addresses import is_kept, members_of
from summit_dask.facts.config import ResultOptions, RunConfig
from summit_dask.facts.errors import (
    ClassNotFoundError,
    DatasetError,
    NumericalError,
    StoreIncompleteError,
    StoreMismatchError,
)
from summit_dask.facts.layergraph import Channel, Convolution, Hop, Layer, LayerGraph, Window
from summit_dask.facts.pairs import PAPERS
from summit_dask.facts.stages import STAGES, stage_named
from summit_dask.questions.query import attribution_graph
from summit_dask.questions.verify import KINDS, verify_store
from summit_dask.stages import pipeline, reduce
from summit_dask.stages.extract import forget_unreadable
from summit_dask.stages.init import init
from summit_dask.stages.pipeline import run_stages
from summit_dask.store import layout
from summit_dask.store.counts import readable_classes
from summit_dask.store.status import pending
from summit_dask.store.store import Store
from summit_dask.store.tree import layer_graph_of, open_store, run_of
from tests.networks import CLASSES, tiny_config
from tests.runs import connected, copied, run_here
from tests.stores import make_store

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tree(finished: RunConfig) -> xr.DataTree:
    return open_store(finished.out)


def bytes_of(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_finished_store_passes_every_check(finished: RunConfig) -> None:
    report = verify_store(finished.out, 6)
    assert report.right, "\n".join(report.lines())
    assert [check.name for check in report.checks] == [
        kind.name for kind in KINDS if kind.name not in ("evidence for graphs", "counts of groups", "pictures", "usage")
    ]


def test_verify_finds_a_changed_number(finished: RunConfig, tmp_path: Path) -> None:
    store = Store.open(copied(finished, tmp_path).out, writable=True)
    counts = store.read("matrices/upper/activation_count")
    counts[0, 0] += 1
    store.write("matrices/upper/activation_count", counts)
    report = verify_store(store.path, 1)
    assert not report.right
    assert any("activation_count of upper" in line for line in report.lines())


def test_classes_are_mapped_by_the_table_and_not_by_order(tree: xr.DataTree) -> None:
    assert tree["class"].values.tolist() == list(CLASSES)
    assert tree["classes/output_index"].values.tolist() == [2, 1, 0]
    assert tree["classes/synset"].values.tolist() == ["s0", "s1", "s2"]
    assert tree["outputs/name"].values.tolist() == list(reversed(CLASSES))


def test_the_tree_has_every_name_that_is_promised(tree: xr.DataTree) -> None:
    options = run_of(tree).config
    made = [v for v in schema.VARIABLES if v.head not in ("evidence", "pictures", "usage") and is_kept(v, options)]
    assert len(made) > 40
    for variable in made:
        members = (PAPERS.name,) if variable.members == "pair" else members_of(layer_graph_of(tree), variable)
        for member in members if is_kept(variable, run_of(tree).config) else ():
            values = tree[variable.address(member)]
            assert values.dims == variable.dims
            # Strings: xarray before 2026.9 reads them as objects.
            assert values.dtype == variable.numpy_dtype or (variable.dtype == "str" and values.dtype == object)
    assert {"summit_format", "layer_graph", "run"} <= set(tree.attrs)


def test_a_run_of_other_measures_holds_what_it_was_asked_for_and_passes_every_check(
    tmp_path: Path, client: Client
) -> None:
    config = tiny_config(tmp_path, relevance=True, influences=False, edges="contribution")
    run_here(config, client, "extract", "reduce")
    tree = open_store(config.out)
    assert "influences" not in tree and "influence_count" not in tree["matrices/upper.one.0.weight"]
    relevant, used = (tree[f"matrices/upper/{kind}_count"].values for kind in ("relevance", "activation"))
    assert relevant.sum(1).all() and (relevant != used).any()
    checks = {check.name: check for check in verify_store(config.out, 4).checks}
    assert not checks["images measured again"].wrong and not checks["counts of classes"].wrong
    assert not checks["arrays as registered"].wrong


def test_a_second_run_changes_no_byte(finished: RunConfig, client: Client) -> None:
    before = bytes_of(finished.out)
    assert pending(run_here(finished, client)) == ()
    assert bytes_of(finished.out) == before


def test_another_mass_counts_again_without_measuring_again(finished: RunConfig, tmp_path: Path, client: Client) -> None:
    config = copied(finished, tmp_path).replaced(mass=0.9)
    activations = bytes_of(config.out / "activations")
    waiting = pending(init(config), ResultOptions.part_of(config))
    assert [stage.name for stage in waiting] == ["reduce", "graphs", "embed"]
    run_here(config, client)
    assert bytes_of(config.out / "activations") == activations
    more, fewer = (open_store(c.out)["matrices/upper/activation_count"].values for c in (config, finished))
    assert (more >= fewer).all() and more.sum() > fewer.sum()


def test_counts_are_the_same_in_several_files(
    finished: RunConfig, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of many classes are; here two classes fit into a file, the third needs another."""
    config = tiny_config(finished.out.parent, out=tmp_path / "store.zarr")
    run_here(config, client, "extract")
    name = "matrices/upper.one.0.weight/influence_count"
    monkeypatch.setattr(layout, "MATRIX_SHARD_BYTES", 2 * 4 * 5 * 12)
    store = run_here(config, client, "reduce")
    assert [path.name for path in sorted((store.path / name / "c").iterdir())] == ["0", "1"]
    np.testing.assert_array_equal(store.read(name), Store.open(finished.out).read(name))


def test_sources_that_come_by_a_skip_connection_are_counted_for_their_hop(tmp_path: Path, client: Client) -> None:
    """Where two hops lead into the same channels, each image's sources say by which one they came."""
    window = Window((1, 1), (1, 1), (0, 0))
    layers = tuple(Layer(name, 4, 1, 1, name != "b", window) for name in "abc")
    hops = (
        Hop("b.weight", "a", "b", range(4), Convolution()),
        Hop("c.weight", "b", "c", range(4), Convolution()),
        Hop("c.skip", "a", "c", range(4), None),
    )
    make_store(tmp_path / "store", n_classes=2, parts=("values",), graph=LayerGraph(layers, hops))
    store = Store.open(tmp_path / "store", writable=True)
    by_hop = np.random.default_rng(0).integers(-1, 2, store.read("influences/c/hop").shape, dtype=np.int8)
    store.write("influences/c/hop", by_hop)
    with store.changing():
        run_stages(store, [stage_named("reduce")], store.header.run.config, connected(client))
    source = store.read("influences/c/source")
    own = readable_classes(store.read, slice(None)) == 1
    for index, hop in enumerate(hops[1:]):
        is_counted = own[:, None, None] & (by_hop == index)
        expected = [[np.count_nonzero(is_counted[:, c] & (source[:, c] == s)) for s in range(4)] for c in range(4)]
        assert store.read(f"matrices/{hop.name}/influence_count")[1].tolist() == expected


def test_other_extraction_options_are_refused_by_name(finished: RunConfig) -> None:
    with pytest.raises(StoreMismatchError, match=r"k: the store has 5, this run asks for 3"):
        init(finished.replaced(k=3))


def test_a_stage_before_its_time_says_what_to_run(finished: RunConfig, tmp_path: Path, client: Client) -> None:
    config = finished.replaced(out=tmp_path / "new.zarr")
    with pytest.raises(StoreIncompleteError, match=r"3 of 3 partitions .* 'summit-dask extract"):
        run_here(config, client, "reduce")
    with pytest.raises(StoreIncompleteError, match=r"Counts per class and channel .* 'summit-dask reduce"):
        run_here(config, client, "graphs")


def test_unreadable_images_are_recorded_and_leave_the_others_alone(
    finished: RunConfig, tmp_path: Path, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(tmp_path)
    broken = sorted((config.images / "bee").iterdir())
    broken[3].write_bytes(broken[3].read_bytes()[:200])
    broken[4].write_text("no picture at all")
    run_here(config, client)
    said = capsys.readouterr().err
    for stage in STAGES:
        assert re.search(rf"^{stage.name}: (\d+) of \1 \w+ in ", said, re.MULTILINE)
    assert "2 images could not be read and are left out" in said
    tree, whole = open_store(config.out), open_store(finished.out)
    lost = tree["images/status"].values == schema.UNREADABLE
    assert lost.sum() == 2
    assert all(tree["images/reason"].values[lost] != "") and all(tree["images/reason"].values[~lost] == "")
    assert tree["classes/n_images"].values.tolist() == [30, 28, 30]
    for name in ("activations/upper/value", "influences/upper/source", "images/predicted"):
        np.testing.assert_array_equal(tree[name].values[~lost], whole[name].values[~lost])
    assert tree["matrices/upper/activation_count"].values[1].max() <= 28


@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_bytes(finished: RunConfig, tmp_path: Path) -> None:
    """SIGKILL of the whole process group as soon as one partition is done, at any moment of the next."""
    script = (
        "from pathlib import Path; from summit_dask.stages import pipeline; from tests.networks import tiny_config\n"
        f"if __name__ == '__main__': pipeline.run(tiny_config(Path({str(finished.out.parent)!r}), "
        f"out={str(tmp_path / 'store.zarr')!r}))"
    )
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, str(tmp_path / "script.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE)
    done = tmp_path / "store.zarr" / "partitions" / "fingerprint" / "c"
    while first.poll() is None and not (done.is_dir() and any(done.iterdir())):
        time.sleep(0.005)
    if first.poll() is None:
        os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    (tmp_path / "store.zarr" / "activations" / "0.abc.partial").write_bytes(b"half a file")
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert bytes_of(tmp_path / "store.zarr") == bytes_of(finished.out)


def test_attribution_graph_equals_the_stored_one(tree: xr.DataTree) -> None:
    graphs, layers = tree["graphs/activation-influence"], tree.attrs["layer_graph"]["layers"]
    for place, name in enumerate(CLASSES):
        made = attribution_graph(tree, name)
        rows = graphs["node_class"].values == place
        nodes = {
            Channel(layers[layer]["name"], int(channel)): score
            for layer, channel, score in zip(
                *(graphs[f"node_{column}"].values[rows] for column in ("layer", "channel", "score")), strict=True
            )
        }
        assert nodes == {node: data["score"] for node, data in made.nodes(data=True)}
        assert made.number_of_edges() == (graphs["edge_class"].values == place).sum()
        assert nx.is_directed_acyclic_graph(made)


def test_attribution_graph_of_all_images_of_a_class_is_the_class_s(tree: xr.DataTree) -> None:
    chosen = tree["images/class_index"] == 1
    assert nx.utils.graphs_equal(attribution_graph(tree, images=chosen), attribution_graph(tree, "bee"))
    every = np.ones(tree.sizes["image"], bool)
    assert nx.utils.graphs_equal(attribution_graph(tree, "bee", images=every), attribution_graph(tree, "bee"))


def test_attribution_graph_of_no_images_is_empty(tree: xr.DataTree) -> None:
    assert len(attribution_graph(tree, images=np.zeros(tree.sizes["image"], bool))) == 0


def test_attribution_graph_follows_its_options(tree: xr.DataTree) -> None:
    small, large = attribution_graph(tree, "ant"), attribution_graph(tree, "ant", p=0.9)
    assert len(large) > len(small)
    assert set(small) <= set(large)
    first = max(channel.index for channel in large if channel.layer == "upper")
    without = attribution_graph(tree, "ant", p=0.9, excluded={"upper": [first]})
    assert Channel("upper", first) not in without
    used = sum(count for _, count in attribution_graph(tree, "ant", p=1.0, mass=0.99).nodes(data="count"))
    assert used > sum(count for _, count in attribution_graph(tree, "ant", p=1.0).nodes(data="count"))


def test_unknown_class_names_the_nearest(tree: xr.DataTree) -> None:
    with pytest.raises(ClassNotFoundError, match="Did you mean 'bee'"):
        attribution_graph(tree, "beee")


def test_a_store_opens_with_xarray_alone(finished: RunConfig) -> None:
    code = (
        "import sys, xarray\n"
        f"tree = xarray.open_datatree({str(finished.out)!r}, engine='zarr')\n"
        "print(tree['matrices/upper/activation_count'].sel({'class': 'bee'}).values.sum())\n"
        "assert 'summit_dask' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = open_store(finished.out)["matrices/upper/activation_count"].values[1].sum()
    assert result.stdout.strip() == str(expected)


# Any state, any options


STATES = ((), ("extract",), ("extract", "reduce"), ("extract", "reduce", "examples", "graphs", "embed"))
CHANGES: tuple[dict[str, object], ...] = (
    {"mass": 0.2},
    {"p": 0.4, "unified": True},
    {"examples": 3, "thumbnail": 16},
    {"seed": 5},
    {"excluded": [{"layer": "upper", "channels": [1], "reason": "odd"}], "directed": True},
)


@pytest.mark.parametrize(
    ("state", "change"),
    [
        pytest.param(state, change, marks=[] if (i + 2 * j) % 16 == 0 else pytest.mark.long)
        for i, state in enumerate(STATES)
        for j, change in enumerate(CHANGES)
    ],
    ids=lambda value: "-".join(value) or "init",
)
def test_a_run_given_again_with_other_options_works_at_once(
    state: tuple[str, ...], change: dict[str, object], finished: RunConfig, tmp_path: Path, client: Client
) -> None:
    """To the same bytes as one that had these options from the start, but for the header."""
    config = tiny_config(finished.out.parent, out=tmp_path / "store.zarr")
    if state:
        run_here(config, client, *state)
    else:
        init(config)
    asked = config.replaced(**change)
    assert pending(run_here(asked, client)) == ()
    straight = tiny_config(finished.out.parent, out=tmp_path / "straight.zarr").replaced(**change)
    run_here(straight, client)
    made, expected = (bytes_of(place.out) for place in (asked, straight))
    assert made == expected


def test_a_stage_that_fails_leaves_the_store_as_it_was(
    finished: RunConfig, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = copied(finished, tmp_path)
    before = bytes_of(config.out)

    def fails(*_: object) -> None:
        raise NumericalError("halfway")

    monkeypatch.setattr("summit_dask.stages.graphs.write_graphs", fails)
    with pytest.raises(NumericalError):
        run_here(config.replaced(p=0.5), client)
    assert bytes_of(config.out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["store.zarr"]


def test_a_place_that_sees_no_images_leaves_its_partitions_undone(
    finished: RunConfig, tmp_path: Path, client: Client
) -> None:
    config = tiny_config(finished.out.parent, out=tmp_path / "store.zarr")
    store = init(config)
    with store.changing():
        store.update_run(store.header.run.model_copy(update={"images_root": tmp_path / "nowhere"}))
        with pytest.raises(DatasetError, match=r"There is no folder .*nowhere on the worker .* on .*--images"):
            run_stages(store, [stage_named("extract")], store.header.run.config, connected(client))
        assert not store.read("partitions/fingerprint").any()
    run_here(config, client)  # names the right folder again
    assert bytes_of(config.out) == bytes_of(finished.out)


@pytest.mark.long
def test_unreadable_images_are_tried_again_when_asked(finished: RunConfig, tmp_path: Path, client: Client) -> None:
    config = tiny_config(tmp_path)
    broken = config.images / "bee" / "003.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:200])
    store = run_here(config, client)
    assert (store.read("images/status") == schema.UNREADABLE).sum() == 1
    broken.write_bytes(whole)
    with store.changing():
        assert forget_unreadable(store) == 1
    assert [stage.name for stage in pending(store)] == ["extract", "reduce", "examples", "graphs", "embed"]
    run_here(config, client)
    tree, expected = open_store(config.out), open_store(finished.out)
    assert tree["classes/n_images"].values.tolist() == [30, 30, 30]
    for name in (
        "influences/upper/source",
        "matrices/upper/activation_count",
        "graphs/activation-influence/node_score",
    ):
        np.testing.assert_array_equal(tree[name].values, expected[name].values)
    assert verify_store(config.out, 6).right


@pytest.fixture
def mixed(tmp_path: Path) -> Store:
    """Seventeen classes whose images lie in any order, one of them without images; in few partitions."""
    make_store(tmp_path / "store", n_classes=17, images_per_class=6, parts=("values",))
    store = Store.open(tmp_path / "store", writable=True)
    classes = np.random.default_rng(0).permutation(store.read("images/class_index"))
    classes[classes == 12] = 3
    store.write("images/class_index", classes)
    return store


def test_counts_do_not_depend_on_the_order_of_images_and_follow_the_formula(mixed: Store, client: Client) -> None:
    with mixed.changing():
        run_stages(mixed, [stage_named("reduce")], mixed.header.run.config, connected(client))
    classes = readable_classes(mixed.read, slice(None))
    for hop in mixed.layer_graph.hops:
        source = mixed.read(f"influences/{hop.target}/source")[:, hop.rows]
        counts = mixed.read(f"matrices/{hop.name}/influence_count")
        expected = np.zeros_like(counts)
        for image, channel, rank in np.ndindex(source.shape):
            if classes[image] >= 0:
                expected[classes[image], channel, source[image, channel, rank]] += 1
        np.testing.assert_array_equal(counts, expected)
    used = mixed.read("matrices/mixed1/activation_count")
    assert used[12].sum() == 0 and used[[0, 11, 13, 16]].sum(axis=1).all()


def test_a_reduction_has_two_tasks_a_partition_at_most_and_computes_nothing_until_it_is_asked(
    mixed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduce, "_count", lambda *_: pytest.fail("computed"))
    tasks = reduce.count_classes(mixed, mixed.header.run.config)
    assert sum(map(len, tasks)) == 17 and [classes.start for classes in tasks] == sorted(c.start for c in tasks)
    n_tasks = len(set().union(*(task.__dask_graph__() for task in tasks.values())))
    assert len(tasks) < n_tasks <= 2 * mixed.header.n_partitions


class Counting(SchedulerPlugin):
    """Counts the tasks that reach a scheduler."""

    name = "counting"
    n_tasks = 0

    def update_graph(self, scheduler: Scheduler, **given: Any) -> None:
        self.n_tasks += len(given["tasks"])


def test_a_stage_sends_the_scheduler_two_tasks_a_partition_at_most(
    finished: RunConfig, client: Client, tmp_path: Path
) -> None:
    config = copied(finished, tmp_path)
    store = Store.open(config.out, writable=True)
    counting = Counting()
    n_tasks: dict[str, int] = {}
    assert isinstance(client.cluster, LocalCluster)
    scheduler = client.cluster.scheduler
    scheduler.add_plugin(counting)
    try:
        with store.changing():
            store.forget(range(store.header.n_partitions))
            for stage in STAGES:
                counting.n_tasks = 0
                run_stages(store, [stage], ResultOptions.part_of(config), connected(client))
                n_tasks[stage.name] = counting.n_tasks
    finally:
        scheduler.remove_plugin(counting.name)
    assert n_tasks["extract"] == store.header.n_partitions == 3
    assert n_tasks["reduce"] > 0
    assert max(n_tasks.values()) <= 2 * store.header.n_partitions, n_tasks


def test_workers_are_prepared_before_network_and_images_are_looked_at(
    finished: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(pipeline, "prepare_workers", lambda config: order.append("workers"))
    monkeypatch.setattr(pipeline, "init", lambda *given: order.append("init") or init(*given))
    pipeline.run(finished)
    assert order == ["workers", "init"]
