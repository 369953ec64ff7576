"""What a zoo, or a file of one's own, gives of a network, before an image has run through it."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from torch import nn

from summit_dask.facts.config import CropMode, Interpolation
from summit_dask.facts.errors import ModelError


class Preset(TypedDict, total=False):
    """What weights say of their preprocessing, by the names of `Preprocessing`; what is left out is ImageNet's."""

    resize: int | tuple[int, int] | None
    crop: int | tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation
    crop_mode: CropMode


class WeightsFile(NamedTuple):
    """A weights file, and which of its state dicts is meant (`weights.read_state`)."""

    path: Path
    key: str | None


@dataclass(frozen=True, eq=False)
class FoundNetwork:
    """A network as it was found.

    Attributes
    ----------
    module
        With its weights, unless `file` is given.
    file
        Weights that are still to be read: lazy layers have no place for them before their first image.
    transform_input
        Whether torchvision's GoogLeNet or Inception v3 changes the ImageNet normalisation into its own; None for
        others.
    preprocessing, categories
        What the zoo says of the image and of the outputs; None where it says nothing.
    """

    module: nn.Module
    file: WeightsFile | None = None
    transform_input: bool | None = None
    preprocessing: Preset | None = None
    categories: tuple[str, ...] | None = None


def zoo_package(name: str) -> Any:
    """A package that only some users need, imported now.

    Raises
    ------
    ModelError
        If it isn't installed, or can't be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelError(
            f"{name} can't be imported: {error}. It isn't installed with summit-dask unless asked for: "
            f"pip install 'summit-dask[zoo]', in a clone pip install '.[zoo]'."
        ) from error
