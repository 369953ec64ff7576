"""From image files to pixels: as torchvision reads them, deep ones by their range, turned where that is asked for."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import timm.data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, UnidentifiedImageError
from torchvision import transforms
from torchvision.datasets.folder import default_loader

from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import ConfigError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import decode, open_image
from summit_dask.network.zoos.timm import timm_preset
from tests.networks import SIDE

AS_IT_IS = Preprocessing(None, (SIDE, SIDE), (0.0,) * 3, (1.0,) * 3)


def picture(seed: int = 0, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """Smooth colours, so that lossy formats keep them."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR)


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path)
    return path


@pytest.mark.parametrize(
    ("suffix", "mode", "tolerance"),
    [
        (".png", "RGB", 0),
        (".png", "RGBA", 0),
        (".png", "L", 0),
        (".png", "LA", 0),
        (".png", "1", 0),
        (".png", "P", 0),
        (".gif", "P", 0),
        (".bmp", "RGB", 0),
        (".tif", "RGB", 0),
        (".tif", "CMYK", 0),
        (".ppm", "RGB", 0),
        (".tga", "RGB", 0),
        (".webp", "RGB", 12),
        (".jpg", "RGB", 12),
        (".jpg", "L", 12),
        (".jpg", "CMYK", 12),
        (".jp2", "RGB", 12),
    ],
)
def test_pixels_of_every_kind_of_file(tmp_path: Path, suffix: str, mode: str, tolerance: int) -> None:
    image = picture().convert(mode)
    path = tmp_path / f"x{suffix}"
    image.save(path)
    pixels = decode(AS_IT_IS, path)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels.astype(int), np.asarray(image.convert("RGB"), int), atol=tolerance)


# Deep grey files


def write_tiff(path: Path, values: np.ndarray, bits: int, kind: int, photometric: int = 1) -> Path:
    """A grey TIFF file of 16 x 16 values as some other program writes it; kind 1: unsigned, 2: signed, 3: float."""
    data = values.tobytes()
    tags = {256: 16, 257: 16, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 16, 279: len(data), 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
    return path


RAMP = np.arange(256)
GREY = Preprocessing(None, (16, 16), (0.5,), (0.5,))
UNSIGNED = 1
SIGNED = 2
FLOAT = 3


def packed_12_bits(values: np.ndarray) -> np.ndarray:
    """Two values in three bytes."""
    first, second = values.reshape(-1, 2).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8)


@pytest.mark.parametrize(
    ("values", "bits", "kind"),
    [
        ((RAMP * 257).astype("<u2"), 16, UNSIGNED),
        (packed_12_bits(RAMP * 16 + 15), 12, UNSIGNED),
        (RAMP.astype("<i4"), 32, SIGNED),
        (RAMP.astype("<u4"), 32, UNSIGNED),
        (RAMP.astype("<i2"), 16, SIGNED),
        ((RAMP / 255).astype("<f4"), 32, FLOAT),
    ],
    ids=["uint16", "uint12", "int32", "uint32", "int16", "float"],
)
def test_deep_grey_becomes_eight_bits_by_the_range_of_its_kind(
    tmp_path: Path, values: np.ndarray, bits: int, kind: int
) -> None:
    file = write_tiff(tmp_path / "x.tif", values, bits, kind)
    np.testing.assert_array_equal(decode(GREY, file).ravel(), RAMP)


@pytest.mark.parametrize(
    ("values", "bits", "kind", "reason"),
    [
        (RAMP.astype("<u2"), 16, UNSIGNED, "grey values up to 255 of 65535, so it would be black; save it with 8 bits"),
        (RAMP.astype("<i4") * 16, 32, SIGNED, "grey values from 0 to 4080, where such files hold 0 to 255; save it"),
        (RAMP.astype("<i2") - 1, 16, SIGNED, "grey values from -1 to 254, where such files hold 0 to 255"),
        (RAMP.astype("<f4"), 32, FLOAT, "grey values from 0 to 255, where such files hold 0 to 1"),
        (np.where(RAMP == 7, np.nan, 0.5).astype("<f4"), 32, FLOAT, r"some grey values are no numbers \(NaN\)"),
        ((RAMP / 255 / 1000).astype("<f4"), 32, FLOAT, "grey values up to 0.001 of 1, so it would be black"),
    ],
    ids=["uint16", "int32", "int16", "float", "nan", "dark"],
)
def test_values_that_do_not_fit_their_kind_are_unreadable(
    tmp_path: Path, values: np.ndarray, bits: int, kind: int, reason: str
) -> None:
    file = write_tiff(tmp_path / "x.tif", values, bits, kind)
    with pytest.raises(ValueError, match=f"^{reason}"):
        decode(GREY, file)


