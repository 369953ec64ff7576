"""What is measured at which value of a network.

value                   of what                        what is measured on it
the input of a step     gated, pooled, concatenated    extremes; the step's strongest sources; kept for later
the value of a layer    visible or hidden              extremes; then what the steps into it contribute
a pre-activation        of a layer of other size       where each channel is largest
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from summit_dask.facts.config import MeasureOptions
from summit_dask.network.traced import PreActivation, Step, TracedNetwork, Value


@dataclass(frozen=True, eq=False)
class Plan:
    """What a meter does.

    Attributes
    ----------
    steps
        Those whose sources are ranked; everywhere else they are known by their place here.
    k, influences, contributions
        What is kept of each.
    values
        By node, in the order they are computed: all values that are looked at.
    inputs
        By node: the steps whose input it is.
    layers
        By node: the steps into the layer whose value it is.
    larger
        By node of a layer whose map is not its steps': the pre-activations that are looked at instead.
    with_extremes
        Nodes whose extremes are found.
    """

    steps: Sequence[Step]
    k: int
    influences: bool
    contributions: bool
    values: Mapping[str, Value]
    inputs: Mapping[str, Sequence[int]]
    layers: Mapping[str, Sequence[int]]
    larger: Mapping[str, Sequence[PreActivation]]
    with_extremes: frozenset[str]


def make_plan(network: TracedNetwork, options: MeasureOptions) -> Plan:
    """The plan of a run's options."""
    steps = [step for step in network.steps if options.identity or step.convolution is not None]
    wanted = steps if options.influences or options.contributions else []
    sizes = _sizes(network)
    inputs: dict[str, list[int]] = {}
    layers: dict[str, list[int]] = {}
    for i, step in enumerate(wanted):
        inputs.setdefault(step.input.node, []).append(i)
        if options.contributions:
            layers.setdefault(network.values[step.target].node, []).append(i)
    larger = {
        node: network.pre_activations[wanted[own[0]].target]
        for node, own in layers.items()
        if any(_made(wanted[i], sizes) not in ((1, 1), sizes[node]) for i in own)
    }
    shown = [network.values[layer.name] for layer in network.layer_graph.with_maps]
    pooled = [] if network.class_step is None else [network.class_step.input]
    measured = {value.node: value for value in (*shown, *pooled)}
    measured |= {step.input.node: step.input for step in wanted}
    measured |= {network.values[step.target].node: network.values[step.target] for step in wanted if layers}
    looked_at = measured | {pre.value.node: pre.value for pres in larger.values() for pre in pres}
    order = {node.name: place for place, node in enumerate(network.module.graph.nodes)}
    return Plan(
        steps=wanted,
        k=options.k,
        influences=options.influences,
        contributions=options.contributions,
        values={node: looked_at[node] for node in sorted(looked_at, key=order.__getitem__)},
        inputs=inputs,
        layers=layers,
        larger=larger,
        with_extremes=frozenset(measured),
    )


def _sizes(network: TracedNetwork) -> dict[str, tuple[int, int]]:
    """Height and width of every map, by node; (1, 1) of a value without positions."""
    nodes = {node.name: node for node in network.module.graph.nodes}
    values = [*network.values.values(), *(step.input for step in network.steps)]
    return {value.node: _size(tuple(nodes[value.node].meta["val"].shape), value.axis) for value in values}


def _size(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    positions = [size for place, size in enumerate(shape) if place not in (0, axis % len(shape))]
    return (positions[0], positions[1]) if len(positions) == 2 else (1, 1)


def _made(step: Step, sizes: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """Height and width of what a step makes."""
    size = sizes[step.input.node]
    return size if step.convolution is None else step.convolution.made(size)
