"""A store's results as files of other programs, and back."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from summit_dask.cli_formats import COMMANDS
from summit_dask.facts import schema
from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import (
    ClassNotFoundError,
    ConfigError,
    FormatError,
    LayerNotFoundError,
    StoreError,
    StoreIncompleteError,
)
from summit_dask.facts.layergraph import Convolution, Hop, LayerGraph
from summit_dask.formats import tidy
from summit_dask.formats.checks import read_json
from summit_dask.formats.exports import Format, export
from summit_dask.formats.job import new_file
from summit_dask.formats.names import original_names, renamed, unique
from summit_dask.formats.original_import import import_summit
from summit_dask.formats.original_network import layer_graph
from summit_dask.questions.usage import channel_usage, usage_summary, write_usage
from summit_dask.store.graphs import read_graphs
from summit_dask.store.pictures import add_pictures
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
    entries = read_json(folder / "data/imagenet.json")
    entries[0]["name"] = "jack-o'-lantern"
    originals.write(folder / "data/imagenet.json", entries)
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


def test_fields_that_the_front_ends_selectors_take(tmp_path: Path) -> None:
    """It makes ids of synsets, splits them at hyphens, and lists names with commas between them."""
    names = (*stores.AWKWARD_NAMES[:4], "?!")
    stores.make_store(tmp_path / "store", parts={"matrices", "graphs"}, names=names)
    store = Store.open(tmp_path / "store", writable=True)
    store.loosen()
    store.group["class"][:] = np.array(["a b", "a.b", "Shih-Tzu", "potter's wheel, #1", "犬"], schema.STRING)
    store.group["classes/synset"][:] = np.array([""] * 5, schema.STRING)
    export(tmp_path / "store", tmp_path / "to", "summit")
    entries = read_json(tmp_path / "to/data/imagenet.json")
    assert [entry["synset"] for entry in entries] == ["a_b", "a_b_2", "Shih_Tzu", "potter_s_wheel_1", "犬"]
    shown = ["img_src_x_onerror_alert_1", "crane", "crane", "50_more", "犬"]
    assert [entry["name"] for entry in entries] == shown


def test_a_class_without_images(tmp_path: Path) -> None:
    """Of one image a class, all but the first class's are unreadable."""
    stores.make_store(tmp_path / "store", images_per_class=1, parts={"matrices", "graphs"})
    export(tmp_path / "store", tmp_path / "to", "summit", front_end=True)
    entry = read_json(tmp_path / "to/data/imagenet.json")[1]
    assert [entry[key] for key in ("accs", "numOfInstances", "topOneAcc")] == [[], 0, 0.0]


@pytest.mark.parametrize("outputs", [[0, 1, 1, 3, 4], [-1, 0, 1, 2, 3]])
def test_graphs_are_numbered_where_outputs_are_shared_or_unknown(outputs: list[int], tmp_path: Path) -> None:
    stores.make_store(tmp_path / "store", parts={"matrices", "graphs"})
    store = Store.open(tmp_path / "store", writable=True)
    store.loosen()
    store.group["classes/output_index"][:] = np.array(outputs, np.int32)
    export(tmp_path / "store", tmp_path / "to", "summit")
    assert {path.name for path in (tmp_path / "to/data/ag").iterdir()} == {f"ag-{n}.json" for n in range(5)}
    assert [entry["target_class"] for entry in read_json(tmp_path / "to/data/imagenet.json")] == list(range(5))


def test_words_are_unique() -> None:
    assert unique(["crane", "crane", "crane_2", "crane"]) == ["crane", "crane_2", "crane_2_2", "crane_3"]


