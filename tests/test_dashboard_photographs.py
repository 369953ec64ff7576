"""Single images as pictures, on the pages of a class and of the run."""

from pathlib import Path

import numpy as np
import pytest

from dashboard.data import StoreData
from dashboard.selection import Selection
from dashboard.shown import photographs
from summit_dask import open_store, strategies
from summit_dask.store.store import Store
from tests.pages import component_of, items_of, open_page
from tests.stores import make_store, picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 12 images of each of two classes, and the files of four of these, of which one has changed."""
    folder = tmp_path_factory.mktemp("photographs")
    make_store(
        folder / "store.zarr", n_classes=2, images_per_class=12, parts=("values", "matrices", "graphs", "examples")
    )
    store = Store.open(folder / "store.zarr", writable=True)
    sizes = store.read("images/file_size")
    for image in (12, 13, 14, 23):
        file = folder / "images" / str(store.read("images/path")[image])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(np.random.default_rng(image), 200))
        sizes[image] = file.stat().st_size + (image == 14)
    store.write("images/file_size", sizes)
    for layer in store.layer_graph.with_maps:  # images 12 to 15 are no examples
        index = store.read(f"examples/{layer.name}/image_index")
        store.write_whole(f"examples/{layer.name}/image_index", np.where(index // 4 == 3, 0, index).astype(np.int32))
    return folder


def test_an_image_is_seen_whole_in_part_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    data = StoreData(folder / "store.zarr")
    seen = [photographs.photograph(data, image) for image in (12, 14, 15, 0)]
    assert [(photo.picture is not None, photo.is_whole) for photo in seen] == [
        (True, True),
        (False, False),
        (False, False),
        (True, False),
    ]
    assert photographs.remark_on(seen).startswith(
        "1 image shown in part, as an example of a channel, and 2 images without"
    )
    assert photographs.remark_on(seen[:1]) == ""


def test_the_largest_part_of_an_image_is_shown(folder: Path) -> None:
    data = StoreData(folder / "store.zarr")
    layer, place = photographs._largest_parts(data)[0]
    assert data.read(f"examples/{layer}/image_index").ravel()[place] == 0
    ranks = data.read(f"examples/{layer}/image_index").shape[1]
    channel, rank = divmod(place, ranks)
    stored = data._encoded(f"examples/{layer}/thumbnail", channel * ranks, ranks)
    assert data.example_thumbnail(layer, place) == stored[rank] != b""


def test_the_page_of_a_class_shows_its_images_and_strategies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    app = open_page(folder / "store.zarr", "classes", monkeypatch, Selection(class_="n00000001"))
    assert not app.exception
    first = items_of(app, "photographs")[0]  # the one that is wrong
    assert first["text"].endswith("%\n0012.jpg") and not first["title"].startswith("right") and first["picture"]
    app.toggle(key="strategies").set_value(True).run()
    assert not app.exception
    found = strategies(open_store(folder / "store.zarr"), "n00000001")
    assert component_of(app, "strategy 0")["note"].startswith(f"{found.images(0).sum()} images")  # type: ignore[attr-defined]
    files = {item["text"] for item in items_of(app, "images of strategy 0")}
    assert files == {f"{image:04d}.jpg" for image in np.flatnonzero(found.images(0)).tolist()}
    best = found.channels.iloc[0]
    item = items_of(app, "channels of strategy 0")[0]
    assert item["title"] == f"channel {best['channel']}" and item["text"].startswith(f"{best['layer']}\n")
    assert app.button(key="vs strategy:2").label == "Compare with its other images"


def test_unreadable_images_are_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    app = open_page(folder / "store.zarr", "run", monkeypatch)
    table = next(element.value for element in app.dataframe if "reason" in element.value)
    assert table["file"].tolist() == ["n00000001/0023.jpg"] and table["picture"][0].startswith("data:image/jpeg")
    assert any("1 of 1 image tried again just now can be opened here" in caption.value for caption in app.caption)
