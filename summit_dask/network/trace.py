"""From a network to its layer graph: which channels feed which, and by what weights.

From each visible layer the walk goes down through operations that keep channels apart and through
concatenations, to convolutions (a hop each) and to other layers (an identity hop)::

    visible layer ── activation ── concatenation ─┬─ convolution A ── pooling ── visible layer below
                                                  ├─ convolution B ── activation ── convolution C ── ...
                                                  └─ pooling ── visible layer below

A and C give hops from the visible layer below, the third branch an identity hop. B's input becomes a hidden layer,
and the walk goes on from there. What leads to the image alone is left out. DESIGN section 4.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from math import prod

from torch import Tensor, fx, nn

from summit_dask.facts.errors import ConfigError, TraceError
from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph, Window
from summit_dask.network.export import network_graph
from summit_dask.network.layers import default_layers, layer_path
from summit_dask.network.operations import FLATTENING, NetworkGraph, geometry, pads_zeros_evenly
from summit_dask.network.receptive import windows

#: Influences keep sources as int16 and hops as int8.
MAX_CHANNELS, MAX_HOPS = 32767, 127


@dataclass(frozen=True, eq=False)
class TracedNetwork:
    """A network ready to be run and looked into.

    Attributes
    ----------
    module
        The network in eval mode, batch norms folded into convolutions, auxiliary heads removed.
    layer_graph
        Its layers and hops.
    value_node
        Per layer (visible and hidden) the name of the node in `module.graph` whose output is the layer's activation:
        (image, channel, y, x), or (image, channel) for a layer without positions.
    input_node
        Per hop the name of the node whose output is the hop's real input, pooling included. A fully connected layer's
        is the map before flattening; one that follows another fully connected layer has an (image, channel) input.
    weight
        Per hop that isn't an identity its folded weight, (target, source / groups, kernel y, kernel x), float32;
        a fully connected layer's kernel covers its whole input map. The scale of a batch norm further up, behind a
        concatenation or a pooling, is in it too, so that the sign is that of the layer's own channel.
    """

    module: fx.GraphModule
    layer_graph: LayerGraph
    value_node: Mapping[str, str]
    input_node: Mapping[str, str]
    weight: Mapping[str, Tensor]


def trace_network(module: nn.Module, layers: Sequence[str], input_size: tuple[int, int, int]) -> TracedNetwork:
    """Find a network's layer graph.

    Parameters
    ----------
    module
        The network; is put into eval mode.
    layers
        Visible layers as module paths, or ``name=module.path`` to show them under another name, in any order.
        Empty: chosen by the network's structure.
    input_size
        Channels, height and width of an image.

    Raises
    ------
    TraceError
        If the network can't be traced, an operation between the visible layers isn't understood, or two visible
        layers don't lie one above the other.
    LayerNotFoundError
        If no module on the way to the output has the path of a layer; names near ones.
    ConfigError
        If a layer's name can't be used, or is used twice.
    """
    graph = network_graph(module, input_size)
    visible = _visible_layers(graph, layers or default_layers(graph))
    walk = _Walk(graph, visible)
    links = walk.links()
    _check_neighbours(list(visible), links, visible)
    return _assemble(graph, visible, walk.hidden, links)


@dataclass(frozen=True, eq=False)
class _Link:
    """A hop between nodes: `step` is its convolution or fully connected layer (None: identity)."""

    source: fx.Node
    target: fx.Node
    start: int
    channels: int
    step: fx.Node | None
    input: fx.Node
    norms: "_Norms"


#: Batch norms between a step and its layer's value that couldn't be folded, with the first target channel of each.
_Norms = tuple[tuple[fx.Node, int], ...]


class _Walk:
    """Walks down from each layer's value node; `visible` names the visible ones."""

    def __init__(self, graph: NetworkGraph, visible: Mapping[fx.Node, str]) -> None:
        self.graph, self.visible = graph, visible
        self.hidden: dict[fx.Node, fx.Node] = {}  # value node of each hidden layer: its linear step or concatenation
        self.above: set[fx.Node] = set(visible)  # what depends on a visible layer; all else comes from the image alone
        for node in graph.nodes:
            if any(n in self.above for n in node.all_input_nodes):
                self.above.add(node)

    def links(self) -> list[_Link]:
        """All hops into visible layers, and into the hidden layers that these need, in order of computation."""
        links: list[_Link] = []
        targets = list(self.visible)
        for target in targets:  # grows
            found = list(self._part(target, target, 0, ()))
            links += found
            targets += dict.fromkeys(k.source for k in found if k.source not in targets)
        order = {node: i for i, node in enumerate(self.graph.nodes)}
        return sorted(links, key=lambda k: (order[k.target], k.start, order[k.input]))

    def _part(self, target: fx.Node, part: fx.Node, start: int, norms: _Norms) -> Iterator[_Link]:
        """Hops into the channels of a target that a node gives; the node is the target itself or concatenated."""
        base, shared, passed = self._base(part, first=part is target)
        norms += tuple((norm, start) for norm in passed)
        if base is None:
            return
        # What is used elsewhere too is a layer of its own, so that its influences are computed once.
        if self._is_below(base, target) or (shared and part is not target):
            yield _Link(self._layer(base), target, start, self.graph.channels(base), None, part, norms)
        elif self.graph.is_linear_step(base):
            yield from self._step(target, base, start, norms)
        else:
            for piece, offset in self.graph.parts(base):
                yield from self._part(target, piece, start + offset, norms)

    def _is_below(self, base: fx.Node, target: fx.Node) -> bool:
        return base in self.visible and base is not target

    def _step(self, target: fx.Node, step: fx.Node, start: int, norms: _Norms) -> Iterator[_Link]:
        base, _, _ = self._base(input := self._input(step))
        if base is not None:
            self._check_step(step, input)
            yield _Link(self._layer(base), target, start, self.graph.channels(step), step, input, norms)

    def _base(self, node: fx.Node, first: bool = False) -> tuple[fx.Node | None, bool, list[fx.Node]]:
        """Where the channels of a node come from, whether anything on the way has other users, and its batch norms.

        That is a visible layer (not the `first` node itself), a linear step or a concatenation; None: the image alone.
        """
        shared, norms = False, list[fx.Node]()
        while any(n in self.above for n in (node.all_input_nodes if first else [node])):
            shared |= len(node.users) > 1
            seen = node in self.visible and not first
            if seen or self.graph.is_linear_step(node) or self.graph.is_concatenation(node):
                return node, shared, norms
            if not self.graph.preserves_channels(node):
                raise self._unknown(node)
            norms += [node] if self.graph.is_batch_norm(node) else []
            node, first = node.all_input_nodes[0], False
        return None, shared, norms

    def _layer(self, base: fx.Node) -> fx.Node:
        """The value node of the layer that a base belongs to; a hidden layer is noted."""
        if base in self.visible:
            return base
        value = self.graph.value(base)
        self.hidden[value] = base
        return value

    def _input(self, step: fx.Node) -> fx.Node:
        """The map that a linear step sees: a fully connected layer's is the one before it was flattened."""
        node = step.all_input_nodes[0]
        while self.graph.operation(step) == "linear" and self.graph.operation(node) in FLATTENING:
            node = node.all_input_nodes[0]
        return node

    def _check_step(self, step: fx.Node, input: fx.Node) -> None:
        module, shape = self.graph.called(step), self.graph.shape(input)
        if sum(n.op == "call_module" and n.target == step.target for n in self.graph.nodes) > 1:
            raise self._unknown(step, ", which is called more than once")
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            raise self._unknown(step, f" with {module.groups} groups")
        if isinstance(module, nn.Conv2d) and not pads_zeros_evenly(module):
            raise self._unknown(step, ", which pads with something else than equally many zeros on both sides")
        flat = self.graph.shape(step.all_input_nodes[0])
        if isinstance(module, nn.Linear) and (len(flat) != 2 or prod(shape[1:]) != module.in_features):
            raise self._unknown(step, f" on a tensor of shape {flat}")

    def _unknown(self, node: fx.Node, detail: str = "") -> TraceError:
        below = {n for n in self.visible if n in _ancestors(node)}
        before = [name for n, name in self.visible.items() if n in below]
        after = [name for n, name in self.visible.items() if n not in below]
        runs = " or ".join(f"only {_few(names)}" for names in (before, after) if names)
        return TraceError(
            f"Influences can't be followed through {self.graph.describe(node)}{detail}. It lies between the layers "
            f"{before[-1] if before else '?'} and {after[0] if after else '?'}; keep it outside the layers that are "
            f"shown, for instance with --layers: {runs}."
        )


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 6 else f"{', '.join(names[:2])} … {names[-1]}"


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found, waiting = set(), [node]
    while waiting:
        new = [n for n in waiting.pop().all_input_nodes if n not in found]
        found.update(new)
        waiting += new
    return found


