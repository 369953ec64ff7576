"""What the dashboard shows of evidence: the sentence above a graph, its marks and files, and a page of its own."""

import csv
import gc
import io
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import xarray as xr
from distributed import Client
from streamlit.testing.v1 import AppTest

from dashboard.data import StoreData
from dashboard.evidence import Evidence, evidence_of, marks_of, why_untested
from dashboard.selection import STORED, Reselection, Selection
from dashboard.shown import badge, graphs, proof
from summit_dask.facts.config import RunConfig
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import PAPERS
from summit_dask.questions.graphml import graphml_ready
from summit_dask.stages.evidence import find_evidence
from summit_dask.store.evidence import Settings
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests.pages import component_of, components_of, headings_of, items_of, open_page
from tests.pairs import RELEVANT, add_pair
from tests.runs import connected, copied
from tests.stores import add_evidence, make_store

ONE = Selection(class_="n00000001")
UNTESTED = Selection(class_="n00000004")  # the last class
GROUP = "evidence/activation-influence"


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the graphs of two pairs of measures, and evidence for those of the paper's."""
    path = tmp_path_factory.mktemp("tested") / "store"
    make_store(path, parts={"values", "matrices", "graphs"})
    add_pair(path)
    add_evidence(path)
    return path


@pytest.fixture(scope="module")
def data(tested: Path) -> StoreData:
    return StoreData(tested)


@pytest.fixture(scope="module")
def evidence(data: StoreData) -> Evidence:
    found = evidence_of(data, PAPERS)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def found(tested: Path) -> xr.DataTree:
    """The same evidence, as xarray opens it."""
    tree: xr.DataTree = open_store(tested)[GROUP]  # type: ignore[assignment]
    return tree


@pytest.fixture
def changed(tested: Path, tmp_path: Path) -> Iterator[Store]:
    """A copy of the store, to be changed."""
    shutil.copytree(tested, tmp_path / "store")
    store = Store.open(tmp_path / "store", writable=True)
    with store.changing():
        yield store


def _captions(app: AppTest) -> list[str]:
    return [caption.value for caption in app.caption]


def _said(app: AppTest) -> list[str]:
    """Sentences about the graph's evidence."""
    return [text for text in _captions(app) if "the class's margin" in text or "tested" in text]


# The sentence


