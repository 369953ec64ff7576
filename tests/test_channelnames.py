"""Names of channels: kept beside the store, shown in the graph and on the channel's page, told where they can't be."""

import json
import shutil
from pathlib import Path

import pytest

from dashboard.data import StoreData
from dashboard.selection import Selection
from summit_dask.facts.errors import StoreError
from summit_dask.facts.layergraph import Channel
from summit_dask.formats.exports import export
from summit_dask.store.channelnames import Called, names_file, read_names, write_name
from tests.pages import component_of, open_page

SCALES = Channel("mixed1", 4)


@pytest.fixture
def store(complete: Path, tmp_path: Path) -> Path:
    return shutil.copytree(complete, tmp_path / "store.zarr")


def test_names_are_kept_beside_the_store_and_can_be_taken_back(store: Path) -> None:
    before = sorted(path.relative_to(store) for path in store.rglob("*"))
    assert read_names(store) == {}
    write_name(store, SCALES, Called("snake <scales>", "also fish"))
    write_name(store, Channel("stem", 0), Called("", "a line"))
    assert read_names(store) == {
        SCALES: Called("snake <scales>", "also fish"),
        Channel("stem", 0): Called("", "a line"),
    }
    write_name(store, SCALES, Called(""))
    assert read_names(store) == {Channel("stem", 0): Called("", "a line")}
    assert sorted(path.relative_to(store) for path in store.rglob("*")) == before
    assert json.loads(names_file(store).read_text()) == {"stem": {"0": {"name": "", "note": "a line"}}}


def test_names_are_exported_with_the_tables(store: Path, tmp_path: Path) -> None:
    write_name(store, SCALES, Called("scales, of snakes", "also fish"))
    export(store, tmp_path / "tables", "csv")
    table = (tmp_path / "tables" / "channel_names.csv").read_text()
    assert table == 'layer,channel,name,note\nmixed1,4,"scales, of snakes",also fish\n'


@pytest.mark.parametrize("content", ["{", "[]", '{"mixed1": {"x": {}}}', '{"mixed1": {"4": "scales"}}'])
def test_a_damaged_file_of_names_is_told_and_hides_nothing(
    content: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names_file(store).write_text(content)
    with pytest.raises(StoreError, match=r"store\.zarr\.names\.json doesn't hold names .* Mend it or remove it"):
        read_names(store)
    with pytest.raises(StoreError):
        write_name(store, SCALES, Called("scales"))
    assert names_file(store).read_text() == content
    assert not open_page(store, "explore", monkeypatch).exception


def test_a_channel_is_named_on_its_page_and_then_shows_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = StoreData(store)
    graph = data.graph(1)
    assert graph is not None
    channel = next(node for node in graph.nodes(data.layer_graph) if node.layer == "mixed1")
    app = open_page(store, "channel", monkeypatch, Selection(layer=channel.layer, channel=channel.index))
    key = f"{channel.layer} {channel.index}"
    app.text_input(key=f"name of {key}").input(" snake <b>scales</b> ")
    app.text_area(key=f"note of {key}").input("also fish")
    app.button[0].click().run()
    assert not app.exception
    heading = component_of(app, "channel heading")
    assert heading["title"] == f"mixed1 · channel {channel.index} · snake <b>scales</b>"
    assert heading["note"] == "also fish"
    assert app.selectbox(key="named channel").options == [f"snake <b>scales</b> ({channel.layer} {channel.index})"]
    explore = open_page(store, "explore", monkeypatch, Selection(class_=data.facts(1).folder))
    nodes = component_of(explore, "graph")["nodes"]
    called = {(node["layer"], node["channel"]): node["called"] for node in nodes}  # type: ignore[attr-defined]
    assert called.pop((channel.layer, channel.index)) == "snake <b>scales</b>" and not any(called.values())


def test_where_nothing_can_be_written_that_is_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names_file(store).with_name("store.zarr.names.json.partial").mkdir()  # root may write anywhere else
    app = open_page(store, "channel", monkeypatch, Selection(layer="mixed1", channel=4))
    app.text_input(key="name of mixed1 4").input("scales")
    app.button[0].click().run()
    assert not app.exception
    assert any("The name can't be written to" in text.value for text in app.text)
