"""The stages of examples and pictures on a tiny run: equal to the stored values, resumable, nothing lost."""

import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client
from PIL import Image

from summit_dask.arrays.pictures import Settings
from summit_dask.facts import encoded
from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import ConfigError, FormatError, LayerNotFoundError
from summit_dask.facts.schema import PICTURE_KINDS
from summit_dask.facts.stages import stage_named
from summit_dask.stages import pictures
from summit_dask.stages.pictures import known_kinds, paint, wanted_channels
from summit_dask.stages.pipeline import run_stages
from summit_dask.store.pictures import add_pictures, made_with, read_pictures
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests import oracles_examples as oracle
from tests import stores
from tests.networks import tiny_config
from tests.runs import connected, run_here

QUICK = Settings(size=16, steps=2, batch=2)
WANTED = {"lower": [1, 4, 7], "upper": [0, 14]}


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory, client: Client) -> RunConfig:
    """A run up to its examples."""
    config = tiny_config(tmp_path_factory.mktemp("run"), examples=3, thumbnail=24)
    (config.images / "bee" / "004.png").write_text("no picture at all")
    run_here(config, client, "extract", "reduce", "examples")
    return config


def copy_of(config: RunConfig, folder: Path) -> Store:
    shutil.copytree(config.out, folder / "store.zarr")
    store = Store.open(folder / "store.zarr", writable=True)
    store.loosen()
    return store


