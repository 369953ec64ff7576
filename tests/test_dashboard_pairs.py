"""Two graphs side by side in the dashboard: what is compared, what is drawn of it, what is said where it fails."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.data import StoreData
from dashboard.selection import Reselection, Selection
from dashboard.shown import graphs, pairs
from dashboard.shown.sides import Side, sides
from dashboard.versus import Versus
from summit_dask import attribution_graph, compare, open_store, strategies
from summit_dask.facts.errors import StoreIncompleteError, StoreMismatchError
from summit_dask.facts.layergraph import Channel
from tests.pages import component_of, components_of, facts_of, open_page
from tests.pairs import add_inhibitors, add_pair
from tests.stores import add_evidence, layer_graph, make_store

A, B = "n00000001", "n00000002"


@pytest.fixture(scope="module")
def data(complete: Path) -> StoreData:
    return StoreData(complete)


def _compared(data: StoreData, **wanted: Any) -> tuple[Side, Side]:
    selection = Selection(class_=A, **wanted)
    assert selection.vs
    return sides(data, selection, selection.vs, data.index_of[A])


def _channels(drawn: dict[str, Any]) -> list[Channel]:
    return [Channel(node["layer"], node["channel"]) for node in drawn["nodes"]]


def test_the_drawing_of_a_pair_is_the_comparison(data: StoreData) -> None:
    tree = open_store(data.path)
    found = compare(attribution_graph(tree, A), attribution_graph(tree, B))
    a, b = _compared(data, vs=Versus("class", B))
    drawn = pairs.drawing(data, a, b, data.usual_pair)
    pair = drawn["pair"]
    known = found.channels.set_index(["layer", "channel"])
    for channel, held, counts in zip(_channels(drawn), pair["held"], pair["counts"], strict=True):
        row = known.loc[(channel.layer, channel.index)]
        assert (held, counts) == (row["held_by"], [row["share_a"] * a.n_images, row["share_b"] * b.n_images])
    assert len(drawn["nodes"]) == (known["held_by"] != "neither").sum()
    ends = [(_channels(drawn)[edge[0]], _channels(drawn)[edge[1]]) for edge in drawn["edges"]]
    assert dict(zip(ends, pair["edge_held"], strict=True)) == {
        (Channel(row.source_layer, row.source_channel), Channel(row.target_layer, row.target_channel)): row.held_by
        for row in found.edges.itertuples()
    }
    np.testing.assert_allclose(pair["similarity"][::-1], found.layers["similarity"])
    clear = [row["clear"] for row in pair["differs"]]
    differences = [abs(row["counts"][0] / a.n_images - row["counts"][1] / b.n_images) for row in pair["differs"]]
    assert clear == sorted(clear, reverse=True)
    assert max(differences) == pytest.approx(known["difference"].abs().max())


def test_groups_of_images_share_none(data: StoreData) -> None:
    own = np.flatnonzero(data.images_of(1) & data.is_read)
    right, wrong = _compared(data, vs=Versus("wrong"))
    assert (right.n_images, wrong.n_images) == (len(own) - 1, 1) and "right images" in right.label
    others, chosen = _compared(data, vs=Versus("images", images=(int(own[0]), int(own[2]))))
    assert (others.n_images, chosen.n_images) == (len(own) - 2, 2)
    rows = np.isin(np.arange(30), own[[0, 2]])
    expected = attribution_graph(open_store(data.path), images=rows)
    assert chosen.graph.nodes(data.layer_graph) == list(expected.nodes)


def test_one_image_of_any_class_stands_against_a_class(data: StoreData) -> None:
    own, other = (int(np.flatnonzero(data.images_of(k) & data.is_read)[0]) for k in (1, 2))
    for image, label in ((own, data.facts(1).label), (other, data.facts(2).label)):
        a, b = _compared(data, vs=Versus("image", images=(image,)))
        assert (a.label, a.n_images, b.n_images) == (data.facts(1).label, 5, 1)
        assert b.label == f"{image:04d}.jpg ({label})" and b.name == label
        rows = np.arange(30) == image
        assert b.graph.nodes(data.layer_graph) == list(attribution_graph(open_store(data.path), images=rows).nodes)
    with pytest.raises(StoreMismatchError, match=r"0011\.jpg could not be read, so nothing is known of it"):
        _compared(data, vs=Versus("image", images=(11,)))


def test_a_strategy_stands_against_the_class_s_other_images(tmp_path: Path) -> None:
    make_store(tmp_path / "store", n_classes=2, images_per_class=12, parts=("values", "matrices", "graphs"))
    data = StoreData(tmp_path / "store")
    found = strategies(open_store(data.path), A)
    others, own = _compared(data, vs=Versus("strategy", "2"))
    assert own.n_images == found.images(1).sum() and others.n_images + own.n_images == 11
    expected = attribution_graph(open_store(data.path), images=found.images(1))
    assert own.graph.nodes(data.layer_graph) == list(expected.nodes)
    assert own.label == f"strategy 2 of {data.facts(1).label}"
    with pytest.raises(StoreMismatchError, match="has no strategy 9, so there is nothing to compare"):
        _compared(data, vs=Versus("strategy", "9"))


def test_one_image_is_chosen_beside_the_class_s_name(data: StoreData, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(data.path, "explore", monkeypatch, Selection(class_=A))
    app.session_state["versus"] = True  # the choices are open
    app.run()
    told = app.selectbox(key="vs image")
    assert len(told.options) == 5 and told.options[0].startswith("0006.jpg: ")
    told.select_index(0).run()
    assert app.query_params["vs"] == "image:6"


@pytest.mark.parametrize("text", ["image:7", "strategy:2", "images:3.8.12", "wrong", "class:a:b"])
def test_b_is_spelled_as_it_is_read(text: str) -> None:
    assert str(Versus.read(text)) == text


@pytest.mark.parametrize("text", ["image", "image:3.4", "image:x", "strategy:", "strategy:-1", "wrong:3"])
def test_what_is_no_b_is_not_said(text: str) -> None:
    assert Versus.read(text) is None


def test_both_sides_tell_what_lowers_a_channel_and_what_evidence_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    make_store(path, parts={"values", "matrices", "graphs"})
    add_pair(path)
    add_inhibitors(path)
    add_evidence(path)
    data, channel = StoreData(path), Channel("mixed3", 3)
    wanted = Selection(class_=A, vs=Versus("class", B), pinned=channel)
    app = open_page(path, "explore", monkeypatch, wanted)
    pinned: Any = component_of(app, "pinned")["pinned"]
    counted = (graphs.inhibitors(data, data.index_of[name], channel) for name in (A, B))
    of_both = [graphs.with_pictures(data, rows) for rows in counted]
    assert [pinned["lowering"], pinned["lowering_b"]] == of_both and of_both[0] != of_both[1] != []
    drawn: Any = component_of(app, "graph")
    nodes = _channels(drawn)
    for k, name in enumerate((A, B)):
        known = attribution_graph(open_store(path), name).edges
        for (source, target, *_), *of_edge in zip(
            drawn["edges"], drawn["pair"]["edge_stability"], drawn["pair"]["edge_effect"], strict=True
        ):
            marks = known.get((nodes[source], nodes[target]), {})
            expected = [marks.get(word, np.nan) for word in ("stability", "effect")]
            np.testing.assert_allclose(np.array([values[k] for values in of_edge], float), expected)
    _, chosen = _compared(data, vs=Versus("images", images=(6, 8)))
    counts = chosen.lowering("mixed3")
    assert counts is not None
    for hop, count in counts.influence.items():
        (own,) = [known for known in data.layer_graph.incoming("mixed3") if known.name == hop]
        source, by = (data.read(f"contributions/mixed3/inhibitor_{name}")[[6, 8]] for name in ("source", "hop"))
        place = data.layer_graph.incoming("mixed3").index(own)
        for row, target in enumerate(own.targets):
            held = source[:, target][by[:, target] == place]
            own_counts = np.bincount(held[held >= 0], minlength=count.shape[1])
            assert count.toarray()[row].tolist() == own_counts.tolist()


def test_what_can_t_be_compared_is_said(
    data: StoreData, complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = Selection(class_="n00000000", vs=Versus("wrong"))
    with pytest.raises(StoreMismatchError, match="has no wrong images, so there is nothing to compare"):
        sides(data, selection, Versus("wrong"), 0)
    (tmp_path / "own").symlink_to(complete)
    make_store(tmp_path / "other", graph=layer_graph((8, 12, 16, 11)))
    monkeypatch.setattr("sys.argv", ["script.py", str(tmp_path)])
    for name, why in (("other", "its network has other layers"), ("nowhere", "There is no store 'nowhere'")):
        with pytest.raises(StoreMismatchError, match=why):
            _compared(data, vs=Versus("store", name))
    monkeypatch.setattr("sys.argv", ["script.py"])
    app = open_page(complete, "explore", monkeypatch, selection)
    assert any("there is nothing to compare" in text.value for text in app.text)
    assert component_of(app, "graph")["title"].startswith("Attribution graph of")  # type: ignore[attr-defined]


def test_a_class_stands_against_itself_in_another_store(
    complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_store(tmp_path / "blurred", seed=1)
    make_store(tmp_path / "clean")
    monkeypatch.setattr("sys.argv", ["script.py", str(tmp_path)])
    a, b = _compared(StoreData(tmp_path / "clean"), vs=Versus("store", "blurred"))
    assert b.label.endswith("in blurred") and not a.graph.is_same(b.graph)


def test_imported_graphs_are_compared_by_what_they_hold(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = StoreData(imported)
    folders = data.classes["folder"].tolist()
    selection = Selection(class_=folders[0], vs=Versus("class", folders[1]))
    a, b = sides(data, selection, Versus("class", folders[1]), 0)
    pair = pairs.drawing(data, a, b, data.usual_pair)["pair"]
    for held, (in_a, in_b) in zip(pair["held"], pair["counts"], strict=True):
        assert (in_a is None, in_b is None) == (held == "b", held == "a")
    with pytest.raises(StoreIncompleteError, match="the imported files lack that"):
        sides(data, selection, Versus("wrong"), 0)
    assert components_of(open_page(imported, "explore", monkeypatch, selection))["graph"]["pair"]


def test_channels_keep_their_places_when_a_graph_is_made_again(data: StoreData) -> None:
    stored = data.graph(1)
    assert stored is not None
    left_out = next(channel for channel in stored.nodes(data.layer_graph) if channel.layer == "mixed2")
    again = data.graph(1, Reselection(left_out=(left_out,)))
    assert again is not None and left_out not in again.nodes(data.layer_graph)
    before = graphs.drawing(data, stored, 6)
    drawn = graphs.drawing(data, again, 6, before=stored)
    for row, row_before in zip(drawn["rows"], before["rows"], strict=True):
        own = [_channels(drawn)[n] for n in row["nodes"]]
        assert own[: len(row_before["nodes"])] == [_channels(before)[n] for n in row_before["nodes"]]
    absent = [channel for channel, node in zip(_channels(drawn), drawn["nodes"], strict=True) if node["absent"]]
    assert left_out in absent and set(absent) == set(_channels(before)) - set(again.nodes(data.layer_graph))


def test_a_pinned_channel_that_is_not_selected_has_its_count(data: StoreData, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = data.graph(1)
    counts = data.counts("mixed2")
    assert graph is not None and counts is not None
    held = {channel.index for channel in graph.nodes(data.layer_graph) if channel.layer == "mixed2"}
    other = next(k for k in np.argsort(-counts[1]).tolist() if k not in held)
    wanted = Selection(class_=A, pinned=Channel("mixed2", other))
    nodes: Any = component_of(open_page(data.path, "explore", monkeypatch, wanted), "graph")["nodes"]
    own = next(node for node in nodes if (node["layer"], node["channel"]) == ("mixed2", other))
    assert own["absent"] and own["count"] == counts[1, other]


def test_explore_shows_a_pair(complete: Path, data: StoreData, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Selection(class_=A, vs=Versus("class", B), pinned=Channel("mixed2", 8))
    app = open_page(complete, "explore", monkeypatch, wanted)
    assert not app.exception
    graph: Any = component_of(app, "graph")
    labels = [data.facts(k).label for k in (1, 2)]
    assert graph["title"] == f"Attribution graphs of {labels[0]} and {labels[1]}"
    assert facts_of(app, "class")["B"] == f"{labels[1]} (5 images)"
    assert component_of(app, "classes")["against"] == 2
    pinned: Any = component_of(app, "pinned")["pinned"]
    a, b = sides(data, wanted, Versus("class", B), 1)
    expected = [graphs.with_pictures(data, pairs.sources(data, side, Channel("mixed2", 8))[0]) for side in (a, b)]
    assert [pinned["sources"], pinned["sources_b"]] == expected and a.counts is not b.counts
    app.button(key="vs wrong").click().run()
    assert component_of(app, "graph")["pair"]["images"] == [4, 1]  # type: ignore[index]
    next(button for button in app.button if button.label == "End the comparison").click().run()
    assert "vs" not in app.query_params and component_of(app, "graph").get("pair") is None
