"""Whether a layer graph is complete: contributions plus bias add up to what the network really computes.

          traced graph, float64                              the user's own module, float64, hooks
    step inputs ── weights ── sum ── z                       bn1 ──────────────────── output
                                     z = output of bn1?  ───────────────────────────────┘
                                     z is no module's output (an addition written in `forward`):
                                     z ── relu ── ...  = output of the block?  ── block ── output

A hop that is missing, doubled, permuted or turned in its sign makes a difference. Gates and norms are taken as found.
Whether a hop's sources are the channels that it names, which no sum can tell, `provenance` finds out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, fx, nn
from torch.nn import functional

from summit_dask.facts.errors import TraceError
from summit_dask.facts.layergraph import as_index
from summit_dask.network.double import channels_first, graph_in_double, in_double, shown_by
from summit_dask.network.provenance import misplaced_channels
from summit_dask.network.traced import PreActivation, Step, TracedNetwork

#: Largest difference of a complete layer, of the largest value: weights are folded in float32.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Completeness:
    """What was found of one layer.

    Attributes
    ----------
    layer
        Its name.
    difference
        The largest between rebuilt and real values, relative to the largest absolute real one; infinite where
        nothing could be compared.
    compared
        Paths of the modules whose outputs were compared, in forward order; "" is the network's own output.
    misplaced
        Sources that are not what their hops say, in words.
    """

    layer: str
    difference: float
    compared: tuple[str, ...]
    misplaced: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the contributions add up, and come from where they are said to."""
        return self.difference <= TOLERANCE and not self.misplaced


def check_completeness(module: nn.Module, network: TracedNetwork) -> tuple[Completeness, ...]:
    """Add up the contributions into every layer, for one random image, and compare with the module's own values.

    Parameters
    ----------
    module
        The network as its user wrote it, in eval mode; a copy is run.
    network
        What was traced of it.

    Returns
    -------
    tuple of Completeness
        One for each layer that a hop leads to, input side first.

    Raises
    ------
    TraceError
        If the module can't be copied or run in float64.
    """
    outputs = _outputs(network)
    nearest = {node for pre in _all_pre_activations(network) for node in _nearest(_node(network, pre), outputs)}
    if network.class_step is not None:
        nearest.add(_output(network).name)
    images = _images(network.module)
    real = _real_outputs(module, images[:1], {path: node for node, path in outputs.items() if node in nearest})
    run = _Rebuilding(network, {node: (outputs[node], value) for node, value in real.items()})
    with torch.inference_mode():
        run.run(images)
        misplaced = misplaced_channels(network, images.float())
    influenced = [layer for layer in network.layer_graph.influenced if not layer.of_class]
    found = tuple(run.found(layer.name, misplaced.get(layer.name, ())) for layer in influenced)
    return found if network.class_step is None else (*found, _class_row(network, run))


def _class_row(network: TracedNetwork, run: "_Rebuilding") -> Completeness:
    """The logits that the row of the class adds up, against the module's own outputs."""
    step = network.class_step
    assert step is not None
    weight, bias = torch.from_numpy(step.weight).double(), torch.from_numpy(step.bias).double()
    logits, real = functional.linear(run.pooled, weight, bias), run.real[_output(network).name][1]
    if bool((real >= 0).all()) and abs(float(real.sum()) - 1) < TOLERANCE:  # probabilities tell logits but for a shift
        logits = logits.softmax(1)
    difference = float((logits - real).abs().max()) / max(float(real.abs().max()), 1e-12)
    return Completeness(network.layer_graph.visible[-1].name, difference, ("",), ())


# What is compared


def _outputs(network: TracedNetwork) -> dict[str, str]:
    """Nodes that are a module's output, with the path of the innermost such module."""
    paths = sorted(network.module_outputs, key=len)
    return {_output(network).name: ""} | {network.module_outputs[path]: path for path in paths}


def _output(network: TracedNetwork) -> fx.Node:
    """The node whose value the network gives."""
    (output,) = network.module.graph.output_node().all_input_nodes
    return output


def _all_pre_activations(network: TracedNetwork) -> Iterator[PreActivation]:
    for parts in network.pre_activations.values():
        yield from parts