def _visible_layers(graph: NetworkGraph, entries: Sequence[str]) -> dict[fx.Node, str]:
    """Value nodes of the visible layers and their names, in order of computation."""
    named: dict[fx.Node, str] = {}
    for entry in entries:
        name, _, path = entry.rpartition("=")
        node = graph.layer_value(path)
        _check_name(name := name or path, named.values())
        if node in named:
            raise ConfigError(f"The layers {named[node]!r} and {name!r} are the same activation; name one of them.")
        named[node] = name
    return {node: named[node] for node in graph.nodes if node in named}


def _check_name(name: str, others: Collection[str]) -> None:
    if "/" in name or name.startswith("__") or not name.strip("."):
        raise ConfigError(
            f"A layer can't be called {name!r}: the store has a group of that name, so no '/', '__' or '.'."
        )
    if name in others:
        raise ConfigError(f"Two layers are called {name!r}; names must be unique.")


def _check_neighbours(layers: list[fx.Node], links: list[_Link], visible: Mapping[fx.Node, str]) -> None:
    for lower, upper in pairwise(layers):
        reached: set[fx.Node] = set()
        waiting = [upper]
        while waiting:
            target = waiting.pop()
            sources = {k.source for k in links if k.target is target} - reached
            reached |= sources
            waiting += [s for s in sources if s not in visible]
        if lower not in reached:
            raise TraceError(
                f"No channel of the layer {visible[lower]!r} feeds the layer {visible[upper]!r} above it; they lie "
                "side by side. Leave one of them out of --layers, or name the layer that joins them."
            )