def bytes_of(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_examples_are_the_strongest_stored_images(reduced: RunConfig) -> None:
    tree = open_store(reduced.out)
    classes = np.where(tree["images/status"] == 1, tree["images/class_index"], -1)
    assert (classes < 0).sum() == 1
    for layer in WANTED:
        values, found = tree[f"activations/{layer}"], tree[f"examples/{layer}"]
        expected = oracle.strongest(values["value"].values, values["position"].values, classes, 3)
        rows = zip(found["image_index"].values, found["value"].values, strict=True)
        for channel, (images, maxima) in enumerate(rows):
            assert [(v, n) for v, n, _ in expected[channel]] == list(zip(maxima, images, strict=True))


def test_thumbnails_show_the_box(reduced: RunConfig) -> None:
    """Enlarged pictures of 24 x 26 pixels: each looks like its box of the original."""
    found, paths = open_store(reduced.out)["examples/upper"], open_store(reduced.out)["images/path"].values
    boxes, images = found["box"].values.reshape(-1, 4), found["image_index"].values.ravel()
    offsets = found["thumbnail_offset"].values
    for item, (box, image) in enumerate(zip(boxes, images, strict=True)):
        thumbnail = Image.open(BytesIO(encoded.unpack(found["thumbnail_bytes"], offsets, item)))
        original = np.asarray(Image.open(reduced.images / str(paths[image])), float)
        seen = original[box[0] : box[2], box[1] : box[3]]
        assert max(thumbnail.size) == 24
        np.testing.assert_allclose(np.asarray(thumbnail, float).mean((0, 1)), seen.mean((0, 1)), atol=12)


def test_lost_and_changed_originals_are_blank_and_counted(
    reduced: RunConfig, tmp_path: Path, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    store = copy_of(reduced, tmp_path)
    shutil.copytree(reduced.images, tmp_path / "images")
    images = np.unique(store.read("examples/upper/image_index"))[:2]
    lost, changed = (tmp_path / "images" / str(store.read("images/path")[n]) for n in images)
    lost.unlink()
    Image.new("RGB", (99, 99)).save(changed)
    store.update_run(store.header.run.model_copy(update={"images_root": tmp_path / "images"}))
    before = {name: store.read(f"examples/upper/{name}") for name in ("image_index", "box")}
    options = store.header.run.config.replaced(thumbnail=8)
    run_stages(store, [stage_named("examples")], options, connected(client))
    said = capsys.readouterr().err
    assert "1 images have blank thumbnails: No such file or directory." in said
    assert "1 images have blank thumbnails: not the file that was extracted" in said
    gone = np.isin(before["image_index"], images)
    box = store.read("examples/upper/box")
    assert (box[gone] == 0).all()
    np.testing.assert_array_equal(box[~gone], before["box"][~gone])


def test_pictures_are_stored_by_channel_and_kind(reduced: RunConfig, tmp_path: Path, client: Client) -> None:
    store = copy_of(reduced, tmp_path)
    add_pictures(store, "lower", {(4, "channel"): b"old", (5, "dataset-p-3"): b"imported"})
    paint(store, connected(client), WANTED, ("channel", "diversity"), QUICK)
    made = read_pictures(store, "lower")
    kinds = ("channel", *(f"diversity-{i}" for i in range(4)))
    assert set(made) == {(c, kind) for c in WANTED["lower"] for kind in kinds} | {(5, "dataset-p-3")}
    assert made[5, "dataset-p-3"] == b"imported"
    assert Image.open(BytesIO(made[4, "channel"])).size == (16, 16)
    assert np.count_nonzero(made_with(store, "lower")) == 3 * 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.zarr"]


def test_interrupted_pictures_go_on_to_the_same_bytes(
    reduced: RunConfig, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    whole, broken = (copy_of(reduced, tmp_path / name) for name in ("a", "b"))
    paint(whole, connected(client), WANTED, ("channel", "neuron"), QUICK)
    saved, save = list[Path](), pictures._write_draft

    def save_two(path: Path, pictures: Any) -> None:
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(path)
        save(path, pictures)

    monkeypatch.setattr(pictures, "_write_draft", save_two)
    with pytest.raises(KeyboardInterrupt):
        paint(broken, connected(client), WANTED, ("channel", "neuron"), QUICK)
    monkeypatch.setattr(pictures, "_write_draft", lambda path, pictures: (saved.append(path), save(path, pictures)))
    paint(broken, connected(client), WANTED, ("channel", "neuron"), QUICK)
    assert len(saved) == len(set(saved)) == 6  # no batch twice
    assert bytes_of(broken.path) == bytes_of(whole.path)
    paint(broken, connected(client), WANTED, ("channel",), QUICK)
    assert len(saved) == 6  # nothing to do


def test_a_kill_while_writing_loses_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.make_store(tmp_path / "store.zarr", parts={"pictures"})
    store = Store.open(tmp_path / "store.zarr", writable=True)
    store.loosen()
    before, add, names = read_pictures(store, "stem"), Store.add, list[str]()

    def killed(self: Store, address: str, values: Any) -> None:
        names.append(address)
        if len(names) == 2:
            raise KeyboardInterrupt
        add(self, address, values)

    monkeypatch.setattr(Store, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        add_pictures(store, "stem", {(0, "channel"): b"new"})
    assert read_pictures(store, "stem") == before
    monkeypatch.undo()
    add_pictures(store, "stem", {(0, "channel"): b"new"})
    assert read_pictures(store, "stem") == {(0, "channel"): b"new", **before}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.zarr"]


def test_pictures_for_what_is_not_there_are_refused(tmp_path: Path) -> None:
    stores.make_store(tmp_path / "store.zarr", parts=())
    store = Store.open(tmp_path / "store.zarr", writable=True)
    with pytest.raises(FormatError, match="channel 8 of stem, which has the channels 0 to 7"):
        add_pictures(store, "stem", {(8, "channel"): b""})
    with pytest.raises(FormatError, match=r"unknown kind 'neurone'\. Did you mean 'neuron'"):
        add_pictures(store, "stem", {(0, "neurone"): b""})


def test_which_channels(tmp_path: Path) -> None:
    made = stores.make_store(tmp_path / "store.zarr", parts={"matrices", "graphs"})
    store = Store.open(tmp_path / "store.zarr")
    layers = [layer.name for layer in made.layer_graph.layers]
    nodes = {
        (layers[layer], int(channel))
        for c in range(5)
        for layer, channel in zip(
            stores.graph_of(made, c).node_layer, stores.graph_of(made, c).node_channel, strict=True
        )
    }
    chosen = wanted_channels(store, "graphs")
    assert {(layer, c) for layer, channels in chosen.items() for c in channels} == nodes
    assert wanted_channels(store, "all")["mixed2"] == list(range(16))
    assert wanted_channels(store, "mixed1:3,1; stem:0;mixed1:2") == {"stem": [0], "mixed1": [1, 2, 3]}
    for text, error, match in (
        ("mixed9:1", LayerNotFoundError, "mixed"),
        ("stem:1,x", ConfigError, "expected graphs, all, or"),
        ("stem", ConfigError, "expected graphs, all, or"),
        ("stem:8", ConfigError, r"channels 0 to 7, not \[8\]"),
    ):
        with pytest.raises(error, match=match):
            wanted_channels(store, text)


def test_which_kinds() -> None:
    assert known_kinds(["diversity", "channel"]) == ("channel", "diversity")
    with pytest.raises(ConfigError, match=r"'chanel'\. Did you mean 'channel'"):
        known_kinds(["chanel"])
    assert {kind.split("-")[0] for kind in PICTURE_KINDS} == {"channel", "neuron", "negative", "diversity", "dataset"}
