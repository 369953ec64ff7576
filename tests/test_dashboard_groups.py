"""Groups of images in the dashboard, in place of classes."""

from pathlib import Path

import numpy as np
import pytest

from dashboard.data import StoreData
from dashboard.selection import STORED, Selection
from dashboard.shown import grouping
from dashboard.versus import Versus
from summit_dask import attribution_graphs, open_store
from summit_dask.facts.errors import StoreIncompleteError
from summit_dask.facts.pairs import PAPERS
from tests.pages import component_of, facts_of, open_page

GROUPS = Versus.of_groups("correct", "right", "wrong")


@pytest.mark.parametrize("names", [("site", "A", "B"), ("a:b", "x, y", "50 % & more/"), ("site", "", "é")])
def test_groups_stand_in_the_address_whatever_they_are_called(names: tuple[str, str, str]) -> None:
    vs = Versus.of_groups(*names)
    assert Versus.read(str(vs)) == vs and vs.grouped == names
    assert Versus.read("groups:site:A") is None


def test_groups_are_chosen_where_classes_are_and_drawn_side_by_side(
    complete: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(complete, "explore", monkeypatch, Selection())
    app.selectbox(key="grouped by").select("correct").run()
    assert app.query_params["vs"] == str(GROUPS)
    drawn = component_of(app, "graph")
    assert drawn["title"] == "Attribution graphs of right and wrong"
    assert drawn["pair"]["images"] == [22, 4]  # type: ignore[index]
    assert facts_of(app, "class")["B"] == "wrong (4 images)"
    assert any("The group &#x27;wrong&#x27; has 4 images" in html.proto.body for html in app.get("html"))
    app.selectbox(key="group A").select("wrong").run()
    assert app.query_params["vs"] == "groups:correct:wrong:wrong"
    app.selectbox(key="grouped by").select("class").run()
    assert "vs" not in app.query_params and component_of(app, "graph").get("pair") is None


def test_a_group_s_graph_is_that_of_its_images(complete: Path) -> None:
    data = StoreData(complete)
    graphs = attribution_graphs(open_store(complete), by="correct")
    for side, name in zip(grouping.sides(data, GROUPS, PAPERS, STORED), ("right", "wrong"), strict=True):
        expected = graphs.counts(name)
        assert set(side.graph.nodes(data.layer_graph)) == set(graphs[name])
        np.testing.assert_array_equal(side.used["stem"], expected.activation["stem"])


def test_a_group_that_is_not_there_is_said(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(complete, "explore", monkeypatch, Selection(vs=Versus.of_groups("correct", "right", "rong")))
    assert any("there is no group 'rong'" in text.value for text in app.text)
    monkeypatch.setattr(grouping, "MOST_COUNTED", 10)
    with pytest.raises(
        StoreIncompleteError, match=r"the store keep the counts with 'summit-dask reduce .* --by correct"
    ):
        grouping.sides(StoreData(complete), GROUPS, PAPERS, STORED)
