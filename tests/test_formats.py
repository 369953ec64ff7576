"""The original's files, in and out."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.facts.errors import FormatError, StoreError
from summit_dask.formats.checks import read_json
from summit_dask.formats.exports import export
from summit_dask.formats.original_classes import entry_json, parse_entry
from summit_dask.formats.original_graphs import GraphReader
from summit_dask.formats.original_import import import_summit
from summit_dask.formats.original_network import layer_graph
from summit_dask.store.graphs import read_graphs
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests import originals

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def real_store(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All the published graphs, imported."""
    path = tmp_path_factory.mktemp("real") / "store"
    report = import_summit(shared_data / "summit", path, shared_data / "imagenet_classes.json")
    assert report.problems == ()
    return path


def test_inceptionv1_has_the_published_sizes() -> None:
    sizes = [256, 480, 508, 512, 512, 528, 832, 832, 1024]
    assert [layer.channels for layer in layer_graph().visible] == sizes
    for layer in layer_graph().visible[1:]:
        hops = layer_graph().incoming(layer.name)
        assert [channel for hop in hops for channel in hop.targets] == list(range(layer.channels))
    assert layer_graph().layer("mixed5b").window.size == (715, 715)
    for layer in layer_graph().layers:
        assert (layer.window.stride[0] * layer.height, layer.window.stride[1] * layer.width) == (224, 224)


@pytest.mark.long
def test_published_graphs_keep_their_rules(real_store: Path) -> None:
    """What the data's README says is true of all 1000, on the tables of all classes at once."""
    tree = open_store(real_store)
    graphs = {str(name): array.values for name, array in tree["graphs/activation-influence"].data_vars.items()}
    names = np.array([layer.name for layer in layer_graph().layers])
    layers = names[graphs["node_layer"]]
    sizes = {layer.name: layer.channels for layer in layer_graph().layers}
    assert (graphs["node_channel"] < np.array([sizes[name] for name in layers])).all()
    excluded = {"mixed3a": (67, 190), "mixed3b": (390, 399, 412)}
    for layer, channels in excluded.items():
        assert not np.isin(graphs["node_channel"][layers == layer], channels).any()

    node, source, target = (_key(graphs, kind) for kind in ("node", "edge_source", "edge_target"))
    assert len(np.unique(node)) == len(node)
    assert np.isin(source, node).all()
    place = np.searchsorted(node, target, sorter=np.argsort(node))
    of_target = np.argsort(node)[place]
    np.testing.assert_array_equal(node[of_target], target)
    visible = [layer_graph().layers.index(layer) for layer in layer_graph().visible]
    steps = [np.searchsorted(visible, graphs[f"edge_{end}_layer"]) for end in ("target", "source")]
    assert (steps[0] - steps[1] == 1).all()
    assert (graphs["edge_influence"] <= graphs["node_source_influence"][of_target, 0]).all()

    has_sources = (graphs["node_source_channel"] >= 0).all(axis=1)
    np.testing.assert_array_equal(has_sources, layers != "mixed3a")
    assert (graphs["node_source_channel"][~has_sources] == -1).all()
    assert (np.diff(graphs["node_source_influence"], axis=1) <= 0).all()

    nodes, edges = graphs["node_offset"], graphs["edge_offset"]
    count = np.maximum.reduceat(graphs["node_count"], nodes[:-1])
    influence = np.maximum.reduceat(graphs["edge_influence"], edges[:-1])
    assert ((count <= influence) & (influence <= 1300)).all()
    score = np.add.reduceat(graphs["node_score"], nodes[:-1])
    assert ((score >= 0.077) & (score <= 0.090)).all()
    for offsets, sizes_of in ((nodes, (33, 56, 91, 57923)), (edges, (61, 184, 506, 202479))):
        n = np.diff(offsets)
        assert (n.min(), np.median(n), n.max(), n.sum()) == sizes_of


def _key(graphs: dict[str, Any], kind: str) -> Any:
    """One number for each class, layer and channel."""
    of_class = graphs["node_class" if kind == "node" else "edge_class"]
    return (of_class.astype(np.int64) * 100 + graphs[f"{kind}_layer"]) * 10_000 + graphs[f"{kind}_channel"]


@pytest.mark.long
def test_published_data_round_trip(shared_data: Path, real_store: Path, tmp_path: Path) -> None:
    export(real_store, tmp_path / "to", "summit")
    for target in range(1000):
        name = f"ag/ag-{target}.json"
        assert read_json(tmp_path / "to/data" / name) == read_json(shared_data / "summit" / name), target
    import_summit(tmp_path / "to", tmp_path / "again", shared_data / "imagenet_classes.json")
    assert open_store(real_store).identical(open_store(tmp_path / "again"))


