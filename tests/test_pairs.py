"""Graphs of several pairs of measures side by side: made, renewed alone, outdated, read, refused where counts lack."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from distributed import Client

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.graph.attribution import to_networkx
from summit_dask.facts import schema
from summit_dask.facts.addresses import why_not_counted
from summit_dask.facts.config import GraphOptions, RunConfig
from summit_dask.facts.errors import ConfigError, StoreIncompleteError
from summit_dask.facts.pairs import PAIRS, PAPERS, Pair, pair_of
from summit_dask.facts.stages import STAGES, stage_named
from summit_dask.formats.exports import export
from summit_dask.questions.info import describe, printed
from summit_dask.questions.query import attribution_graph
from summit_dask.questions.verify import KINDS
from summit_dask.stages import pipeline
from summit_dask.stages.init import init
from summit_dask.stages.pictures import wanted_channels
from summit_dask.stages.pipeline import run_stages
from summit_dask.store.graphs import chosen_pair, read_graph, stored_pairs
from summit_dask.store.status import outdated, pending_commands, unfinished
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests.pairs import RELEVANT, add_counts, add_pair
from tests.runs import cluster_of, connected
from tests.stores import make_store, options


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with the paper's graphs, and the counts that others could be made of."""
    make_store(tmp_path / "store", parts=("values", "matrices", "graphs"))
    change(tmp_path / "store", add_counts)
    return tmp_path / "store"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the graphs of two pairs, and what both were made of; not to be changed."""
    path = tmp_path_factory.mktemp("pairs") / "store"
    make_store(path, parts=("values", "matrices", "graphs"))
    add_pair(path)
    return path


def change(path: Path, how: Callable[[Store], object]) -> Store:
    """Change a store as a command does."""
    store = Store.open(path, writable=True)
    with store.changing():
        how(store)
    return store


def make(path: Path, client: Client, **asked: Any) -> Store:
    """The graphs stage, with some options changed."""

    def run(store: Store) -> None:
        wanted = store.header.run.config.replaced(**asked)
        run_stages(store, [stage_named("graphs")], wanted, connected(client))

    return change(path, run)


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of every file of a group."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# Names


def test_every_pair_has_a_group_of_its_own_that_the_stage_makes_and_the_registry_knows() -> None:
    assert len(PAIRS) == 4 and PAIRS[0] == PAPERS == Pair() == GraphOptions().pair
    graphs = stage_named("graphs")
    made = [graphs.made_with(variant) for variant in graphs.beside(options())]
    assert made == [(pair.group,) for pair in PAIRS]
    assert all(pair_of(pair.group) is pair for pair in PAIRS) and pair_of("graphs") is pair_of("matrices") is None
    assert schema.variable(f"{RELEVANT.group}/node_class").members == "pair"
    others = (stage for stage in STAGES if stage is not graphs)
    assert all(list(stage.beside(options())) == [options()] for stage in others)


@pytest.mark.parametrize(
    ("pair", "kept", "named"),
    [
        (Pair("relevance", "influence"), {}, "--relevance"),
        (Pair("activation", "contribution"), {"contributions": False}, "--contributions"),
        (Pair("activation", "influence"), {"influences": False}, "--influences"),
        (RELEVANT, {"relevance": True}, ""),
        (PAPERS, {}, ""),
    ],
)
def test_why_a_run_has_no_graphs_of_a_pair_names_the_option(pair: Pair, kept: dict[str, bool], named: str) -> None:
    why = why_not_counted(pair, options().replaced(**kept))
    assert bool(why) == bool(named) and named in why


# Making


def test_another_pair_is_added_and_the_same_again_renewed_alone(path: Path, client: Client) -> None:
    papers = files_of(path / PAPERS.group)
    store = make(path, client, nodes="relevance", edges="contribution")
    assert stored_pairs(store) == (PAPERS, RELEVANT)
    assert (outdated(store), unfinished(store)) == ((), ("examples", "embedding"))
    first = files_of(path / RELEVANT.group)
    store = make(path, client, nodes="relevance", edges="contribution", p=0.2)
    assert files_of(path / PAPERS.group) == papers
    assert files_of(path / RELEVANT.group) != first
    assert outdated(store) == (PAPERS.group,)  # by its p, which the store has another of now
    store = make(path, client, nodes="activation", edges="influence")
    assert outdated(store) == () and store.header.run.config.pair == PAPERS


def test_the_graphs_are_those_of_the_pair_s_own_counts(path: Path, client: Client) -> None:
    store = make(path, client, nodes="relevance")
    pair = Pair("relevance", "influence")
    seen = 0
    for index in range(store.header.n_classes):
        graph = read_graph(store.read, index, pair)
        for row, channel in enumerate(graph.nodes(store.layer_graph)):
            counts = store.read(f"matrices/{channel.layer}/relevance_count")
            assert graph.node_count[row] == counts[index, channel.index]
            seen += 1
    assert seen


def test_a_pair_that_is_there_becomes_the_run_s_own_without_being_made_again(path: Path, client: Client) -> None:
    make(path, client, nodes="relevance", edges="contribution")
    before = files_of(path / "graphs")
    store = make(path, client, nodes="activation", edges="influence")
    assert files_of(path / "graphs") == before
    assert Store.open(path).header.run.config.pair == store.header.run.config.pair == PAPERS


def test_after_another_mass_the_graphs_of_every_pair_are_outdated(both: Path, tmp_path: Path, client: Client) -> None:
    shutil.copytree(both, tmp_path / "store")

    def other_mass(store: Store) -> None:
        run = store.header.run
        store.update_run(run.with_options_of(stage_named("reduce"), run.config.replaced(mass=0.4)))

    store = change(tmp_path / "store", other_mass)
    assert outdated(store) == ("matrices", PAPERS.group, RELEVANT.group)
    assert "graphs" in pending_commands(store)
    facts = describe(tmp_path / "store")
    assert [graphs["outdated"] for graphs in facts["graphs"]] == [True, True]
    with pytest.raises(StoreIncompleteError, match="run 'summit-dask reduce"):
        make(tmp_path / "store", client, nodes="relevance")


def test_a_failure_leaves_the_graphs_of_every_pair_as_they_were(both: Path, tmp_path: Path) -> None:
    shutil.copytree(both, tmp_path / "store")
    before = files_of(tmp_path / "store" / "graphs")
    store = Store.open(tmp_path / "store", writable=True)
    with pytest.raises(KeyboardInterrupt), store.changing(), store.renewing(RELEVANT.group) as draft:
        draft.add(f"{RELEVANT.group}/node_class", np.zeros(3, np.int32))
        raise KeyboardInterrupt
    assert files_of(tmp_path / "store" / "graphs") == before
    assert [folder.name for folder in tmp_path.iterdir()] == ["store"]


def test_what_a_kill_left_between_two_places_is_put_back(both: Path, tmp_path: Path) -> None:
    shutil.copytree(both, tmp_path / "store")
    before = files_of(tmp_path / "store" / "graphs")
    aside = tmp_path / "store.new" / "moved-aside" / RELEVANT.group
    aside.parent.mkdir(parents=True)
    (tmp_path / "store" / RELEVANT.group).rename(aside)
    store = change(tmp_path / "store", lambda _: None)
    assert stored_pairs(store) == (PAPERS, RELEVANT) and files_of(tmp_path / "store" / "graphs") == before
    assert [folder.name for folder in tmp_path.iterdir()] == ["store"]


# Refusing


def test_a_run_that_would_not_count_a_pair_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = RunConfig.of({"model": "nowhere.py:N", "images": "i", "out": tmp_path / "store", "nodes": "relevance"})
    with pytest.raises(ConfigError, match=r"nodes by relevance, edges by influence need .* with --relevance keeps"):
        init(config)
    assert not list(tmp_path.iterdir())


def test_a_store_without_a_pair_s_counts_refuses_its_graphs(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "cluster", cluster_of(client))
    make_store(tmp_path / "store", parts=("values", "matrices", "graphs"))
    before = files_of(tmp_path / "store")
    with pytest.raises(ConfigError, match="--relevance"):
        pipeline.run_command("graphs", tmp_path / "store", {"nodes": "relevance"}, RunConfig.model_construct())
    assert files_of(tmp_path / "store") == before
    tree = open_store(tmp_path / "store")
    with pytest.raises(StoreIncompleteError, match="'summit-dask run --relevance'"):
        attribution_graph(tree, "n00000001", nodes="relevance")


def test_a_measure_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"'nodes' .* 'gradient': Input should be 'activation' or 'relevance'"):
        GraphOptions.of({"nodes": "gradient"})


# Asking


@pytest.mark.parametrize("pair", [PAPERS, RELEVANT])
def test_attribution_graph_equals_the_stored_one_of_either_pair(both: Path, pair: Pair) -> None:
    store, tree = Store.open(both), open_store(both)
    for index, name in enumerate(tree["class"].values.tolist()):
        stored = to_networkx(store.layer_graph, read_graph(store.read, index, pair))
        assert nx.utils.graphs_equal(attribution_graph(tree, name, **pair._asdict()), stored)


def test_attribution_graph_is_of_the_run_s_pair_by_default(both: Path, tmp_path: Path) -> None:
    shutil.copytree(both, tmp_path / "store")
    run = Store.open(both).header.run
    asked = run.model_copy(update={"config": run.config.replaced(**RELEVANT._asdict())})
    change(tmp_path / "store", lambda store: store.update_run(asked))
    made = attribution_graph(open_store(tmp_path / "store"), "n00000002")
    assert nx.utils.graphs_equal(made, attribution_graph(open_store(both), "n00000002", **RELEVANT._asdict()))
    assert not nx.utils.graphs_equal(made, attribution_graph(open_store(both), "n00000002"))


@pytest.mark.parametrize("mass", [None, 0.5])
def test_the_graph_of_some_images_counts_what_is_stored_of_each(both: Path, mass: float | None) -> None:
    tree = open_store(both)
    chosen = tree["images/class_index"].values == 1
    graph = attribution_graph(tree, images=chosen, p=1.0, mass=mass, excluded={}, **RELEVANT._asdict())
    readable = chosen & (tree["images/status"].values == schema.READ)
    assert len(graph) > 20
    for channel, count in graph.nodes(data="count"):
        values = tree[f"relevances/{channel.layer}/value"].values[readable]
        assert count == select_channels(values, mass or 0.03, ())[:, channel.index].sum()
    for source, target, count in graph.edges(data="influence"):
        if target.layer == "mixed1" and target.index < 6:  # straight from the stem, by the first hop
            kept = tree["contributions/mixed1/source"].values[readable, target.index]
            assert count == (kept == source.index).sum()


def test_the_mass_of_a_class_counts_its_relevance_again(both: Path) -> None:
    tree = open_store(both)
    own = (tree["images/class_index"].values == 2) & (tree["images/status"].values == schema.READ)
    graph = attribution_graph(tree, "n00000002", p=1.0, mass=0.6, nodes="relevance")
    assert len(graph) > 20
    for channel, count in graph.nodes(data="count"):
        values = tree[f"relevances/{channel.layer}/value"].values[own]
        excluded = [7] if channel.layer == "stem" else []
        assert count == select_channels(values, 0.6, excluded)[:, channel.index].sum()


def test_the_first_pair_there_is_stands_for_one_that_was_not_asked_for(both: Path, path: Path, client: Client) -> None:
    store = Store.open(both)
    assert chosen_pair(store) == PAPERS and chosen_pair(store, edges="contribution") == RELEVANT
    with pytest.raises(StoreIncompleteError, match=r"graphs .*store --nodes relevance --edges influence' makes them"):
        chosen_pair(store, "relevance", "influence")
    make(path, client, nodes="relevance", edges="contribution")
    change(path, lambda _: shutil.rmtree(path / PAPERS.group))
    assert chosen_pair(Store.open(path)) == RELEVANT


def test_info_lists_the_pairs_there_are(both: Path) -> None:
    facts = describe(both)
    assert json.loads(json.dumps(facts)) == facts
    kinds = {"outdated": False, "tested": False}
    assert facts["graphs"] == [{**pair._asdict(), **kinds} for pair in (PAPERS, RELEVANT)]
    words = "Graphs: nodes by activation, edges by influence; nodes by relevance, edges by contribution"
    assert words in printed(facts).splitlines()


@pytest.mark.parametrize(
    ("check", "column"),
    [
        ("graphs of classes", "node_score"),
        ("graphs of classes", "node_count"),
        ("all graphs' invariants", "edge_class"),
    ],
)
def test_verify_finds_a_wrong_number_in_the_graphs_of_any_pair(
    both: Path, tmp_path: Path, check: str, column: str
) -> None:
    shutil.copytree(both, tmp_path / "store")
    (kind,) = [kind for kind in KINDS if kind.name == check]
    store = Store.open(tmp_path / "store", writable=True)
    assert kind.applies(store) and not any(kind.find(store, 1))
    address = f"{RELEVANT.group}/{column}"
    values = store.read(address)
    values[0] += 1
    store.write(address, values)
    wrong = [text for text in kind.find(store, 1) if text]
    assert wrong and all(text.startswith(RELEVANT.group) for text in wrong)


# Passing on


def test_an_export_holds_the_graphs_of_the_pair_that_was_asked_for(both: Path, tmp_path: Path) -> None:
    names = {PAPERS: "papers", RELEVANT: "relevant"}
    export(both, tmp_path / "papers", "graphml")
    export(both, tmp_path / "relevant", "graphml", nodes="relevance")
    tree = open_store(both)
    for pair, folder in names.items():
        file = sorted((tmp_path / folder).glob("*.graphml"))[1]
        read = nx.read_graphml(file)
        made = attribution_graph(tree, "n00000001", **pair._asdict())
        assert set(read) == {f"{node.layer}/{node.index}" for node in made}
    with pytest.raises(StoreIncompleteError, match="no graphs with nodes by activation, edges by contribution"):
        export(both, tmp_path / "none", "csv", nodes="activation", edges="contribution")


@pytest.mark.parametrize("format", ["csv", "parquet", "json", "summit"])
def test_every_format_can_hold_another_pair(both: Path, tmp_path: Path, format: Any) -> None:
    contents = []
    for pair in (PAPERS, RELEVANT):
        folder = tmp_path / pair.name
        report = export(both, folder, format, nodes=pair.nodes, edges=pair.edges)
        assert not any("no graphs" in text for text in report.left_out)
        contents.append(files_of(folder))
    assert contents[0].keys() == contents[1].keys() and contents[0] != contents[1]


def test_pictures_are_those_of_the_channels_in_any_pair_s_graphs(both: Path) -> None:
    store = Store.open(both)
    chosen = {(layer, c) for layer, channels in wanted_channels(store, "graphs").items() for c in channels}
    graphs = [read_graph(store.read, k, pair) for k in range(5) for pair in (PAPERS, RELEVANT)]
    assert chosen == {(node.layer, node.index) for graph in graphs for node in graph.nodes(store.layer_graph)}
