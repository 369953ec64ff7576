"""What the dashboard reads of a store, and the stores that it is tested with."""

import gc
import json
import shutil
import weakref
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard import session
from dashboard.data import StoreData
from dashboard.selection import Reselection, Selection
from dashboard.shown import graphs, images
from dashboard.shown.classtable import class_table
from summit_dask.facts import encoded, schema
from summit_dask.facts.addresses import addresses
from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import StoreError
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import PAPERS
from summit_dask.facts.stages import stage_named
from summit_dask.questions.query import attribution_graph
from summit_dask.store.places import room, stores_in
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests.stores import AWKWARD_NAMES, Made, graph_of, make_store, options


@pytest.fixture(scope="module")
def data(complete: Path) -> StoreData:
    return StoreData(complete)


# The stores of these tests


def _arrays(store: Store) -> dict[tuple[str, str], tuple[object, ...]]:
    """Dims, dtype and fill value of every array, by what the registry calls it."""
    known = {}
    for head in dict.fromkeys(variable.head for variable in schema.VARIABLES):
        for address, variable in addresses(store.layer_graph, head):
            if store.has(address):
                array: Any = store.group[address]
                what = (array.metadata.dimension_names, str(array.dtype), str(array.fill_value))
                assert known.setdefault((variable.group, variable.name), what) == what
    return known


def _keys(value: object) -> object:
    """What a header says, without the values; rows of a list are alike."""
    if isinstance(value, dict):
        return {key: _keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_keys(inner) for inner in value[:1]]
    return ""


def test_made_stores_are_as_a_run_makes_them(complete: Path, finished: RunConfig) -> None:
    made = Store.open(complete)
    real = Store.open(finished.out)
    in_real = _arrays(real)
    in_made = _arrays(made)
    assert {name: what for name, what in in_made.items() if name[0] != "pictures/{with_maps}"} == in_real
    groups = {address.partition("/")[0] for address in real.group}
    assert {group for group in groups if made.finished(group) is None} == {
        group for group in groups if real.finished(group) is None
    }
    written = made.header.attributes()
    expected = real.header.attributes()
    del written["run"]["versions"], expected["run"]["versions"]  # of whatever packages
    written["run"]["config"]["excluded"] = []
    assert _keys(written) == _keys(expected)


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
    assert not unreduced.read("classes/n_images").any()
    assert unreduced.classes["n_images"].tolist() == data.classes["n_images"].tolist()
    assert unreduced.classes["n_correct"].tolist() == data.classes["n_correct"].tolist()


def test_histograms_are_those_of_the_true_class_s_probability(data: StoreData) -> None:
    probability = data.read("images/true_probability")[data.images_of(3)][:5]
    assert data.histograms is not None
    assert data.histograms[3].tolist() == np.histogram(probability, 20, (0, 1))[0].tolist()
    assert data.histograms.sum(axis=1).tolist() == data.classes["n_images"].tolist()


def test_similarity_is_the_cosine_of_the_counts(data: StoreData, made: Made) -> None:
    rows = made.activation["mixed2"].astype(float)
    expected = [row @ rows[1] / np.linalg.norm(row) / np.linalg.norm(rows[1]) for row in rows]
    np.testing.assert_allclose(data.similarity("mixed2", 1), expected, rtol=1e-12)


def test_stored_graph_is_the_one_written(data: StoreData, made: Made) -> None:
    for index in range(data.n_classes):
        expected = graph_of(made, index)
        assert len(expected.node_layer)
        for column in fields(expected):
            np.testing.assert_array_equal(getattr(data.graph(index), column.name), getattr(expected, column.name))


def test_selecting_again_with_the_same_p_gives_the_stored_graph(data: StoreData) -> None:
    for index in range(data.n_classes):
        stored = data.graph(index)
        for column in fields(stored):  # type: ignore[arg-type]
            again = getattr(data.graph(index, Reselection(p=0.3)), column.name)
            np.testing.assert_array_equal(getattr(stored, column.name), again)


def test_a_channel_left_out_is_no_node_and_an_excluded_one_can_come_back(data: StoreData) -> None:
    stored = data.graph(0)
    assert stored is not None
    first = stored.nodes(data.layer_graph)[0]
    without = data.graph(0, Reselection(left_out=(first,)))
    everything = data.graph(0, Reselection(p=1.0, keep_excluded=True))
    assert without is not None and everything is not None
    assert first not in without.nodes(data.layer_graph)
    assert Channel("stem", 7) not in stored.nodes(data.layer_graph)
    assert Channel("stem", 7) in everything.nodes(data.layer_graph)


def test_mass_counts_again_from_the_stored_maxima(data: StoreData) -> None:
    few = data.graph(1, Reselection(p=0.5, mass=0.01))
    expected = attribution_graph(open_store(data.path), "n00000001", p=0.5, mass=0.01)
    assert few is not None
    assert dict(zip(few.nodes(data.layer_graph), few.node_count.tolist(), strict=True)) == dict(
        expected.nodes(data="count")
    )


