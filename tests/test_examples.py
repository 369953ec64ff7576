"""Strongest images: equal to sorting everything, whatever the blocks; thumbnails show what the box says."""

from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from summit_dask.arrays.examples import Block, Strongest, merge, strongest, strongest_images
from summit_dask.arrays.thumbnails import original_boxes, thumbnail
from summit_dask.facts import encoded
from summit_dask.facts.errors import StoreError
from summit_dask.facts.layergraph import Box
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


def original_box(box: tuple[int, int, int, int], original: tuple[int, int], preprocessing: Preprocessing) -> Box:
    return Box(*original_boxes(np.array([box], np.int32), original, preprocessing)[0].tolist())


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
    box = original_box((int(low), 0, int(high) + 1, crop[1]), original, Preprocessing(resize, crop))
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
    assert original_box(box, original, Preprocessing(resize, crop)) == expected


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
    assert original_box(box, (50, 100), Preprocessing(24, (20, 20), crop_mode=mode)) == expected


def test_a_thumbnail_shows_the_box() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[20:, 30:] = 255
    picture = Image.fromarray(pixels)
    for box, size, mean in (
        ((20, 30, 40, 60), (24, 16), 255),
        ((0, 0, 20, 10), (12, 24), 0),
        ((10, 20, 30, 40), (24, 24), 64),
    ):
        shown = Image.open(BytesIO(thumbnail(picture, Box(*box), 24)))
        assert shown.size == size and np.asarray(shown).mean() == pytest.approx(mean, abs=2)


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