def _assemble(
    graph: NetworkGraph, visible: Mapping[fx.Node, str], hidden: Mapping[fx.Node, fx.Node], links: list[_Link]
) -> TracedNetwork:
    used = set(visible.values())
    order = {node: i for i, node in enumerate(graph.nodes)}
    layers = dict(visible)
    for value in sorted(hidden, key=order.__getitem__):
        layers[value] = _unique(_hidden_name(graph, value, hidden[value]), used)
    hops = {_unique(_hop_name(link, links, layers), used): link for link in links}
    _check_n_hops(links, layers)
    fields = windows(graph)
    return TracedNetwork(
        module=graph.module,
        layer_graph=LayerGraph(
            tuple(
                _layer(graph, node, layers[node], node in visible, fields[node])
                for node in sorted(layers, key=order.__getitem__)
            ),
            tuple(_hop(graph, name, link, layers) for name, link in hops.items()),
        ),
        value_node={name: node.name for node, name in layers.items()},
        input_node={name: link.input.name for name, link in hops.items()},
        weight={name: _weight(graph, link) for name, link in hops.items() if link.step is not None},
    )


def _check_n_hops(links: list[_Link], layers: Mapping[fx.Node, str]) -> None:
    target, n = Counter(link.target for link in links).most_common(1)[0] if links else (None, 0)
    if target is not None and n > MAX_HOPS:
        raise TraceError(
            f"{n} hops lead into the layer {layers[target]!r}; at most {MAX_HOPS} can be stored. "
            "Name more layers between with --layers."
        )


def _unique(name: str, used: set[str]) -> str:
    free = name if name not in used else next(n for i in count(2) if (n := f"{name}_{i}") not in used)
    used.add(free)
    return free


def _hidden_name(graph: NetworkGraph, value: fx.Node, base: fx.Node) -> str:
    if graph.is_linear_step(base):
        return layer_path(graph, base)
    paths = [path for path, nodes in graph.returned.items() if nodes == (value,)]
    return min(paths, key=len, default=f"{graph.owner(base)}.cat".strip("."))


def _hop_name(link: _Link, links: list[_Link], layers: Mapping[fx.Node, str]) -> str:
    if link.step is not None:
        return f"{link.step.target}.weight"
    name = f"{layers[link.target]}.identity"
    alone = sum(k.step is None and k.target is link.target for k in links) == 1
    return name if alone else f"{name}_{link.start}"


def _layer(graph: NetworkGraph, node: fx.Node, name: str, visible: bool, window: Window) -> Layer:
    shape = graph.shape(node)
    if len(shape) not in (2, 4):
        raise TraceError(
            f"The layer {name!r} has the shape {shape}; a layer is (image, channel) with or without (y, x)."
        )
    if shape[1] > MAX_CHANNELS:
        raise TraceError(
            f"The layer {name!r} has {shape[1]} channels; at most {MAX_CHANNELS} can be stored. "
            "Leave it out of --layers."
        )
    height, width = shape[2:] or (1, 1)
    return Layer(name, shape[1], height, width, visible, window)


def _hop(graph: NetworkGraph, name: str, link: _Link, layers: Mapping[fx.Node, str]) -> Hop:
    return Hop(
        name,
        layers[link.source],
        layers[link.target],
        range(link.start, link.start + link.channels),
        _convolution(graph, link),
    )


def _convolution(graph: NetworkGraph, link: _Link) -> Convolution | None:
    if link.step is None:
        return None
    if graph.operation(link.step) == "linear":
        height, width = graph.shape(link.input)[2:] or (1, 1)
        return Convolution(kernel=(height, width))
    return geometry(link.step, graph.called(link.step))


def _weight(graph: NetworkGraph, link: _Link) -> Tensor:
    assert link.step is not None
    module = graph.called(link.step)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    weight = module.weight.detach().float()
    if weight.ndim == 2:
        weight = weight.reshape(len(weight), *(*graph.shape(link.input)[1:], 1, 1)[:3])
    for norm, start in link.norms:
        first = link.start - start
        weight = weight * graph.norm_scale(norm)[first : first + link.channels, None, None, None]
    return weight
