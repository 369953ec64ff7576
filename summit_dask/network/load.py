"""Loading networks by what a user calls them: torchvision's (`zoo`), or a module of the user's own."""

import hashlib
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from summit_dask.facts.errors import ConfigError, ModelError, suggestion
from summit_dask.network.export import first_tensor
from summit_dask.network.weights import Expected, counts_batches, read_state
from summit_dask.network.zoo import Preset, torchvision_network, untrained_torchvision


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network with its weights.

    Attributes
    ----------
    module
        In eval mode, float32, on the CPU; without auxiliary heads where torchvision has them, and without
        parametrizations.
    digest
        SHA-256 over the names, shapes and bytes of the module's state dict, hexadecimal; without the counts of
        batches, which only training needs.
    transform_input
        Whether torchvision's GoogLeNet or Inception v3 changes the ImageNet normalisation into its own; None for any
        other network.
    preprocessing, categories
        What torchvision's own weights say of the image and of the outputs; None for any other weights.
    """

    module: nn.Module
    digest: str
    transform_input: bool | None
    preprocessing: Preset | None
    categories: tuple[str, ...] | None


def load_network(
    model: str, weights: str | None, weights_key: str | None = None, transform_input: bool | None = None
) -> LoadedNetwork:
    """A network with its weights.

    Parameters
    ----------
    model
        ``torchvision:NAME``, ``path/to/file.py:Class`` or ``package.module:factory``.
    weights
        A safetensors file or a file with a state dict; for torchvision also its own name for weights, or ``DEFAULT``.
        None only for a class or factory of one's own that brings its weights along.
    weights_key
        Which of the state dicts of a file that holds the network more than once (`weights.read_state`).
    transform_input
        For torchvision's GoogLeNet and Inception v3 from a file: whether they change the ImageNet normalisation into
        their own. None: as torchvision's own weights have it, by name or as the file that it downloads; no other file
        can tell.

    Raises
    ------
    ModelError
        If there is no such network, it can't be built, or the sizes of its layers aren't known yet.
    WeightsError
        If the weights are missing, can't be downloaded, are of a refused kind, don't fit, or are there more than once;
        or if only `transform_input` could say how they are meant.
    ConfigError
        If `weights_key` or `transform_input` is given where it has no meaning.
    """
    source, separator, name = model.rpartition(":")
    if not separator or not source or not name:
        raise ModelError(
            f"The model {model!r} isn't one of torchvision:NAME, path/to/file.py:Class and package.module:factory."
        )
    if source == "torchvision":
        known = torchvision_network(name, weights, weights_key, transform_input)
        return _loaded(known.module, known.transform_input, known.preprocessing, known.categories)
    if transform_input is not None:
        raise ConfigError(
            f"The option 'transform_input' is {transform_input}, but it is for torchvision's networks; {model} says "
            "itself what it does with the image."
        )
    return _loaded(_own_network(model, weights, weights_key))


def is_from_zoo(model: str) -> bool:
    """Whether a network is a zoo's, which has no weights of its own unless some are given."""
    return model.startswith("torchvision:")


def load_untrained(model: str) -> LoadedNetwork:
    """A zoo's network with random weights, for a look at its structure; fresh batch norms do nothing, so they get some.

    Raises
    ------
    ModelError
        If there is no such network.
    """
    name = model.rpartition(":")[2]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        known = untrained_torchvision(name)
        for layer in known.module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                _draw_statistics(layer)
    return _loaded(known.module, known.transform_input, known.preprocessing)


def _draw_statistics(norm: nn.BatchNorm2d) -> None:
    for tensor, low, high in (
        (norm.running_mean, -0.2, 0.2), (norm.running_var, 0.5, 1.5), (norm.weight, 0.5, 1.5), (norm.bias, -0.2, 0.2),
    ):  # fmt: skip
        if tensor is not None:
            nn.init.uniform_(tensor, low, high)


def n_outputs(module: nn.Module, input_size: tuple[int, int, int]) -> int:
    """Number of a network's outputs for images of some channels, height and width; two or more.

    Raises
    ------
    ModelError
        If the network doesn't run on such an image, or doesn't give one number for each of several outputs.
    """
    try:
        with torch.inference_mode():
            shape = tuple(first_tensor(module.eval()(torch.zeros(1, *input_size))).shape)
    except Exception as error:
        raise ModelError(f"The network doesn't run on an image of shape {input_size}: {error}") from error
    if len(shape) != 2:
        raise ModelError(f"The network's output for one image has the shape {shape}, expected (1, outputs).")
    if shape[1] < 2:
        raise ModelError(
            f"The network's output for one image has the shape {shape}: a single number x can't be two classes. Wrap "
            "the network in a module that gives two, torch.cat([torch.zeros_like(x), x], 1), or, if x comes out of a "
            "sigmoid, torch.cat([1 - x, x], 1). The first is then the class that x speaks against."
        )
    return shape[1]


def _loaded(
    module: nn.Module,
    transform_input: bool | None = None,
    preprocessing: Preset | None = None,
    categories: tuple[str, ...] | None = None,
) -> LoadedNetwork:
    module = module.float().cpu().eval()
    _compute_weights(module)
    module.requires_grad_(False)
    return LoadedNetwork(module, _digest(module), transform_input, preprocessing, categories)


def _compute_weights(module: nn.Module) -> None:
    """Weights that are computed from others whenever they are used (standardised, normed) are so once for all."""
    for layer in [layer for layer in module.modules() if parametrize.is_parametrized(layer)]:
        for name, _ in list(layer.get_submodule("parametrizations").named_children()):
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)


def _digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if counts_batches(name):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


# The user's own modules


def _own_network(model: str, weights: str | None, weights_key: str | None) -> nn.Module:
    source, _, name = model.rpartition(":")
    module = _built(model, _own_factory(source, name))
    _check_sizes_known(model, module)
    module.float()  # before it takes the weights of a file, so that none are rounded
    if weights is not None:
        state = read_state(Path(weights), Expected(module.state_dict()), weights_key)
        module.load_state_dict(state)
    elif weights_key is not None:
        raise ConfigError(f"The option 'weights_key' is {weights_key!r}, but no weights are given; give --weights.")
    return module


def _own_factory(source: str, name: str) -> Any:
    module = _file_module(Path(source)) if source.endswith(".py") else _package_module(source)
    if not hasattr(module, name):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ModelError(f"There is no {name!r} in {source}. {suggestion(name, public)}")
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


def _check_sizes_known(model: str, module: nn.Module) -> None:
    """Lazy layers have no weights before their first image, nor any place for those of a file."""
    lazy = [
        f"{path} ({type(layer).__name__})"
        for path, layer in module.named_modules()
        if any(is_lazy(tensor) for tensor in chain(layer.parameters(recurse=False), layer.buffers(recurse=False)))
    ]
    if lazy:
        raise ModelError(
            f"{model} has layers whose sizes aren't known before their first image: {', '.join(lazy)}. Write a "
            "function that builds the network, runs one image of the run's size through it, as in "
            "network(torch.zeros(1, 3, 224, 224)), and returns it; give that as --model."
        )
