"""How an image becomes the network's input, as plain data that is stored with the results."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from summit_dask.facts.config import CropMode, Interpolation, MeasureOptions, Orientation
from summit_dask.facts.errors import ConfigError


class Placement(NamedTuple):
    """Where an image lies behind the network's input: (height, width) it is resized to, and (top, left) of the input.

    A negative offset means a border around an image that is smaller than the input.
    """

    size: tuple[int, int]
    offset: tuple[int, int]


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes the network's input: resize, centre crop, ``(x / 255 - mean) / std``.

    Attributes
    ----------
    resize
        Height and width in pixels, None for none; one number stands for both. What they mean says `crop_mode`.
    crop
        Height and width of the network's input, cut from the middle; smaller images get a border.
    mean, std
        One value each means grey input.
    orientation
        Whether a camera's orientation tag turns the image before anything else: "ignore", as torchvision does, or
        "apply".
    interpolation
        Pillow's filter; all but "nearest" smooth what they shrink.
    crop_mode
        "centre": the image keeps its shape and covers `resize`; "squash": it is resized to just that; "border": it
        keeps its shape, fits into it, and the border has the mean colour. Otherwise a border is black.
    """

    resize: int | tuple[int, int] | None = 256
    crop: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    orientation: Orientation = "ignore"
    interpolation: Interpolation = "bilinear"
    crop_mode: CropMode = "centre"

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width of the network's input."""
        return (len(self.mean), *self.crop)

    def placement(self, original: tuple[int, int]) -> Placement:
        """Where an image of some height and width lies behind the network's input.

        Examples
        --------
        >>> Preprocessing(256, (224, 224)).placement((512, 1024))
        Placement(size=(256, 512), offset=(16, 144))
        >>> Preprocessing(224, (224, 224), crop_mode="border").placement((512, 1024))
        Placement(size=(112, 224), offset=(-56, 0))
        """
        height, width = self._resized(original)
        return Placement((height, width), (_offset(height, self.crop[0]), _offset(width, self.crop[1])))

    def _resized(self, original: tuple[int, int]) -> tuple[int, int]:
        if self.resize is None:
            return original
        pair = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        if self.crop_mode == "squash":
            return pair
        if self.crop_mode == "centre" and pair[0] == pair[1]:
            return _shorter_side(original, pair[0])
        ratios = [own / wanted for own, wanted in zip(original, pair, strict=True)]
        ratio = max(ratios) if self.crop_mode == "border" else min(ratios)
        height, width = (max(round(side / ratio), 1) for side in original)
        return height, width

    @classmethod
    def of(cls, options: MeasureOptions, preset: Mapping[str, Any] | None) -> "Preprocessing":
        """The options of a run, over the weights' own preset, over the ImageNet standard.

        Raises
        ------
        ConfigError
            If mean and std differ in length or are neither 1 nor 3 values.
        """
        names = [field.name for field in fields(cls)]
        given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
        facts: dict[str, Any] = {**(preset or {}), **given}
        if facts.get("resize") == "none":
            facts["resize"] = None
        if isinstance(crop := facts.get("crop"), int):
            facts["crop"] = (crop, crop)
        made = cls(**facts)
        if len(made.mean) != len(made.std) or len(made.mean) not in (1, 3):
            raise ConfigError(
                f"mean has {len(made.mean)} values and std {len(made.std)}; both need 3 (RGB) or 1 (grey input)."
            )
        return made


def _shorter_side(original: tuple[int, int], wanted: int) -> tuple[int, int]:
    """The longer side is rounded down, as torchvision does; everything else rounds to the nearest, as timm does."""
    short = min(original)
    height, width = (wanted if side == short else int(wanted * side / short) for side in original)
    return height, width


# Along one axis, for an image larger than the input and one smaller:
#
#     resized   0 ──────┬──────────┬────── size                        0 ───────── size
#     input             0 ──────── crop                        0 ──────┴───────────┴────── crop
#                offset ┘                                    - offset ─┘
def _offset(size: int, crop: int) -> int:
    """The two ways to round are those of torchvision's padding and cropping."""
    return -((crop - size) // 2) if crop > size else round((size - crop) / 2)
