"""A store's results as files of other programs, and back."""

import json
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from summit_dask.cli_formats import COMMANDS
from summit_dask.facts.errors import (
    ClassNotFoundError,
    ConfigError,
    LayerNotFoundError,
    StoreError,
    StoreIncompleteError,
)
from summit_dask.formats.checks import read_json
from summit_dask.formats.exports import export
from summit_dask.formats.names import original_names, renamed
from summit_dask.formats.original_import import import_summit
from summit_dask.formats.original_network import layer_graph
from summit_dask.questions.usage import channel_usage, usage_summary, write_usage
from summit_dask.store.store import Store
from summit_dask.store.tree import layer_graph_of, open_store
from tests import originals, stores

COMMAND = {command.name: command for command in COMMANDS}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, stores.Made]:
    """A store of a run of our own."""
    path = tmp_path_factory.mktemp("own") / "store"
    return path, stores.make_store(path, parts={"matrices", "graphs", "embedding"})


def test_import_export_import_is_the_same_store(tmp_path: Path) -> None:
    folder = originals.make(tmp_path / "from", 4)
    import_summit(folder, tmp_path / "first")
    report = export(tmp_path / "first", tmp_path / "to", "summit")
    assert (report.n_files, report.left_out) == (5, ("feature-vis: the store has no pictures.",))
    for path in folder.rglob("*.json"):
        assert read_json(tmp_path / "to" / path.relative_to(folder)) == read_json(path), path
    import_summit(tmp_path / "to", tmp_path / "second")
    assert open_store(tmp_path / "first").identical(open_store(tmp_path / "second"))


def test_import_without_a_table_round_trips(tmp_path: Path) -> None:
    import_summit(originals.make(tmp_path / "from", imagenet=False, n_layers=3), tmp_path / "first")
    assert len(export(tmp_path / "first", tmp_path / "to", "summit").left_out) == 3
    import_summit(tmp_path / "to", tmp_path / "second")
    assert open_store(tmp_path / "first").identical(open_store(tmp_path / "second"))


def test_own_run_in_the_original_form(own: tuple[Path, stores.Made], tmp_path: Path) -> None:
    path, made = own
    table = {"mixed2": "mixed3b"}
    export(path, tmp_path / "to", "summit", layers=table)
    entries = read_json(tmp_path / "to/data/imagenet.json")
    tree = open_store(path)
    assert [entry["label"] for entry in entries] == ["1", "2", "3", "4", "5"]
    assert entries[1]["name"] == "crane"
    counts = made.activation["mixed2"][1]
    assert [(c["c"], c["i"]) for c in entries[1]["topChannels"]["mixed3b"]] == sorted(
        ((c, n) for c, n in enumerate(counts.tolist()) if n), key=lambda pair: (-pair[1], pair[0])
    )
    rows = (tree["images/class_index"].values == 1) & (tree["images/status"].values == 1)
    shown = [float(text) for text in entries[1]["accs"]]
    np.testing.assert_allclose(shown, 100 * tree["images/probability"].values[rows, 0], atol=0.1)
    assert all(len(text) <= 4 for text in entries[1]["accs"])
    assert entries[1]["numOfInstances"] == rows.sum()
    _check_sources(read_json(tmp_path / "to/data/ag/ag-1.json"), made)


def _check_sources(graph: dict[str, list[dict[str, Any]]], made: stores.Made) -> None:
    """Sources through the bottleneck: the widest of all paths to each channel below."""
    assert list(graph) == ["mixed3", "mixed3b", "mixed1", "stem"]
    through = [node for node in graph["mixed3b"] if node["channel"] >= 8]
    assert through
    for node in through:
        last = made.influence["mixed2.3x3"][1][node["channel"] - 8]
        widest = np.minimum(last[:, None], made.influence["mixed2.down"][1]).max(axis=0)
        order = np.argsort(-widest, kind="stable")[:3].tolist()
        assert node["attr_channels"] == [{"prev_channel": str(c), "inf": int(widest[c])} for c in order]
    direct = [node for node in graph["mixed3b"] if node["channel"] < 8]
    for node in direct:
        row = made.influence["mixed2.1x1"][1][node["channel"]]
        assert [s["inf"] for s in node["attr_channels"]] == sorted(row.tolist(), reverse=True)[:3]


def test_own_run_comes_back(own: tuple[Path, stores.Made], tmp_path: Path) -> None:
    """Its layer graph travels along, so that another network than the original's can be read again."""
    path, made = own
    export(path, tmp_path / "to", "summit", layers={"mixed2": "mixed3b"})
    import_summit(tmp_path / "to", tmp_path / "store")
    tree = open_store(tmp_path / "store")
    assert layer_graph_of(tree) == renamed(made.layer_graph, {"mixed2": "mixed3b"})
    np.testing.assert_array_equal(tree["matrices/mixed3b/activation_count"].values, made.activation["mixed2"])
    before = open_store(path)
    for name in ("node_channel", "node_count", "node_score", "edge_influence"):
        assert sorted(tree[f"graphs/{name}"].values) == sorted(before[f"graphs/{name}"].values)
    sources = set(tree["graphs/node_source_layer"].values.ravel().tolist()) - {-1}
    assert all(made.layer_graph.layers[place].visible for place in sources)
    export(tmp_path / "store", tmp_path / "again", "summit")
    for file in (tmp_path / "to").rglob("*.json"):
        assert read_json(tmp_path / "again" / file.relative_to(tmp_path / "to")) == read_json(file), file


