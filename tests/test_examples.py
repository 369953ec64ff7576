"""Strongest images: equal to sorting everything, whatever the blocks; thumbnails show what the box says."""

from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from summit_dask.arrays.examples import Block, Strongest, merge, strongest, strongest_images
from summit_dask.arrays.thumbnails import Crops, Geometry, cut_thumbnails, input_boxes, original_box, thumbnails
from summit_dask.facts import encoded
from summit_dask.facts.errors import StoreError
from summit_dask.facts.layergraph import Box, Layer, Window
from summit_dask.facts.preprocessing import Preprocessing
from tests import oracles_examples as oracle

TIED = np.array([-np.inf, -2, -1, -0.0, 0, 0.5, 1, 3, 3e38], np.float32)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    classes = rng.integers(-1, 3, shape[0]).astype(np.int32)
    return Block(rng.choice(TIED, shape), rng.integers(0, 49, shape, dtype=np.int32), classes, 0)


def split(block: Block, bounds: list[int]) -> list[Block]:
    edges = [0, *sorted({b for b in bounds if b < len(block.value)} - {0}), len(block.value)]
    spans = [slice(*edge) for edge in pairwise(edges)]
    return [Block(block.value[s], block.position[s], block.class_index[s], s.start) for s in spans]


def check(found: Strongest, block: Block, k: int) -> None:
    for c, expected in enumerate(oracle.strongest(block.value, block.position, block.class_index, k)):
        padded = expected + [(0.0, -1, 0)] * (k - len(expected))
        assert list(zip(*(column[c].tolist() for column in found), strict=True)) == padded


@given(blocks(), st.integers(1, 12), st.lists(st.integers(0, 39), max_size=12))
@settings(deadline=None, max_examples=40)
def test_blocks_never_show(block: Block, k: int, bounds: list[int]) -> None:
    parts = split(block, bounds)
    check(strongest(block, k), block, k)
    check(merge([strongest(part, k) for part in reversed(parts)], k), block, k)
    reverse = Block(block.value[:, ::-1], *block[1:])
    halves = [[part, Block(part.value[:, ::-1], *part[1:])] for part in parts]
    layer, other = strongest_images(halves.__getitem__, len(parts), k).compute(scheduler="synchronous")
    check(layer, block, k)
    check(other, reverse, k)


def test_building_the_tree_reads_nothing() -> None:
    def read(partition: int) -> list[Block]:
        raise AssertionError("read while building")

    assert len(strongest_images(read, 20, 3).dask) < 20 * 2


def test_boxes_follow_the_windows() -> None:
    layer = Layer("a", 1, 4, 5, True, Window((7, 9), (4, 2), (-3, -1)))
    positions = np.arange(20, dtype=np.int32).reshape(4, 5)
    expected = [[layer.window.box(y, x) for x in range(5)] for y in range(4)]
    np.testing.assert_array_equal(input_boxes(layer, positions), expected)


@given(
    st.tuples(st.integers(3, 90), st.integers(3, 90)),
    st.one_of(st.none(), st.integers(8, 60)),
    st.tuples(st.integers(4, 64), st.integers(4, 64)),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=50)
def test_box_in_the_original(original: tuple[int, int], resize: int | None, crop: tuple[int, int], seed: int) -> None:
    rows = oracle.original_rows(original, resize, crop)
    # bilinear resizing has nothing beyond the outermost rows' centres, and padding has no place
    usable = np.flatnonzero((rows > 0.5 + 1e-6) & (rows < original[0] - 0.5 - 1e-6))
    assume(len(usable) >= 2)
    height = rows[usable[1]] - rows[usable[0]]
    low, high = np.sort(np.random.default_rng(seed).choice(usable, 2))
    box = original_box(Box(int(low), 0, int(high) + 1, crop[1]), original, Preprocessing(resize, crop))
    assert 0 <= box.left < box.right <= original[1]
    assert box.top == pytest.approx(rows[low] - height / 2 - 0.5, abs=0.5 + 1e-6)
    assert box.bottom == pytest.approx(rows[high] + height / 2 + 0.5, abs=0.5 + 1e-6)


@pytest.mark.parametrize(
    ("box", "original", "resize", "crop", "expected"),
    [
        pytest.param((0, 0, 224, 224), (256, 512), 256, (224, 224), (16, 144, 240, 368), id="crop alone"),
        pytest.param((10, 10, 20, 20), (512, 1024), 256, (224, 224), (52, 308, 72, 328), id="twice as large"),
        pytest.param((-50, -9, 8, 300), (64, 64), None, (64, 64), (0, 0, 8, 64), id="beyond the border"),
        pytest.param(
            (-50, -50, 400, 400), (256, 256), 256, (224, 224), (16, 16, 240, 240), id="what is cropped is unseen"
        ),
        pytest.param((0, 0, 64, 64), (32, 20), None, (64, 64), (0, 0, 32, 20), id="zeros around a small image"),
        pytest.param((0, 0, 2, 2), (32, 32), None, (64, 64), (0, 0, 1, 1), id="padding alone: the nearest pixel"),
        pytest.param((63, 63, 64, 64), (32, 32), None, (64, 64), (31, 31, 32, 32), id="padding alone, other end"),
    ],
)
def test_box_at_its_edges(box: Any, original: Any, resize: Any, crop: Any, expected: Any) -> None:
    assert original_box(Box(*box), original, Preprocessing(resize, crop)) == expected


