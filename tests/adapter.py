"""The older tracer's networks in the form of `network.traced`, until the tracer makes that itself."""

import numpy as np
import torch
from torch import fx, nn

from summit_dask.facts.layergraph import Hop
from summit_dask.network import trace
from summit_dask.network.traced import Step, TracedNetwork, Value


def traced(
    module: nn.Module, layers: tuple[str, ...], size: tuple[int, int, int], batch_size: int = 8
) -> TracedNetwork:
    """A network traced and then exported."""
    old = trace.trace_network(module, layers, size)
    names = list(dict.fromkeys([*old.value_node.values(), *old.input_node.values()]))
    exported, new = export_with(old.module, names, (batch_size, *size))
    values = {layer: Value(new[node], 1) for layer, node in old.value_node.items()}
    steps = tuple(_step(old, hop, new[old.input_node[hop.name]]) for hop in old.layer_graph.hops)
    return TracedNetwork(exported, batch_size, old.layer_graph, values, steps)


def _step(old: trace.TracedNetwork, hop: Hop, node: str) -> Step:
    sources = old.layer_graph.layer(hop.source).channels if hop.convolution else hop.channels
    index = old.layer_graph.incoming(hop.target).index(hop)
    of_hop, source = np.full(sources, index, np.int16), np.arange(sources, dtype=np.int16)
    value, weight = Value(node, 1), old.weight.get(hop.name)
    return Step(hop.name, value, None, hop.convolution, weight, hop.target, hop.targets, of_hop, source)


def export_with(
    module: fx.GraphModule, names: list[str], shape: tuple[int, ...]
) -> tuple[fx.GraphModule, dict[str, str]]:
    """A module of ATen operations, and what its nodes of these names are called there."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    answer = graph.graph_copy(module.graph, copies)
    by_name = {node.name: copy for node, copy in copies.items()}
    graph.output((answer, *(by_name[name] for name in names)))
    whole = fx.GraphModule(module, graph).eval().to(memory_format=torch.channels_last)
    images = torch.zeros(shape).contiguous(memory_format=torch.channels_last)
    program = torch.export.export(whole, (images,)).run_decompositions()
    exported = program.module()
    last = exported.graph.output_node()
    outputs = last.args[0]
    assert isinstance(outputs, tuple | list)
    last.args = (outputs[0],)
    exported.graph.set_codegen(fx.graph.CodeGen())
    made = fx.GraphModule(exported, exported.graph)
    return made, {name: str(node) for name, node in zip(names, outputs[1:], strict=True)}
