"""Loading networks and their weights: torchvision's, or a module of the user's own.

Weights come as torchvision's own (downloaded), as safetensors, or as a state dict that `torch.load` reads with
``weights_only=True``. Any other pickle could run code and is refused.
"""

import hashlib
import importlib
import importlib.util
import pickle
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict

import torch
import torchvision.models
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from summit_dask.facts.errors import ModelError, WeightsError, suggestion
from summit_dask.network.export import first_tensor

State = Mapping[str, Tensor]

#: Heads that torchvision trains beside the network's own; they don't lead to its output.
_AUXILIARY = ("aux1", "aux2", "AuxLogits")

#: torchvision's builders whose original weights expect another normalisation of the image (`transform_input`).
_TRANSFORMING = ("googlenet", "inception_v3")


class Preset(TypedDict):
    """torchvision's preprocessing of a network: sizes in pixels, mean and standard deviation of the colours."""

    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network with its weights.

    Attributes
    ----------
    module
        In eval mode, float32, on the CPU; without auxiliary heads where torchvision has them.
    digest
        SHA-256 over the names, shapes and bytes of the module's state dict, hexadecimal.
    preprocessing, categories
        What torchvision's own weights say of the image and of the outputs; None for any other weights.
    """

    module: nn.Module
    digest: str
    preprocessing: Preset | None
    categories: tuple[str, ...] | None


def load_network(model: str, weights: str | None) -> LoadedNetwork:
    """A network with its weights.

    Parameters
    ----------
    model
        ``torchvision:NAME``, ``path/to/file.py:Class`` or ``package.module:factory``.
    weights
        A safetensors file or a file with a state dict; for torchvision also its own name for weights, or ``DEFAULT``.
        None only for a class or factory of one's own that brings its weights along.

    Raises
    ------
    ModelError
        If there is no such network or it can't be built.
    WeightsError
        If the weights are missing, can't be downloaded, are of a refused kind, or don't fit.

    Notes
    -----
    torchvision's original GoogLeNet and Inception v3 weights belong to a network that first changes the ImageNet
    normalisation into its own (`transform_input`); they also hold auxiliary heads. So a *file* with auxiliary keys is
    taken for these, one without them for a network that takes the normalised image as it is. Where that is wrong, give
    a factory of your own that builds the network as it was trained.
    """
    place, separator, name = model.rpartition(":")
    if not separator or not place or not name:
        raise ModelError(
            f"The model {model!r} isn't one of torchvision:NAME, path/to/file.py:Class and package.module:factory."
        )
    if place == "torchvision":
        return _torchvision_network(name, weights)
    module = _built(model, _own_factory(place, name))
    if weights is not None:
        state = _read_state(Path(weights))
        _check_fit(module.state_dict(), state, weights)
        module.load_state_dict(state)
    return _loaded(module)


def n_outputs(module: nn.Module, input_size: tuple[int, int, int]) -> int:
    """Number of a network's outputs for images of some channels, height and width.

    Raises
    ------
    ModelError
        If the network doesn't run on such an image, or doesn't give one number per output.
    """
    try:
        with torch.inference_mode():
            shape = tuple(first_tensor(module.eval()(torch.zeros(1, *input_size))).shape)
    except Exception as error:
        raise ModelError(f"The network doesn't run on an image of shape {input_size}: {error}") from error
    if len(shape) != 2:
        raise ModelError(f"The network's output for one image has the shape {shape}, expected (1, outputs).")
    return shape[1]


def _loaded(module: nn.Module, preset: Preset | None = None, categories: Iterable[str] | None = None) -> LoadedNetwork:
    module = module.float().cpu().eval().requires_grad_(False)
    return LoadedNetwork(module, _digest(module), preset, None if categories is None else tuple(categories))


def _digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


# torchvision


def _torchvision_network(name: str, weights: str | None) -> LoadedNetwork:
    known = torchvision.models.list_models(torchvision.models)
    if name not in known:
        raise ModelError(f"torchvision has no classifier {name!r}. {suggestion(name, known)}")
    enum = torchvision.models.get_model_weights(name)
    if weights is None:
        raise WeightsError(
            f"torchvision:{name} needs weights: a file, or one of {', '.join(enum.__members__)}. "
            "A network with random weights shows nothing."
        )
    own = weights.removeprefix(f"{enum.__name__}.")
    if own in enum.__members__:
        return _downloaded(name, enum[own])
    if not Path(weights).exists():
        raise WeightsError(
            f"The weights {weights!r} of torchvision:{name} are neither a file nor torchvision's. "
            f"{suggestion(own, enum.__members__)}"
        )
    return _loaded(_from_file(name, Path(weights)))


def _downloaded(name: str, weights: Any) -> LoadedNetwork:
    try:
        module = torchvision.models.get_model(name, weights=weights, progress=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"The weights {weights} of torchvision:{name} can't be had: {error}. They are at {weights.url}; download "
            "them where that works and give the file as --weights."
        ) from error
    return _loaded(_without_auxiliary_heads(module), _preset(weights.transforms()), weights.meta["categories"])


def _without_auxiliary_heads(module: nn.Module) -> nn.Module:
    for name in _AUXILIARY:
        if hasattr(module, name):
            setattr(module, name, None)
    return module


def _preset(transforms: Any) -> Preset:
    return Preset(
        resize=transforms.resize_size[0],
        crop=transforms.crop_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
    )


def _from_file(name: str, path: Path) -> nn.Module:
    state = _read_state(path)
    options: dict[str, Any] = {}
    if name in _TRANSFORMING:
        original = any(key.startswith(_AUXILIARY) for key in state)
        options = {"aux_logits": False, "init_weights": False, "transform_input": original}
        state = {key: value for key, value in state.items() if not key.startswith(_AUXILIARY)}
    module = _meta_network(name, num_classes=_n_classes(name, state), **options)
    state = _with_batch_counts(module, state)
    _check_fit(module.state_dict(), state, str(path))
    module.load_state_dict(state, assign=True)
    return module


def _meta_network(name: str, **options: Any) -> nn.Module:
    """A network without memory for its weights, so that none are drawn only to be replaced."""
    options = {"aux_logits": False, "init_weights": False} | options if name in _TRANSFORMING else options
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None, **options)  # type: ignore[no-any-return]


def _n_classes(name: str, state: State) -> int:
    """Outputs that a state dict was made for: the length of what depends on the number of classes."""
    one, two = (_meta_network(name, num_classes=n).state_dict() for n in (1000, 1001))
    changing = [key for key in one if one[key].shape != two[key].shape and key in state]
    return len(state[changing[0]]) if changing else 1000


def _with_batch_counts(module: nn.Module, state: State) -> State:
    """Batch norms count batches in training only; files may leave that out."""
    counts = {key: torch.tensor(0) for key in module.state_dict() if key.endswith("num_batches_tracked")}
    return {**counts, **state}


# The user's own modules


def _own_factory(place: str, name: str) -> Any:
    module = _file_module(Path(place)) if place.endswith(".py") else _package_module(place)
    if not hasattr(module, name):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ModelError(f"There is no {name!r} in {place}. {suggestion(name, public)}")
    return getattr(module, name)


def _file_module(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise ModelError(f"There is no file {path} to take the network from.")
    name = f"_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))  # the file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ModelError(f"{path} can't be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _package_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ModelError(
            f"The module {name} can't be imported: {type(error).__name__}: {error}. A file is given as path/to/file.py."
        ) from error


def _built(model: str, factory: Any) -> nn.Module:
    try:
        module = factory()
    except Exception as error:
        raise ModelError(
            f"{model} can't be built: {type(error).__name__}: {error}. It is called without arguments; "
            "write a function without any that builds the network."
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{model} gives a {type(module).__name__}, expected a torch.nn.Module.")
    return module


# Weights files


def _read_state(path: Path) -> State:
    """Tensors of a weights file by name; floating ones as float32."""
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key in ("state_dict", "model"):  # how training scripts save it, beside the optimiser and the like
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()) or not content:
        raise WeightsError(f"{path} holds a {type(content).__name__}, expected a state dict (name: tensor).")
    prefix = "module." if all(key.startswith("module.") for key in content) else ""  # from DataParallel
    return {k.removeprefix(prefix): v.float() if v.is_floating_point() else v for k, v in content.items()}


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no safetensors file: {error}.") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path} is neither a safetensors file nor a plain state dict, and other pickles are refused, as they "
            "can run any code. Save torch.save(network.state_dict(), file) where you trust the file, and give that. "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error


def _check_fit(expected: State, found: State, path: str) -> None:
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    reshaped = [
        f"{key} {tuple(found[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in found and found[key].shape != value.shape
    ]
    parts = [
        f"{len(keys)} {what} ({', '.join(keys[:5])}{', …' if len(keys) > 5 else ''})"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if keys
    ]
    if parts:
        raise WeightsError(
            f"The weights {path} don't fit the network, which has {len(expected)} tensors: {'; '.join(parts)}. "
            "Check that the model is the one these weights were trained in."
        )
