"""Every page of the dashboard on every kind of store, in Streamlit's own test runner, without a browser."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from distributed import Client
from streamlit.testing.v1 import AppTest

from dashboard.data import StoreData
from dashboard.selection import STORED, Reselection, Selection
from dashboard.shown.graphs import drawing
from dashboard.shown.sharing import used_kinds
from summit_dask.arrays.usage import usage
from summit_dask.facts import wording
from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import StoreVersionError
from summit_dask.facts.layergraph import Channel, LayerGraph
from summit_dask.facts.pairs import PAPERS, Pair
from summit_dask.facts.stages import stage_named
from summit_dask.questions.query import attribution_graph
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests.networks import tiny_config
from tests.pages import FOLDER, component_of, components_of, facts_of, headings_of, items_of, open_page
from tests.pairs import RELEVANT, add_pair
from tests.runs import run_here
from tests.stores import AWKWARD_NAMES, PARTS, Made, layer_graph, make_store, options

#: What each page begins with, whatever the store lacks.
BEGINNING = {
    "explore": "class",
    "channel": "channel heading",
    "layers": "Layers: how classes share channels",
    "classes": "class",
    "evidence": "Evidence: do the graphs hold when the network is touched?",
    "run": "progress",
    "across": "Across stores: how each class changes from store to store",
}

KINDS = ["complete", "imported", "imported_classes", "half_finished"]


@pytest.fixture(scope="module")
def two_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the graphs of two pairs of measures."""
    path = tmp_path_factory.mktemp("pairs") / "store"
    make_store(path, parts={"values", "matrices", "graphs"})
    add_pair(path)
    return path


