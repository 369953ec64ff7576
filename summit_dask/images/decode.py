"""From an image file to pixels: opened in the network's colours, resized and cropped as torchvision and timm do.

Grey files of more than eight bits get eight by the range of their kind, the same for every image:

    unsigned integers of up to 16 bits      0 to 2**bits - 1; the upper eight bits are kept
    (TIFF, PNG, PGM, JPEG 2000)
    other integers (32 bits, or signed)     0 to 255
    floats (TIFF, PFM)                      0 to 1

A file with values outside its range, or so far below its end that everything would be black, is unreadable. Scaled
by its own values it would be brighter than others; clipped or black it would count as read without having been.

A file of a few kilobytes can stand for gigabytes of pixels, so a picture of more than `MOST_PIXELS` is not decoded, nor
resized to more, as a strip of 1 x 40000 would be.
"""

from io import BufferedReader, BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.files import opened

BITS_PER_SAMPLE = 258
PHOTOMETRIC_INTERPRETATION = 262
WHITE_IS_ZERO = 0

#: As many as Pillow takes without a warning; at four bytes each 358 MB.
MOST_PIXELS = 89_478_485


def open_image(preprocessing: Preprocessing, content: Path | bytes) -> Image.Image:
    """Picture of an image file, or of its bytes, in the colours that the network takes, neither resized nor cropped.

    The file's orientation tag is applied or ignored as `preprocessing` says; that of a TIFF file Pillow applies.

    Raises
    ------
    ValueError
        If the picture has too many pixels, or values that don't fit the range of the file's kind.
    OSError
        If it is no file, but a pipe, a socket or a device.
    Exception
        Whatever Pillow raises for a file that it can't read.
    """
    # Given a path, Pillow maps uncompressed files into memory and scrambles those that it turns.
    with opened(content) if isinstance(content, Path) else BytesIO(content) as file, _opened(file) as image:
        white = _white(image)
        negative = _is_negative(image)
        deep_colour = white is None and any(";16" in str(tile) for tile in image.tile)
        upright = ImageOps.exif_transpose(image) if preprocessing.orientation == "apply" else image
        eight = _plain_palette(upright) if white is None else _eight_bits(np.asarray(upright), white, negative)
        picture = eight.convert("RGB" if len(preprocessing.mean) == 3 else "L")
    if deep_colour and picture.getbbox() is None:
        raise ValueError("the upper eight of its sixteen bits are 0 everywhere, so it would be black; save it with 8")
    return picture


def decode(preprocessing: Preprocessing, content: Path | bytes) -> UInt8[np.ndarray, "height width colour"]:
    """Pixels of an image file, or of its bytes, resized and cropped.

    Raises
    ------
    ValueError
        If the picture has too many pixels, also when resized, or values that don't fit the range of the file's kind.
    Exception
        Whatever Pillow raises for a file that it can't read.
    """
    return fitted(preprocessing, open_image(preprocessing, content))


def fitted(preprocessing: Preprocessing, picture: Image.Image) -> UInt8[np.ndarray, "height width colour"]:
    """Pixels of an opened picture, resized and cropped.

    Raises
    ------
    ValueError
        If the picture has too many pixels when resized.
    """
    (height, width), (top, left) = preprocessing.placement((picture.height, picture.width))
    _check_pixels((width, height), f" after resizing its {picture.width} x {picture.height}")
    resized = picture.resize((width, height), Image.Resampling[preprocessing.interpolation.upper()])
    cropped = Image.new(picture.mode, preprocessing.crop[::-1], _border(preprocessing))
    cropped.paste(resized, (-left, -top))
    return np.asarray(cropped).reshape(*preprocessing.crop, len(preprocessing.mean))


def _border(preprocessing: Preprocessing) -> tuple[int, ...]:
    """Colour around images that are smaller than the network's input."""
    return tuple(round(255 * mean) if preprocessing.crop_mode == "border" else 0 for mean in preprocessing.mean)


def _opened(file: BufferedReader | BytesIO) -> ImageFile:
    try:
        image = Image.open(file)
    except UnidentifiedImageError as error:
        raise UnidentifiedImageError("not a picture that Pillow can read") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"it has more than the {MOST_PIXELS:,} pixels that are decoded; make it smaller") from error
    _check_pixels(image.size)
    return image


def _check_pixels(size: tuple[int, int], when: str = "") -> None:
    width, height = size
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"it has {width} x {height} pixels{when}, more than the {MOST_PIXELS:,} that are decoded; make it smaller"
        )


def _plain_palette(image: Image.Image) -> Image.Image:
    """Palettes with transparent colours lose the transparency, not the colours."""
    return image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image


def _white(image: Image.Image) -> float | None:
    """The value that is white, of grey files of more than eight bits; else None."""
    if image.mode == "F":
        return 1.0
    if image.mode == "I" and image.format not in ("PPM", "PNG"):
        return 255.0
    if not image.mode.startswith("I"):
        return None
    bits = image.tag_v2[BITS_PER_SAMPLE][0] if isinstance(image, TiffImageFile) else 16
    return float(2**bits - 1)


def _is_negative(image: Image.Image) -> bool:
    return isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO


def _eight_bits(values: NDArray[np.number], white: float, negative: bool) -> Image.Image:
    """Grey levels 0 to 255 of values from 0 to `white`, or from `white` to 0 of a negative.

    Raises
    ------
    ValueError
        If values lie outside (or are NaN), or all levels would be 0 though the values are not.
    """
    low, high = float(values.min()), float(values.max())
    if np.isnan(low):
        raise ValueError("some grey values are no numbers (NaN); save it with 8 bits")
    if low < 0 or high > white:
        raise ValueError(
            f"grey values from {low:g} to {high:g}, where such files hold 0 to {white:g}; save it with 8 bits"
        )
    from_black = white - values.astype(np.float64) if negative else values.astype(np.float64)
    levels = np.round(from_black * 255) if values.dtype.kind == "f" else np.floor(from_black * 256 / (white + 1))
    if levels.max() == 0 and from_black.max() > 0:
        raise ValueError(f"grey values up to {high:g} of {white:g}, so it would be black; save it with 8 bits")
    return Image.fromarray(levels.astype(np.uint8))
