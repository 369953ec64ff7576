"""Networks of the zoos with random weights, for a look at their structure, which no weights change."""

import torch
import torchvision.models
from torch import nn

from summit_dask.facts.errors import ModelError, suggestion
from summit_dask.network.zoos.found import FoundNetwork, zoo_package
from summit_dask.network.zoos.timm import timm_preset
from summit_dask.network.zoos.torchvision import TRANSFORMING, preset_of


def is_from_zoo(model: str) -> bool:
    """Whether a network is a zoo's, which has no weights of its own unless some are given."""
    return model.startswith(("torchvision:", "timm:"))


def find_untrained(model: str) -> FoundNetwork:
    """A zoo's network with random weights; fresh batch norms do nothing, so they get some statistics.

    Raises
    ------
    ModelError
        If there is no such network.
    """
    zoo, _, name = model.partition(":")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        found = _timm(name) if zoo == "timm" else _torchvision(name)
        for layer in found.module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                _draw_statistics(layer)
    return found


def _torchvision(name: str) -> FoundNetwork:
    known = torchvision.models.list_models(torchvision.models)
    if name not in known:
        raise ModelError(f"torchvision has no classifier {name!r}. {suggestion(name, known)}")
    options = {"aux_logits": False, "init_weights": False} if name in TRANSFORMING else {}
    module = torchvision.models.get_model(name, weights=None, **options)
    own = next(iter(torchvision.models.get_model_weights(name)))
    return FoundNetwork(module, preprocessing=preset_of(own.transforms()))


def _timm(name: str) -> FoundNetwork:
    timm = zoo_package("timm")
    if not timm.is_model(name.partition(".")[0]):
        raise ModelError(f"timm has no network {name!r}. {suggestion(name, timm.list_models())}")
    module = timm.create_model(name, pretrained=False)
    return FoundNetwork(module, preprocessing=timm_preset(timm.data.resolve_model_data_config(module)))


def _draw_statistics(norm: nn.BatchNorm2d) -> None:
    for tensor, low, high in (
        (norm.running_mean, -0.2, 0.2), (norm.running_var, 0.5, 1.5), (norm.weight, 0.5, 1.5), (norm.bias, -0.2, 0.2),
    ):  # fmt: skip
        if tensor is not None:
            nn.init.uniform_(tensor, low, high)