def test_layer_names() -> None:
    old = ("inception3a", "inception_3b", "inception4b.branch", "fire2")
    graph = renamed(layer_graph(), dict(zip(originals.LAYERS, old, strict=False)))
    names = ["mixed3a", "mixed3b", "inception4b.branch", "fire2", *originals.LAYERS[4:]]
    assert list(original_names(graph).values()) == names
    assert original_names(graph, {"fire2": "two"})["fire2"] == "two"
    with pytest.raises(LayerNotFoundError, match="fire3"):
        original_names(graph, {"fire3": "three"})
    with pytest.raises(ConfigError, match="same name"):
        original_names(graph, {"fire2": "mixed3a"})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables(kind: Any, own: tuple[Path, stores.Made], tmp_path: Path) -> None:
    path, made = own
    export(path, tmp_path, kind)
    tree = open_store(path)
    tables = {
        file.stem: pd.read_csv(file, keep_default_na=False) if kind == "csv" else pd.read_parquet(file)
        for file in tmp_path.glob(f"*.{kind}")
        if not file.name.startswith("A-")
    }
    assert len(tables) == 10
    assert tables["classes"]["name"].tolist() == list(stores.AWKWARD_NAMES)
    folders = tree["class"].values.tolist()
    assert tables["images"]["class"].tolist() == [folders[k] for k in tree["images/class_index"].values]
    counts = tables["activation_counts"].query("layer == 'mixed1'")
    restored = np.zeros_like(made.activation["mixed1"])
    restored[[folders.index(name) for name in counts["class"]], counts["channel"]] = counts["count"]
    np.testing.assert_array_equal(restored, made.activation["mixed1"])
    influence = tables["influence_counts"].query("hop == 'mixed1.3x3'")
    restored = np.zeros_like(made.influence["mixed1.3x3"])
    rows = [folders.index(name) for name in influence["class"]]
    restored[rows, influence["target_channel"] - 6, influence["source_channel"]] = influence["count"]
    np.testing.assert_array_equal(restored, made.influence["mixed1.3x3"])
    np.testing.assert_array_equal(tables["nodes"]["score"].astype(float), tree["graphs/node_score"].values)
    np.testing.assert_array_equal(tables["edges"]["influence"], tree["graphs/edge_influence"].values)
    places = {layer.name: place for place, layer in enumerate(made.layer_graph.layers)}
    assert [places[name] for name in tables["edges"]["source_layer"]] == tree[
        "graphs/edge_source_layer"
    ].values.tolist()
    kept = tree["graphs/node_source_channel"].values >= 0
    assert tables["sources"]["influence"].tolist() == tree["graphs/node_source_influence"].values[kept].tolist()
    assert len(tables["embedding"]) == 4 * 5
    if kind == "csv":
        written = np.loadtxt(tmp_path / "A-0.03-mixed1.csv", delimiter=",", dtype=int)
        np.testing.assert_array_equal(written, made.activation["mixed1"])


def test_some_classes(own: tuple[Path, stores.Made], tmp_path: Path) -> None:
    path, made = own
    labels = open_store(path)["class"].values.tolist()
    export(path, tmp_path / "csv", "csv", [labels[3], labels[1]])
    assert pd.read_csv(tmp_path / "csv/classes.csv")["class"].tolist() == [labels[1], labels[3]]
    assert set(pd.read_csv(tmp_path / "csv/images.csv")["class"]) == {labels[1], labels[3]}
    written = np.loadtxt(tmp_path / "csv/A-0.03-stem.csv", delimiter=",", dtype=int)
    np.testing.assert_array_equal(written, made.activation["stem"][[1, 3]])
    export(path, tmp_path / "summit", "summit", [labels[3]])
    assert [file.name for file in (tmp_path / "summit/data/ag").iterdir()] == ["ag-3.json"]
    assert [entry["label"] for entry in read_json(tmp_path / "summit/data/imagenet.json")] == ["4"]
    with pytest.raises(ClassNotFoundError, match="several classes"):
        export(path, tmp_path / "none", "csv", ["crane"])
    assert not (tmp_path / "none").exists()


