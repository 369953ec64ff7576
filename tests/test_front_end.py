"""Exports that the original's front end can show: what its code asks of the files, held against them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from summit_dask.cli_formats import COMMANDS
from summit_dask.facts.errors import ConfigError, FormatError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.formats.checks import read_json
from summit_dask.formats.exports import ExportReport, export
from summit_dask.formats.front_end import LAYERS, add_stand_ins, remarks, scaled, shown_graph
from summit_dask.formats.names import renamed
from summit_dask.formats.original_import import import_summit
from summit_dask.store.tree import open_store
from tests import originals, stores

NAMES = {"stem": "mixed3b", "mixed1": "mixed4a", "mixed2": "mixed4b", "mixed3": "mixed4c"}
KINDS = ("channel", *(f"diversity-{number}" for number in range(4)))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, stores.Made]:
    """A store of a run whose second layer has more channels than the front end knows."""
    path = tmp_path_factory.mktemp("wide") / "store"
    graph = stores.layer_graph((8, 512, 16, 10))
    names = ("White Wolf", *stores.AWKWARD_NAMES[1:])
    return path, stores.make_store(path, parts={"matrices", "graphs", "embedding"}, names=names, graph=graph)


@pytest.fixture(scope="module")
def shown(wide: tuple[Path, stores.Made], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportReport]:
    """The folder data of its export, and what was said."""
    folder = tmp_path_factory.mktemp("export") / "to"
    report = export(wide[0], folder, "summit", layers=NAMES, front_end=True)
    return folder / "data", report


def _graphs(data: Path) -> dict[int, dict[str, list[dict[str, Any]]]]:
    return {int(path.stem[3:]): read_json(path) for path in (data / "ag").iterdir()}


@pytest.mark.parametrize(
    ("counts", "n_images", "expected"),
    [
        ([0, 1, 4], 4, [0, 325, 1300]),
        ([0, 1, 1300], 1300, [0, 1, 1300]),
        ([0, 1, 5200], 5200, [0, 1, 1300]),
        ([1, 2], 3, [433, 867]),
        ([0, 3, 7], 0, [0, 3, 7]),
    ],
)
def test_counts_become_those_of_1300_images(counts: list[int], n_images: int, expected: list[int]) -> None:
    result = scaled(np.array(counts, np.int32), n_images)
    assert (result.tolist(), result.dtype) == (expected, np.int32)


def test_graphs_hold_scaled_counts_of_the_channels_that_it_knows(
    wide: tuple[Path, stores.Made], shown: tuple[Path, ExportReport], tmp_path: Path
) -> None:
    path, _ = wide
    export(path, tmp_path / "plain", "summit", layers=NAMES)
    plain = _graphs(tmp_path / "plain/data")
    n_images = open_store(path)["classes/n_images"].values.tolist()
    assert len(set(n_images)) == 2
    n_cut = 0
    for target, graph in _graphs(shown[0]).items():
        assert list(graph) == list(reversed(LAYERS))
        for layer in NAMES.values():
            kept = [node for node in plain[target][layer] if layer != "mixed4a" or node["channel"] < 508]
            n_cut += len(plain[target][layer]) - len(kept)
            assert graph[layer] == [_expected(node, layer, n_images[target]) for node in kept]
    assert n_cut > 0


def test_sources_that_it_does_not_know_are_left_out(wide: tuple[Path, stores.Made]) -> None:
    graph = stores.graph_of(wide[1], 0)
    names = [layer.name for layer in wide[1].layer_graph.layers]
    of_upper = graph.node_layer == names.index("mixed2")
    source_layer = np.full_like(graph.node_source_layer, names.index("mixed1"))
    source = np.where(of_upper[:, None], np.array([3, 509, 507], np.int32), 0)
    changed = replace(graph, node_source_layer=source_layer, node_source_channel=source)
    result = shown_graph(changed, renamed(wide[1].layer_graph, NAMES), 0)
    assert result.node_source_channel[result.node_layer == names.index("mixed2")].tolist()[0] == [3, -1, 507]


def _expected(node: dict[str, Any], layer: str, n_images: int) -> dict[str, Any]:
    def sources(name: str) -> list[dict[str, Any]]:
        known = [s for s in node[name] if layer != "mixed4b" or int(s["prev_channel"]) < 508]
        return [{**source, "inf": round(source["inf"] * 1300 / n_images)} for source in known]

    count = round(node["count"] * 1300 / n_images)
    return {
        **node,
        "count": count,
        "prev_channels": sources("prev_channels"),
        "attr_channels": sources("attr_channels"),
    }


def test_classes_have_all_that_it_reads(wide: tuple[Path, stores.Made], shown: tuple[Path, ExportReport]) -> None:
    """It compares classes by vectors of its own lengths, and takes a place in each of its layers."""
    entries = read_json(shown[0] / "imagenet.json")
    activation = wide[1].activation["mixed1"]
    for index, entry in enumerate(entries):
        assert list(entry["topChannels"]) == list(entry["embed"]) == list(LAYERS)
        assert all(set(point) == {"x", "y"} for point in entry["embed"].values())
        assert entry["numOfInstances"] == len(entry["accs"]) <= 6
        counts = {top["c"]: top["i"] for top in entry["topChannels"]["mixed4a"]}
        factor = 1300 / entry["numOfInstances"]
        assert counts == {c: round(n * factor) for c, n in enumerate(activation[index, :508].tolist()) if n}


def test_every_channel_has_the_pictures_that_it_asks_for(tmp_path: Path) -> None:
    """What the store has stays; of channel 0 it has no pictures, and its strongest example stands for them."""
    stores.make_store(tmp_path / "store", parts={"matrices", "graphs", "embedding", "examples", "pictures"})
    export(tmp_path / "store", tmp_path / "plain", "summit", layers=NAMES)
    report = export(tmp_path / "store", tmp_path / "to", "summit", layers=NAMES, front_end=True)
    vis = tmp_path / "to/data/feature-vis"
    graphs = _graphs(tmp_path / "to/data").values()
    nodes = {(layer, node["channel"]) for graph in graphs for layer in graph for node in graph[layer]}
    n_without = 0
    for layer, channel in nodes:
        own = tmp_path / f"plain/data/feature-vis/channel/{layer}-{channel}-channel.jpg"
        strongest = vis / f"dataset-p/{layer}-{channel}-dataset-p-0.jpg"
        expected = own if own.is_file() else strongest
        n_without += not own.is_file()
        assert (vis / f"channel/{own.name}").read_bytes() == expected.read_bytes()
        for kind in KINDS[1:]:
            name = f"{kind}/{layer}-{channel}-{kind}.jpg"
            before = tmp_path / "plain/data/feature-vis" / name
            assert (vis / name).read_bytes() == (before if before.is_file() else expected).read_bytes()
    assert 0 < n_without < len(nodes)
    assert f"the strongest example stands for {n_without} channels" in report.notes[0]


def test_the_channels_picture_stands_for_others_that_are_missing() -> None:
    pictures = {(3, "channel"): b"own", (3, "diversity-2"): b"other", (3, "dataset-p-0"): b"example"}
    assert add_stand_ins(pictures, [3, 4]) == 0
    assert [pictures[3, kind] for kind in KINDS] == [b"own", b"own", b"own", b"other", b"own"]
    assert not any(channel == 4 for channel, _ in pictures)


def test_says_what_it_cuts(shown: tuple[Path, ExportReport]) -> None:
    assert "mixed4a: channels 508 to 511; the front end knows 508 of its 512." in shown[1].left_out
    assert shown[1].notes == ()


def test_names_it_can_not_start_with() -> None:
    graph = stores.layer_graph()
    notes = remarks(graph, ["wolf"]).notes
    assert ["white_wolf" in note for note in notes] == [True, False]
    assert "stem, mixed1, mixed2, mixed3" in notes[1]


@pytest.mark.parametrize(
    ("layers", "can_draw"),
    [
        (list(LAYERS), True),
        (["stem", *LAYERS], True),
        (["mixed4b", "mixed4c"], True),
        (["mixed4b", "mixed4d"], False),
        (["mixed4b", "mine", "mixed4c"], False),
        (["mixed4c", "mixed4b"], False),
    ],
)
def test_layers_that_it_can_join(layers: list[str], can_draw: bool) -> None:
    """It looks for the lower end of an edge in the next of its own layers."""
    layer = stores.layer_graph().layers[0]
    graph = LayerGraph(tuple(replace(layer, name=name) for name in layers), ())
    assert (not remarks(graph, ["white_wolf"]).notes) == can_draw


def test_what_a_store_lacks_is_made_of_its_graphs(tmp_path: Path) -> None:
    """Published graphs alone, without imagenet.json: neither counts nor places."""
    folder = originals.make(tmp_path / "from", imagenet=False)
    import_summit(folder, tmp_path / "store")
    report = export(tmp_path / "store", tmp_path / "to", "summit", front_end=True)
    graphs = _graphs(tmp_path / "to/data")
    places = []
    for entry in read_json(tmp_path / "to/data/imagenet.json"):
        graph = graphs[entry["target_class"]]
        assert graph == read_json(folder / f"data/ag/ag-{entry['target_class']}.json")
        for layer, top in entry["topChannels"].items():
            counts = {node["channel"]: node["count"] for node in graph[layer] if node["count"]}
            assert {c["c"]: c["i"] for c in top} == counts
        places.append([entry["embed"]["mixed4d"][axis] for axis in "xy"])
    assert len(np.unique(places, axis=0)) == 3
    assert sum("of the graphs alone" in note or "made of its topChannels" in note for note in report.notes) == 2


def test_is_not_imported_again(
    wide: tuple[Path, stores.Made], shown: tuple[Path, ExportReport], tmp_path: Path
) -> None:
    """Its counts are scaled, which nothing in them says."""
    with pytest.raises(FormatError, match="without --front-end"):
        import_summit(shown[0].parent, tmp_path / "store", keep_going=True)
    # A folder of the original's own network has no layers.json otherwise.
    import_summit(originals.make(tmp_path / "from"), tmp_path / "original")
    export(tmp_path / "original", tmp_path / "to", "summit", front_end=True)
    with pytest.raises(FormatError, match="without --front-end"):
        import_summit(tmp_path / "to", tmp_path / "store")


def test_option(wide: tuple[Path, stores.Made], tmp_path: Path) -> None:
    command = next(command for command in COMMANDS if command.name == "export")
    arguments = [str(wide[0]), str(tmp_path / "to"), "--class", "n00000001", "--front-end", "--format"]
    result = CliRunner().invoke(command, [*arguments, "csv"])
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "to").exists()
    result = CliRunner().invoke(command, [*arguments, "summit"])
    assert (result.exit_code, "note: no class is called white_wolf" in result.output) == (0, True)