def test_deep_negatives_are_turned_and_black_pictures_stay_black(tmp_path: Path) -> None:
    negative = write_tiff(tmp_path / "x.tif", (RAMP * 257).astype("<u2"), 16, UNSIGNED, photometric=0)
    np.testing.assert_array_equal(decode(GREY, negative).ravel(), 255 - RAMP)
    for dtype, bits, kind in (("<u2", 16, UNSIGNED), ("<i4", 32, SIGNED), ("<f4", 32, FLOAT)):
        black = write_tiff(tmp_path / "x.tif", np.zeros(256, dtype), bits, kind)
        assert decode(GREY, black).max() == 0


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm", "x.jp2"])
def test_sixteen_bits_are_cut_to_the_upper_eight(tmp_path: Path, name: str) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (SIDE, SIDE), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / name)
    np.testing.assert_array_equal(decode(AS_IT_IS, tmp_path / name), (deep >> 8)[..., None].repeat(3, 2))


def test_colours_of_sixteen_bits_that_would_all_be_black_are_unreadable(tmp_path: Path) -> None:
    """Pillow gives the upper eight bits alone."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def write(values: np.ndarray) -> Path:
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        head = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
        parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
        return tmp_path / "x.png"

    colours = Preprocessing(None, (16, 16))
    values = np.repeat(RAMP.reshape(16, 16, 1), 3, axis=2)
    np.testing.assert_array_equal(decode(colours, write(values * 257)), values)
    with pytest.raises(ValueError, match="upper eight of its sixteen bits are 0 everywhere, so it would be black"):
        decode(colours, write(values))


# Orientation


def upright(orientation: str, **changes: Any) -> Preprocessing:
    return preprocessing(orientation=orientation, **changes)


def write_turned(path: Path, tag: int, mode: str = "RGB") -> Image.Image:
    """A picture, four times as wide as high, with an orientation tag; returned without."""
    exif = Image.Exif()
    exif[0x0112] = tag
    image = picture(size=(32, 8)).convert(mode)
    image.save(path, exif=exif)
    return image


@pytest.mark.parametrize("name", ["x.png", "x.webp", "x.jpg"])
def test_orientation_tags_are_ignored_by_default_as_torchvision_does_and_applied_if_asked(
    tmp_path: Path, name: str
) -> None:
    write_turned(tmp_path / name, 6)
    plain = open_image(upright("ignore"), tmp_path / name)
    assert preprocessing().orientation == "ignore"
    np.testing.assert_array_equal(plain, default_loader(str(tmp_path / name)))
    turned = open_image(upright("apply"), tmp_path / name)
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))


def test_a_turned_picture_is_resized_and_cropped_after_it_was_turned(tmp_path: Path) -> None:
    image = write_turned(tmp_path / "x.png", 6)
    image.rotate(-90, expand=True).save(tmp_path / "upright.png")
    options = {"resize": 4, "crop": (6, 4)}
    pixels = decode(upright("apply", **options), tmp_path / "x.png")
    np.testing.assert_array_equal(pixels, decode(upright("ignore", **options), tmp_path / "upright.png"))


@pytest.mark.parametrize("orientation", ["ignore", "apply"])
def test_tiff_files_are_turned_once_whatever_is_asked(tmp_path: Path, orientation: str) -> None:
    """By Pillow, and so by torchvision; given a path, Pillow would scramble this one."""
    image = write_turned(tmp_path / "x.tif", 6, "L")
    opened = open_image(upright(orientation, mean=0.5, std=0.5), tmp_path / "x.tif")
    np.testing.assert_array_equal(opened, np.rot90(image, -1))


# What else there is


def test_a_file_that_is_no_picture_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(UnidentifiedImageError, match=r"^not a picture that Pillow can read$"):
        decode(AS_IT_IS, tmp_path / "x.png")


def test_transparent_palettes_keep_their_colours(tmp_path: Path) -> None:
    image = picture().quantize(8)
    image.save(tmp_path / "x.png", transparency=bytes(range(8)))
    np.testing.assert_array_equal(decode(AS_IT_IS, tmp_path / "x.png"), np.asarray(image.convert("RGB")))


def test_grey_input_takes_coloured_files(tmp_path: Path) -> None:
    grey = Preprocessing(None, (SIDE, SIDE), (0.5,), (0.5,))
    pixels = decode(grey, save(tmp_path / "x.png"))
    assert grey.input_size == (1, SIDE, SIDE)
    np.testing.assert_array_equal(pixels[..., 0], np.asarray(picture().convert("L")))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    resize=st.none() | st.integers(1, 60),
    crop=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    seed=st.integers(0, 99),
)
def test_preprocessing_is_torchvision_s(
    tmp_path: Path, size: tuple[int, int], resize: int | None, crop: tuple[int, int], seed: int
) -> None:
    """Resize, CenterCrop, ToTensor, Normalize; also where the picture is smaller than the crop."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    ours = Preprocessing(resize, crop)
    steps = [transforms.CenterCrop(crop), transforms.ToTensor(), transforms.Normalize(ours.mean, ours.std)]
    theirs = transforms.Compose([*([transforms.Resize(resize, antialias=True)] if resize else []), *steps])
    expected = theirs(Image.open(tmp_path / "x.png"))
    mean, std = (np.array(values, np.float32) for values in (ours.mean, ours.std))
    normalised = (decode(ours, tmp_path / "x.png").astype(np.float32) / np.float32(255) - mean) / std
    np.testing.assert_array_equal(normalised.transpose(2, 0, 1), expected.numpy())