def test_explore_says_what_the_class_loses_without_its_graph(
    tested: Path, found: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(tested, "explore", monkeypatch, ONE)
    n = (open_store(tested)["graphs/activation-influence/node_class"].values == 1).sum()
    own, random = (100 * float(found["necessity"][1].sel(choice=choice)) for choice in ("graph", "random"))
    assert _said(app) == [
        f"Without these {n} channels the class's margin falls by {own:.0f} %; "
        f"without {n} random ones by {random:.0f} %."
    ]
    meaning = next(caption for caption in app.caption if caption.value == _said(app)[0]).proto.help
    low, high = (100 * float(found[f"necessity_{end}"][1].sel(choice="graph")) for end in ("low", "high"))
    for part in ("logit minus the mean", "halves change places", "12 images", f"{low:.0f} to {high:.0f} %"):
        assert part in meaning
    assert f"p-value {float(found['p_value'][1]):.2g}" in meaning


@pytest.mark.parametrize("wanted", [ONE.but(how=Reselection(p=0.5)), ONE.but(pair=RELEVANT), UNTESTED])
def test_explore_says_nothing_of_graphs_that_were_not_tested(
    tested: Path, wanted: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(tested, "explore", monkeypatch, wanted)
    assert not app.exception and _said(app) == []
    assert component_of(app, "graph")["nodes"]
    assert (component_of(app, "graph")["marks"] is None) == (wanted != UNTESTED)


@pytest.mark.parametrize("kind", ["complete", "imported", "half_finished"])
def test_explore_says_nothing_where_there_is_no_evidence(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(request.getfixturevalue(kind), "explore", monkeypatch)
    assert _said(app) == [] and not any("evidence" in text for text in _captions(app))
    assert components_of(app).get("graph", {}).get("marks") is None


def test_graphs_that_were_made_again_are_untested(changed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    changed.finish(PAPERS.group, 99)
    app = open_page(changed.path, "explore", monkeypatch, ONE)
    again = "These graphs were made again after they were tested; 'summit-dask evidence' tests them anew."
    assert _said(app) == [again]
    assert component_of(app, "graph")["marks"] is None
    page = open_page(changed.path, "evidence", monkeypatch, ONE)
    assert [info.value for info in page.info] == [again]


@pytest.mark.parametrize(
    ("own", "random", "words"),
    [
        (0.49, 0.04, ("falls by 49 %", "by 4 %")),
        (0.49, 0.004, ("falls by 49 %", "it stays as it is")),
        (0.49, -0.03, ("falls by 49 %", "it grows by 3 %")),
        (-0.02, -0.03, ("grows by 2 %", "by 3 %")),
        (0.001, 0.2, ("stays as it is", "it falls by 20 %")),
        (1.2, 0.2, ("falls by 120 %", "by 20 %")),
    ],
)
def test_changes_in_words(own: float, random: float, words: tuple[str, str]) -> None:
    assert (badge.change(own), badge.by(own, random)) == words


def test_the_p_value_in_words(evidence: Evidence, found: xr.DataTree) -> None:
    for index in range(4):
        own = float(found["necessity"][index].sel(choice="graph"))
        n = int((found["random_necessity"][index].values >= own).sum())
        assert f"{n or 'none'} of 20 draws" in badge.chance(evidence, index)


# The drawing and its files


@pytest.mark.parametrize(("page", "key"), [("explore", "graph"), ("classes", "whole")])
def test_the_drawing_has_the_marks_of_its_nodes_and_edges(
    tested: Path, page: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = component_of(open_page(tested, page, monkeypatch, ONE), key)
    tree = open_store(tested)
    marks: dict[str, list[float | None]] = drawn["marks"]  # type: ignore[assignment]
    for kind in ("node", "edge"):
        own = tree[f"graphs/activation-influence/{kind}_class"].values == 1
        names = [f"{kind}_stability", *["edge_effect"] * (kind == "edge")]
        for name in names:
            expected = tree[f"{GROUP}/{name}"].values[own]
            assert marks[name] == [None if np.isnan(value) else value for value in expected.tolist()]
            assert len(marks[name]) == len(drawn[f"{kind}s"])  # type: ignore[arg-type]
    assert None in marks["edge_effect"]


def test_files_tell_stability_and_effect_where_they_are_known(data: StoreData) -> None:
    graph, marks = data.graph(1), marks_of(data, 1, PAPERS)
    assert graph is not None and marks is not None
    files = {file["name"]: file["text"] for file in graphs.files(data, graph, "crane", marks)}
    nodes = [float(row["stability"]) for row in csv.DictReader(io.StringIO(files["nodes.csv"]))]
    edges = [row["effect"] for row in csv.DictReader(io.StringIO(files["edges.csv"]))]
    assert nodes == pytest.approx(marks.node_stability.tolist())
    assert [float(value or "nan") for value in edges] == pytest.approx(marks.edge_effect.tolist(), nan_ok=True)
    network = nx.parse_graphml(files["graph.graphml"].encode())
    effects = {tuple(ends): values["effect"] for *ends, values in network.edges(data=True) if "effect" in values}
    ends = [tuple(f"{end.layer}/{end.index}" for end in edge) for edge in graph.edges(data.layer_graph)]
    known = {edge: k for edge, k in zip(ends, marks.edge_effect.tolist(), strict=True) if np.isfinite(k)}
    assert effects == known and len(known) < len(ends)
    assert "stability" not in "".join(file["text"] for file in graphs.files(data, graph, "crane"))


def test_what_is_unknown_is_no_attribute_in_graphml() -> None:
    channels = Channel("low", 3), Channel("high", 0)
    network = nx.DiGraph([(*channels, {"influence": 7, "stability": 0.5, "effect": float("nan")})])
    assert dict(graphml_ready(network).edges["low/3", "high/0"]) == {"influence": 7, "stability": 0.5, "weight": 7.0}


# Tables of one class


def test_choices_are_told_by_what_they_are(data: StoreData, evidence: Evidence, found: xr.DataTree) -> None:
    table = proof.choices(evidence, 1)
    np.testing.assert_array_equal(table["value"], found["necessity"][1])
    np.testing.assert_array_equal(table["high"], found["necessity_high"][1])
    assert table["own"].tolist() == [True] + [False] * 6
    label = data.classes["label"].iloc[int(found["rival_class"][1].sel(rival="nearest"))]
    assert table["kind"].tolist()[5] == f"the graph of the nearest class, {label}"


def test_rows_of_layers_stand_with_their_labels(evidence: Evidence, found: xr.DataTree) -> None:
    table = proof.sufficiency(evidence, 1)
    row = table[(table["layer"] == "mixed2") & (table["kind"] == "random ones") & (table["share"] == 0.2)]
    cell = {"map_layer": "mixed2", "kept": "random", "share": 0.2}
    assert row[["value", "low", "high"]].to_numpy().tolist() == [
        [float(found[name][1].sel(cell)) for name in ("sufficiency", "sufficiency_low", "sufficiency_high")]
    ]
    layers = proof.by_layer(evidence, 1)
    row = layers[(layers["layer"] == "mixed1") & (layers["kind"] == "the graph's channels")]
    expected = float(found["layer_necessity"][1].sel(map_layer="mixed1", layer_choice="graph"))
    assert row["value"].tolist() == [expected]
    assert layers["layer"].drop_duplicates().tolist() == ["stem", "mixed1", "mixed2", "mixed3"]


def test_the_truth_of_sources_by_layer_and_measure(evidence: Evidence, found: xr.DataTree) -> None:
    table = proof.truth(evidence, 2)
    row = table[(table["layer"] == "mixed3.reduce") & (table["measure"] == "contribution")]
    cell = {"ranked_layer": "mixed3.reduce", "measure": "contribution"}
    names = ["capture", "class_capture", "rank_correlation"]
    values = row[["value", "class_capture", "rank_correlation"]].to_numpy().tolist()
    assert values == [[float(found[name][2].sel(cell)) for name in names]]
    assert row["n_targets"].tolist() == [40]


def test_all_classes_that_were_tested_and_the_weakest(data: StoreData, found: xr.DataTree) -> None:
    table = proof.of_all(data, PAPERS)
    assert table["index"].tolist() == [0, 1, 2, 3]  # the last one wasn't
    np.testing.assert_array_equal(table["specificity"], found["specificity"].sel(rival="nearest")[:4])
    for column, name, sign in (
        ("necessity", found["necessity"].sel(choice="graph"), 1),
        ("p_value", found["p_value"], -1),
        ("stability", found["node_jaccard"], 1),
    ):
        order = np.argsort(sign * np.asarray(name)[:4], kind="stable").tolist()
        assert proof.weakest(table, column)["index"].tolist() == order


# The page


def test_the_page_shows_one_class_and_all(tested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(tested, "evidence", monkeypatch, ONE)
    assert not app.exception
    headings = headings_of(app)
    for heading in ("Is it these channels that matter?", "The weakest classes", "In which layer?"):
        assert heading in headings
    assert "<h3>Without the channels of crane (n00000001)</h3>" in headings
    assert len(app.get("vega_lite_chart") + app.get("arrow_vega_lite_chart")) == 6
    assert any("on 30 of their images" in text for text in _captions(app))


def test_what_the_stage_finds_is_shown(
    finished: RunConfig, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(copied(finished, tmp_path).out, writable=True)
    with store.changing():
        find_evidence(store, Settings(images=6, samples=5), connected(client))
    for page in ("explore", "evidence"):
        app = open_page(store.path, page, monkeypatch)
        assert not app.exception and len(_said(app)) >= 1
    assert {"Is it these channels that matter?", "The weakest classes"} <= set(headings_of(app))


def test_the_run_page_lists_which_graphs_were_tested(tested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = next(
        element.value for element in open_page(tested, "run", monkeypatch).dataframe if "state" in element.value
    )
    rows = table[table["part"].str.startswith("evidence")].to_numpy().tolist()
    assert rows == [["evidence for attribution graphs", "summit-dask evidence", "done"]]


def test_a_class_that_was_not_tested_says_so_among_the_others(tested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(tested, "evidence", monkeypatch, UNTESTED)
    assert not app.exception and any("fewer than two images" in text.value for text in app.text)
    assert "In which layer?" not in headings_of(app) and "The weakest classes" in headings_of(app)


def test_the_page_names_what_makes_evidence(
    data: StoreData, complete: Path, imported: Path, half_finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, words in (
        (complete, "no evidence for its graphs; 'summit-dask evidence' makes that"),
        (imported, "no evidence for its graphs; the imported files lack that"),
        (half_finished, "no attribution graphs; 'summit-dask graphs' makes that"),
    ):
        app = open_page(path, "evidence", monkeypatch)
        assert not app.exception and [words in info.value for info in app.info] == [True]
    flags = "'summit-dask graphs --nodes relevance --edges contribution', then 'summit-dask evidence' makes that"
    assert flags in why_untested(data, RELEVANT)


def test_what_is_not_known_of_a_class_is_said(changed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("p_value", "random_necessity", "loss_elsewhere", "loss_elsewhere_low", "loss_elsewhere_high"):
        values: Any = changed.group[f"{GROUP}/{name}"]
        values[1] = np.nan
    necessity: Any = changed.group[f"{GROUP}/necessity"]
    necessity[1, 1] = np.nan
    explore, page = (open_page(changed.path, name, monkeypatch, ONE) for name in ("explore", "evidence"))
    assert not explore.exception and not page.exception
    (sentence,) = _said(explore)
    assert sentence.endswith("random ones by an unknown share.")
    assert any("There is no p-value" in text for text in _captions(page))
    assert not any("Other classes: on" in text for text in _captions(page))


def test_two_measures_stand_side_by_side(tested: Path, data: StoreData, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {}
    for pair in data.pairs:
        graph = data.graph(1, STORED, pair)
        assert graph is not None
        nodes[pair] = set(graph.nodes(data.layer_graph))
    shared = nodes[PAPERS] & nodes[RELEVANT]
    app = open_page(tested, "evidence", monkeypatch, ONE)
    beginning = "1 channel is" if len(shared) == 1 else f"{len(shared)} channels are"
    assert any(text.value.startswith(f"{beginning} in both graphs") for text in app.text)
    for pair in (PAPERS, RELEVANT):
        items = items_of(app, f"only {pair.words} beside {RELEVANT.words}")
        shown = {Channel(item["text"], int(item["title"].removeprefix("channel "))) for item in items}
        assert shown == nodes[pair] - shared != set()
    table = next(element.value for element in app.dataframe if "most active" in element.value)
    assert table["channels"].tolist() == [len(nodes[PAPERS]), len(nodes[RELEVANT])]
    assert table["necessity"].tolist()[1] == "–"  # not tested


def test_nothing_of_a_closed_store_s_evidence_is_kept(tested: Path) -> None:
    data = StoreData(tested)
    proof.of_all(data, PAPERS)
    assert marks_of(data, 1, PAPERS) is marks_of(data, 1, PAPERS)
    left: weakref.ref[Any] = weakref.ref(data)
    del data
    gc.collect()
    assert left() is None
