"""Relevance: each channel's activation times the gradient of the image's own logit, summed over positions (3.2).

    image ── ... ── layer A ── ... ── layer B ── ... ── logits ── own logit of each image
                       │                 │                             │
                       └───── gradient ──┴──────── gradient ───────────┘     one backward pass gives all layers

Below the lowest layer nothing is kept for the backward pass, and weights have no gradients.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float32, Int
from torch import Tensor, fx

from summit_dask.measure.running import Look
from summit_dask.network.operations import Kind, is_probability, kind
from summit_dask.network.traced import Value


class RelevanceRun:
    """Runs a network forward and back.

    Parameters
    ----------
    module
        Of ATen operations.
    nodes
        Names of nodes whose values are shown.
    layers
        By name of a layer: its value.

    Raises
    ------
    ModelError
        If the network has no logits: its outputs are made some other way than by a last softmax or sigmoid.
    """

    def __init__(self, module: fx.GraphModule, nodes: frozenset[str], layers: Mapping[str, Value]) -> None:
        self._module, self._nodes, self._layers = module, nodes, layers
        self._logits = logits_of(module).name

    def __call__(
        self, images: Tensor, outputs: Int[Tensor, " image"], look: Look
    ) -> tuple[Float32[Tensor, "image output"], dict[str, Float32[Tensor, "image channel"]]]:
        """The network's outputs, and the relevance of every layer's channels; `outputs` are the images' own."""
        with torch.enable_grad():
            kept = {self._logits, *(value.node for value in self._layers.values())}
            run = _Differentiating(self._module, self._nodes, look, kept)
            given: Tensor = run.run(images)
            own = run.kept[self._logits].gather(1, outputs.long()[:, None]).sum()
            values = {name: run.kept[value.node] for name, value in self._layers.items()}
            gradients = torch.autograd.grad(own, list(values.values()), allow_unused=True)
        relevances = {
            name: _summed(value.detach(), gradient, self._layers[name].axis)
            for (name, value), gradient in zip(values.items(), gradients, strict=True)
        }
        return given.detach(), relevances


def logits_of(module: fx.GraphModule) -> fx.Node:
    """The node whose values a last softmax or sigmoid makes into probabilities; the outputs where there is none."""
    node = module.graph.output_node().all_input_nodes[0]
    while kind(node) in (Kind.MOVE, Kind.ITEM) and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    return node.all_input_nodes[0] if is_probability(node) else node


def _summed(value: Tensor, gradient: Tensor | None, axis: int) -> Float32[Tensor, "image channel"]:
    if gradient is None:  # a layer that the logits don't depend on
        gradient = torch.zeros_like(value)
    product = (value * gradient).movedim(axis, 1)
    return product if product.dim() == 2 else product.flatten(2).sum(2)


class _Differentiating(fx.Interpreter):
    """Runs a network, shows values, and keeps some with what their gradients need."""

    def __init__(self, module: fx.GraphModule, shown: frozenset[str], look: Look, wanted: set[str]) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.kept: dict[str, Tensor] = {}
        self._shown, self._look, self._wanted = shown, look, wanted

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self._wanted:
            self.kept[n.name] = value if value.requires_grad else value.requires_grad_()
        if n.name in self._shown:
            self._look(n.name, value.detach())
        return value
