"""Channels and layers that answer alike, on the pages of a layer and of a channel."""

import base64
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.selection import Selection
from summit_dask import classes_with, communities, match, open_store
from summit_dask.facts.layergraph import Channel
from tests.pages import component_of, components_of, items_of, open_page
from tests.stores import layer_graph, make_store


def test_channels_that_fire_together_are_found_when_asked_for(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(complete, "layers", monkeypatch, Selection(layer="mixed2"))
    assert not app.exception and "community 0" not in components_of(app)
    app.toggle(key="communities").set_value(True).run()
    assert not app.exception
    found = communities(open_store(complete), ["mixed2"], resolution=2.0)
    own = found.channels[found.channels["community"] == 0]["channel"].tolist()
    assert [item["title"] for item in items_of(app, "community 0")] == [f"channel {k}" for k in own[:10]]
    named = f"{', '.join(found.communities.loc[0, 'classes'])}: {len(own)} channels"
    assert any(text.value.startswith(named) for text in app.text)


def test_the_graph_is_told_its_communities_and_who_holds_its_edges(
    complete: Path, imported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(complete, "explore", monkeypatch, Selection(class_="n00000001", communities="fold"))
    assert not app.exception
    shown: Any = components_of(app)
    tree = open_store(complete)
    nodes = [Channel(node["layer"], node["channel"]) for node in shown["graph"]["nodes"]]
    found = communities(tree, resolution=2.0)
    rows = zip(*(found.channels[name].tolist() for name in ("layer", "channel", "community")), strict=True)
    number = {Channel(layer, channel): community + 1 for layer, channel, community in rows}
    told = shown["communities"]["together"]
    assert told["of"] == [number.get(node) for node in nodes] and any(told["of"])
    for k in filter(None, told["of"]):
        assert told["names"][str(k)] == ", ".join(found.communities.loc[k - 1, "classes"])
    holders = shown["holders"]["holders"]
    for (source, target, *_), own in zip(shown["graph"]["edges"], holders["edges"], strict=True):
        expected = classes_with(tree, [nodes[source], nodes[target]])["class"].tolist()
        assert [holders["classes"][k][0] for k in own] == [name for name in expected if name != "n00000001"]
    app = open_page(imported, "explore", monkeypatch, Selection(communities="fold"))
    assert not app.exception and "communities" not in components_of(app)
    assert any("Channels that fire together can't be shown. This store holds no" in text.value for text in app.text)


def test_matches_are_those_of_the_chosen_store(complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a copy it is the channel itself; a store of other images is told, with numbers."""
    shutil.copytree(complete, tmp_path / "a.zarr")
    shutil.copytree(complete, tmp_path / "b.zarr")
    make_store(tmp_path / "few.zarr", n_classes=1, images_per_class=3, parts=("values",))
    wanted = Selection(store="a.zarr", layer="mixed1", channel=4)
    app = open_page(tmp_path, "channel", monkeypatch, wanted)
    chosen = app.selectbox(key="other network")
    assert chosen.options == ["b.zarr", "few.zarr"] and "matches" not in components_of(app)
    app = chosen.set_value("b.zarr").run()
    assert not app.exception
    first = items_of(app, "matches")[0]
    assert (first["title"], first["text"]) == ("channel 4", "mixed1\ncorrelation 1.00")
    app = app.selectbox(key="other network").set_value("few.zarr").run()
    assert not app.exception
    assert any("share 3 readable images, of 30 in a and 3 in b" in text.value for text in app.text)


def test_layers_are_held_against_those_of_another_network(
    complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(complete, tmp_path / "a.zarr")
    make_store(tmp_path / "b.zarr", seed=3, parts=("values",), graph=layer_graph((8, 12)))
    wanted = Selection(store="a.zarr", layer="mixed1", other="b.zarr")
    app = open_page(tmp_path, "layers", monkeypatch, wanted)
    assert not app.exception and app.selectbox(key="other network").value == "b.zarr"
    shown: dict[str, Any] = component_of(app, "alike layers")
    expected = match(*(open_store(tmp_path / name) for name in ("a.zarr", "b.zarr")))
    assert shown["rows"] == ["mixed3", "mixed2", "mixed1", "stem"] and shown["columns"] == ["mixed1", "stem"]
    values = np.frombuffer(base64.b64decode(shown["values"]["base64"]), np.float32).reshape(4, 2)
    np.testing.assert_allclose(values, expected.layers.to_numpy()[::-1, ::-1], rtol=1e-6)