@given(
    size=st.tuples(st.integers(20, 120), st.integers(20, 120)),
    input_size=st.tuples(st.integers(16, 48), st.integers(16, 48)) | st.integers(16, 48).map(lambda side: (side, side)),
    crop_pct=st.sampled_from([0.8, 0.875, 0.95, 1.0]),
    crop_mode=st.sampled_from(["centre", "squash", "border"]),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_preprocessing_is_timm_s(
    tmp_path: Path,
    size: tuple[int, int],
    input_size: tuple[int, int],
    crop_pct: float,
    crop_mode: Any,
    interpolation: Any,
    seed: int,
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    config = {
        "input_size": (3, *input_size),
        "interpolation": interpolation,
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.2, 0.2),
        "crop_pct": crop_pct,
        "crop_mode": crop_mode.replace("centre", "center"),
    }
    theirs = timm.data.create_transform(**config, normalize=False)(Image.open(tmp_path / "x.png"))
    ours = preprocessing(timm_preset(config))
    assert (ours.mean, ours.std) == (config["mean"], config["std"])
    np.testing.assert_array_equal(decode(ours, tmp_path / "x.png").transpose(2, 0, 1), theirs.numpy())


def preprocessing(preset: dict[str, Any] | None = None, **options: Any) -> Preprocessing:
    return Preprocessing.of(RunConfig.of({"model": "m", "images": "i", "out": "o", **options}), preset)


def test_preprocessing_comes_from_options_then_the_weights_then_imagenet() -> None:
    preset = {"resize": 342, "crop": (299, 299), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    assert preprocessing() == Preprocessing(256, (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert preprocessing(preset) == Preprocessing(342, (299, 299), (0.5,) * 3, (0.25,) * 3)
    assert preprocessing(preset, resize="none", crop=64, mean=[0, 0, 0]) == Preprocessing(
        None, (64, 64), (0.0,) * 3, (0.25,) * 3
    )
    assert preprocessing({**preset, "interpolation": "lanczos", "crop_mode": "border"}, crop_mode="squash") == (
        Preprocessing(342, (299, 299), (0.5,) * 3, (0.25,) * 3, interpolation="lanczos", crop_mode="squash")
    )
    assert preprocessing(resize=(30, 40)).resize == (30, 40)
    assert preprocessing(crop=(10, 20), mean=0.5, std=0.5).input_size == (1, 10, 20)


@pytest.mark.parametrize("options", [{"mean": [0.5]}, {"mean": [0.5] * 2, "std": [0.5] * 2}])
def test_mean_and_std_must_fit_each_other(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"mean has \d values and std \d; both need 3"):
        preprocessing(**options)