@pytest.mark.parametrize(
    ("mode", "box", "expected"),
    [
        pytest.param("squash", (0, 0, 20, 20), (4, 8, 46, 92), id="squashed: each axis has its own scale"),
        pytest.param("border", (0, 0, 20, 20), (0, 8, 50, 92), id="the whole height, a border above and below"),
        pytest.param("border", (10, 5, 11, 6), (25, 29, 30, 34), id="one pixel is five of the original's"),
    ],
)
def test_box_of_other_crop_modes(mode: Any, box: Any, expected: Any) -> None:
    """An original of 50 x 100, resized to 24 and cropped to 20."""
    assert original_box(Box(*box), (50, 100), Preprocessing(24, (20, 20), crop_mode=mode)) == expected


@pytest.fixture
def originals(tmp_path: Path) -> list[Path]:
    """Three pictures, dark but for a white quarter (lower right), one that is none, one that is not there."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[20:, 30:] = 255
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path in paths[:3]:
        Image.fromarray(pixels).save(path)
    paths[3].write_bytes(b"no picture")
    return paths


class Opener:
    """Opens by number and counts."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths, self.opened = paths, list[int]()

    def __call__(self, image: int) -> Image.Image:
        self.opened.append(image)
        with Image.open(self.paths[image]) as picture:
            return picture.convert("RGB")


def test_thumbnails(originals: list[Path]) -> None:
    image = np.array([2, 0, -1, 3, 2, 4, 3], np.int32)
    box = np.tile(np.array([20, 30, 40, 60], np.int32), (7, 1))
    box[4] = 0, 0, 20, 10
    opener = Opener(originals)
    made = cut_thumbnails(Crops(image, box), opener, Geometry(Preprocessing(None, (40, 60)), 24))
    assert opener.opened == [0, 2, 3, 4]
    assert made.reasons == {"not a picture that Pillow can read": 1, "No such file or directory": 1}
    assert made.jpeg[2] == b""
    shown = [np.asarray(Image.open(BytesIO(data)).convert("L")) for data in made.jpeg if data]
    assert [picture.shape for picture in shown] == [(16, 24), (16, 24), (24, 24), (24, 12), (24, 24), (24, 24)]
    assert [int(picture.mean() / 100) for picture in shown] == [2, 2, 1, 0, 1, 1]
    np.testing.assert_array_equal(made.box[[0, 4, 3, 2]], [box[0], box[4], [0] * 4, [0] * 4])


def test_tasks_never_show(originals: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(-1, 5, 30).astype(np.int32)
    corner = rng.integers(0, 20, (30, 2))
    crops = Crops(image, np.hstack([corner, corner + 15]).astype(np.int32))
    geometry = Geometry(Preprocessing(50, (40, 40)), 24)
    whole = cut_thumbnails(crops, Opener(originals), geometry)
    monkeypatch.setattr("summit_dask.arrays.thumbnails._IMAGES_PER_TASK", 2)
    parts = thumbnails(crops, Opener(originals), geometry).compute(scheduler="synchronous")
    np.testing.assert_array_equal(parts.box, whole.box)
    assert (parts.jpeg, parts.reasons) == (whole.jpeg, whole.reasons)


def test_nothing_to_cut() -> None:
    crops = Crops(np.full(3, -1, np.int32), np.zeros((3, 4), np.int32))
    made = thumbnails(crops, Opener([]), Geometry(Preprocessing(None, (8, 8)))).compute(scheduler="synchronous")
    assert made.jpeg == [b""] * 3


@given(st.lists(st.binary(max_size=9), max_size=8))
def test_packed_bytes_come_out_again(items: list[bytes]) -> None:
    data, offsets = encoded.pack(items)
    assert [encoded.unpack(data, offsets, i) for i in range(len(items))] == items
    assert list(encoded.unpack_all(data, offsets)) == items
    for outside in (-1, len(items)):
        with pytest.raises(StoreError, match=f"no picture {outside}"):
            encoded.unpack(data, offsets, outside)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_media_type(form: str) -> None:
    buffer = BytesIO()
    Image.new("L", (4, 4)).save(buffer, form)
    assert encoded.media_type(buffer.getvalue()) == f"image/{form.lower()}"
    with pytest.raises(StoreError, match="GIF89a"):
        encoded.media_type(b"GIF89a....")
