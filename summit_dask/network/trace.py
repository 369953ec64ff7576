"""From a network to its layer graph: which channels feed which, and by what weights (DESIGN section 4).

export ── what each channel is made of ── layers and what they add up ── steps, hops, layer graph
          channels                         walk                          here
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from summit_dask.facts.errors import TraceError
from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph, as_channels
from summit_dask.network.channels import OTHER, Channels, Operand
from summit_dask.network.drafts import Draft, HopKey, by_origin, by_part, in_order, reordered, rows_reached
from summit_dask.network.export import NetworkGraph, network_graph
from summit_dask.network.inputs import input_of_operand, input_of_step, of_rows
from summit_dask.network.layers import default_layers
from summit_dask.network.naming import COORDINATES, layer_names, unique, visible_layers
from summit_dask.network.operations import Kind, kind, operation
from summit_dask.network.receptive import windows
from summit_dask.network.steps import linear_step
from summit_dask.network.traced import ClassStep, PreActivation, Step, TracedNetwork, Value
from summit_dask.network.walk import Term, Walk

#: Influences keep sources as int16 and hops as int8.
MAX_CHANNELS, MAX_HOPS = 32767, 127


def trace_network(
    module: nn.Module,
    layers: Sequence[str],
    input_size: tuple[int, int, int],
    batch_size: int = 1,
    logits: bool | None = False,
) -> TracedNetwork:
    """Find a network's layer graph, and what it takes to run and measure it.

    Parameters
    ----------
    module
        The network; is put into eval mode.
    layers
        Visible layers as module paths, or ``name=module.path`` to show them under another name, in any order.
        Empty: chosen by the network's structure.
    input_size
        Channels, height and width of an image.
    batch_size
        Images that the traced network takes at a time.
    logits
        Whether the class itself is the top row; None: where the network ends in pooling and one linear layer.

    Raises
    ------
    TraceError
        If the network can't be exported, ends in no linear layer though `logits` asks for its row, an operation between
        the visible layers mixes channels, or a layer has no single axis of channels.
    LayerNotFoundError
        If no module on the way to the output has the path of a layer; names near ones.
    ConfigError
        If a layer's name can't be used, or is used twice.
    """
    graph = network_graph(module, input_size, batch_size)
    visible = visible_layers(graph, layers or default_layers(graph))
    channels = Channels(graph, visible)
    classifier = None if logits is False else find_classifier(graph, channels, pooled=logits is None)
    if logits and classifier is None:
        raise TraceError(
            "The network doesn't end in a linear layer on one value a channel, so the class can't be the top row. "
            "Leave out --logits."
        )
    walk = Walk(graph, visible, channels, classifier)
    return _Assembly(graph, walk, layer_names(graph, walk)).network()


def find_classifier(graph: NetworkGraph, channels: Channels, pooled: bool) -> fx.Node | None:
    """The linear layer that gives the network's outputs, if it sees one value of each channel.

    Parameters
    ----------
    pooled
        Only if those values are pooled maps, and no other linear layer's.
    """
    node = graph.module.graph.output_node().all_input_nodes[0]
    while kind(node) in (Kind.MOVE, Kind.NORM, Kind.ITEM) and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    step = linear_step(graph, node) if operation(node) in ("linear", "addmm", "mm") else None
    labels = channels.of(step.input) if step is not None and len(graph.shape(step.input)) == 2 else None
    if step is None or labels is None:
        return None
    found = channels.along(step.input, labels, step.axis)
    if found is None or len(set(found.tolist())) < len(found):
        return None
    rows = [channels.rows[label] for label in found.tolist() if label >= 0]
    is_map = all(len(graph.shape(channels.bases[row.base].node)) == 4 and row.stage == OTHER for row in rows)
    return node if rows and (is_map or not pooled) else None


@dataclass(eq=False)
class _Assembly:
    graph: NetworkGraph
    walk: Walk
    names: Mapping[fx.Node, str]
    hops: list[Hop] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    unranked: list[Step] = field(default_factory=list)

    def network(self) -> TracedNetwork:
        """Everything put together."""
        used = {*self.names.values(), *COORDINATES}
        terms = {value: list(self.walk.terms(value)) for value in self.names}
        for value in self.names:
            self._add_steps(self._drafts(value, terms[value]), used)
        fields = windows(self.graph)
        layers = [self._layer(value, fields[value]) for value in self.names]
        class_step = None
        if self.walk.classifier is not None:
            name = unique("logit", used)
            layers.append(
                Layer(name, 1, 1, 1, True, fields[self.graph.module.graph.output_node().all_input_nodes[0]], True)
            )
            class_step = self._class_step(self.walk.classifier, name, used)
        influenced = {value: found for value, found in terms.items() if found}
        return TracedNetwork(
            module=self._recompiled(),
            batch_size=self.graph.shape(self.graph.image)[0],
            layer_graph=LayerGraph(tuple(layers), tuple(self.hops)),
            values={name: self._value(node) for node, name in self.names.items()},
            steps=tuple(self.steps),
            unranked=tuple(self.unranked),
            bias={self.names[value]: self._bias(value, found) for value, found in influenced.items()},
            pre_activations={self.names[value]: tuple(self._pre_activations(value)) for value in influenced},
            module_outputs={
                path: nodes[0].name
                for path, nodes in self.graph.returned.items()
                if len(nodes) == 1 and path not in self.graph.folded
            },
            factors={gate.name: factor.name for gate, factor in self.walk.channels.factors.items()},
            class_step=class_step,
        )

    def _recompiled(self) -> fx.GraphModule:
        self.graph.module.graph.lint()
        self.graph.module.recompile()
        return self.graph.module

    # Layers

    def _layer(self, value: fx.Node, window: Any) -> Layer:
        name, shape, axis = self.names[value], self.graph.shape(value), self.walk.axis(value)
        if shape[axis] > MAX_CHANNELS:
            raise TraceError(
                f"The layer {name!r} has {shape[axis]} channels; at most {MAX_CHANNELS} can be stored. "
                "Leave it out of --layers."
            )
        sizes = [size for i, size in enumerate(shape) if i not in (0, axis)]
        height, width = ([*sizes, 1, 1])[:2]
        return Layer(name, shape[axis], height, width, value in self.walk.visible, window)

    def _value(self, value: fx.Node) -> Value:
        return input_of_operand(self.graph, Operand(value), self.walk.axis(value)).value

    # Steps

    def _drafts(self, value: fx.Node, terms: Sequence[Term]) -> Iterator[Draft]:
        """Steps into a layer, in order of computation."""
        linear = [term for term in terms if term.step is not None]
        for step in self.graph.in_order(term.step for term in linear if term.step is not None):
            yield self._linear_draft(value, step, [term for term in linear if term.step is step])
        others = [term for term in terms if term.operand is not None]
        for operand in dict.fromkeys(term.operand for term in others if term.operand is not None):
            yield from self._identity_drafts(value, operand, [term for term in others if term.operand == operand])

    def _linear_draft(self, value: fx.Node, node: fx.Node, terms: list[Term]) -> Draft:
        step = linear_step(self.graph, node)
        assert step is not None
        terms = sorted(terms, key=lambda term: term.row)  # a group's rows lie together
        found = of_rows(
            input_of_step(self.graph, node, step, self.walk.sources(node, step)), [term.row for term in terms]
        )
        scale = torch.tensor([term.scale for term in terms], dtype=torch.float64)
        labels = self.walk.channels.of(step.input)
        return Draft(
            name=f"{self.graph.owner(node) or node.name}.weight",
            input=found.input,
            target=value,
            targets=[term.channel for term in terms],
            convolution=found.convolution,
            weight=found.weight.double() * scale[:, None, None, None],
            sources=self._sources(found.labels),
            notes=labels.notes if labels else (),
        )

    def _identity_drafts(self, value: fx.Node, operand: Operand, terms: list[Term]) -> Iterator[Draft]:
        """One identity, or several where the operand is a concatenation and each part can be taken by itself."""
        inside = operand.node is value
        labels = self.walk.labels(value) if inside else self.walk.channels.of(operand.node)
        is_layer = operand.node in self.names and not inside  # such a one is its own input
        for part, first, own in [(operand, 0, terms)] if is_layer else by_part(self.graph, operand, terms):
            found = input_of_operand(self.graph, part, own[0].axis)
            places = [term.place - first if found.n_channels > 1 else 0 for term in own]
            scale = torch.tensor([term.scale for term in own], dtype=torch.float64)
            yield Draft(
                name=f"{self.names[value]}.identity",
                input=found._replace(order=None if places == [*range(found.n_channels)] else places),
                target=value,
                targets=[term.channel for term in own],
                convolution=None,
                weight=None if bool((scale == 1).all()) else scale.reshape(-1, 1, 1, 1),
                sources=self._sources(term.label for term in own),
                notes=labels.notes if labels else (),
            )

    def _sources(self, labels: Iterable[int]) -> list[tuple[HopKey, int] | None]:
        """Layer and channel that each input channel is; one that comes again belongs to another hop."""
        seen: Counter[tuple[fx.Node, int]] = Counter()
        sources: list[tuple[HopKey, int] | None] = []
        for label in labels:
            found = self.walk.layer_and_channel(int(label))
            sources.append(found and ((found[0], seen[found]), found[1]))
            seen.update([found] if found else [])
        return sources

    def _add_steps(self, drafts: Iterable[Draft], used: set[str]) -> None:
        n_hops = 0
        for draft in (part for whole in drafts for part in by_origin(whole)):
            keys = draft.hop_keys(self.graph)
            indices = {key: n_hops + i for i, key in enumerate(keys)}
            n_hops += len(keys)
            target = self.names[draft.target]
            self.hops += [self._hop(draft, key, target, len(keys) == 1, used) for key in keys]
            (self.steps if keys else self.unranked).append(self._step(draft, indices))
        if n_hops > MAX_HOPS:
            raise TraceError(
                f"{n_hops} hops lead into the layer {self.names[draft.target]!r}; at most {MAX_HOPS} can be stored. "
                "Name more layers between with --layers."
            )

    def _hop(self, draft: Draft, key: HopKey, target: str, alone: bool, used: set[str]) -> Hop:
        at = [i for i, source in enumerate(draft.sources) if source and source[0] == key]
        sources = [draft.sources[i][1] for i in at]  # type: ignore[index]
        targets = [draft.targets[row] for row in rows_reached(draft, at)]
        n_channels = self.graph.shape(key[0])[self.walk.axis(key[0])]
        return Hop(
            name=unique(draft.name if alone else f"{draft.name}_from_{self.names[key[0]]}", used),
            source=self.names[key[0]],
            target=target,
            targets=as_channels(targets),
            convolution=draft.convolution,
            sources=None if sources == [*range(n_channels)] else as_channels(sources),
            notes=draft.notes,
        )

    def _step(self, draft: Draft, indices: Mapping[HopKey, int]) -> Step:
        hop = np.array([indices[source[0]] if source else -1 for source in draft.sources], np.int16)
        channel = np.array([source[1] if source else -1 for source in draft.sources], np.int16)
        order = [*range(len(hop))] if draft.convolution is None else in_order(hop, channel, draft.convolution.groups)
        weight = draft.weight
        if draft.convolution is not None and weight is not None:
            weight = reordered(weight, order, draft.convolution.groups)
        before = draft.input.order or [*range(draft.input.n_channels)]
        together = [before[i] for i in order]
        return Step(
            name=draft.name,
            input=draft.input.value,
            order=None if together == [*range(draft.input.n_channels)] else as_channels(together),
            convolution=draft.convolution,
            weight=None if weight is None else weight.float().contiguous(),
            target=self.names[draft.target],
            targets=as_channels(draft.targets),
            hop=hop[order],
            source=channel[order],
        )

    def _class_step(self, node: fx.Node, name: str, used: set[str]) -> ClassStep:
        """The last linear layer, as the hops into the row of the class."""
        step = linear_step(self.graph, node)
        assert step is not None
        labels = self.walk.channels.of(step.input)
        draft = Draft(
            name=f"{self.graph.owner(node) or node.name}.weight",
            input=input_of_operand(self.graph, Operand(step.input), step.axis),
            target=node,
            targets=[0],
            convolution=Convolution(),
            weight=None,
            sources=self._sources(self.walk.sources(node, step).tolist()),
            notes=labels.notes if labels else (),
        )
        keys = draft.hop_keys(self.graph)
        self.hops += [self._hop(draft, key, name, len(keys) == 1, used) for key in keys]
        hop = np.array([keys.index(source[0]) if source else -1 for source in draft.sources], np.int16)
        weight = step.weight.detach().float().numpy()
        bias = np.zeros(len(weight), np.float32) if step.bias is None else step.bias.detach().float().numpy()
        return ClassStep(
            input=draft.input.value,
            weight=weight,
            bias=bias,
            hop=hop,
            source=np.array([source[1] if source else -1 for source in draft.sources], np.int16),
        )

    # What contributions add up to

    def _bias(self, value: fx.Node, terms: Sequence[Term]) -> Tensor:
        bias = torch.zeros(self.graph.shape(value)[self.walk.axis(value)], dtype=torch.float64)
        steps = {term.step: linear_step(self.graph, term.step) for term in terms if term.step is not None}
        for term in terms:
            step = steps.get(term.step) if term.step is not None else None
            own = float(step.bias[term.row]) if step is not None and step.bias is not None else 0.0
            bias[term.channel] += own * term.scale + term.shift
        return bias

    def _pre_activations(self, value: fx.Node) -> Iterator[PreActivation]:
        rows = [(channel, row) for channel, row in enumerate(self.walk.rows(value)) if row is not None]
        passed = [channel for channel, row in rows if self.walk.is_passed_on(value, row)]
        if passed:  # an identity adds up to the value itself
            ones = torch.ones(len(passed), dtype=torch.float64)
            targets = as_channels(passed)
            yield PreActivation(self._value(value), targets, targets, ones, torch.zeros_like(ones))
        made = sorted((row.base, channel, row) for channel, row in rows if not self.walk.is_passed_on(value, row))
        for index, group in groupby(made, key=lambda item: item[0]):
            own_rows = [(c, row) for _, c, row in group]
            base = self.walk.channels.bases[index]
            yield PreActivation(
                value=input_of_operand(self.graph, Operand(base.node), base.axis).value,
                channels=as_channels([row.channel for _, row in own_rows]),
                targets=as_channels([c for c, _ in own_rows]),
                scale=torch.tensor([row.scale * row.sign for _, row in own_rows], dtype=torch.float64),
                shift=torch.tensor([row.shift * row.sign for _, row in own_rows], dtype=torch.float64),
            )
