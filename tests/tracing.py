"""What tests of traced networks share: networks with random weights, values of every node, what holds of any."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from summit_dask.facts.layergraph import Hop, LayerGraph
from summit_dask.network.completeness import check_completeness
from summit_dask.network.trace import TracedNetwork, trace_network

Size = tuple[int, int, int]


def with_random_weights(module: nn.Module) -> nn.Module:
    """Random weights, also in batch norms; negative scales included."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.zero_()
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.normal_(0, (2 / max(tensor[0].numel(), 2)) ** 0.5, generator=generator)
    return module.eval()


def random_network(build: Callable[..., nn.Module], **options: Any) -> nn.Module:
    """A network with random weights; whatever it draws itself is not drawn."""
    with torch.device("meta"):
        module = build(**options)
    return with_random_weights(module.to_empty(device="cpu"))


class Values(fx.Interpreter):
    """The value of every node on some images."""

    def __init__(self, module: fx.GraphModule, images: Tensor) -> None:
        super().__init__(module)
        self.of: dict[str, Tensor] = {}
        with torch.inference_mode():
            self.output = self.run(images)

    def run_node(self, n: fx.Node) -> Any:
        """See `fx.Interpreter`."""
        self.of[n.name] = value = super().run_node(n)
        return value


def traced_and_sound(module: nn.Module, layers: Sequence[str], size: Size, batch_size: int = 1) -> TracedNetwork:
    """What was traced, after everything that holds of any network was checked."""
    traced = trace_network(module, layers, size, batch_size)
    check_sound(module, traced, size)
    return traced


def check_sound(module: nn.Module, traced: TracedNetwork, size: Size) -> None:
    """What holds of any traced network: same output, shapes as told, contributions that add up."""
    images = torch.randn((traced.batch_size, *size), generator=torch.Generator().manual_seed(1))
    values = Values(traced.module, images)
    with torch.inference_mode():
        expected = module(images)
    torch.testing.assert_close(values.output, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    graph = traced.layer_graph
    assert LayerGraph.from_json(graph.to_json()) == graph
    assert {*traced.values} == {layer.name for layer in graph.layers}
    for layer in graph.layers:
        value = traced.values[layer.name]
        shape = values.of[value.node].movedim(value.axis, 1).shape
        assert (*shape[1:], 1, 1)[:3] == (layer.channels, layer.height, layer.width)
    assert [found for found in check_completeness(module, traced) if not found.complete] == []


def hops_of(traced: TracedNetwork) -> dict[str, tuple[str, str, int, int]]:
    """By hop: source, target, the first of its target channels, and their number."""
    return {h.name: (h.source, h.target, h.targets[0], h.channels) for h in traced.layer_graph.hops}


def hop_of(traced: TracedNetwork, name: str) -> Hop:
    """The hop of that name."""
    return next(hop for hop in traced.layer_graph.hops if hop.name == name)


def weight_of(traced: TracedNetwork, name: str) -> Tensor:
    """The weight of the step of that name."""
    weight = next(step.weight for step in traced.steps if step.name == name)
    assert weight is not None
    return weight


def visible(traced: TracedNetwork) -> list[str]:
    """Names of the visible layers."""
    return [layer.name for layer in traced.layer_graph.visible]
