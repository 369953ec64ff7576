"""Hugging Face's image classifiers, from a folder that `save_pretrained` wrote."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from summit_dask.facts.errors import ConfigError, ModelError, WeightsError
from summit_dask.network.weights import counts_batches
from summit_dask.network.zoos.found import FoundNetwork, Preset, zoo_package

_DEFAULT = "DEFAULT"

#: From this size on, a processor that takes a fraction and has no crop resizes to just that size.
_SQUASHED_FROM = 384


def transformers_network(folder: str, weights: str | None, weights_key: str | None) -> FoundNetwork:
    """A network of transformers', as `find_network` says.

    Raises
    ------
    ModelError, WeightsError, ConfigError
        As `find_network`.
    """
    transformers = zoo_package("transformers")
    _check_options(folder, weights, weights_key)
    if not (Path(folder) / "config.json").is_file():
        raise ModelError(
            f"There is no config.json in {folder}. transformers:FOLDER takes a folder of this machine that "
            "save_pretrained wrote, or that a repository was downloaded into."
        )
    transformers.utils.logging.disable_progress_bar()
    module = _module(transformers, folder)
    names = {int(index): str(name) for index, name in module.config.id2label.items()}
    categories = tuple(names[index] for index in sorted(names))
    return FoundNetwork(module, preprocessing=_preset(transformers, folder), categories=categories)


def _check_options(folder: str, weights: str | None, weights_key: str | None) -> None:
    for name, value in (("weights", weights), ("weights_key", weights_key)):
        if value is not None and (name, value) != ("weights", _DEFAULT):
            raise ConfigError(
                f"The option {name!r} is {value!r}, but the network of transformers:{folder} has its weights in its "
                "folder; leave it out."
            )


def _module(transformers: Any, folder: str) -> Any:
    try:
        module, report = transformers.AutoModelForImageClassification.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype="auto"
        )
    except Exception as error:  # configurations, files and constructors raise whatever they like
        reason = next(iter(str(error).splitlines()), "")
        raise ModelError(
            f"transformers can't load an image classifier from {folder}: {type(error).__name__}: {reason}"
        ) from error
    missing = sorted(name for name in report["missing_keys"] if not counts_batches(name))
    misshaped = sorted(str(key) for key in report["mismatched_keys"])
    if missing or misshaped:
        raise WeightsError(
            f"The weights in {folder} don't fit {type(module).__name__}: {len(missing)} missing "
            f"({', '.join(missing[:5])}), {len(misshaped)} of another shape ({', '.join(misshaped[:5])}). transformers "
            "would draw them at random; fine-tune the network first."
        )
    assert isinstance(module, nn.Module)
    return module


# Preprocessing


def _preset(transformers: Any, folder: str) -> Preset | None:
    """What the folder's preprocessor_config.json says; None where there is none."""
    if not (Path(folder) / "preprocessor_config.json").is_file():
        return None
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        preset: Preset = {**_geometry(processor), **_colours(processor)}  # type: ignore[typeddict-item]
    except Exception as error:  # the file can hold anything
        raise ModelError(f"{folder}/preprocessor_config.json can't be followed: {error}") from error
    return preset


def _geometry(processor: Any) -> dict[str, Any]:
    """Sizes, filter and crop mode.

                                                             resize          crop
    size {shortest_edge}                                     shorter side    crop_size
    size {shortest_edge}, crop_pct                           s / crop_pct    crop_size, else s x s
    the same without crop_size, from 384 on; {height, width} to just that    crop_size, else the same
    """
    if not processor.do_resize:
        return {"resize": None, **_crop(processor)}
    size, fraction = dict(processor.size), getattr(processor, "crop_pct", None)
    given = {key: value for key, value in size.items() if value is not None}
    geometry: dict[str, Any] = {"interpolation": Image.Resampling(int(processor.resample)).name.lower()}
    if given.keys() == {"height", "width"}:
        exact = (given["height"], given["width"])
        return {**geometry, "resize": exact, "crop": exact, "crop_mode": "squash", **_crop(processor)}
    if given.keys() != {"shortest_edge"}:
        raise ValueError(f"its size is {given}, expected shortest_edge, or height and width.")
    short = given["shortest_edge"]
    if fraction is None:
        return {**geometry, "resize": short, **_crop(processor)}
    if short >= _SQUASHED_FROM and not _crop(processor):
        return {**geometry, "resize": (short, short), "crop": (short, short), "crop_mode": "squash"}
    return {**geometry, "resize": int(short / fraction), "crop": (short, short), **_crop(processor)}


def _crop(processor: Any) -> dict[str, Any]:
    if not getattr(processor, "do_center_crop", None):
        return {}
    return {"crop": (processor.crop_size["height"], processor.crop_size["width"])}


def _colours(processor: Any) -> dict[str, Any]:
    """Mean and std of pixels between 0 and 1: (255 * pixel * factor - mean) / std is (pixel - m) / s."""
    for name in ("do_flip_channel_order", "rescale_offset"):
        if getattr(processor, name, False):
            raise ValueError(f"it has {name}, which there is no option for.")
    factor = 255 * (processor.rescale_factor if processor.do_rescale else 1)
    mean, std = np.zeros(3), np.ones(3)
    if processor.do_normalize:
        mean, std = (np.broadcast_to(values, 3) for values in (processor.image_mean, processor.image_std))
    if getattr(processor, "include_top", False):
        std = std * processor.image_std  # EfficientNet's divides once more
    return {name: tuple((values / factor).tolist()) for name, values in (("mean", mean), ("std", std))}