def test_graphml(own: tuple[Path, stores.Made], tmp_path: Path) -> None:
    path, made = own
    export(path, tmp_path, "graphml")
    files = sorted(tmp_path.glob("*.graphml"))
    assert len(files) == 5
    network, graph = nx.read_graphml(files[2]), stores.graph_of(made, 2)
    assert network.number_of_nodes() == len(graph.node_layer)
    assert sorted(v["influence"] for *_, v in network.edges(data=True)) == sorted(graph.edge_influence.tolist())
    assert {v["layer"] for _, v in network.nodes(data=True)} <= {layer.name for layer in made.layer_graph.visible}
    assert network.graph["name"] == "crane"
    for source, target in network.edges:
        assert made.layer_graph.below(network.nodes[target]["layer"]).name == network.nodes[source]["layer"]  # type: ignore[union-attr]


def test_json(own: tuple[Path, stores.Made], tmp_path: Path) -> None:
    path, made = own
    export(path, tmp_path, "json")
    graph = stores.graph_of(made, 0)
    record = read_json(sorted((tmp_path / "graphs").iterdir())[0])
    assert record["name"] == stores.AWKWARD_NAMES[0]
    assert [node["score"] for node in record["nodes"]] == graph.node_score.tolist()
    assert sorted(edge["influence"] for edge in record["edges"]) == sorted(graph.edge_influence.tolist())
    names = {file.name for file in tmp_path.glob("I_*.json")}
    assert names == {f"I_mixed{k}{s}.json" for k in (1, 2, 3) for s in ("", "_1")}
    counts = read_json(tmp_path / "I_mixed2.json")
    dense = made.influence["mixed2.3x3"][4][5]
    assert counts[4][8 + 5] == {str(s): n for s, n in enumerate(dense.tolist()) if n}
    hidden = made.influence["mixed2.down"][4][2]
    assert read_json(tmp_path / "I_mixed2_1.json")[4][2] == {str(s): n for s, n in enumerate(hidden.tolist()) if n}


def test_missing_parts_are_said(tmp_path: Path) -> None:
    import_summit(originals.make(tmp_path / "from", imagenet=False, n_layers=3), tmp_path / "store")
    left_out = export(tmp_path / "store", tmp_path / "csv", "csv").left_out
    assert [text.partition(":")[0] for text in left_out] == [
        "activation_counts.csv",
        "influence_counts.csv",
        "embedding.csv",
        "channel_usage.csv",
    ]
    assert "I_<layer>" in export(tmp_path / "store", tmp_path / "json", "json").left_out[0]
    with pytest.raises(StoreError, match="not empty"):
        export(tmp_path / "store", tmp_path / "csv", "csv")
    with pytest.raises(StoreIncompleteError, match="imported"):
        Store.open(tmp_path / "store").read("matrices/mixed3a/activation_count")


def test_usage_of_a_store(tmp_path: Path) -> None:
    made = stores.make_store(tmp_path / "store", parts={"matrices"})
    channels = channel_usage(open_store(tmp_path / "store"))
    assert len(channels) == sum(layer.channels for layer in made.layer_graph.visible)
    mixed1 = channels.query("layer == 'mixed1'")
    assert mixed1["class_count"].tolist() == (made.activation["mixed1"] > 0).sum(axis=0).tolist()
    summary = usage_summary(channels).set_index("layer").loc["mixed1"]
    assert (summary["used"] + summary["unused"], summary["channels"]) == (12, 12)
    first = int(str(summary["most_shared"]).split()[0])
    assert mixed1.set_index("channel").loc[first, "class_count"] == mixed1["class_count"].max()
    write_usage(Store.open(tmp_path / "store", writable=True), channels)
    stored = open_store(tmp_path / "store")["usage/mixed1/entropy"].values
    np.testing.assert_array_equal(stored, mixed1["entropy"].to_numpy())


def test_commands(tmp_path: Path) -> None:
    folder = originals.make(tmp_path / "from")
    (folder / "data/ag/ag-1.json").write_text("{")
    run = CliRunner().invoke
    store = str(tmp_path / "store")
    result = run(COMMAND["import-summit"], [str(folder), "--out", store, "--keep-going"])
    assert (result.exit_code, "1 problem" in result.output, "ag-1.json" in result.output) == (0, True, True)
    result = run(COMMAND["usage"], [store, "--csv", str(tmp_path / "usage.csv")])
    assert (result.exit_code, "most_shared" in result.output) == (0, True)
    assert len(pd.read_csv(tmp_path / "usage.csv")) == sum(originals.SIZES.values())
    table = tmp_path / "layers.json"
    table.write_text(json.dumps({"mixed3a": "lowest"}))
    result = run(
        COMMAND["export"], [store, str(tmp_path / "to"), "--format", "summit", "--class", "0", "--layers", str(table)]
    )
    assert result.exit_code == 1
    assert isinstance(result.exception, ClassNotFoundError)
    result = run(COMMAND["export"], [store, str(tmp_path / "to"), "--format", "summit", "--layers", str(table)])
    assert (result.exit_code, result.output.strip().endswith("5 files.")) == (0, True), result.output
    assert "lowest" in read_json(tmp_path / "to/data/ag/ag-0.json")