def test_published_store_opens(real_store: Path) -> None:
    tree = open_store(real_store)
    place = tree["class"].values.tolist().index("n02114548")
    assert (place, tree["classes/name"].values[place]) == (270, "white wolf")
    assert tree.sizes["image"] == 0
    assert not {"activations", "influences", "matrices", "embedding"} & set(tree.children)


def test_golden_paths(real_store: Path) -> None:
    real_graphs = list(read_graphs(Store.open(real_store)))
    assert {177, 483, 229} <= _sources(real_graphs[0], "mixed4e", 346)
    assert {767, 791} <= _sources(real_graphs[396], "mixed5a", 813)


def _sources(graph: ClassGraph, layer: str, channel: int) -> set[int]:
    target = layer_graph().layers.index(layer_graph().layer(layer))
    rows = (graph.edge_target_layer == target) & (graph.edge_target_channel == channel)
    return set(graph.edge_source_channel[rows].tolist())


def test_sources_name_what_the_hop_comes_from() -> None:
    """In the 3x3 and 5x5 branches the bottleneck, in the 1x1 and pool branches the layer below."""
    data: dict[str, Any] = {name: [] for name in originals.LAYERS}
    data["mixed4b"] = originals.ag(np.random.default_rng(0))["mixed4b"]
    data["mixed4b"].append({**data["mixed4b"][0]})
    for node, channel in zip(data["mixed4b"], (0, 200, 400, 500), strict=True):
        node.update(channel=channel, prev_channels=[])
    graph = GraphReader(layer_graph()).parse(data, "here")
    names = [layer_graph().layers[place].name for place in graph.node_source_layer[:, 0].tolist()]
    assert names == ["mixed4a", "mixed4b_3x3_bottleneck", "mixed4b_5x5_bottleneck", "mixed4a"]
    assert graph.valid.tolist() == [1] + [0] * 8


def test_imported_classes_images_and_counts(tmp_path: Path) -> None:
    folder = originals.make(tmp_path / "from")
    report = import_summit(folder, tmp_path / "store")
    assert (report.n_classes, report.n_images, report.n_nodes) == (3, 12, 81)
    entries = {entry["target_class"]: entry for entry in read_json(folder / "data/imagenet.json")}
    tree = open_store(tmp_path / "store")
    assert tree["classes/output_index"].values.tolist() == [0, 1, 2]
    assert tree["class"].values.tolist() == [entries[n]["synset"] for n in range(3)]
    assert tree["classes/name"].values.tolist() == [f"some class {n}" for n in range(3)]
    assert tree["classes/n_correct"].values.tolist() == [entries[n]["topOneAccCount"] for n in range(3)]
    assert tree["images/class_index"].values.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    percent = [float(text) for n in range(3) for text in entries[n]["accs"]]
    np.testing.assert_allclose(100 * tree["images/probability"].values[:, 0], percent, rtol=1e-6)
    assert set(tree["images"].data_vars) == {"class_index", "status", "probability"}
    counts = tree["matrices/mixed4a/activation_count"].values
    for top in entries[1]["topChannels"]["mixed4a"]:
        assert counts[1, top["c"]] == top["i"]
    assert counts[1].sum() == sum(top["i"] for top in entries[1]["topChannels"]["mixed4a"])
    assert tree["embedding/mixed5a/y"].values[2] == np.float32(entries[2]["embed"]["mixed5a"]["y"])


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    folder = originals.make(tmp_path / "from", n_layers=3)
    for path in folder.rglob("*.json"):
        path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert import_summit(folder, tmp_path / "store").n_classes == 3


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.001, 1, exclude_min=True),
    st.floats(-999, 999).filter(lambda x: x == 0 or abs(x) > 1e-3),
)
def test_cut_numbers_survive_single_precision(probability: float, coordinate: float) -> None:
    """The texts that the original cut come back from the store's singles as they were."""
    percent = f"{100 * probability:.9f}"[:4]
    x, y = (float(str(value)[:6]) for value in (coordinate, -coordinate))
    data = {"synset": "n00000001", "label": "1", "name": "a", "target_class": 0, "accs": [percent]}
    data["embed"] = {name: {"x": x, "y": y} for name in originals.LAYERS}
    entry = parse_entry(data, layer_graph(), "here")
    stored = {name: (float(np.float32(x)), float(np.float32(y))) for name, (x, y) in entry.embed.items()}
    written = entry_json(replace(entry, embed=stored))
    assert (written["accs"], written["embed"]) == (data["accs"], data["embed"])


def _change(name: str, change: Callable[[Any], Any]) -> Change:
    def apply(data: Path) -> None:
        originals.write(data / name, change(json.loads((data / name).read_text())))

    return apply


def _set(*path: Any, to: Any) -> Callable[[Any], Any]:
    def change(data: Any) -> Any:
        inner = data
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to
        return data

    return change


