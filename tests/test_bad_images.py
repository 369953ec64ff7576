"""Image files of every bad kind: read for what they are, or left out with a reason, in bounded memory."""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from summit_dask.facts.errors import DatasetError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import MOST_PIXELS, decode
from summit_dask.images.readable import check_readable
from summit_dask.images.sources import ImageSet, read_image_set
from summit_dask.measure.partition import decoded_batches

IMAGENET = Preprocessing(256, (224, 224))
NOBODY = 65534


def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_that_says(width: int, height: int) -> bytes:
    """A file of a hundred bytes for as many pixels as one likes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


JPEG, PNG = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
STRANGE_NAMES = ("new\nline.png", "both ' and \".png", "-rf .png", f"{'x' * 251}.png", "ü%20#?.png")

#: Files that can't be read, with their reasons in the store.
BAD = {
    "empty.jpg": (b"", "UnidentifiedImageError: not a picture that Pillow can read"),
    "cut off.jpg": (JPEG[: len(JPEG) // 2], "OSError: "),
    "cut off.png": (PNG[: len(PNG) // 2], "OSError: "),
    "begun.jpg": (JPEG[:20], "UnidentifiedImageError: not a picture"),
    "page.jpg": (b"<html>Not found</html>", "UnidentifiedImageError: not a picture"),
    "bomb.png": (
        png_that_says(40_000, 40_000),
        f"ValueError: it has more than the {MOST_PIXELS:,} pixels that are dec",
    ),
    "poster.png": (png_that_says(10_000, 10_000), "ValueError: it has "),
    "strip.png": (
        encoded(Image.new("L", (40_000, 1)), "PNG"),
        "ValueError: it has 10240000 x 256 pixels after resizing its 40000 x 1, more than the",
    ),
}


def reasons_of(folder: Path, images: ImageSet) -> dict[str, str]:
    """Why each image can't be read, empty for those that can, as a partition notes it."""
    files = [folder / path for path in images.table["path"]]
    batches = decoded_batches(IMAGENET, files, 4, 2)
    reasons = [reason for _, batch in batches for reason in batch.reasons]
    return dict(zip((file.name for file in files), reasons, strict=True))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_can_not_be_read_is_left_out_with_its_reason_and_what_can_is_read(tmp_path: Path) -> None:
    """Also files that were there when they were listed, links that lead nowhere, and names that are hard to quote."""
    folder = tmp_path / "a 'class'\nof its own"
    folder.mkdir()
    for name, (content, _) in BAD.items():
        (folder / name).write_bytes(content)
    for name in (*STRANGE_NAMES, "vanishes.png"):
        (folder / name).write_bytes(PNG)
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    images = read_image_set(tmp_path)
    (folder / "vanishes.png").unlink()
    expected = {name: reason for name, (_, reason) in BAD.items()}
    expected |= dict.fromkeys(("vanishes.png", "dangling.png"), "FileNotFoundError: [Errno 2] No such file")
    expected |= {"loop.png": "OSError: [Errno 40] Too many levels of symbolic links"}
    reasons = reasons_of(tmp_path, images)
    assert {name for name, reason in reasons.items() if not reason} == set(STRANGE_NAMES)
    assert set(reasons) == {*STRANGE_NAMES, *expected}
    for name, reason in expected.items():
        assert reasons[name].startswith(reason)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("png.jpg", PNG, picture()),
        ("one.png", encoded(Image.new("L", (1, 1), 200), "PNG"), Image.new("RGB", (24, 24), (200,) * 3)),
        ("moves.gif", encoded(picture().quantize(), "GIF", save_all=True, append_images=[picture()] * 2),
         picture().quantize().convert("RGB")),
        ("moves.webp", encoded(picture(), "WEBP", save_all=True, append_images=[Image.new("RGB", (24, 24))],
                               lossless=True), picture()),
        ("moves.png", encoded(picture(), "PNG", save_all=True, append_images=[Image.new("RGB", (24, 24))]), picture()),
    ],
)  # fmt: skip
def test_odd_files_are_read_for_what_they_are(tmp_path: Path, name: str, content: bytes, expected: Image.Image) -> None:
    """By their content, not by their ending; of those that move the first picture."""
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(decode(Preprocessing(24, (24, 24)), tmp_path / name), np.asarray(expected))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    """Also where Pillow only warns, and where resizing a strip would make them."""
    for width, height, said in ((9459, 9460, "it has 9459 x 9460 pixels, more"), (40_000, 40_000, "it has more")):
        (tmp_path / "x.png").write_bytes(png_that_says(width, height))
        with pytest.raises(ValueError, match=rf"^{said} than the 89,478,485 .*that are decoded; make it smaller$"):
            decode(IMAGENET, tmp_path / "x.png")
    for size, resized in (((1, 40_000), "256 x 10240000"), ((40_000, 10), "1024000 x 256")):
        Image.new("L", size).save(tmp_path / "x.png")
        with pytest.raises(ValueError, match=rf"^it has {resized} pixels after resizing its {size[0]} x {size[1]}, "):
            decode(IMAGENET, tmp_path / "x.png")


