"""timm's networks by name, with its own weights or those of a file."""

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from summit_dask.facts.errors import ConfigError, ModelError, WeightsError, suggestion
from summit_dask.network.weights import Expected, read_state
from summit_dask.network.zoos.found import FoundNetwork, Preset, zoo_package

_DEFAULT = "DEFAULT"
_FOLDER = "timm:local-dir:FOLDER"

#: How timm's modules call what turns the original layout of an architecture's weights into its own.
_CONVERTERS = ("checkpoint_filter_fn", "_filter_fn")


def timm_network(name: str, weights: str | None, weights_key: str | None) -> FoundNetwork:
    """A network of timm's, as `find_network` says; `name` may have a tag, or begin with ``hf-hub:``.

    Raises
    ------
    ModelError, WeightsError, ConfigError
        As `find_network`.
    """
    timm = zoo_package("timm")
    _check_name(timm, name)
    if weights is None:
        raise WeightsError(
            f"timm:{name} needs weights: a file, or {_DEFAULT} for timm's. A network with random weights shows nothing."
        )
    if weights == _DEFAULT:
        module = _pretrained(timm, name, weights_key)
    elif Path(weights).exists():
        module = _from_file(timm, name, Path(weights), weights_key)
    else:
        raise WeightsError(f"The weights {weights!r} of timm:{name} are neither a file nor {_DEFAULT}.")
    preset = timm_preset(timm.data.resolve_model_data_config(module))
    return FoundNetwork(module, preprocessing=preset, categories=_categories(module) if weights == _DEFAULT else None)


def timm_preset(config: Mapping[str, Any]) -> Preset:
    """Preprocessing out of what timm's `resolve_model_data_config` gives.

    Examples
    --------
    >>> config = {"input_size": (3, 224, 224), "crop_pct": 0.875, "crop_mode": "center", "interpolation": "bicubic"}
    >>> timm_preset({**config, "mean": (0.5,) * 3, "std": (0.5,) * 3})["resize"]
    (256, 256)
    """
    _, height, width = config["input_size"]
    mode = config["crop_mode"]
    return Preset(
        resize=(math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"])),
        crop=(height, width),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        crop_mode="centre" if mode == "center" else mode,
    )


def _categories(module: nn.Module) -> tuple[str, ...] | None:
    """Names of the outputs, where the configuration beside the weights gives them."""
    names = getattr(module, "pretrained_cfg", {}).get("label_names")
    return None if names is None else tuple(map(str, names))


def _check_name(timm: Any, name: str) -> None:
    """See that timm has such a network and such a tag; what lies on a hub or in a folder shows when it is loaded."""
    if ":" in name:
        return
    if "/" in name:
        raise ModelError(f"timm has no network {name!r}; on a hub it is timm:hf-hub:{name}, a folder's is {_FOLDER}.")
    family, _, tag = name.partition(".")
    if not timm.is_model(family):
        raise ModelError(f"timm has no network {family!r}. {suggestion(family, timm.list_models())}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{family}.*")]
    if tag and tag not in tags:
        raise ModelError(f"timm has no weights {tag!r} of {family}. {suggestion(tag, tags)}")


def _pretrained(timm: Any, name: str, weights_key: str | None) -> nn.Module:
    if weights_key is not None:
        raise ConfigError(
            f"The option 'weights_key' is {weights_key!r}, but it is for weights from a file, not for timm's; leave it "
            "out."
        )
    return _created(timm, name, pretrained=True)


def _created(timm: Any, name: str, **options: Any) -> nn.Module:
    try:
        module: nn.Module = timm.create_model(name, **options)
    except Exception as error:  # hubs, files and constructors raise whatever they like
        reason = next(iter(str(error).splitlines()), "")
        raise WeightsError(
            f"timm:{name} can't be had: {type(error).__name__}: {reason} Without a network, download the repository's "
            f"folder where that works and give {_FOLDER} (on every worker's machine), or a name that timm has and "
            "--weights FILE."
        ) from error
    return module


# Files


def _from_file(timm: Any, name: str, path: Path, key: str | None) -> nn.Module:
    module = _created(timm, name)
    expected = _expected(module)
    state = read_state(path, expected, key)
    if expected.class_sized:
        module = _created(timm, name, num_classes=expected.n_classes(state))
    module.load_state_dict(state, assign=True)
    return module


def _expected(module: Any) -> Expected:
    tensors = module.state_dict()
    named = module.pretrained_cfg.get("classifier") or ()
    beginnings = tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))
    classifiers = tuple(name for name in tensors if name.startswith(beginnings))
    return Expected(tensors, class_sized=classifiers, convert=_converter(module))


def _converter(module: nn.Module) -> Callable[[dict[str, Tensor]], Mapping[str, Tensor]] | None:
    """timm's function that renames the tensors of an architecture's original weights; None where it has none."""
    home = sys.modules[type(module).__module__]
    convert = next((getattr(home, name) for name in _CONVERTERS if hasattr(home, name)), None)
    return None if convert is None else lambda state: convert(state, module)