def test_only_channels_of_the_graphs_get_examples(tmp_path: Path) -> None:
    stores.make_store(tmp_path / "store", parts={"matrices", "graphs", "examples"})
    report = export(tmp_path / "store", tmp_path / "to", "summit", ["n00000002"])
    graph = read_json(tmp_path / "to/data/ag/ag-2.json")
    used = {(layer, node["channel"]) for layer, nodes in graph.items() for node in nodes}
    files = {path.name for path in (tmp_path / "to/data/feature-vis").rglob("*.jpg")}
    assert files == {f"{layer}-{c}-dataset-p-{rank}.jpg" for layer, c in used for rank in range(stores.RANKS)}
    # Kinds of pictures that are missing are said although examples were written.
    assert report.left_out[-2:] == (
        f"feature-vis/channel: no pictures of {len(used)} of the {len(used)} channels that the graphs use.",
        f"feature-vis/diversity-0 to 3: no pictures of {len(used)} of the {len(used)} channels that the graphs use.",
    )


def test_pictures_that_some_channels_lack_are_counted(tmp_path: Path) -> None:
    """One of the four diversity pictures is not enough."""
    made = stores.make_store(tmp_path / "store", parts={"matrices", "graphs"})
    node = stores.graph_of(made, 2).nodes(made.layer_graph)[0]
    store = Store.open(tmp_path / "store", writable=True)
    store.loosen()
    kinds = ("channel", "diversity-0")
    add_pictures(store, node.layer, {(node.index, kind): b"\xff\xd8\xff" for kind in kinds})
    report = export(tmp_path / "store", tmp_path / "to", "summit", ["n00000002"])
    n_used = len(stores.graph_of(made, 2).node_layer)
    assert [text.partition(" of the ")[0] for text in report.left_out[-3:]] == [
        f"feature-vis/channel: no pictures of {n_used - 1}",
        f"feature-vis/diversity-0 to 3: no pictures of {n_used}",
        f"feature-vis/dataset-p: no pictures of {n_used}",
    ]


def test_says_what_the_front_end_can_not_start_without(tmp_path: Path) -> None:
    import_summit(originals.make(tmp_path / "from", imagenet=False, n_layers=3), tmp_path / "imported")
    stores.make_store(tmp_path / "begun", parts=())
    counts, places, *_ = export(tmp_path / "imported", tmp_path / "a", "summit").left_out
    assert "can't start without" in counts
    assert "can't start without" in places
    assert "--front-end makes" in counts
    counts, places, graphs, _ = export(tmp_path / "begun", tmp_path / "b", "summit").left_out
    assert "'summit-dask run' makes" in counts
    assert "nothing to draw" in graphs


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
        assert sorted(tree[f"graphs/activation-influence/{name}"].values) == sorted(
            before[f"graphs/activation-influence/{name}"].values
        )
    sources = set(tree["graphs/activation-influence/node_source_layer"].values.ravel().tolist()) - {-1}
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


#: How pandas reads our CSV files without taking a name for a missing value.
READ_CSV: dict[str, Any] = {"dtype": {"class": str, "name": str}, "keep_default_na": False, "na_values": [""]}


def test_edges_past_a_layer_have_no_place_in_the_original_s_files(tmp_path: Path) -> None:
    made = stores.make_store(tmp_path / "store", parts={"matrices", "graphs"}, graph=stores.skip_layer_graph())
    report = export(tmp_path / "store", tmp_path / "out", "summit")
    layers = [layer.name for layer in made.layer_graph.visible]
    edges = [edge for index in range(5) for edge in stores.graph_of(made, index).edges(made.layer_graph)]
    written = {edge for edge in edges if layers.index(edge[1].layer) - layers.index(edge[0].layer) == 1}
    n_past = sum(edge not in written for edge in edges)
    assert 0 < n_past < len(edges)
    assert any(text.startswith(f"ag-N.json: {n_past} of {len(edges)} edges") for text in report.left_out)
    import_summit(tmp_path / "out", tmp_path / "again")
    imported = list(read_graphs(Store.open(tmp_path / "again")))
    assert {edge for graph in imported for edge in graph.edges(made.layer_graph)} == written
    assert not any(graph.edge_identity.any() for graph in imported)


