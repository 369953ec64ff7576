"""Loading networks by what a user calls them: a zoo's, or a module of the user's own.

found ── unwrapped, float32 ── one image, if layers are lazy ── weights of a file ── the tensor of the classes
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import nn

from summit_dask.facts.errors import ConfigError, WeightsError
from summit_dask.network.outputs import find_classes, select_output
from summit_dask.network.own import own_network
from summit_dask.network.ready import (
    N_IMAGES,
    check_kind,
    compute_weights,
    half_precision,
    lazy_layers,
    stored_tensors,
    trial_run,
    unwrapped,
)
from summit_dask.network.weights import Expected, counts_batches, read_state
from summit_dask.network.zoos.found import FoundNetwork
from summit_dask.network.zoos.timm import timm_network
from summit_dask.network.zoos.torchvision import torchvision_network
from summit_dask.network.zoos.transformers import transformers_network


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network with its weights, which gives (image, class) for (image, colour, y, x).

    Attributes
    ----------
    module
        In eval mode, float32, on the CPU; without wrappers, auxiliary heads where torchvision has them, and
        parametrizations.
    digest
        SHA-256 over the names, shapes and bytes of the module's state dict, hexadecimal; without the counts of
        batches, which only training needs.
    n_outputs
        Number of classes, two or more.
    notes
        Sentences that a user should read.
    """

    module: nn.Module
    digest: str
    n_outputs: int
    notes: tuple[str, ...]


def find_network(
    model: str, weights: str | None, weights_key: str | None = None, transform_input: bool | None = None
) -> FoundNetwork:
    """A network by its name, and what is known of its images and outputs.

    Parameters
    ----------
    model
        ``torchvision:NAME``, ``timm:NAME``, ``transformers:FOLDER``, ``path/to/file.py:Class`` or
        ``package.module:factory``.
    weights
        A safetensors file or a file with a state dict; for torchvision also its own name for weights, for it and timm
        also ``DEFAULT``. None only for a folder of transformers', and a class or factory of one's own that brings its
        weights along.
    weights_key
        Which of the state dicts of a file that holds the network more than once (`weights.read_state`).
    transform_input
        For torchvision's GoogLeNet and Inception v3 from a file: whether they change the ImageNet normalisation into
        their own. None: as torchvision's own weights have it, by name or as the file that it downloads; no other file
        can tell.

    Raises
    ------
    ModelError
        If there is no such network, or it can't be built.
    WeightsError
        If the weights are missing, can't be downloaded, are of a refused kind, don't fit, or are there more than once;
        or if only `transform_input` could say how they are meant.
    ConfigError
        If `weights_key` or `transform_input` is given where it has no meaning.
    """
    zoo, _, name = model.partition(":")
    if zoo == "torchvision":
        return torchvision_network(name, weights, weights_key, transform_input)
    if transform_input is not None:
        raise ConfigError(
            f"The option 'transform_input' is {transform_input}, but it is for torchvision's networks; {model} says "
            "itself what it does with the image."
        )
    if zoo == "timm":
        return timm_network(name, weights, weights_key)
    if zoo == "transformers":
        return transformers_network(name, weights, weights_key)
    return own_network(model, weights, weights_key)


def load_network(
    found: FoundNetwork, input_size: tuple[int, int, int] = (3, 224, 224), output: str | None = None
) -> LoadedNetwork:
    """A network that was found, made ready for images of some channels, height and width, which it is tried on.

    Parameters
    ----------
    output
        Which tensor of a network that returns several (`outputs.find_classes`).

    Raises
    ------
    ModelError
        If it is TorchScript or quantised, takes more than an image, doesn't run on one, or doesn't give one number for
        each of several classes.
    WeightsError
        If the weights of a file are of a refused kind, don't fit, or are there more than once.
    ConfigError
        If it has no such `output`.
    """
    check_kind(found.module)
    module, notes = _with_weights(found, input_size)
    compute_weights(module)
    module.requires_grad_(False)
    n_classes = None if found.categories is None else len(found.categories)
    place, n_outputs = find_classes(trial_run(module, input_size), N_IMAGES, n_classes, output)
    return LoadedNetwork(select_output(module, place), _digest(module), n_outputs, notes)


def _with_weights(found: FoundNetwork, input_size: tuple[int, int, int]) -> tuple[nn.Module, tuple[str, ...]]:
    """The network with all of its weights in float32, and a note if they weren't."""
    module = unwrapped(found.module).eval()
    notes = half_precision(stored_tensors(module))
    module = module.float().cpu()
    if lazy := lazy_layers(module):
        _check_file(found, lazy)
        trial_run(module, input_size)
    if found.file is None:
        return module, notes
    state = read_state(found.file.path, Expected(module.state_dict()), found.file.key)
    module.load_state_dict(state)
    return module, half_precision(iter(state.values()))


def _check_file(found: FoundNetwork, lazy: list[str]) -> None:
    if found.file is None:
        raise WeightsError(
            f"The network has layers without weights before their first image: {', '.join(lazy)}. Give --weights; a "
            "network with random weights shows nothing."
        )


def _digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if counts_batches(name):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()