@contextmanager
def nobody() -> Iterator[None]:
    """As a user who may see nothing here; everyone is one to whom a file of mode 0 belongs."""
    root = os.geteuid() == 0
    os.seteuid(NOBODY if root else os.geteuid())
    try:
        yield
    finally:
        os.seteuid(0 if root else os.geteuid())


def test_a_file_that_this_user_may_not_read_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    (tmp_path / "x.png").chmod(0)
    with nobody(), pytest.raises(PermissionError, match="Permission denied"):
        decode(IMAGENET, tmp_path / "x.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_left_out_with_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a pipe waits for a writer, and a device has no end."""
    folder = tmp_path / "ant"
    folder.mkdir()
    monkeypatch.chdir(folder)
    os.mkfifo("pipe.png")
    Path("zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")  # of a name that is short enough
    images = read_image_set(tmp_path)
    kinds = {"pipe.png": "a named pipe", "socket.png": "a socket", "zero.png": "a device"}
    assert reasons_of(tmp_path, images) == {name: f"OSError: it is {kind}, not a file" for name, kind in kinds.items()}
    with pytest.raises(DatasetError, match=r"'ant/pipe\.png': .*/ant/pipe\.png: it is a named pipe, not a file\.$"):
        check_readable(images)
    (folder / "whole.png").write_bytes(PNG)
    check_readable(read_image_set(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["list.csv", "list.parquet", "train.tar", ""])
def test_a_list_or_shard_that_is_a_pipe_is_refused(name: str, tmp_path: Path) -> None:
    """Given itself, or as one of a folder's shards."""
    os.mkfifo(tmp_path / (name or "train-0.tar"))
    with pytest.raises(DatasetError, match=r"(list|train).* can't be read: it is a named pipe, not a file\."):
        read_image_set(tmp_path / name)


def test_one_image_is_a_set_and_a_class_without_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "ant").mkdir()
    (tmp_path / "bee").mkdir()
    (tmp_path / "ant" / "x.png").write_bytes(PNG)
    images = read_image_set(tmp_path)
    assert (len(images.table), images.classes) == (1, ("ant",))
    assert images.remarks == ("1 folder without images passed over: bee.",)
    check_readable(images)
    (tmp_path / "ant" / "x.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"No image of 1 of the 1 classes can be read .*x\.png \(0 bytes\) holds no"):
        check_readable(images)


WRITERS: dict[str, Callable[[], bytes]] = {
    kind: lambda kind=kind, mode=mode: encoded(picture().convert(mode), kind)  # type: ignore[misc]
    for kind, mode in {"PNG": "P", "JPEG": "CMYK", "GIF": "P", "TIFF": "RGB", "WEBP": "RGBA", "BMP": "RGB"}.items()
}


@given(
    kind=st.sampled_from(sorted(WRITERS)),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
)
@settings(deadline=None, derandomize=True, max_examples=60)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_end_in_an_ordinary_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    content = bytearray(WRITERS[kind]())
    for place, byte in flips:
        content[int(place * (len(content) - 1))] = byte
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: int((1 - cut**4) * len(content))])
    try:
        pixels = decode(IMAGENET, path)
    except Exception as error:  # Pillow's plugins raise whatever they like
        assert not isinstance(error, MemoryError | RecursionError)
    else:
        assert pixels.shape == (224, 224, 3)