@pytest.fixture(scope="module", params=["csv", "parquet"])
def tables(
    request: pytest.FixtureRequest, own: tuple[Path, stores.Made], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pd.DataFrame]:
    """All tables of the store, written in several chunks each."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tidy, "IMAGE_ROWS", 7)
        patch.setattr(tidy, "CLASS_ROWS", 2)
        export(own[0], folder, request.param)
    files = [path for path in folder.iterdir() if not path.name.startswith("A-")]
    read = {".csv": lambda path: pd.read_csv(path, **READ_CSV), ".parquet": pd.read_parquet}
    return {path.stem: read[path.suffix](path) for path in files}


def test_table_of_classes(own: tuple[Path, stores.Made], tables: dict[str, pd.DataFrame]) -> None:
    tree = open_store(own[0])
    assert len(tables) == 10
    assert tables["classes"]["class"].tolist() == tree["class"].values.tolist()
    for name in ("name", "synset", "output_index", "n_images", "n_correct"):
        assert tables["classes"][name].tolist() == tree[f"classes/{name}"].values.tolist()


def test_table_of_images(own: tuple[Path, stores.Made], tables: dict[str, pd.DataFrame]) -> None:
    tree = open_store(own[0])
    images = tables["images"]
    assert images["image"].tolist() == list(range(30))
    assert images["class"].tolist() == tree["class"].values[tree["images/class_index"].values].tolist()
    assert images["path"].tolist() == tree["images/path"].values.tolist()
    np.testing.assert_array_equal(images["status"], tree["images/status"].values)
    predicted = images[[f"predicted_{rank}" for rank in (1, 2, 3, 4, 5)]]
    np.testing.assert_array_equal(predicted, tree["images/predicted"].values)
    np.testing.assert_allclose(images["probability_1"], tree["images/probability"].values[:, 0])


def test_tables_of_counts(own: tuple[Path, stores.Made], tables: dict[str, pd.DataFrame]) -> None:
    """Put back in their places, the rows are the matrices again."""
    path, made = own
    folders = open_store(path)["class"].values.tolist()
    counts = tables["activation_counts"].query("layer == 'mixed1'")
    restored = np.zeros_like(made.activation["mixed1"])
    restored[[folders.index(name) for name in counts["class"]], counts["channel"]] = counts["count"]
    np.testing.assert_array_equal(restored, made.activation["mixed1"])
    influence = tables["influence_counts"].query("hop == 'mixed1.3x3'")
    assert set(influence["source_layer"] + influence["target_layer"]) == {"mixed1.reducemixed1"}
    whole = np.zeros((5, 12, 6), np.int32)
    rows = [folders.index(name) for name in influence["class"]]
    whole[rows, influence["target_channel"], influence["source_channel"]] = influence["count"]
    np.testing.assert_array_equal(whole[:, 6:], made.influence["mixed1.3x3"])
    assert not whole[:, :6].any()
    use = tables["channel_usage"].query("layer == 'mixed1'")
    assert use["class_count"].tolist() == (made.activation["mixed1"] > 0).sum(axis=0).tolist()


def test_tables_of_graphs(own: tuple[Path, stores.Made], tables: dict[str, pd.DataFrame]) -> None:
    path, made = own
    tree = open_store(path)
    stored = {str(name): array.values for name, array in tree["graphs/activation-influence"].data_vars.items()}
    folders = tree["class"].values
    layers = np.array([layer.name for layer in made.layer_graph.layers])
    nodes = tables["nodes"]
    assert nodes["class"].tolist() == folders[stored["node_class"]].tolist()
    assert nodes["layer"].tolist() == layers[stored["node_layer"]].tolist()
    for name in ("channel", "count"):
        np.testing.assert_array_equal(nodes[name], stored[f"node_{name}"])
    # Before pandas 3, reading may be off by some last bits.
    np.testing.assert_allclose(nodes["score"].astype(float), stored["node_score"], rtol=1e-14)
    edges = tables["edges"]
    assert edges["class"].tolist() == folders[stored["edge_class"]].tolist()
    np.testing.assert_array_equal(edges["influence"], stored["edge_influence"])
    for end in ("source", "target"):
        assert edges[f"{end}_layer"].tolist() == layers[stored[f"edge_{end}_layer"]].tolist()
        np.testing.assert_array_equal(edges[f"{end}_channel"], stored[f"edge_{end}_channel"])
    sources = tables["sources"]
    node, rank = np.nonzero(stored["node_source_channel"] >= 0)
    np.testing.assert_array_equal(sources["rank"], rank + 1)
    np.testing.assert_array_equal(sources["channel"], stored["node_channel"][node])
    np.testing.assert_array_equal(sources["influence"], stored["node_source_influence"][node, rank])
    assert sources["source_layer"].tolist() == layers[stored["node_source_layer"][node, rank]].tolist()
    selection = tables["selection"]
    assert selection["layer"].tolist() == [layer.name for layer in made.layer_graph.visible] * 5
    np.testing.assert_array_equal(selection["valid"], stored["valid"].ravel() == 1)
    np.testing.assert_allclose(selection["reached_p"], stored["reached_p"].ravel())


def test_table_of_the_embedding(own: tuple[Path, stores.Made], tables: dict[str, pd.DataFrame]) -> None:
    tree = open_store(own[0])
    assert len(tables["embedding"]) == 4 * 5
    points = tables["embedding"].query("layer == 'mixed2'")
    assert points["class"].tolist() == tree["class"].values.tolist()
    for axis in ("x", "y"):
        np.testing.assert_allclose(points[axis], tree[f"embedding/mixed2/{axis}"].values, rtol=1e-6)


def test_the_row_of_the_class_stays_out_of_the_original_s_files(finished: RunConfig, tmp_path: Path) -> None:
    """Which has no such row; what comes back has the other layers' nodes and edges."""
    assert Store.open(finished.out).layer_graph.visible[-1].of_class
    export(finished.out, tmp_path / "summit", "summit")
    graph = read_json(tmp_path / "summit/data/ag/ag-0.json")
    assert list(graph) == ["upper", "lower"] and graph["upper"]
    import_summit(tmp_path / "summit", tmp_path / "back.zarr")
    assert [layer.name for layer in Store.open(tmp_path / "back.zarr").layer_graph.visible] == ["lower", "upper"]


