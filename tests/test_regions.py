"""Where channels fire: against flood fill and plain torch in float64; each image is opened and run once."""

import shutil
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from safetensors.torch import load_file

from summit_dask.arrays.regions import GRID, TOP, on_grid, regions
from summit_dask.arrays.thumbnails import original_boxes
from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import DatasetError
from summit_dask.facts.layergraph import Layer, Window
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.facts.stages import stage_named
from summit_dask.measure.viewing import ExampleViewer, Seen, Wanted, rows_by_images
from summit_dask.stages.pipeline import run_stages
from summit_dask.store.status import pending_commands
from summit_dask.store.store import Store
from tests import oracles_examples as oracle
from tests import traced
from tests.networks import SIDE, TinyInception
from tests.runs import connected, copied

SPREAD = Window((32, 32), (0, 0), (0, 0))


@given(
    st.integers(0, 999),
    st.sampled_from([Window((5, 9), (4, 2), (-2, -4)), Window((90, 90), (4, 4), (-40, -40)), SPREAD]),
    st.sampled_from([0.0, 0.5, 3.0]),
)
@settings(deadline=None, max_examples=40)
def test_regions_are_those_of_a_flood_fill(seed: int, window: Window, shift: float) -> None:
    rng = np.random.default_rng(seed)
    layer, preprocessing = Layer("a", 1, 7, 9, True, window), Preprocessing(None, (32, 40))
    maps = (rng.gamma(1, 1, (5, 7, 9)) - shift).astype(np.float32)
    position = maps.reshape(5, -1).argmax(1)
    found = regions(maps, position, layer, preprocessing)
    for k, values in enumerate(maps.astype(np.float64)):
        peak = divmod(int(position[k]), 9)
        steps = [window.stride[a] or preprocessing.crop[a] / (7, 9)[a] for a in (0, 1)]
        sizes = [window.size[a] if window.stride[a] else preprocessing.crop[a] for a in (0, 1)]
        reach = tuple(int((size - 1) // step) for size, step in zip(sizes, steps, strict=True))
        own = oracle.region(values, peak, (reach[0], reach[1]))
        half = values[peak] / 2
        assert found.share[k] == pytest.approx((values >= half).mean() if half > 0 else 0)
        top, left, bottom, right = found.box[k].tolist()
        assert 0 <= top < bottom <= 32 and 0 <= left < right <= 40
        assert bottom - top == right - left or bottom - top == 32
        middle = [
            np.mean([p[a] for p in own]) * steps[a]
            + (window.start[a] + sizes[a] / 2 if window.stride[a] else steps[a] / 2)
            for a in (0, 1)
        ]
        assert found.centre[k] == pytest.approx(np.clip(np.array(middle) / (32, 40), 0, 1), abs=1e-6)
        assert top - 1 <= middle[0] <= bottom + 1 and left - 1 <= middle[1] <= right + 1


def test_a_crop_is_what_the_region_sees_and_never_much_more() -> None:
    """A lone position of a deep layer that sees all, and one of a low layer: the latter's whole field, no more."""
    preprocessing = Preprocessing(None, (224, 224))
    maps = np.zeros((1, 7, 7), np.float32)
    maps[0, 3, 3] = 1
    deep = Layer("deep", 1, 7, 7, True, Window((899, 899), (32, 32), (-433, -433)))
    low = Layer("low", 1, 7, 7, True, Window((11, 11), (4, 4), (90, 90)))
    assert regions(maps, np.array([24]), deep, preprocessing).box.tolist() == [[68, 68, 156, 156]]
    assert regions(maps, np.array([24]), low, preprocessing).box.tolist() == [[102, 102, 113, 113]]
    maps[:] = 1
    assert regions(maps, np.array([0]), deep, preprocessing).box.tolist() == [[0, 0, 224, 224]]


def test_far_blobs_count_but_do_not_widen_the_crop() -> None:
    layer = Layer("deep", 1, 7, 7, True, Window((899, 899), (32, 32), (-433, -433)))
    maps = np.zeros((1, 7, 7), np.float32)
    maps[0, 1, 1], maps[0, 5:, 5:] = 1, 0.5
    found = regions(maps, np.array([8]), layer, Preprocessing(None, (224, 224)))
    assert found.box.tolist() == [[4, 4, 92, 92]]
    assert found.share == pytest.approx(5 / 49)


@pytest.mark.parametrize("original", [(50, 100), (24, 20)])
@pytest.mark.parametrize("mode", ["centre", "squash", "border"])
def test_the_grid_is_the_map_between_positions(original: tuple[int, int], mode: str) -> None:
    rng = np.random.default_rng(0)
    preprocessing = Preprocessing(24, (20, 20), crop_mode=mode)  # type: ignore[arg-type]
    layer = Layer("a", 1, 5, 5, True, Window((7, 7), (4, 4), (-2, -2)))
    maps = rng.gamma(1, 1, (3, 5, 5)).astype(np.float32)
    position = maps.reshape(3, -1).argmax(1)
    crops = np.array([(0, 0, 20, 20), (3, 5, 12, 14), (0, 9, 7, 16)], np.int32)
    boxes = original_boxes(crops, original, preprocessing)
    found = on_grid(maps, position, boxes, original, layer, preprocessing)
    size, offset = preprocessing.placement(original)
    for k, i, j in product(range(3), range(0, GRID, 5), range(GRID)):
        place = [boxes[k][a] + (boxes[k][a + 2] - boxes[k][a]) * (p + 0.5) / GRID for a, p in enumerate((i, j))]
        y, x = (((place[a] * size[a] / original[a] - offset[a]) - 1.5) / 4 for a in (0, 1))
        exact = TOP * oracle.between(maps[k], y, x) / float(maps[k].max())
        assert abs(found[k, i, j] - exact) <= 0.5 + 1e-5


def test_what_does_not_fire_has_no_region() -> None:
    layer = Layer("a", 1, 3, 3, True, Window((5, 5), (2, 2), (-2, -2)))
    maps = np.stack([np.zeros((3, 3)), -np.ones((3, 3))]).astype(np.float32)
    boxes = np.array([[0, 0, 6, 6]] * 2, np.int32)
    found = regions(maps, np.array([0, 0]), layer, Preprocessing(None, (6, 6)))
    assert found.share.tolist() == [0, 0]
    assert not on_grid(maps, np.array([0, 0]), boxes, (6, 6), layer, Preprocessing(None, (6, 6))).any()


def test_the_stored_regions_are_those_of_plain_torch(finished: RunConfig) -> None:
    """Every channel's strongest image, with hooks on the user's module in float64."""
    store = Store.open(finished.out)
    module = TinyInception().double().eval()
    module.load_state_dict({name: value.double() for name, value in load_file(str(finished.weights)).items()})
    preprocessing, paths = store.network.preprocessing, store.read("images/path")
    maps: dict[str, NDArray[np.float64]] = {}
    for name in ("lower", "upper"):
        getattr(module, name).register_forward_hook(lambda _, __, out, name=name: maps.update({name: out[0].numpy()}))
    differing = []
    for layer in store.layer_graph.with_maps:
        stored = {name: store.read(f"examples/{layer.name}/{name}") for name in ("image_index", "share", "box", "map")}
        for channel, image in enumerate(stored["image_index"][:, 0].tolist()):
            picture = Image.open(finished.images / paths[image])  # type: ignore[operator]
            pixels = torch.from_numpy(np.asarray(picture)[:, 1:-1].copy()).double() / 255
            mean, std = (torch.tensor(part, dtype=torch.float64) for part in (preprocessing.mean, preprocessing.std))
            with torch.no_grad():
                module(((pixels - mean) / std).permute(2, 0, 1)[None])
            values = maps[layer.name][channel]
            top, left, bottom, right = stored["box"][channel, 0].tolist()
            assert top < bottom <= SIDE and 1 <= left < right <= SIDE + 1
            half = values.max() / 2
            differing.append(abs((values >= half).mean() * (half > 0) - stored["share"][channel, 0]) > 1e-6)
            (step, size, start), at = (layer.window.stride[0], layer.window.size[0], layer.window.start[0]), GRID // 3
            y, x = (
                ((low + (high - low) * (at + 0.5) / GRID - shift) - start - size / 2) / step
                for low, high, shift in ((top, bottom, 0), (left, right, 1))
            )
            exact = TOP * max(oracle.between(values, y, x), 0) / (values.max() if half > 0 else np.inf)
            assert abs(stored["map"][channel, 0, at, at] - exact) <= 0.5 + 1e-3
            peak = np.unravel_index(values.argmax(), values.shape)
            shown = (start + p * step + size / 2 + shift for p, shift in zip(peak, (0, 1), strict=True))
            assert half <= 0 or all(a <= p <= b for p, a, b in zip(shown, (top, left), (bottom, right), strict=True))
    assert not any(differing)


class Opener:
    """Gives pictures by number, and counts; some can't be opened."""

    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(0)
        self.pictures = [Image.fromarray(rng.integers(0, 255, (9 + k, 12, 3), np.uint8)) for k in range(n)]
        self.opened: list[int] = []

    def __call__(self, image: int) -> Image.Image:
        self.opened.append(image)
        if image % 5 == 3:
            raise UnidentifiedImageError(f"cannot identify image file {image}")
        return self.pictures[image]


@pytest.fixture(scope="module")
def viewer() -> ExampleViewer:
    network = traced.residual(batch_size=2).network
    return ExampleViewer(network, Preprocessing(None, (8, 8)))


def _wanted(n: int) -> Wanted:
    rng = np.random.default_rng(1)
    layer = rng.integers(0, 2, n).astype(np.int32)
    image, channel, position = (rng.integers(low, high, n).astype(np.int32) for low, high in ((-1, 7), (0, 6), (0, 4)))
    return Wanted(image, layer, channel, position)


def test_each_image_is_opened_once_and_batches_never_show(
    viewer: ExampleViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, opener = _wanted(60), Opener(7)
    whole, reasons = viewer(wanted, opener, 16)
    assert opener.opened == [0, 1, 2, 3, 4, 5, 6]
    assert reasons == Counter({"not a picture that Pillow can read": 1})
    monkeypatch.setattr("summit_dask.measure.viewing._MOST_PIXELS", 1)
    parts = Seen.nothing(60)
    for rows in rows_by_images(wanted.image, 3):
        parts.put(rows, viewer(wanted.rows(rows), opener, 16)[0])
    for own, theirs in zip(whole[:4], parts[:4], strict=True):
        np.testing.assert_array_equal(own, theirs)
    assert whole.thumbnail == parts.thumbnail


def test_images_that_are_none_or_cannot_be_opened_have_no_region(viewer: ExampleViewer) -> None:
    wanted = _wanted(60)
    seen, _ = viewer(wanted, Opener(7), 16)
    lost, none = wanted.image == 3, wanted.image < 0
    assert np.isnan(seen.share[lost | none]).all() and not np.isnan(seen.share[~lost & ~none]).any()
    assert not seen.box[lost | none].any() and not seen.map[lost | none].any()
    assert [bool(data) for data in seen.thumbnail] == (~none).tolist()
    assert len({seen.thumbnail[row] for row in np.flatnonzero(lost)}) == 1
    assert not viewer(wanted.rows(np.flatnonzero(none)), Opener(0), 16)[1]


def test_a_store_of_an_earlier_version_gets_its_regions(finished: RunConfig, client: Client, tmp_path: Path) -> None:
    config = copied(finished, tmp_path)
    names = [f"examples/{layer}/{name}" for layer in ("lower", "upper") for name in ("map", "share", "centre")]
    store = Store.open(config.out, writable=True)
    right = [store.read(name) for name in names]
    with store.changing():
        for name in names:
            shutil.rmtree(config.out / name)
        store.finish("examples", 1)
        assert pending_commands(store) == ["reduce"]
        run_stages(store, [stage_named("examples")], store.header.run.config, connected(client))
    for name, values in zip(names, right, strict=True):
        np.testing.assert_array_equal(store.read(name), values)


def test_examples_stay_where_no_image_can_be_opened(finished: RunConfig, client: Client, tmp_path: Path) -> None:
    config = copied(finished, tmp_path)
    store = Store.open(config.out, writable=True)
    gone = store.header.run.model_copy(update={"images_root": tmp_path / "nowhere"})
    with store.changing():
        store.update_run(gone)
        options = gone.config.replaced(examples=3)
        with pytest.raises(
            DatasetError, match=r"None of the \d+ images .*No such file.* examples that .* stay as they are"
        ):
            run_stages(store, [stage_named("examples")], options, connected(client))
    assert Store.open(config.out).read("examples/upper/map").shape[1] == 10
