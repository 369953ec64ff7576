"""torchvision's networks by name, with its own weights or those of a file."""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
import torchvision.models
from torch import nn

from summit_dask.facts.errors import ConfigError, ModelError, WeightsError, suggestion
from summit_dask.network.weights import Expected, read_state
from summit_dask.network.zoos.found import FoundNetwork, Preset

#: Heads that torchvision trains beside the network's own; they don't lead to its output.
_AUXILIARY = ("aux1", "aux2", "AuxLogits")

#: torchvision's builders whose original weights expect another normalisation of the image (`transform_input`).
TRANSFORMING = ("googlenet", "inception_v3")


def torchvision_network(
    name: str, weights: str | None, weights_key: str | None, transform_input: bool | None
) -> FoundNetwork:
    """A network of torchvision's, as `find_network` says.

    Raises
    ------
    ModelError, WeightsError, ConfigError
        As `find_network`.
    """
    known = torchvision.models.list_models(torchvision.models)
    if name not in known:
        raise ModelError(f"torchvision has no classifier {name!r}. {suggestion(name, known)}")
    if transform_input is not None and name not in TRANSFORMING:
        raise ConfigError(
            f"The option 'transform_input' is {transform_input}, but it is for torchvision's "
            f"{' and '.join(TRANSFORMING)} alone; leave it out for {name}."
        )
    enum = torchvision.models.get_model_weights(name)
    if weights is None:
        raise WeightsError(
            f"torchvision:{name} needs weights: a file, or one of {', '.join(enum.__members__)}. "
            "A network with random weights shows nothing."
        )
    own = weights.removeprefix(f"{enum.__name__}.")
    if own in enum.__members__:
        return _named(name, enum[own], weights_key, transform_input)
    if not Path(weights).exists():
        raise WeightsError(
            f"The weights {weights!r} of torchvision:{name} are neither a file nor torchvision's. "
            f"{suggestion(own, enum.__members__)}"
        )
    return _from_file(name, Path(weights), weights_key, transform_input)


def _named(name: str, weights: Any, weights_key: str | None, transform_input: bool | None) -> FoundNetwork:
    if weights_key is not None:
        raise ConfigError(
            f"The option 'weights_key' is {weights_key!r}, but it is for weights from a file, not for {weights}; "
            "leave it out."
        )
    options = {} if transform_input is None else {"transform_input": transform_input}
    try:
        module = torchvision.models.get_model(name, weights=weights, progress=False, **options)
    except (OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"The weights {weights} of torchvision:{name} can't be had: {error}. They are at {weights.url}; download "
            f"them where that works and put the file, under its own name, into {folder} (on every worker's machine)."
        ) from error
    if name in TRANSFORMING:
        transform_input = bool(module.transform_input)
        for head in _AUXILIARY:
            setattr(module, head, None)
    return FoundNetwork(
        module,
        transform_input=transform_input,
        preprocessing=preset_of(weights.transforms()),
        categories=tuple(weights.meta["categories"]),
    )


def preset_of(transforms: Any) -> Preset:
    return Preset(
        resize=transforms.resize_size[0],
        crop=transforms.crop_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
    )


# Files


def _from_file(name: str, path: Path, key: str | None, transform_input: bool | None) -> FoundNetwork:
    expected = _expected(name)
    state = read_state(path, expected, key)
    options: dict[str, Any] = {"num_classes": expected.n_classes(state)}
    if name in TRANSFORMING:
        transform_input = _transforms(name, path) if transform_input is None else transform_input
        options["transform_input"] = transform_input
    module = _meta_network(name, **options)
    module.load_state_dict(state, assign=True)
    return FoundNetwork(module, transform_input=transform_input)


def _transforms(name: str, path: Path) -> bool:
    """Whether the network of a file changes the image's normalisation first: nothing in the file tells."""
    if any(_is_download(path, weights) for weights in torchvision.models.get_model_weights(name)):
        return True
    raise WeightsError(
        f"{path} can't tell whether its {name} changes the image's normalisation first (transform_input). A network "
        f"fine-tuned from torchvision's weights, {name}(weights='DEFAULT'), does: give --transform-input. One trained "
        f"from scratch, {name}(weights=None), doesn't: give --no-transform-input."
    )


def _is_download(path: Path, weights: Any) -> bool:
    """Whether a file is the one that torchvision downloads, whose address ends in the start of its SHA-256."""
    start = re.search(r"-([0-9a-f]{8,})\.\w+$", weights.url)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return start is not None and digest.startswith(start[1])


def _expected(name: str) -> Expected:
    one, other = (_meta_network(name, num_classes=n).state_dict() for n in (1000, 1001))
    changing = tuple(key for key in one if one[key].shape != other[key].shape)
    return Expected(one, class_sized=changing, spare=_AUXILIARY if name in TRANSFORMING else ())


def _meta_network(name: str, **options: Any) -> nn.Module:
    """A network without memory for its weights, so that none are drawn only to be replaced."""
    if name in TRANSFORMING:
        options = {"aux_logits": False, "init_weights": False, **options}
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None, **options)  # type: ignore[no-any-return]
