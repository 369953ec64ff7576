"""What the pages of the dashboard share: drawings, cards, files, tables of channels and images."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from dashboard.data import Example, Firing, StoreData
from dashboard.selection import Selection
from dashboard.shown import channels, graphs, images, likeness
from dashboard.shown.classtable import class_table, packed, relative
from dashboard.shown.examples import outline_of, shown_examples, where
from summit_dask.arrays.regions import GRID
from summit_dask.facts.layergraph import Channel
from summit_dask.questions.query import attribution_graph
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests.stores import Made, make_store


@pytest.fixture(scope="module")
def data(complete: Path) -> StoreData:
    return StoreData(complete)


# Drawing


def _crossings(rows: list[np.ndarray], edges: list[tuple[int, int]]) -> int:
    x = {int(node): k for row in rows for k, node in enumerate(row)}
    level = {int(node): k for k, row in enumerate(rows) for node in row}
    pairs = [(a, b) for i, a in enumerate(edges) for b in edges[i + 1 :] if level[a[0]] == level[b[0]]]
    return sum((x[a[0]] - x[b[0]]) * (x[a[1]] - x[b[1]]) < 0 for a, b in pairs)


def test_rows_are_ordered_so_that_edges_cross_less() -> None:
    rng = np.random.default_rng(0)
    rows = [np.arange(k * 8, (k + 1) * 8) for k in range(4)]
    hidden = rng.permuted(np.stack(rows), axis=1)
    edges = [(int(hidden[k, i]), int(hidden[k + 1, i])) for k in range(3) for i in range(8)]
    source, target = np.array(edges).T
    result = graphs.ordered(rows, source, target, np.ones(len(edges)))
    assert [sorted(row.tolist()) for row in result] == [row.tolist() for row in rows]
    assert _crossings(result, edges) < _crossings(rows, edges) / 4


def test_heavy_edges_pull_more() -> None:
    # Node 2 hangs on both ends of the row below, heavily on the right one; node 3 on the middle.
    rows = [np.array([0, 1, 4]), np.array([2, 3])]
    source = np.array([0, 4, 1])
    target = np.array([2, 2, 3])
    order = graphs.ordered(rows, source, target, np.array([1, 9, 1]))
    across = [node for node in order[1].tolist() if node in (2, 3)]
    below = [node for node in order[0].tolist() if node in (1, 4)]
    assert across.index(2) == below.index(4)


def test_drawing_names_every_node_once_and_every_edge_by_its_ends(data: StoreData) -> None:
    for index in range(data.n_classes):
        graph = data.graph(index)
        assert graph is not None
        drawn = graphs.drawing(data, graph, 6)
        assert sorted(n for row in drawn["rows"] for n in row["nodes"]) == list(range(len(drawn["nodes"])))
        assert [row["layer"] for row in drawn["rows"]] == ["mixed3", "mixed2", "mixed1", "stem"]
        for row in drawn["rows"]:
            assert {drawn["nodes"][node]["layer"] for node in row["nodes"]} <= {row["layer"]}
        nodes = [Channel(node["layer"], node["channel"]) for node in drawn["nodes"]]
        assert nodes == graph.nodes(data.layer_graph)
        assert [node["count"] for node in drawn["nodes"]] == graph.node_count.tolist()
        ends = [(nodes[source], nodes[target]) for source, target, *_ in drawn["edges"]]
        assert ends == graph.edges(data.layer_graph)
        assert [tuple(rest) for _, _, *rest in drawn["edges"]] == list(
            zip(graph.edge_influence, graph.edge_identity, strict=True)
        )
        assert drawn["largest"] == data.read("graphs/activation-influence/node_count").max()


def test_only_the_highest_scores_of_a_large_graph_have_cards(data: StoreData, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = data.graph(0)
    assert graph is not None and len(graph.node_score) > 3
    assert len(graphs.cards(data, graph)) == len(graph.node_score)
    monkeypatch.setattr(graphs, "MOST_CARDS", 3)
    nodes = graph.nodes(data.layer_graph)
    best = [nodes[k] for k in np.argsort(-graph.node_score)[:3]]
    assert [Channel(card["layer"], card["channel"]) for card in graphs.cards(data, graph)] == best


def test_a_card_s_examples_say_their_class_and_value_or_are_numbered(data: StoreData, imported: Path) -> None:
    shown = graphs.details(data, Channel("mixed2", 3))["examples"]
    first = data.examples(Channel("mixed2", 3))[0]
    label = data.classes["label"].iloc[first.image // 6]
    assert len(shown) == 10 and shown[0]["label"] == f"{label}, {first.value:.3g}, {where(first)}"
    assert shown[0]["fires"] == shown_examples(data, Channel("mixed2", 3))[0].fires
    assert [e["label"] for e in graphs.details(StoreData(imported), Channel("mixed3a", 3))["examples"]] == ["example 1"]


def test_a_node_s_picture_is_made_or_its_strongest_example(data: StoreData) -> None:
    made = graphs.data_url(graphs.shrunk(data.pictures(Channel("mixed2", 3))["channel"]))
    assert graphs.node_picture(data, Channel("mixed2", 3)) == made
    example_ = graphs.data_url(graphs.shrunk(data.examples(Channel("mixed2", 0))[0].thumbnail))
    assert graphs.node_picture(data, Channel("mixed2", 0)) == example_


def test_sources_of_a_channel_lead_through_the_hidden_layer(data: StoreData, made: Made) -> None:
    graph = data.graph(0)
    assert graph is not None
    rows, note = graphs.sources(data, 0, graph, Channel("mixed1", 11))  # the last channel, through the bottleneck
    counts = made.influence["mixed1.3x3"][0, 5]
    assert rows and note == ""
    assert [row["influence"] for row in rows] == sorted(counts[counts > 0].tolist(), reverse=True)[:3]
    best = made.influence["mixed1.down"][0].max(axis=1)
    for row in rows:
        through = row["through"]
        assert row["layer"] == "mixed1.reduce" and row["hidden"]
        assert (through["influence"] if through else 0) == best[row["channel"]]
    assert graphs.sources(data, 0, graph, Channel("stem", 1))[1] == "This is the lowest layer of the graph."


def test_sources_of_an_imported_channel_are_those_of_its_node(imported: Path) -> None:
    data = StoreData(imported)
    graph = data.graph(1)
    assert graph is not None
    nodes = graph.nodes(data.layer_graph)
    with_sources = np.flatnonzero((graph.node_source_channel >= 0).any(axis=1)).tolist()
    assert 0 in graph.node_source_layer  # the lowest layer counts too
    for node in with_sources:
        rows, note = graphs.sources(data, 1, graph, nodes[node])
        known = graph.node_source_channel[node] >= 0
        assert [row["influence"] for row in rows] == graph.node_source_influence[node][known].tolist()
        assert [row["channel"] for row in rows] == graph.node_source_channel[node][known].tolist()
        assert "no influence counts" in note
    channel = nodes[with_sources[-1]]
    unused = Channel(channel.layer, min({*range(9)} - {n.index for n in graph.nodes(data.layer_graph)}))
    assert graphs.sources(data, 1, graph, unused) == ([], data.why_absent("matrices"))


def test_files_hold_the_whole_graph(data: StoreData) -> None:
    graph = data.graph(2)
    assert graph is not None
    files = {file["name"]: file["text"] for file in graphs.files(data, graph, "crane\x07")}
    assert len(files["nodes.csv"].splitlines()) == 1 + len(graph.node_layer)
    assert len(files["edges.csv"].splitlines()) == 1 + len(graph.edge_influence)
    assert files["edges.csv"].startswith("source_layer,source_channel,target_layer,target_channel,influence,identity\n")
    network = nx.parse_graphml(files["graph.graphml"].encode())
    assert network.graph["name"] == "crane\ufffd"
    assert network.number_of_edges() == len(graph.edge_influence)
    assert {"label", "layer", "channel", "count", "score"} <= set(next(iter(network.nodes.values())))
    assert {"weight", "influence"} <= set(next(iter(network.edges.values())))


def _unpacked(values: dict[str, str]) -> list[Any]:
    array: list[Any] = np.frombuffer(base64.b64decode(values["base64"]), values["dtype"]).tolist()
    return array


def test_the_list_of_classes(data: StoreData, imported: Path, half_finished: Path) -> None:
    table = class_table(data, Selection(layer="mixed2", sort="worst"), 1)
    position = np.stack([data.read(f"embedding/mixed2/{axis}") for axis in "xy"], axis=1)
    assert _unpacked(table["places"]) == position.ravel().tolist()
    np.testing.assert_allclose(_unpacked(table["similarity"]), data.similarity("mixed2", 1), rtol=1e-6)
    assert _unpacked(table["images"]) == [6, 5, 5, 5, 5]
    assert (table["selected"], table["sort"], table["names"]) == (1, "worst", data.classes["label"].tolist())
    assert class_table(StoreData(imported), Selection(), 0)["basis"] == "similarity by the graphs' channels"
    unfinished = class_table(StoreData(half_finished), Selection(), 0)
    assert (unfinished["places"], unfinished["similarity"], unfinished["sort"]) == (None, None, "name")


def test_packed_numbers_and_histograms() -> None:
    assert packed(np.array([1, 2], np.int32)) == {"dtype": "int32", "base64": "AQAAAAIAAAA="}
    assert packed(np.array([[1, 2]], ">i2").T) == {"dtype": ">i2", "base64": "AQACAA=="}
    assert relative(np.array([[0, 1, 4], [0, 0, 0]])).tolist() == [[0, 64, 255], [0, 0, 0]]


def test_likeness_of_channels_and_classes() -> None:
    counts = np.array([[4, 0, 0, 2], [4, 4, 0, 0]], np.int32)
    assert likeness.largest(np.array([1.0, np.nan, 3, 1, 0]), 9) == [2, 0, 3]
    assert likeness.largest(np.array([1.0, 5, 3]), 1, lambda k: k != 1) == [2]
    np.testing.assert_allclose(likeness.like_channel(counts, 0), [1, np.sqrt(0.5), 0, np.sqrt(0.5)])
    np.testing.assert_allclose(likeness.nearest(counts), 16 / np.sqrt(20 * 32))
    assert np.isnan(likeness.nearest(counts[:1])).all()


def test_like_rows_stand_together() -> None:
    rows = np.array([[9, 1, 0], [0, 1, 9], [8, 1, 0], [0, 2, 9]])
    order = likeness.clustered(rows).tolist()
    assert abs(order.index(0) - order.index(2)) == 1 and abs(order.index(1) - order.index(3)) == 1


# Channels and images


def test_classes_that_use_a_channel(data: StoreData, made: Made, imported: Path) -> None:
    users = channels.classes_using(data, Channel("mixed1", 4))
    counts = made.activation["mixed1"][:, 4]
    assert counts.any()
    assert dict(zip(users["class_index"], users["count"], strict=True)) == {k: n for k, n in enumerate(counts) if n}
    assert users["count"].is_monotonic_decreasing
    partial = StoreData(imported)
    graph = partial.graph(2)
    assert graph is not None
    users = channels.classes_using(partial, graph.nodes(partial.layer_graph)[-1])
    assert graph.node_count[-1] in users["count"][users["class_index"] == 2].tolist()


@pytest.mark.parametrize("class_index", [None, 1])
@pytest.mark.parametrize(("sources", "own", "other"), [(True, "target", "source"), (False, "source", "target")])
def test_neighbours_of_a_channel_add_up_over_the_graphs(
    data: StoreData, sources: bool, own: str, other: str, class_index: int | None
) -> None:
    edges = {
        name: data.read(f"graphs/activation-influence/edge_{name}")
        for name in ("class", "influence", *_ends(own), *_ends(other))
    }
    rows = np.flatnonzero(edges["class"] == 1)
    first = tuple(int(edges[name][rows[0]]) for name in _ends(own))
    layers = [layer.name for layer in data.layer_graph.layers]
    shown = channels.neighbours(data, Channel(layers[first[0]], first[1]), sources, class_index, 99)
    expected: dict[tuple[str, int], list[int]] = {}
    for k in range(len(edges["class"])):
        if tuple(edges[name][k] for name in _ends(own)) == first and class_index in (None, edges["class"][k]):
            layer, channel = (int(edges[name][k]) for name in _ends(other))
            expected.setdefault((layers[layer], channel), []).append(int(edges["influence"][k]))
    assert {(row.layer, row.channel): (row.influence, row.classes) for row in shown.itertuples()} == {
        channel: (sum(influences), len(influences)) for channel, influences in expected.items()
    }
    assert shown["influence"].is_monotonic_decreasing


def _ends(end: str) -> tuple[str, str]:
    return f"{end}_layer", f"{end}_channel"


def test_confusions_and_images_of_a_class(data: StoreData) -> None:
    table = images.of_class(data, 1)
    assert len(table) == 5 and table["probability"].is_monotonic_increasing
    assert list(table) == [
        "image",
        "file",
        "probability",
        "correct",
        *(f"{what} {rank}" for rank in range(1, 6) for what in ("prediction", "probability")),
    ]
    assert table["image"].tolist()[0] == 6 and set(table["image"]) == set(range(6, 11))
    assert table["correct"].tolist() == [False, True, True, True, True]
    assert table["prediction 1"].tolist() == ["crane (n00000002)", *["crane (n00000001)"] * 4]
    confusions = images.confusions(data, 1)
    assert confusions[["name", "images"]].to_numpy().tolist() == [["crane (n00000002)", 1]]
    assert confusions["probability"].iloc[0] == table["probability 1"].iloc[0]
    assert images.confusions(data, 0).empty
    assert images.of_class(data, 1, taken_for=2)["image"].tolist() == [6]
    assert images.class_of_output(data, 2) == 2 and images.class_of_output(data, 5) is None


def test_outputs_are_called_by_their_names(data: StoreData, tmp_path: Path) -> None:
    assert images.output_names(data) == data.classes["label"].tolist()
    make_store(tmp_path / "store", parts={"values"}, names=["", "a", "", "b", "b"])
    named = StoreData(tmp_path / "store")
    assert images.output_names(named) == ["n00000000", "a", "n00000002", "b (n00000003)", "b (n00000004)"]


def test_graph_of_some_images_is_made_from_their_values(data: StoreData) -> None:
    chosen = np.isin(np.arange(30), [0, 1, 8])
    expected = attribution_graph(open_store(data.path), images=chosen)
    graph = images.graph_of(data, (0, 1, 8))
    assert len(expected) and graph.nodes(data.layer_graph) == list(expected.nodes)
    assert set(graph.edges(data.layer_graph)) == set(expected.edges) != set()


def test_a_channel_s_examples(data: StoreData, imported: Path) -> None:
    stored = data.examples(Channel("mixed2", 3))[0]
    first = shown_examples(data, Channel("mixed2", 3))[0]
    assert first.picture == stored.thumbnail and first.image == stored.image
    assert first.title == data.classes["label"].iloc[stored.image // 6]
    assert first.text == f"{stored.value:.3g}\n{where(stored)}"
    assert first.fires is not None and stored.firing is not None and first.fires["shape"] == 1
    packed = np.frombuffer(base64.b64decode(first.fires["map"]), np.uint8)
    assert np.stack([packed >> 4, packed & 15], 1).ravel().tolist() == stored.firing.map.ravel().tolist()
    shown = shown_examples(StoreData(imported), Channel("mixed3a", 3))
    assert [(example_.title, example_.image, example_.fires) for example_ in shown] == [("example 1", None, None)]


NO_MAP = np.zeros((GRID, GRID), np.uint8)


@pytest.mark.parametrize(
    ("firing", "words", "is_outlined"),
    [
        (Firing((0.2, 0.3), 0.18, NO_MAP), "upper left, 18 %", True),
        (Firing((0.5, 0.5), 0.004, NO_MAP), "middle, under 1 %", True),
        (Firing((0.99, 1.0), 0.59, NO_MAP), "lower right, 59 %", True),
        (Firing((0.4, 0.9), 0.006, NO_MAP), "right, 1 %", True),
        (Firing((0.2, 0.2), 0.83, NO_MAP), "most of it, 83 %", True),
        (Firing((0.5, 0.5), 1.0, NO_MAP), "the whole picture", True),
        (Firing((0.5, 0.5), 0.0, NO_MAP), "does not fire", False),
        (Firing((np.nan, np.nan), np.nan, NO_MAP), "", False),
        (None, "x 3–23, y 2–12", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_where_a_channel_fires_is_said_in_words(firing: Firing | None, words: str, is_outlined: bool) -> None:
    assert where(Example(0, 1.0, (2, 3, 12, 23), b"", firing)) == words
    assert (outline_of(Example(0, 1.0, (2, 3, 12, 23), b"", firing)) or {}).get("shape") == (2 if is_outlined else None)


def test_examples_of_an_earlier_version_show_what_they_did(complete: Path, tmp_path: Path) -> None:
    shutil.copytree(complete, tmp_path / "store")
    for name in ("centre", "share", "map"):
        shutil.rmtree(tmp_path / "store" / "examples" / "mixed2" / name)
    with Store.open(tmp_path / "store", writable=True).changing():
        pass
    first = shown_examples(StoreData(tmp_path / "store"), Channel("mixed2", 3))[0]
    assert first.text.endswith("\nx 3–19, y 2–18") and first.fires is None


def test_a_channel_s_pictures_are_named_in_words(data: StoreData) -> None:
    versions = [f"version {k}" for k in (1, 2, 3, 4)]
    shown = channels.pictures(data, Channel("mixed2", 3))
    assert [kind for kind, _ in shown] == ["the channel", "its centre neuron", "against the channel", *versions]
    assert shown[2][1] == graphs.data_url(graphs.shrunk(data.pictures(Channel("mixed2", 3))["negative"], 256, 60_000))


def _readable(data: StoreData, start: int, stop: int) -> Iterator[int]:
    return (image for image in range(start, stop) if data.is_read[image])


def test_values_of_a_channel(data: StoreData) -> None:
    values = data.read("activations/mixed2/value")[:, 3]
    everything, own = images.channel_values(data, Channel("mixed2", 3), 1)
    np.testing.assert_array_equal(everything, values[list(_readable(data, 0, 30))])
    np.testing.assert_array_equal(own, values[list(_readable(data, 6, 12))])


def test_values_of_a_channel_are_sampled_from_whole_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store", images_per_class=50, parts={"values"})
    data = StoreData(tmp_path / "store")
    assert data.store.header.partition_size == 32
    monkeypatch.setattr(images, "SAMPLE", 64)
    values = data.read("activations/stem/value")[:, 2]
    everything, _ = images.channel_values(data, Channel("stem", 2), 1)
    expected = [*_readable(data, 0, 32), *_readable(data, 192, 224)]  # of 250 images, the first and a last whole one
    np.testing.assert_array_equal(everything, values[expected])