def test_some_classes(own: tuple[Path, stores.Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a chunk of a table has no row of them."""
    monkeypatch.setattr(tidy, "IMAGE_ROWS", 3)
    path, made = own
    labels = open_store(path)["class"].values.tolist()
    export(path, tmp_path / "parquet", "parquet", [labels[3], labels[1]])
    assert pd.read_parquet(tmp_path / "parquet/images.parquet")["class"].tolist() == [labels[1]] * 6 + [labels[3]] * 6
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
    for source, target, values in network.edges(data=True):
        below = made.layer_graph.below(network.nodes[target]["layer"])
        assert [layer.name for layer in below] == [network.nodes[source]["layer"]]
        assert values["identity"] is False
        assert values["weight"] == values["influence"]
    for values in network.nodes.values():
        assert values["label"] == f"{values['layer']} {values['channel']}"


def test_graphml_of_names_that_xml_can_not_hold(tmp_path: Path) -> None:
    names = ("\x00a\x0b\x1f", "b\ud7ff\ue000\ufffe\uffff", "tab\tand 犬 \U0001f415 & <b>")
    stores.make_store(tmp_path / "store", 3, parts={"graphs"}, names=names)
    export(tmp_path / "store", tmp_path / "to", "graphml")
    shown = [nx.read_graphml(path).graph["name"] for path in sorted((tmp_path / "to").iterdir())]
    assert shown == ["\ufffda\ufffd\ufffd", "b\ud7ff\ue000\ufffd\ufffd", names[2]]


def test_classes_of_names_alike_have_files_of_their_own(tmp_path: Path) -> None:
    stores.make_store(tmp_path / "store", 2, parts={"graphs"})
    store = Store.open(tmp_path / "store", writable=True)
    store.loosen()
    store.group["class"][:] = np.array(["a/b", "a:b"], schema.STRING)
    export(tmp_path / "store", tmp_path / "to", "graphml")
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["0000-a_b.graphml", "0001-a_b.graphml"]


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


def test_counts_of_a_source_that_comes_by_several_hops(tmp_path: Path) -> None:
    """The larger one; where hops of several layers lead into a channel, its sources say which they come from.

    stem ---- low ==== high      "conv" and the identity "skip" into all channels
       `----------------´        "jump" into channels 0 and 1
    """
    layer = stores.layer_graph().layers[0]
    graph = LayerGraph(
        (layer, replace(layer, name="low", channels=4), replace(layer, name="high", channels=4)),
        (
            Hop("first", "stem", "low", range(4), Convolution()),
            Hop("conv", "low", "high", range(4), Convolution()),
            Hop("skip", "low", "high", range(4), None),
            Hop("jump", "stem", "high", range(2), Convolution()),
        ),
    )
    made = stores.make_store(tmp_path / "store", parts={"matrices", "graphs"}, graph=graph)
    export(tmp_path / "store", tmp_path / "to", "json")
    first, second, jump = (made.influence[name] for name in ("conv", "skip", "jump"))
    assert ((first > second) & (second > 0)).any()
    assert ((first < second) & (first > 0)).any()
    both = np.maximum(first, second)
    for index, channels in enumerate(read_json(tmp_path / "to/I_high.json")):
        low = [_used(row) for row in both[index]]
        stem = [_used(row) for row in jump[index]]
        named = [
            {f"low-{s}": n for s, n in low[c].items()} | {f"stem-{s}": n for s, n in stem[c].items()} for c in (0, 1)
        ]
        assert channels == [*named, low[2], low[3]]


def _used(counts: NDArray[np.int32]) -> dict[str, int]:
    return {str(source): n for source, n in enumerate(counts.tolist()) if n}


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


def test_classes_called_na_and_007_come_back(tmp_path: Path) -> None:
    """From our tables as their module says, and through our own reader of tables of classes."""
    stores.make_store(tmp_path / "store", 3, parts=(), names=("NA", "007", "None"))
    export(tmp_path / "store", tmp_path / "csv", "csv")
    table = tmp_path / "csv/classes.csv"
    assert pd.read_csv(table, **READ_CSV)["name"].tolist() == ["NA", "007", "None"]
    outputs = tmp_path / "outputs.csv"
    rows = ("index,synset,name", "0,,NA", "1,null,007", "2,n00000002,crane", "4,n00000004,goose")
    outputs.write_text("\n".join(rows), encoding="utf-8-sig")
    import_summit(originals.make(tmp_path / "from"), tmp_path / "imported", outputs)
    tree = open_store(tmp_path / "imported")
    assert tree["classes/name"].values.tolist() == ["NA", "007", "crane"]
    assert tree["class"].values.tolist() == ["n00000000", "null", "n00000002"]
    assert tree["classes/synset"].values.tolist() == ["n00000000", "", "n00000002"]
    assert tree["outputs/name"].values.tolist() == ["NA", "007", "crane", "", "goose"]


def test_a_table_of_outputs_without_all_texts(tmp_path: Path) -> None:
    table = tmp_path / "outputs.json"
    originals.write(table, [{"index": 0, "synset": None, "name": None}, {"index": 1, "synset": None, "name": "crane"}])
    import_summit(originals.make(tmp_path / "from", 2, n_layers=3), tmp_path / "store", table)
    tree = open_store(tmp_path / "store")
    assert tree["class"].values.tolist() == ["n00000000", "n00000001"]
    assert tree["classes/name"].values.tolist() == ["some class 0", "crane"]


@contextmanager
def _files_end_at(size: int) -> Iterator[None]:
    """Like a full disk: a file can't grow beyond some bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("kind", get_args(Format))
def test_a_full_disk_leaves_nothing_that_looks_whole(
    kind: Format, own: tuple[Path, stores.Made], tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=r"to failed: .*File too large.* Make room"), _files_end_at(1000):
        export(own[0], tmp_path / "to", kind)
    assert not (tmp_path / "to").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(StoreError), _files_end_at(1000):
        export(own[0], tmp_path / "there", kind)
    assert list((tmp_path / "there").iterdir()) == []


def test_a_full_disk_while_importing(tmp_path: Path) -> None:
    folder = originals.make(tmp_path / "from")
    with pytest.raises(StoreError, match="Make room"), _files_end_at(3000):
        import_summit(folder, tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["from"]


def test_what_a_killed_export_left_is_no_export(own: tuple[Path, stores.Made], tmp_path: Path) -> None:
    (tmp_path / "to/.unfinished").mkdir(parents=True)
    (tmp_path / "to/.unfinished/old.csv").touch()
    report = export(own[0], tmp_path / "to", "csv")
    assert report.n_files == len(list((tmp_path / "to").iterdir())) == 14
    with pytest.raises(StoreError, match="not empty"):
        export(own[0], tmp_path / "to", "csv")
    assert len(list((tmp_path / "to").iterdir())) == 14


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("old", encoding="utf-8")
    with pytest.raises(StoreError, match=r"table\.csv failed"), _files_end_at(10), new_file(table) as draft:
        draft.write_text("new " * 10, encoding="utf-8")
    assert table.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [table]


def test_files_are_utf_8_in_every_locale(tmp_path: Path) -> None:
    folder = originals.make(tmp_path / "from", 2)
    entries = read_json(folder / "data/imagenet.json")
    entries[0]["name"] = "café_犬"
    (folder / "data/imagenet.json").write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "layers.json").write_text('{"mixed3a": "première"}', encoding="utf-8")
    script = (
        "from summit_dask.cli import commands; import sys\n"
        "call = lambda *words: commands(words, standalone_mode=False)\n"
        "call('import-summit', 'from', '--out', 'store')\n"
        "call('export', 'store', 'summit', '--format', 'summit', '--layers', 'layers.json')\n"
        "call('export', 'store', 'csv', '--format', 'csv')\n"
        "call('export', 'store', 'graphml', '--format', 'graphml')\n"
    )
    ascii_alone = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    ascii_alone["PYTHONPATH"] = str(Path(__file__).parents[1])
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=ascii_alone, check=True, capture_output=True)
    assert read_json(tmp_path / "summit/data/imagenet.json")[0]["name"] == "café_犬"
    assert "première" in read_json(tmp_path / "summit/data/ag/ag-0.json")
    assert "café 犬" in (tmp_path / "csv/classes.csv").read_text(encoding="utf-8")
    assert nx.read_graphml(next((tmp_path / "graphml").glob("0001*"))).graph["name"] == "café 犬"


def test_usage_of_a_store(tmp_path: Path) -> None:
    made = stores.make_store(tmp_path / "store", parts={"matrices"})
    channels = channel_usage(Store.open(tmp_path / "store"))
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


@pytest.mark.parametrize("text", ['{"mixed3a": 3}', '["mixed3a"]', "{"])
def test_bad_tables_of_layers(text: str, own: tuple[Path, stores.Made], tmp_path: Path) -> None:
    table = tmp_path / "layers.json"
    table.write_text(text)
    arguments = [str(own[0]), str(tmp_path / "to"), "--format", "json", "--layers", str(table)]
    result = CliRunner().invoke(COMMAND["export"], arguments)
    assert isinstance(result.exception, FormatError)
    assert "layers.json" in str(result.exception)