def test_pictures_and_examples_are_those_of_the_channel(data: StoreData) -> None:
    def stored(kind: str, item: int) -> bytes:
        stem = f"{kind.partition('_')[0]}s/mixed2/{kind}"
        return encoded.unpack(data.read(f"{stem}_bytes"), data.read(f"{stem}_offset"), item)

    assert data.pictures(Channel("mixed2", 0)) == {}
    pictures = data.pictures(Channel("mixed2", 3))
    assert list(pictures) == list(schema.PICTURE_KINDS[:7])
    assert pictures["negative"] == stored("picture", 3 * len(schema.PICTURE_KINDS) + 2)
    shown = data.examples(Channel("mixed2", 3))
    thumbnails = data.read("examples/mixed2/thumbnail_bytes")
    offsets = data.read("examples/mixed2/thumbnail_offset")
    assert [e.thumbnail for e in shown] == [encoded.unpack(thumbnails, offsets, 30 + rank) for rank in range(10)]
    assert [e.image for e in shown] == data.read("examples/mixed2/image_index")[3].tolist()
    assert [e.value for e in shown] == data.read("examples/mixed2/value")[3].tolist()
    assert shown[0].box == (2, 3, 18, 19)
    firing = shown[2].firing
    assert firing is not None and firing.share == data.read("examples/mixed2/share")[3, 2]
    assert firing.map.tolist() == data.read("examples/mixed2/map")[3, 2].tolist()
    assert list(firing.centre) == data.read("examples/mixed2/centre")[3, 2].tolist()


def test_what_a_store_lacks_is_said(imported: Path) -> None:
    lacking = StoreData(imported)
    assert lacking.embedding("mixed3b") is None
    assert lacking.histograms is None and lacking.facts(0).accuracy is None
    assert not lacking.can_reselect and not lacking.has("activations")
    assert lacking.why_absent("embedding") == "This store holds no class embedding; the imported files lack that."


def test_an_import_tells_classes_apart_but_no_image_s_predictions(imported_classes: Path) -> None:
    known = StoreData(imported_classes)
    assert known.n_images == 12
    assert known.facts(1).accuracy == known.read("classes/n_correct")[1] / 4
    assert known.histograms is None and not known.has_predictions


def test_what_a_run_has_not_made_yet_is_said_with_what_makes_it(half_finished: Path) -> None:
    unfinished = StoreData(half_finished)
    assert unfinished.counts("mixed2") is None and unfinished.similarity("mixed2", 0) is None
    assert "'summit-dask embed' makes that" in unfinished.why_absent("embedding")


def test_without_counts_those_of_the_graphs_are_shown(imported: Path) -> None:
    partial = StoreData(imported)
    assert partial.counts_are_partial
    for layer in partial.layers:
        counts = partial.counts(layer.name)
        assert counts is not None and counts.shape == (3, layer.channels)
        for index in range(3):
            graph = partial.graph(index)
            assert graph is not None
            own = graph.node_layer == partial.layer_graph.layers.index(layer)
            assert own.any()
            assert counts[index].sum() == graph.node_count[own].sum()
            np.testing.assert_array_equal(counts[index, graph.node_channel[own]], graph.node_count[own])
    similarity = partial.similarity("mixed3b", 2)
    assert similarity is not None and similarity.argmax() == 2 and similarity[2] == pytest.approx(1)


def test_a_stage_that_is_not_finished_counts_as_absent(tmp_path: Path) -> None:
    make_store(tmp_path / "store", parts={"graphs"})
    assert StoreData(tmp_path / "store").has("graphs")
    attributes = tmp_path / "store" / PAPERS.group / "zarr.json"
    group = json.loads(attributes.read_text())
    root = json.loads((tmp_path / "store" / "zarr.json").read_text())
    group["attributes"], root["consolidated_metadata"] = {}, None
    attributes.write_text(json.dumps(group))
    (tmp_path / "store" / "zarr.json").write_text(json.dumps(root))
    assert not StoreData(tmp_path / "store").has("graphs")


def test_what_was_made_with_other_options_is_outdated(tmp_path: Path) -> None:
    make_store(tmp_path / "store", parts={"matrices", "graphs", "embedding"})
    assert StoreData(tmp_path / "store").outdated == ()
    assert StoreData(tmp_path / "store").why_outdated() == ""
    store = Store.open(tmp_path / "store", writable=True)
    with store.changing():
        store.update_run(store.header.run.with_options_of(stage_named("graphs"), options().replaced(p=0.2)))
    outdated = StoreData(tmp_path / "store")
    assert outdated.outdated == (PAPERS.group,)
    assert outdated.why_outdated().endswith("attribution graphs. Run 'summit-dask graphs' to renew them.")
    with store.changing():
        store.update_run(store.header.run.model_copy(update={"config": options().replaced(mass=0.2)}))
    assert StoreData(tmp_path / "store").outdated == ("matrices", PAPERS.group, "embedding")


def test_nothing_of_a_closed_store_is_kept(complete: Path) -> None:
    data = StoreData(complete)
    graph = data.graph(0)
    assert graph is not None
    assert data.graph(0) is graph  # kept as long as the store is open
    graphs.drawing(data, graph, 6)
    graphs.cards(data, graph)
    graphs.files(data, graph, "crane")
    class_table(data, session.within(Selection(), data)[0], 0)
    images.graph_of(data, (0, 1))
    left = weakref.ref(data)
    del data, graph
    gc.collect()
    assert left() is None


def test_a_store_that_changes_is_opened_again(tmp_path: Path) -> None:
    make_store(tmp_path / "store", parts=set())
    before = StoreData(tmp_path / "store")
    assert before.unchanged()
    shutil.rmtree(tmp_path / "store")
    make_store(tmp_path / "store", parts={"graphs"})
    assert not before.unchanged()


def test_stores_of_a_folder(stores_folder: Path, complete: Path, half_finished: Path, tmp_path: Path) -> None:
    assert stores_in(complete) == [complete]
    assert {complete, half_finished} <= set(stores_in(stores_folder))
    with pytest.raises(StoreError, match="holds none"):
        stores_in(tmp_path)


def test_the_room_that_a_store_takes(tmp_path: Path) -> None:
    for name, content in {"graphs/zarr.json": "{}", "graphs/node_layer/c/0": "12345", "images/zarr.json": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "graphs" / "gone").symlink_to(tmp_path / "nowhere")
    assert room(tmp_path) == {"graphs": (7, 2), "images": (0, 1)}