def _node(network: TracedNetwork, pre: PreActivation) -> fx.Node:
    node: fx.Node = next(node for node in network.module.graph.nodes if node.name == pre.value.node)
    return shown_by(node)


def _nearest(node: fx.Node, outputs: Mapping[str, str]) -> set[str]:
    """The nodes nearest above that are a module's output, the node itself if it is one."""
    found, seen, waiting = set[str](), set[fx.Node](), [node]
    while waiting:
        node = waiting.pop()
        if node.name in outputs:
            found.add(node.name)
        else:
            waiting += [user for user in node.users if user not in seen]
            seen.update(node.users)
    return found


def _images(traced: fx.GraphModule) -> Float64[Tensor, "image colour y x"]:
    """One random image, as often as the traced network takes images."""
    n, *size = traced.graph.find_nodes(op="placeholder")[0].meta["val"].shape
    image = torch.randn((1, *size), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return image.expand(n, *size)


# The user's own module


def _real_outputs(module: nn.Module, image: Tensor, node_of: Mapping[str, str]) -> dict[str, Tensor]:
    """What the modules at some paths return for an image, by node."""
    found: dict[str, Tensor] = {}
    try:
        own = in_double(module)
        for path, node in node_of.items():
            own.get_submodule(path).register_forward_hook(_keeping(found, node))
        with torch.inference_mode():
            own(image)
    except Exception as error:
        raise TraceError(
            f"The network can't be copied and run in float64, in which completeness is checked: {error}. Write what "
            "makes tensors in its forward with the dtype of its input."
        ) from error
    return found


def _keeping(found: dict[str, Tensor], node: str) -> Any:
    def keep(module: nn.Module, given: Any, output: Tensor) -> None:
        found[node] = output.double().clone()  # what comes after may change it in place

    return keep


# The traced graph


class _Rebuilding(fx.Interpreter):
    """Runs the traced network; where it reaches a layer's pre-activation, goes on with the rebuilt one beside it."""

    def __init__(self, network: TracedNetwork, real: Mapping[str, tuple[str, Tensor]]) -> None:
        super().__init__(graph_in_double(network.module))
        self.extra_traceback = False
        self.network, self.real = network, real
        self.steps: dict[str, list[tuple[Step, Tensor]]] = {}  # those of each layer, with their contributions' sum
        self.rebuilt: dict[str, dict[fx.Node, Any]] = {}  # by layer: what depends on its rebuilt pre-activation
        self.differences: dict[str, dict[str, float]] = {}
        self.pooled = torch.empty(0)  # what the row of the class sees

    def run_node(self, n: fx.Node) -> Any:
        """See `fx.Interpreter`."""
        value = super().run_node(n)
        if self.network.class_step is not None and n.name == self.network.class_step.input.node:
            self.pooled = value[:1]
        for step in (*self.network.steps, *self.network.unranked):
            if step.input.node == n.name:
                self.steps.setdefault(step.target, []).append((step, contributions(step, value[:1])))
        for layer in self.rebuilt:
            self._go_on(layer, n)
        for layer, parts in self.network.pre_activations.items():
            for part in parts:
                if part.value.node == n.name:
                    self._compare(layer, n, part, value)
        return value

    def found(self, layer: str, misplaced: tuple[str, ...]) -> Completeness:
        """What was found of a layer."""
        differences = self.differences.get(layer, {})
        covered = {c for part in self.network.pre_activations.get(layer, ()) for c in part.targets}
        missed = any(set(step.targets) - covered for step in self.network.steps if step.target == layer)
        worst = max(differences.values(), default=torch.inf)
        return Completeness(layer, torch.inf if missed else worst, tuple(differences), misplaced)

    def _compare(self, layer: str, node: fx.Node, part: PreActivation, value: Tensor) -> None:
        """Compare a layer's rebuilt pre-activation with the node that it is a part of, or go on with it."""
        total = self._total(layer, part, value[:1])
        scale, shift = (_per_channel(constant, total) for constant in (part.scale, part.shift))
        if node.name in self.real and node.users:
            path, real = self.real[node.name]
            own = channels_first(real.reshape(value[:1].shape), part.value)[:, as_index(part.channels)]
            self._note(layer, path, total, own * scale + shift)
            return
        shown = shown_by(node)
        known = value if shown is node else self.env[shown]
        whole = self.rebuilt.get(layer, {}).get(shown, known).clone(memory_format=torch.contiguous_format)
        maps = channels_first(whole if shown is node else self._again(node, {shown: whole}), part.value)[:1]
        is_lost = scale == 0  # such a channel is a constant, whatever contributes to it
        rebuilt = (total - shift) / torch.where(is_lost, 1, scale)
        maps[:, as_index(part.channels)] = torch.where(is_lost, maps[:, as_index(part.channels)], rebuilt)
        self._arrive(layer, shown, whole)

    def _total(self, layer: str, part: PreActivation, value: Tensor) -> Tensor:
        """What contributions and bias add up to, (image, target, ...)."""
        place = {target: number for number, target in enumerate(part.targets)}
        total = torch.zeros_like(channels_first(value, part.value)[:, as_index(part.channels)])
        total += _per_channel(self.network.bias[layer][as_index(part.targets)], total)
        for step, own in self.steps.get(layer, ()):
            rows = [row for row, target in enumerate(step.targets) if target in place]
            total[:, [place[step.targets[row]] for row in rows]] += _as_wide(own[:, rows], total)
        return total

    def _go_on(self, layer: str, node: fx.Node) -> None:
        """Compute a node again from what depends on a layer's rebuilt pre-activation."""
        rebuilt = self.rebuilt[layer]
        changed = {given: rebuilt[given] for given in node.all_input_nodes if given in rebuilt}
        if changed and node.users:
            self._arrive(layer, node, self._again(node, changed))
        for used_up in self.user_to_last_uses.get(node, ()):
            rebuilt.pop(used_up, None)

    def _again(self, node: fx.Node, changed: Mapping[fx.Node, Any]) -> Any:
        """A node's value with some of its inputs changed."""
        kept = {given: self.env[given] for given in changed}
        self.env.update(changed)
        value = super().run_node(node)
        self.env.update(kept)
        return value

    def _arrive(self, layer: str, node: fx.Node, rebuilt: Any) -> None:
        """Compare a rebuilt value if it is a module's output, else go on with it."""
        if node.name in self.real:
            path, real = self.real[node.name]
            self._note(layer, path, rebuilt[:1].reshape(real.shape), real)
        else:
            self.rebuilt.setdefault(layer, {})[node] = rebuilt

    def _note(self, layer: str, path: str, rebuilt: Tensor, real: Tensor) -> None:
        difference = float((rebuilt - real).abs().max()) / max(float(real.abs().max()), 1e-12)
        found = self.differences.setdefault(layer, {})
        found[path] = max(found.get(path, 0.0), torch.inf if difference != difference else difference)  # NaN: no number


def contributions(step: Step, value: Tensor) -> Float64[Tensor, "image target ..."]:
    """The sum of a step's contribution maps over all of its sources, without bias (DESIGN 3.3).

    Parameters
    ----------
    value
        Of the step's input node, float64.
    """
    maps = channels_first(value, step.input)
    maps = maps if step.order is None else maps[:, as_index(step.order)]
    weight = None if step.weight is None else step.weight.double()
    if step.convolution is None:
        return maps if weight is None else maps * weight.view(-1, *(1,) * (maps.ndim - 2))
    assert weight is not None, "a convolution has weights"
    shape, place = step.convolution, maps.reshape(*maps.shape[:2], *(*maps.shape[2:], 1, 1)[:2])
    return functional.conv2d(place, weight, None, shape.stride, shape.padding, shape.dilation, shape.groups)


def _as_wide(maps: Tensor, total: Tensor) -> Tensor:
    """A fully connected layer's maps of one position where the network has none, or the other way round."""
    return maps.reshape(*maps.shape[:2], *(*maps.shape[2:], 1, 1)[: total.ndim - 2])


def _per_channel(constants: Tensor, maps: Tensor) -> Tensor:
    return constants.double().reshape(1, -1, *(1,) * (maps.ndim - 2))
