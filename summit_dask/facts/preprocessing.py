"""How an image becomes the network's input, as plain data that is stored with the results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.errors import ConfigError


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes the network's input: resize, centre crop, ``(x / 255 - mean) / std``.

    `resize` is the shorter side in pixels (bilinear, antialias), None for none; `crop` is (height, width).
    A mean of one value means grey input. `orientation` says whether a camera's orientation tag turns the image
    before anything else: "ignore", as torchvision does, or "apply".
    """

    resize: int | None = 256
    crop: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    orientation: Literal["ignore", "apply"] = "ignore"

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width of the network's input."""
        return (len(self.mean), *self.crop)

    @classmethod
    def of(cls, options: MeasureOptions, preset: Mapping[str, Any] | None) -> "Preprocessing":
        """The options of a run, over the weights' own preset, over the ImageNet standard.

        Raises
        ------
        ConfigError
            If mean and std differ in length or are neither 1 nor 3 values.
        """
        known = {key: value for key, value in (preset or {}).items() if key in ("resize", "crop", "mean", "std")}
        given = {key: getattr(options, key) for key in ("resize", "crop", "mean", "std")}
        facts: dict[str, Any] = {**known, **{key: value for key, value in given.items() if value is not None}}
        if facts.get("resize") == "none":
            facts["resize"] = None
        if isinstance(crop := facts.get("crop"), int):
            facts["crop"] = (crop, crop)
        made = cls(**facts, orientation=options.orientation)
        if len(made.mean) != len(made.std) or len(made.mean) not in (1, 3):
            raise ConfigError(
                f"mean has {len(made.mean)} values and std {len(made.std)}; both need 3 (RGB) or 1 (grey input)."
            )
        return made