@pytest.mark.parametrize("page", BEGINNING)
@pytest.mark.parametrize("kind", KINDS)
def test_every_page_on_every_kind_of_store(
    page: str, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(request.getfixturevalue(kind), page, monkeypatch)
    assert not app.exception, app.exception[0].stack_trace
    shown = components_of(app)
    assert "error" not in shown, shown["error"]
    assert "Model" in facts_of(app, "header")
    assert BEGINNING[page] in [*shown, *headings_of(app)]


# What the pages show


def test_explore_shows_what_the_address_says(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Selection(class_="n00000002", layer="mixed1", sort="worst", least_count=2, pinned=Channel("mixed2", 8))
    app = open_page(complete, "explore", monkeypatch, wanted)
    classes = component_of(app, "classes")
    graph = component_of(app, "graph")
    assert (classes["selected"], classes["layer"], classes["sort"]) == (2, "mixed1", "worst")
    assert graph["title"] == "Attribution graph of crane (n00000002)"
    usual = {"width": 1.0, "height": 1.0, "scale": "class", "only_effective": False, "communities": "off"}
    assert graph["view"] == {"least_count": 2, **usual}
    assert graph["pinned"] == {"layer": "mixed2", "channel": 8}
    assert component_of(app, "pinned")["pinned"]["channel"] == 8  # type: ignore[index]


def test_a_class_s_header(complete: Path, imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(complete, "classes", monkeypatch, Selection(class_="n00000001"))
    assert list(facts_of(app, "class").items()) == [
        ("Accuracy", "80.0%"),
        ("Images", "5"),
        ("Folder", "n00000001"),
        ("Synset", "n00000001"),
    ]
    assert not [button for button in app.button if button.label == "Stores"]  # there is but one
    assert facts_of(open_page(imported, "explore", monkeypatch), "class") == {"Accuracy": "–", "Images": "–"}


def test_titles_hold_names_as_text(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    headings = headings_of(open_page(complete, "layers", monkeypatch, Selection(layer="mixed1", class_="n00000000")))
    assert "<h3>Most used for &lt;img src=x onerror=alert(1)&gt;</h3>" in headings
    assert "<h3>All classes and channels of mixed1</h3>" in headings
    headings = headings_of(open_page(complete, "layers", monkeypatch, Selection(class_="n00000004")))
    assert f"<h3>Most used for {AWKWARD_NAMES[4].replace('>', '&gt;')}</h3>" in headings


def test_the_channel_page_tells_why_a_channel_was_left_out(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(complete, "channel", monkeypatch, Selection(layer="stem", channel=7))
    assert "fires for every image" in str(component_of(app, "channel heading")["note"])
    app = open_page(complete, "channel", monkeypatch, Selection(layer="stem", channel=6))
    assert component_of(app, "channel heading")["note"] == ""


def test_another_layer_begins_with_the_channel_its_class_uses_most(
    complete: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(complete, "channel", monkeypatch, Selection(layer="mixed3", channel=7, class_="n00000001"))
    assert app.number_input(key="channel index").value == 7
    app.selectbox(key="channel layer").set_value("stem").run()
    assert app.number_input(key="channel index").value == made.activation["stem"][1].argmax()
    assert not any("does not exist" in text.value for text in app.text)
    app = open_page(complete, "channel", monkeypatch, Selection(layer="mixed3", channel=10))
    assert any("mixed3 has the channels 0 to 9; channel 10 does not exist" in text.value for text in app.text)


def test_sources_in_one_class_alone(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = StoreData(complete)
    graph = data.graph(1)
    assert graph is not None
    source, target = graph.edges(data.layer_graph)[0]
    wanted = Selection(layer=target.layer, channel=target.index, class_="n00000001", alone=True)
    app = open_page(complete, "channel", monkeypatch, wanted)
    first = items_of(app, "Strongest sources")[0]
    assert first["title"] == f"channel {source.index}"
    assert first["text"] == f"{source.layer}\n{wording.images(int(graph.edge_influence[0]))}"
    app.toggle(key="one class").set_value(False).run()
    assert re.search(r"\n\d class", items_of(app, "Strongest sources")[0]["text"])
    assert "alone" not in app.query_params


def test_misclassified_images_have_a_graph(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(complete, "classes", monkeypatch, Selection(class_="n00000001", misclassified=True))
    assert "The chosen image" in headings_of(app)
    assert component_of(app, "part")["title"] == "Attribution graph of 1 image"
    app = open_page(complete, "classes", monkeypatch, Selection(class_="n00000001"))
    assert "part" not in components_of(app)


def test_quarters_go_from_the_least_accurate_classes_to_the_most(
    complete: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.shown import likeness
    from dashboard.views.layers import _quarters

    table = _quarters(StoreData(complete))
    near = likeness.nearest(made.activation["mixed2"])
    # Accuracies are 1, then four times 0.8: ties by the order of the classes, the first quarter holds one of five.
    expected = [near[1], near[2], near[3], near[[4, 0]].mean()]
    own = table[table["layer"] == "mixed2"]
    assert own["classes"].tolist() == ["least accurate quarter", "second", "third", "most accurate quarter"]
    np.testing.assert_allclose(own["similarity"], expected)


def test_bars_of_a_layer_are_its_most_used_channels(
    complete: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(complete, "layers", monkeypatch, Selection(layer="mixed2", class_="n00000002"))
    for key, counts in {
        "top of class": made.activation["mixed2"][2],
        "top of all": made.activation["mixed2"].sum(axis=0),
    }.items():
        charts: list[dict[str, Any]] = component_of(app, key)["charts"]  # type: ignore[assignment]
        best = [k for k in np.argsort(-counts, kind="stable")[:10] if counts[k]]
        assert [(bar["name"], bar["value"]) for bar in charts[0]["bars"]] == [(str(k), counts[k]) for k in best]


def test_channels_are_counted_by_their_use(complete: Path, made: Made) -> None:
    counts = StoreData(complete).counts("mixed2")
    assert counts is not None
    rows = used_kinds(usage(counts, np.full(len(counts), 6, np.int32)))
    used = made.activation["mixed2"].any(axis=0)
    strongest = {k for row in made.activation["mixed2"] for k in np.argsort(-row, kind="stable")[:4] if row[k]}
    assert rows == {
        "among the 4 strongest of a class": len(strongest),
        "used by a class": used.sum() - len(strongest),
        "used by none": 16 - used.sum(),
    }


def _table(app: AppTest, column: str, first: int = 0) -> dict[str, str]:
    """The first table with a column of that name, as its first column, or another one, and that one."""
    table: pd.DataFrame = next(element.value for element in app.dataframe if column in element.value)
    return dict(zip(table.iloc[:, first], table[column], strict=True))


def test_the_run_page_shows_what_a_run_wrote(finished: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(finished.out, "run", monkeypatch)
    network = Store.open(finished.out).network
    values = {name: value for table in app.dataframe[1:4] for name, value in table.value.to_numpy().tolist()}
    assert values["weights digest"] == network.digest and len(network.digest) == 64
    assert (values["resize"], values["crop"]) == ("none", "[24, 24]")
    assert values["batch_size"] == "8" and values["model"] == finished.model
    assert values["numpy"] == np.__version__
    assert facts_of(app, "progress")["Still to do"] == "nothing"
    assert set(_table(app, "state").values()) == {"done"}
    assert _table(app, "made by")["examples of channels"] == "summit-dask reduce"
    assert "influences" in _table(app, "files")


def test_the_run_page_says_what_is_to_do_in_words(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(tmp_path)
    run_here(config, client, "extract", "reduce")
    app = open_page(config.out, "run", monkeypatch)
    to_do = facts_of(app, "progress")["Still to do"]
    assert to_do == "examples of channels, attribution graphs, class embedding"
    assert list(_table(app, "state").values()) == ["done", "done", "to do", "to do", "to do"]


def test_the_run_page_of_an_import_names_no_options(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(imported, "run", monkeypatch)
    assert list(facts_of(app, "header")) == ["Model", "Data set", "Classes", "Images"]
    assert "Configuration" not in headings_of(app)
    assert facts_of(app, "progress")["Not imported"] == (
        "values of single images and sources of single images and contributions of single images and relevance of "
        "single images, counts per class and channel, examples of channels, class embedding"
    )


def test_the_layer_graph_is_drawn_from_the_input_up(complete: Path) -> None:
    from dashboard.views.run import _drawn

    layers, hops = _drawn(StoreData(complete))
    assert dict(zip(layers["label"], zip(layers["x"], layers["y"], strict=True), strict=True)) == {
        "stem (8)": (0, 0),
        "reduce (6)": (1, 5),
        "mixed1 (12)": (0, 2),
        "mixed2 (16)": (0, 4),
        "mixed3 (10)": (0, 6),
    }
    assert hops[hops["name"] == "mixed1.down"][["x", "y", "x2", "y2"]].to_numpy().tolist() == [[0, 0, 1, 1]]


def test_unreadable_images_are_listed(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(complete, "run", monkeypatch)
    last_of_class = [f"n0000000{k}/{6 * k + 5:04d}.jpg" for k in range(1, 5)]
    assert _table(app, "reason", 1) == dict.fromkeys(last_of_class, "cannot identify image file")


def test_what_was_made_with_other_options_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store", parts={"matrices", "graphs", "embedding"})
    store = Store.open(tmp_path / "store", writable=True)
    with store.changing():
        store.update_run(store.header.run.with_options_of(stage_named("graphs"), options().replaced(p=0.2)))
    app = open_page(tmp_path / "store", "explore", monkeypatch)
    assert any("attribution graphs. Run 'summit-dask graphs'" in text.value for text in app.text)
    states = _table(open_page(tmp_path / "store", "run", monkeypatch), "state")
    assert [part for part, state in states.items() if state == "done with other options"] == ["attribution graphs"]


# Several pairs of measures


def test_the_measures_are_chosen_among_those_of_the_store_s_graphs(
    two_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(two_pairs, "explore", monkeypatch)
    papers = component_of(app, "graph")
    choice = app.radio(key="measures")
    assert choice.options == ["Nodes by activation, edges by influence", "Nodes by relevance, edges by contribution"]
    choice.set_value(RELEVANT).run()
    assert np.ravel(app.query_params["graphs"]).tolist() == ["relevance-contribution"]
    chosen = component_of(app, "graph")
    assert chosen["nodes"] != papers["nodes"] and chosen["id"] != papers["id"]
    assert (papers["measure"], chosen["measure"]) == ("influence", "contribution")
    assert chosen["nodes"] == _drawn(two_pairs, RELEVANT)
    app.radio(key="measures").set_value(PAPERS).run()
    assert component_of(app, "graph")["nodes"] == papers["nodes"]


@pytest.mark.parametrize("page", ["explore", "channel", "classes"])
def test_every_page_with_graphs_shows_the_pair_that_the_address_names(
    two_pairs: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Selection(pair=RELEVANT, class_="n00000001", layer="mixed3", channel=3, pinned=Channel("mixed3", 3))
    app = open_page(two_pairs, page, monkeypatch, wanted.but(misclassified=True, alone=True))
    assert not app.exception and app.radio(key="measures").value == RELEVANT
    papers = open_page(two_pairs, page, monkeypatch, wanted.but(misclassified=True, alone=True, pair=None))
    assert not papers.exception and papers.radio(key="measures").value == PAPERS
    shown = {"explore": ["graph", "pinned"], "channel": ["Strongest sources"], "classes": ["whole", "part"]}[page]
    assert all(components_of(app)[key] != components_of(papers)[key] for key in shown)


def test_what_lowers_a_channel_most_stands_beside_its_sources(
    two_pairs: Path, imported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Selection(class_="n00000001", layer="mixed3", channel=3, pinned=Channel("mixed3", 3))
    store = Store.open(two_pairs)
    place = store.read("class").tolist().index("n00000001")
    counts = [
        count
        for hop in store.layer_graph.incoming("mixed3")
        if 3 in hop.targets
        for count in store.read(f"matrices/{hop.name}/inhibition_count")[place, hop.targets.index(3)].tolist()
    ]
    pinned: dict[str, Any] = component_of(open_page(two_pairs, "explore", monkeypatch, wanted), "pinned")["pinned"]  # type: ignore[assignment]
    assert [row["influence"] for row in pinned["lowering"]] == sorted(counts, reverse=True)[:3]
    page = open_page(two_pairs, "channel", monkeypatch, wanted.but(alone=True))
    assert any("lowers it most" in caption.value for caption in page.caption)
    counted = component_of(
        open_page(imported, "explore", monkeypatch, Selection(pinned=Channel("mixed3b", 1))), "pinned"
    )
    assert counted["pinned"]["lowering"] == []  # type: ignore[index]


def test_a_share_and_a_mass_select_again_from_the_pair_s_own_counts(
    two_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = Reselection(p=0.5, mass=0.3)
    app = open_page(two_pairs, "explore", monkeypatch, Selection(pair=RELEVANT, how=how, class_="n00000001"))
    made = attribution_graph(open_store(two_pairs), "n00000001", p=0.5, mass=0.3, **RELEVANT._asdict())
    nodes: list[dict[str, Any]] = component_of(app, "graph")["nodes"]  # type: ignore[assignment]
    selected = [n for n in nodes if not n["absent"]]  # the others hold the places of the stored graph's channels
    assert {(n["layer"], n["channel"], n["count"]) for n in selected} == {
        (channel.layer, channel.index, count) for channel, count in made.nodes(data="count")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_where_there_is_one_pair_alone_there_is_no_choice(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(request.getfixturevalue(kind), "explore", monkeypatch, Selection(pair=RELEVANT))
    assert not [choice for choice in app.radio if choice.key == "measures"]
    assert any("no graphs with nodes by relevance" in text.value for text in app.text)


def test_the_run_page_lists_the_graphs_of_each_pair(
    two_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(two_pairs, tmp_path / "store")
    store = Store.open(tmp_path / "store", writable=True)
    with store.changing():
        store.update_run(store.header.run.with_options_of(stage_named("graphs"), options().replaced(p=0.2)))
    other = "attribution graphs with nodes by relevance, edges by contribution"
    states = _table(open_page(tmp_path / "store", "run", monkeypatch), "state")
    assert {part: state for part, state in states.items() if "graphs" in part} == dict.fromkeys(
        ("attribution graphs", other), "done with other options"
    )
    said = StoreData(tmp_path / "store").why_outdated()
    assert other in said and "'summit-dask graphs --nodes relevance --edges contribution'" in said


def _drawn(store: Path, pair: Pair) -> list[dict[str, Any]]:
    """Nodes as Explore draws those of the first class."""
    data = StoreData(store)
    graph = data.graph(0, STORED, pair)
    assert graph is not None
    nodes: list[dict[str, Any]] = drawing(data, graph, 6, data.facts(0).label, pair)["nodes"]
    return nodes


# Selecting again


def test_another_p_is_selected_live(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(complete, "explore", monkeypatch)
    before = len(component_of(app, "graph")["nodes"])  # type: ignore[arg-type]
    app.slider(key="reselect p").set_value(0.5).run()
    assert Selection.from_query({"p": [str(np.ravel(app.query_params["p"])[0])]}).how.p == 0.5
    assert len(component_of(app, "graph")["nodes"]) > before  # type: ignore[arg-type]
    next(button for button in app.button if button.label == "As stored").click().run()
    assert "p" not in app.query_params
    assert len(component_of(app, "graph")["nodes"]) == before  # type: ignore[arg-type]


def test_a_channel_is_left_out_and_taken_back(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Selection(how=Reselection(left_out=(Channel("mixed1", 3), Channel("mixed2", 0))))
    app = open_page(complete, "explore", monkeypatch, wanted)
    assert any(text.value == "mixed1 · channel 3 is left out" for text in app.text)
    app.button(key="back mixed1 3").click().run()
    assert list(np.ravel(app.query_params["out_layer"])) == ["mixed2"]


def test_sliders_are_disabled_with_the_reason(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(imported, "explore", monkeypatch)
    assert app.slider(key="reselect p").disabled and app.slider(key="reselect mass").disabled
    assert any("no counts" in caption.value for caption in app.caption)


@pytest.mark.parametrize(("kind", "reason"), [("imported", "lack that"), ("half_finished", "summit-dask reduce")])
def test_an_address_that_asks_for_what_the_store_can_t_do_is_answered(
    kind: str, reason: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Selection(how=Reselection(p=0.4))
    store = request.getfixturevalue(kind)
    app = open_page(store, "explore", monkeypatch, wanted)
    assert any("another selection" in text.value and reason in text.value for text in app.text)
    assert app.slider(key="reselect p").value == pytest.approx(StoreData(store).options.p)
    assert kind == "imported" or any("no attribution graphs" in info.value for info in app.info)


# What is in the way


def test_damaged_values_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store", parts={"values", "matrices"})
    for shard in (tmp_path / "store" / "activations" / "mixed3" / "value" / "c").rglob("*"):
        if shard.is_file():
            content = bytearray(shard.read_bytes())
            content[len(content) // 3] ^= 255
            shard.write_bytes(bytes(content))
    app = open_page(tmp_path / "store", "channel", monkeypatch, Selection(layer="mixed3", channel=1))
    assert not app.exception
    assert component_of(app, "error")["title"] == "This store can't be read"
    assert "activations/mixed3/value can't be read" in str(component_of(app, "error")["note"])


def test_a_folder_of_stores_gives_a_choice(
    stores_folder: Path, complete: Path, half_finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(stores_folder, "explore", monkeypatch)
    shown = components_of(app)
    assert not app.exception and "choose one" in str(shown["header"]["note"])
    assert {"store complete", "store half"} <= set(shown)
    app.button(key="choose half").click().run()
    assert list(np.ravel(app.query_params["store"])) == ["half"] and "Model" in facts_of(app, "header")
    chosen = open_page(
        stores_folder, "explore", monkeypatch, Selection(store="complete", class_="n00000001", sort="worst")
    )
    assert component_of(chosen, "graph")["nodes"]
    next(button for button in chosen.button if button.label == "Stores").click().run()
    assert not chosen.query_params


def test_a_missing_store_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(tmp_path / "nowhere", "explore", monkeypatch)
    assert not app.exception and "summit-dask run" in str(component_of(app, "error")["note"])


def test_a_store_of_another_version_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store", parts=set())
    root = json.loads((tmp_path / "store" / "zarr.json").read_text())
    root["attributes"]["summit_format"] = 99
    (tmp_path / "store" / "zarr.json").write_text(json.dumps(root))
    app = open_page(tmp_path / "store", "explore", monkeypatch)
    assert "format 99" in str(component_of(app, "error")["note"])
    with pytest.raises(StoreVersionError):
        StoreData(tmp_path / "store")


def test_a_damaged_store_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store", parts=PARTS)
    shutil.rmtree(tmp_path / "store" / "classes")
    (tmp_path / "store" / "zarr.json").write_text("{")
    app = open_page(tmp_path / "store", "explore", monkeypatch)
    assert not app.exception and "damaged" in str(component_of(app, "error")["note"])


def test_a_store_on_an_odd_path_that_can_t_be_written(
    complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "50 % & more #1" / "a store.zarr"
    shutil.copytree(complete, store)
    store.chmod(0o500)
    for page in BEGINNING:
        shown = components_of(open_page(store, page, monkeypatch, Selection(class_="n00000001", misclassified=True)))
        assert "error" not in shown and "header" in shown
    store.chmod(0o700)


def test_nothing_asks_for_anything_outside() -> None:
    sources = [p for p in FOLDER.rglob("*") if p.suffix in {".py", ".js", ".css", ".ts", ".toml"}]
    texts = [p.read_text(encoding="utf-8") for p in sources if "node_modules" not in p.parts]
    allowed = ("http://www.w3.org/", "https://www.w3.org/", "{protocol}://")
    addresses = [word for text in texts for word in text.replace('"', " ").replace("'", " ").split() if "://" in word]
    assert len(addresses) > 3
    for address in addresses:
        assert any(ok in address for ok in allowed), address


@pytest.mark.parametrize(
    ("page", "layer", "n"), [("layers", "mixed2", 1), ("channel", "mixed2", 1), ("layers", "stem", 0)]
)
def test_what_is_noted_of_the_hops_into_a_layer_is_told_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str, layer: str, n: int
) -> None:
    plain = layer_graph()
    hops = tuple(replace(hop, notes=("gate: a_se_b",)) if hop.target == "mixed2.reduce" else hop for hop in plain.hops)
    make_store(tmp_path / "store", graph=LayerGraph(plain.layers, hops))
    app = open_page(tmp_path / "store", page, monkeypatch, Selection(layer=layer))
    assert not app.exception
    assert sum("on the way: gate: a_se_b." in str(element.proto) for element in app.get("html")) == n