def _edges_twice(data: Any) -> Any:
    node = data["mixed4a"][0]
    node["prev_channels"] = node["prev_channels"] * 2
    return data


def _cut(name: str) -> Change:
    def apply(data: Path) -> None:
        text = (data / name).read_text()
        (data / name).write_text(text[: len(text) * 2 // 3])

    return apply


GRAPH, TABLE = "ag/ag-1.json", "imagenet.json"
ENTRY = ("topChannels", "mixed3a", 0)

# What is done to the folder, words that the message must hold, classes and graphs that keep_going imports.
BAD: dict[str, tuple[Change, tuple[str, ...], int, int]] = {
    "graph cut off": (_cut(GRAPH), (GRAPH, "JSON", "line 1"), 3, 2),
    "graph missing in the middle": (lambda d: (d / GRAPH).unlink(), (GRAPH, "found none"), 3, 2),
    "graph is a list": (_change(GRAPH, lambda _: []), (GRAPH, "mixed4a", "[]"), 3, 2),
    "layer missing": (
        _change(GRAPH, lambda d: {k: d[k] for k in d if k != "mixed3b"}),
        (GRAPH, "mixed3b", "mixed4a"),
        3,
        2,
    ),
    "channel is text": (_change(GRAPH, _set("mixed4a", 0, "channel", to="7")), (GRAPH, "mixed4a", "507", "'7'"), 3, 2),
    "channel beyond its layer": (_change(GRAPH, _set("mixed4a", 0, "channel", to=508)), (GRAPH, "507", "508"), 3, 2),
    "channel twice": (
        _change(GRAPH, lambda d: {**d, "mixed4a": d["mixed4a"] * 2}),
        (GRAPH, "mixed4a", "each channel once"),
        3,
        2,
    ),
    "another layer's name": (_change(GRAPH, _set("mixed4a", 0, "layer", to="mixed4b")), (GRAPH, "mixed4b"), 3, 2),
    "score is no number": (_change(GRAPH, _set("mixed4a", 0, "pagerank", to=None)), (GRAPH, "pagerank", "None"), 3, 2),
    "key missing": (_change(GRAPH, _set("mixed4a", 0, to={"channel": 1})), (GRAPH, "attr_channels"), 3, 2),
    "edge to no node": (
        _change(GRAPH, _set("mixed4a", 0, "prev_channels", to=[{"prev_channel": 479, "inf": 1}])),
        (GRAPH, "among the nodes of mixed3b", "479"),
        3,
        2,
    ),
    "edge twice": (
        _change(GRAPH, _edges_twice),
        (GRAPH, "mixed4a", "each prev_channel of a node once"),
        3,
        2,
    ),
    "count is a truth value": (_change(GRAPH, _set("mixed4a", 0, "count", to=True)), (GRAPH, "count", "True"), 3, 2),
    "score is NaN": (_change(GRAPH, _set("mixed4a", 0, "pagerank", to=float("nan"))), (GRAPH, "pagerank", "nan"), 3, 2),
    "edge in the lowest layer": (
        _change(GRAPH, _set("mixed3a", 0, "prev_channels", to=[{"prev_channel": 1, "inf": 1}])),
        (GRAPH, "no prev_channels"),
        3,
        2,
    ),
    "source beyond its layer": (
        _change(GRAPH, _set("mixed4a", 0, "attr_channels", to=[{"prev_channel": "480", "inf": 1}])),
        (GRAPH, "attr_channels below 96", "480"),
        3,
        2,
    ),
    "source is a number": (
        _change(GRAPH, _set("mixed4a", 0, "attr_channels", to=[{"prev_channel": 4, "inf": 1}])),
        (GRAPH, "attr_channels", "text of digits"),
        3,
        2,
    ),
    "four sources": (
        _change(GRAPH, _set("mixed4a", 0, "attr_channels", to=[{"prev_channel": "4", "inf": 1}] * 4)),
        (GRAPH, "at most 3", "4"),
        3,
        2,
    ),
    "graph of an unknown class": (
        lambda d: (d / "ag/ag-1.json").rename(d / "ag/ag-7.json"),
        ("ag-7.json", "imagenet.json knows", "7"),
        3,
        2,
    ),
    "table cut off": (_cut(TABLE), (TABLE, "JSON"), 2, 2),
    "table is an object": (_change(TABLE, lambda _: {}), (TABLE, "list of classes"), 0, 0),
    "entry is text": (_change(TABLE, _set(1, to="x")), (TABLE, "entry 1", "synset"), 2, 2),
    "entry missing": (_change(TABLE, lambda d: d[:1] + d[2:]), ("ag-1.json", "imagenet.json knows"), 2, 2),
    "name is a number": (_change(TABLE, _set(1, "name", to=3)), (TABLE, "name as text", "3"), 2, 2),
    "label is a number": (_change(TABLE, _set(1, "label", to=2)), (TABLE, "label", "text of digits"), 2, 2),
    "label is no decimal": (_change(TABLE, _set(1, "label", to="²")), (TABLE, "label", "text of digits"), 2, 2),
    "synset twice": (_change(TABLE, _set(1, "synset", to="n00000002")), (TABLE, "once", "n00000002"), 2, 2),
    "no counts": (_change(TABLE, _set(1, "topChannels", to={})), (TABLE, "n00000001", "topChannels"), 2, 2),
    "top channel beyond its layer": (_change(TABLE, _set(1, *ENTRY, "c", to=256)), (TABLE, "mixed3a", "255"), 2, 2),
    "top channel twice": (
        _change(TABLE, _set(1, "topChannels", "mixed3a", to=[{"c": 3, "i": 1}, {"c": 3, "i": 2}])),
        (TABLE, "mixed3a", "once", "[3, 3]"),
        2,
        2,
    ),
    "top channels of no layer": (
        _change(TABLE, _set(1, "topChannels", "mixed9", to=[])),
        (TABLE, "topChannels", "the layers mixed3a"),
        2,
        2,
    ),
    "count is text": (_change(TABLE, _set(1, *ENTRY, "i", to="3")), (TABLE, "mixed3a", "'3'"), 2, 2),
    "probability over 100": (_change(TABLE, _set(1, "accs", 0, to="101.")), (TABLE, "accs", "101"), 2, 2),
    "probability below 0": (_change(TABLE, _set(1, "accs", 0, to="-.5")), (TABLE, "accs", "-0.5"), 2, 2),
    "probability is no number": (_change(TABLE, _set(1, "accs", 0, to="nan")), (TABLE, "accs", "nan"), 2, 2),
    "probability is a word": (_change(TABLE, _set(1, "accs", 0, to="high")), (TABLE, "accs", "high"), 2, 2),
    "wrong number of images": (_change(TABLE, _set(1, "numOfInstances", to=5)), (TABLE, "numOfInstances", "5"), 2, 2),
    "more right than there are": (_change(TABLE, _set(1, "topOneAccCount", to=5)), (TABLE, "topOneAccCount"), 2, 2),
    "no number for the embedding": (
        _change(TABLE, _set(1, "embed", "mixed3a", "x", to="1")),
        (TABLE, "embed", "mixed3a"),
        2,
        2,
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_the_rest_goes_on(case: str, tmp_path: Path) -> None:
    change, words, n_classes, n_graphs = BAD[case]
    folder = originals.make(tmp_path / "from", n_layers=3)
    change(folder / "data")
    with pytest.raises(FormatError) as error:
        import_summit(folder, tmp_path / "strict")
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not (tmp_path / "strict").exists()
    if n_classes:
        report = import_summit(folder, tmp_path / "store", keep_going=True)
        assert (report.n_classes, report.n_nodes) == (n_classes, 9 * n_graphs)
        assert any(all(word in problem for word in words) for problem in report.problems)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "index,name\n0,tench\n", ("without synset", "'name'")),
        ("t.csv", "index,synset,name\n1,a,b\n0,c,d\n", ("ascending from 0", "[1, 0]")),
        ("t.csv", "index,synset,name\nx,a,b\n", ("ascending from 0", "-1")),
        ("t.csv", "index,synset,name\n0,a,b\n1,a,c\n", ("each synset once", "'a'")),
        ("t.json", '{"index": 0}', ("JSON list",)),
        ("t.csv", "index,synset,name\n0,a,caf\xe9\n", ("CSV table", "utf-8")),
    ],
)
def test_bad_tables_of_classes(name: str, text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(FormatError) as error:
        import_summit(originals.make(tmp_path / "from", n_layers=3), tmp_path / "store", tmp_path / name)
    assert all(word in str(error.value) for word in (name, *words)), str(error.value)


def test_gap_without_a_table_of_classes(tmp_path: Path) -> None:
    folder = originals.make(tmp_path / "from", imagenet=False)
    (folder / "data/ag/ag-1.json").unlink()
    with pytest.raises(FormatError, match="1 missing: 1"):
        import_summit(folder, tmp_path / "store")
    import_summit(folder, tmp_path / "store", keep_going=True)
    assert open_store(tmp_path / "store")["class"].values.tolist() == ["0", "2"]


def test_empty_folder_and_existing_store(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="ag-N"):
        import_summit(tmp_path, tmp_path / "store")
    (tmp_path / "store").mkdir()
    with pytest.raises(StoreError, match="exists"):
        import_summit(originals.make(tmp_path / "from"), tmp_path / "store")
