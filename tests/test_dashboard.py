"""The dashboard without a browser: reading, selecting, ordering, and every page on every kind of store."""

import gc
import json
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst
from streamlit.testing.v1 import AppTest

from dashboard.data import Reselection, StoreData
from dashboard.selection import Selection
from dashboard.shown import channels, graphs, images, likeness
from dashboard.shown.classtable import class_table, packed, relative
from summit_dask.facts.errors import StoreError, StoreVersionError
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.stages import stage_named
from summit_dask.store.places import stores_in
from summit_dask.store.store import Store
from tests.stores import AWKWARD_NAMES, PARTS, Made, graph_of, make_store, options

START = Selection()
#: A component of each page that is there whatever the store lacks.
PAGES = {"explore": "class", "channel": "alike heading", "layers": "layers", "classes": "class", "run": "progress"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def made(folder: Path) -> Made:
    return make_store(folder / "complete")


@pytest.fixture(scope="module")
def complete(folder: Path, made: Made) -> Path:
    return folder / "complete"


@pytest.fixture(scope="module")
def imported(folder: Path) -> Path:
    """Graphs and pictures, as the original's published data: no images, no counts."""
    make_store(folder / "imported", images_per_class=0, parts={"graphs", "pictures"})
    return folder / "imported"


@pytest.fixture(scope="module")
def half_finished(folder: Path) -> Path:
    """A run that has only read images so far."""
    make_store(folder / "half", parts={"values"})
    return folder / "half"


@pytest.fixture(scope="module")
def data(complete: Path) -> StoreData:
    return StoreData(complete)


# Reading


def test_labels_tell_classes_of_one_name_apart(data: StoreData) -> None:
    assert data.classes["label"].tolist() == [
        AWKWARD_NAMES[0],
        "crane (n00000001)",
        "crane (n00000002)",
        *AWKWARD_NAMES[3:],
    ]


def test_accuracy_leaves_out_unreadable_images(data: StoreData) -> None:
    # Of six images the last can't be read and the first is misclassified, except in the first class.
    assert (data.facts(0).n_images, data.facts(0).accuracy) == (6, 1.0)
    assert (data.facts(1).n_images, data.facts(1).n_correct) == (5, 4)


def test_class_statistics_of_a_run_going_on_come_from_its_images(half_finished: Path, data: StoreData) -> None:
    unreduced = StoreData(half_finished)
    unreduced._kept["classes/n_images"] = np.zeros(5, np.int32)
    assert unreduced.classes["n_images"].tolist() == data.classes["n_images"].tolist()
    assert unreduced.classes["n_correct"].tolist() == data.classes["n_correct"].tolist()


def test_histograms_hold_every_readable_image_once(data: StoreData) -> None:
    assert data.histograms is not None
    assert data.histograms.sum(axis=1).tolist() == data.classes["n_images"].tolist()


def test_similarity_is_the_cosine_of_the_counts(data: StoreData, made: Made) -> None:
    rows = made.activation["mixed2"].astype(float)
    expected = [row @ rows[1] / np.linalg.norm(row) / np.linalg.norm(rows[1]) for row in rows]
    np.testing.assert_allclose(data.similarity("mixed2", 1), expected, rtol=1e-12)


def test_stored_graph_is_the_one_written(data: StoreData, made: Made) -> None:
    for place in range(data.n_classes):
        found, expected = data.graph(place), graph_of(made, place)
        assert found is not None
        for name in ("node_channel", "edge_influence", "node_source_channel", "reached_p"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_selecting_again_with_the_same_p_gives_the_stored_graph(data: StoreData) -> None:
    for place in range(data.n_classes):
        stored, again = data.graph(place), data.graph(place, Reselection(p=0.3))
        assert stored is not None and again is not None
        np.testing.assert_array_equal(stored.node_channel, again.node_channel)


def test_a_channel_left_out_is_no_node_and_an_excluded_one_can_come_back(data: StoreData) -> None:
    stored = data.graph(0)
    assert stored is not None
    first = Channel(data.layer_graph.layers[int(stored.node_layer[0])].name, int(stored.node_channel[0]))
    without = data.graph(0, Reselection(left_out=(first,)))
    everything = data.graph(0, Reselection(p=1.0, keep_excluded=True))
    assert without is not None and everything is not None
    layers = [data.layer_graph.layers[int(k)].name for k in without.node_layer]
    assert (first.layer, first.index) not in zip(layers, without.node_channel.tolist(), strict=True)
    assert 7 in everything.node_channel[everything.node_layer == 0]


def test_mass_counts_again_from_the_stored_maxima(data: StoreData) -> None:
    few, many = data.graph(1, Reselection(p=1.0, mass=0.01)), data.graph(1, Reselection(p=1.0, mass=0.9))
    assert few is not None and many is not None
    values = data.store.read("activations/mixed3/value", data.images_of(1))[:5]
    assert few.node_count[few.node_layer == 6].sum() == len(values)
    assert many.node_count.sum() > 2 * few.node_count.sum()


def test_pictures_and_examples_are_those_of_the_channel(data: StoreData) -> None:
    assert data.pictures(Channel("mixed2", 0)) == {}
    assert list(data.pictures(Channel("mixed2", 3)))[:3] == ["channel", "neuron", "negative"]
    found = data.examples(Channel("mixed2", 3))
    assert [e.value for e in found] == sorted((e.value for e in found), reverse=True)
    assert found[0].thumbnail.startswith(b"\xff\xd8\xff")


def test_what_a_store_lacks_is_said(imported: Path) -> None:
    lacking = StoreData(imported)
    assert lacking.embedding("mixed2") is None
    assert lacking.histograms is None and lacking.facts(0).accuracy is None
    assert not lacking.can_reselect and not lacking.has("activations")
    assert lacking.why_absent("embedding") == "This store holds no class embedding; the imported files lack that."


def test_what_a_run_has_not_made_yet_is_said_with_what_makes_it(half_finished: Path) -> None:
    unfinished = StoreData(half_finished)
    assert unfinished.counts("mixed2") is None and unfinished.similarity("mixed2", 0) is None
    assert "'summit-dask embed' makes that" in unfinished.why_absent("embedding")


def test_without_counts_those_of_the_graphs_are_shown(imported: Path, made: Made) -> None:
    partial = StoreData(imported)
    assert partial.counts_are_partial
    for layer in partial.layers:
        counts = partial.counts(layer.name)
        assert counts is not None and counts.shape == (5, layer.channels)
        for place in range(5):
            graph = partial.graph(place)
            assert graph is not None
            own = graph.node_layer == partial.layer_graph.layers.index(layer)
            assert counts[place].sum() == graph.node_count[own].sum()
            np.testing.assert_array_equal(counts[place, graph.node_channel[own]], graph.node_count[own])
    similarity = partial.similarity("mixed3", 2)
    assert similarity is not None and similarity.argmax() == 2 and similarity[2] == pytest.approx(1)


def test_a_stage_that_is_not_finished_counts_as_absent(tmp_path: Path) -> None:
    make_store(tmp_path / "store", parts={"graphs"})
    attributes = tmp_path / "store" / "graphs" / "zarr.json"
    group = json.loads(attributes.read_text())
    root = json.loads((tmp_path / "store" / "zarr.json").read_text())
    group["attributes"], root["consolidated_metadata"] = {}, None
    attributes.write_text(json.dumps(group))
    (tmp_path / "store" / "zarr.json").write_text(json.dumps(root))
    assert not StoreData(tmp_path / "store").has("graphs")


def test_what_was_made_with_other_options_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store", parts={"matrices", "graphs", "embedding"})
    assert StoreData(tmp_path / "store").outdated == ()
    store = Store.open(tmp_path / "store", writable=True)
    with store.changing():
        store.update_run(store.header.run.with_options_of(stage_named("graphs"), options().replaced(p=0.2)))
    assert StoreData(tmp_path / "store").outdated == ("graphs",)
    app = _run(tmp_path / "store", "explore", monkeypatch)
    assert any("attribution graphs. Run 'summit-dask graphs'" in text.value for text in app.text)
    with store.changing():
        store.update_run(store.header.run.model_copy(update={"config": options().replaced(mass=0.2)}))
    assert StoreData(tmp_path / "store").outdated == ("matrices", "graphs", "embedding")
    shown = str(_component(_run(tmp_path / "store", "run", monkeypatch), "progress")["facts"])
    assert "matrices, graphs, embedding" in shown


def test_nothing_of_a_closed_store_is_kept(complete: Path) -> None:
    data = StoreData(complete)
    graph = data.graph(0)
    assert graph is not None
    graphs.drawing(data, graph, 6)
    graphs.cards(data, graph)
    graphs.files(data, graph)
    class_table(data, START.within(data)[0], 0)
    images.graph_of(data, (0, 1))
    left = weakref.ref(data)
    del data, graph
    gc.collect()
    assert left() is None


def test_only_the_highest_scores_of_a_large_graph_have_cards(data: StoreData, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = data.graph(0)
    assert graph is not None and len(graph.node_score) > 3
    assert len(graphs.cards(data, graph)) == len(graph.node_score)
    monkeypatch.setattr(graphs, "MOST_CARDS", 3)
    cards = graphs.cards(data, graph)
    best = np.argsort(-graph.node_score)[:3]
    assert [card["channel"] for card in cards] == graph.node_channel[best].tolist()


def test_a_store_that_changes_is_opened_again(tmp_path: Path) -> None:
    make_store(tmp_path / "store", parts=set())
    before = StoreData(tmp_path / "store")
    assert before.unchanged()
    shutil.rmtree(tmp_path / "store")
    make_store(tmp_path / "store", parts={"graphs"})
    assert not before.unchanged()


def test_stores_of_a_folder(folder: Path, complete: Path, tmp_path: Path) -> None:
    assert stores_in(complete) == [complete]
    assert complete in stores_in(folder)
    with pytest.raises(StoreError, match="holds none"):
        stores_in(tmp_path)


# Selection

_texts = hst.text(max_size=12)
_channels = hst.builds(Channel, _texts, hst.integers(0, 10**6))
_shares = hst.none() | hst.integers(5, 500).map(lambda n: n / 1000)
_selections = hst.builds(
    Selection,
    store=hst.none() | _texts,
    class_=hst.none() | _texts,
    layer=hst.none() | _texts,
    channel=hst.none() | hst.integers(0, 10**6),
    pinned=hst.none() | _channels,
    sort=hst.sampled_from(["similarity", "best", "worst", "name", "images"]),
    search=_texts,
    least_count=hst.integers(0, 10**6),
    width=hst.integers(50, 300).map(lambda n: n / 100),
    scale=hst.sampled_from(["class", "all"]),
    how=hst.builds(
        Reselection,
        p=_shares,
        mass=_shares,
        left_out=hst.lists(_channels, max_size=3).map(tuple),
        keep_excluded=hst.booleans(),
    ),
)


@given(_selections)
@settings(deadline=None, max_examples=60)
def test_selection_comes_back_from_its_address(selection: Selection) -> None:
    assert Selection.from_query(selection.to_query()) == selection


@given(
    hst.dictionaries(hst.sampled_from(["class", "channel", "p", "pin_layer", "pin_channel", "width", "sort"]), _texts)
)
@settings(deadline=None, max_examples=60)
def test_any_address_is_read(query: dict[str, str]) -> None:
    Selection.from_query({name: [value] for name, value in query.items()})


def test_what_the_address_names_in_vain_is_said(data: StoreData) -> None:
    selection, missing = Selection(class_="zebra", layer="nowhere", pinned=Channel("stem", 99)).within(data)
    assert (selection.class_, selection.layer, selection.pinned) == ("n00000000", "mixed3", None)
    assert "'zebra'" in missing[0] and "'nowhere'" in missing[1]


# Figures


def _crossings(rows: list[np.ndarray], edges: list[tuple[int, int]]) -> int:
    place = {int(node): k for row in rows for k, node in enumerate(row)}
    level = {int(node): k for k, row in enumerate(rows) for node in row}
    pairs = [(a, b) for i, a in enumerate(edges) for b in edges[i + 1 :] if level[a[0]] == level[b[0]]]
    return sum((place[a[0]] - place[b[0]]) * (place[a[1]] - place[b[1]]) < 0 for a, b in pairs)


def test_rows_are_ordered_so_that_edges_cross_less() -> None:
    rng = np.random.default_rng(0)
    rows = [np.arange(k * 8, (k + 1) * 8) for k in range(4)]
    hidden = rng.permuted(np.stack(rows), axis=1)
    edges = [(int(hidden[k, i]), int(hidden[k + 1, i])) for k in range(3) for i in range(8)]
    source, target = np.array(edges).T
    found = graphs.ordered(rows, source, target, np.ones(len(edges)))
    assert [sorted(row.tolist()) for row in found] == [row.tolist() for row in rows]
    assert _crossings(found, edges) < _crossings(rows, edges) / 4


def test_drawing_names_every_node_once_and_every_edge_by_its_ends(data: StoreData) -> None:
    for place in range(data.n_classes):
        graph = data.graph(place)
        assert graph is not None
        drawn = graphs.drawing(data, graph, 6)
        assert sorted(n for row in drawn["rows"] for n in row["nodes"]) == list(range(len(drawn["nodes"])))
        assert [row["layer"] for row in drawn["rows"]] == ["mixed3", "mixed2", "mixed1", "stem"]
        for (source, target, influence), k in zip(drawn["edges"], range(len(drawn["edges"])), strict=True):
            assert drawn["nodes"][source]["channel"] == graph.edge_source_channel[k]
            assert drawn["nodes"][target]["channel"] == graph.edge_target_channel[k]
            assert influence == graph.edge_influence[k]


def test_sources_of_a_channel_lead_through_the_hidden_layer(data: StoreData, made: Made) -> None:
    graph = data.graph(0)
    assert graph is not None
    rows, note = graphs.sources(data, 0, graph, Channel("mixed1", 11))  # the last channel, through the bottleneck
    counts = made.influence["mixed1.3x3"][0, 5]
    assert note == "" and [row["influence"] for row in rows] == sorted(counts[counts > 0].tolist(), reverse=True)[:3]
    best = made.influence["mixed1.down"][0].max(axis=1)
    for row in rows:
        through = row["through"]
        assert row["layer"] == "mixed1.reduce" and row["hidden"]
        assert (through["influence"] if through else 0) == best[row["channel"]]
    assert graphs.sources(data, 0, graph, Channel("stem", 1))[1] == "This is the lowest layer of the graph."


def test_files_hold_the_whole_graph(data: StoreData) -> None:
    import networkx as nx

    graph = data.graph(2)
    assert graph is not None
    files = {file["name"]: file["text"] for file in graphs.files(data, graph)}
    assert len(files["nodes.csv"].splitlines()) == 1 + len(graph.node_layer)
    assert len(files["edges.csv"].splitlines()) == 1 + len(graph.edge_influence)
    network = nx.parse_graphml(files["graph.graphml"])
    assert network.number_of_edges() == len(graph.edge_influence)
    assert {"layer", "channel", "count", "score"} <= set(next(iter(network.nodes.values())))


def test_packed_numbers_and_histograms() -> None:
    assert packed(np.array([1, 2], np.int32)) == {"dtype": "int32", "base64": "AQAAAAIAAAA="}
    assert relative(np.array([[0, 1, 4], [0, 0, 0]])).tolist() == [[0, 64, 255], [0, 0, 0]]


def test_likeness_of_channels_and_classes() -> None:
    counts = np.array([[4, 0, 0, 2], [4, 4, 0, 0]], np.int32)
    assert likeness.largest(np.array([1.0, np.nan, 3, 1, 0]), 9) == [2, 0, 3]
    np.testing.assert_allclose(likeness.like_channel(counts, 0), [1, np.sqrt(0.5), 0, np.sqrt(0.5)])
    np.testing.assert_allclose(likeness.nearest(counts), 16 / np.sqrt(20 * 32))


def test_like_rows_stand_together() -> None:
    rows = np.array([[9, 1, 0], [0, 1, 9], [8, 1, 0], [0, 2, 9]])
    order = likeness.clustered(rows).tolist()
    assert abs(order.index(0) - order.index(2)) == 1 and abs(order.index(1) - order.index(3)) == 1


# Channels and images


def test_classes_that_use_a_channel(data: StoreData, made: Made, imported: Path) -> None:
    found = channels.classes_using(data, Channel("mixed1", 4))
    counts = made.activation["mixed1"][:, 4]
    assert dict(zip(found["place"], found["count"], strict=True)) == {k: n for k, n in enumerate(counts) if n}
    assert found["count"].is_monotonic_decreasing
    node = int(StoreData(imported).read("graphs/node_channel")[-1])
    assert len(channels.classes_using(StoreData(imported), Channel("mixed3", node))) >= 1


def test_neighbours_of_a_channel_add_up_over_the_graphs(data: StoreData) -> None:
    for sources, own in ((True, "target"), (False, "source")):
        channel = int(data.read(f"graphs/edge_{own}_channel")[0])
        layer = data.layer_graph.layers[int(data.read(f"graphs/edge_{own}_layer")[0])].name
        found = channels.neighbours(data, Channel(layer, channel), sources, None, 99)
        is_it = data.read(f"graphs/edge_{own}_channel") == channel
        is_it &= data.read(f"graphs/edge_{own}_layer") == data.read(f"graphs/edge_{own}_layer")[0]
        assert found["influence"].sum() == data.read("graphs/edge_influence")[is_it].sum()


def test_confusions_and_images_of_a_class(data: StoreData) -> None:
    table = images.of_class(data, 1)
    assert len(table) == 5 and table["probability"].is_monotonic_increasing
    confusions = images.confusions(data, 1)
    assert confusions[["name", "images"]].to_numpy().tolist() == [["crane (n00000002)", 1]]
    assert images.confusions(data, 0).empty
    assert images.of_class(data, 1, taken_for=2)["image"].tolist() == [6]


def test_graph_of_all_images_has_the_sources_of_the_images(data: StoreData) -> None:
    graph = images.graph_of(data, (0, 1, 2))
    assert len(graph.node_layer) and graph.node_count.max() <= 3


def test_values_of_a_channel(data: StoreData) -> None:
    everything, own = images.channel_values(data, Channel("mixed2", 3), 1)
    assert (len(everything), len(own)) == (26, 5)


# Pages


def _run(store: Path, page: str, monkeypatch: pytest.MonkeyPatch, selection: Selection = START) -> AppTest:
    monkeypatch.setenv("SUMMIT_DASK_STORE", str(store))
    monkeypatch.setattr("sys.argv", ["app.py"])
    app = AppTest.from_file(str(Path("dashboard/script.py").resolve()), default_timeout=60)
    if page != "explore":
        app.session_state["go"] = (page, selection)
    for name, values in selection.to_query().items():
        app.query_params[name] = values
    return app.run()


def _component(app: AppTest, key: str) -> dict[str, object]:
    """What a component of the page was given."""
    for element in app.main:
        proto = getattr(element, "proto", None)
        if type(proto).__name__ == "BidiComponent" and proto.id.endswith(f"-{key}"):
            return json.loads(proto.json or proto.mixed.json)  # type: ignore[no-any-return]
    raise AssertionError(f"the page has no component {key!r}")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", ["complete", "imported", "half_finished"])
def test_every_page_on_every_kind_of_store(
    page: str, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = _run(request.getfixturevalue(kind), page, monkeypatch)
    assert not app.exception, app.exception[0].stack_trace
    assert "Model" in str(_component(app, "header")["facts"])
    assert _component(app, PAGES[page])["title"]


def test_explore_shows_what_the_address_says(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Selection(class_="n00000002", layer="mixed1", sort="worst", least_count=2, pinned=Channel("mixed2", 8))
    app = _run(complete, "explore", monkeypatch, wanted)
    classes, graph = _component(app, "classes"), _component(app, "graph")
    assert (classes["selected"], classes["layer"], classes["sort"]) == (2, "mixed1", "worst")
    assert graph["title"] == "Attribution graph of crane (n00000002)"
    assert graph["view"] == {"least_count": 2, "width": 1.0, "height": 1.0, "scale": "class"}
    assert graph["pinned"] == {"layer": "mixed2", "channel": 8}


def test_another_p_is_selected_live(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = _run(complete, "explore", monkeypatch)
    before = len(_component(app, "graph")["nodes"])  # type: ignore[arg-type]
    app.slider(key="reselect p").set_value(0.5).run()
    assert Selection.from_query({"p": [str(np.ravel(app.query_params["p"])[0])]}).how.p == 0.5
    assert len(_component(app, "graph")["nodes"]) > before  # type: ignore[arg-type]


def test_sliders_are_disabled_with_the_reason(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = _run(imported, "explore", monkeypatch)
    assert app.slider(key="reselect p").disabled and app.slider(key="reselect mass").disabled
    assert any("no counts" in caption.value for caption in app.caption)


@pytest.mark.parametrize(("kind", "reason"), [("imported", "lack that"), ("half_finished", "summit-dask reduce")])
def test_an_address_that_asks_for_what_the_store_can_t_do_is_answered(
    kind: str, reason: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Selection(how=Reselection(p=0.4))
    app = _run(request.getfixturevalue(kind), "explore", monkeypatch, wanted)
    assert any("another selection" in text.value and reason in text.value for text in app.text)
    assert app.slider(key="reselect p").value == 0.3
    assert kind == "imported" or any("no attribution graphs" in info.value for info in app.info)


def test_another_layer_begins_with_the_channel_its_class_uses_most(
    complete: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = _run(complete, "channel", monkeypatch, Selection(layer="mixed3", channel=11, class_="n00000001"))
    app.selectbox(key="channel layer").set_value("stem").run()
    assert app.number_input(key="channel index").value == made.activation["stem"][1].argmax()
    assert not any("does not exist" in text.value for text in app.text)


def test_damaged_values_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store")
    for shard in (tmp_path / "store" / "activations" / "mixed3" / "value" / "c").rglob("*"):
        if shard.is_file():
            content = bytearray(shard.read_bytes())
            content[len(content) // 3] ^= 255
            shard.write_bytes(bytes(content))
    app = _run(tmp_path / "store", "channel", monkeypatch, Selection(layer="mixed3", channel=1))
    assert not app.exception
    assert _component(app, "error")["title"] == "This store can't be read"
    assert "activations/mixed3/value can't be read" in str(_component(app, "error")["note"])


def test_a_folder_of_stores_gives_a_choice(folder: Path, complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = _run(folder, "explore", monkeypatch)
    assert not app.exception and "choose one" in str(_component(app, "header")["note"])
    chosen = _run(folder, "explore", monkeypatch, Selection(store="complete", class_="n00000001", sort="worst"))
    assert _component(chosen, "graph")["nodes"]
    next(button for button in chosen.button if button.label == "Stores").click().run()
    assert not chosen.query_params


def test_a_missing_store_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = _run(tmp_path / "nowhere", "explore", monkeypatch)
    assert not app.exception and "summit-dask run" in str(_component(app, "error")["note"])


def test_a_store_of_another_version_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store", parts=set())
    root = json.loads((tmp_path / "store" / "zarr.json").read_text())
    root["attributes"]["summit_format"] = 99
    (tmp_path / "store" / "zarr.json").write_text(json.dumps(root))
    app = _run(tmp_path / "store", "explore", monkeypatch)
    assert "format 99" in str(_component(app, "error")["note"])
    with pytest.raises(StoreVersionError):
        StoreData(tmp_path / "store")


def test_a_damaged_store_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store", parts=PARTS)
    shutil.rmtree(tmp_path / "store" / "classes")
    (tmp_path / "store" / "zarr.json").write_text("{")
    app = _run(tmp_path / "store", "explore", monkeypatch)
    assert not app.exception and "damaged" in str(_component(app, "error")["note"])


def test_nothing_asks_for_anything_outside() -> None:
    sources = [p for p in Path("dashboard").rglob("*") if p.suffix in {".py", ".js", ".css", ".ts", ".toml"}]
    texts = [p.read_text() for p in sources if "node_modules" not in p.parts]
    allowed = ("http://www.w3.org/", "https://www.w3.org/", "{protocol}://")
    for text in texts:
        for address in (word for word in text.replace('"', " ").replace("'", " ").split() if "://" in word):
            assert address.startswith(allowed) or any(ok in address for ok in allowed), address
