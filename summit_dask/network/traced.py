"""A traced network: what is run, where its layers' values and its steps' real inputs are found, and the weights.

                  module (ATen operations)                      layer graph
image ── conv1 ── relu ── conv2 ──┐                             layer: relu's value
                   └──────────── add ── relu_1                  layer: relu_1's value
                                                                step conv2: its hop relu -> relu_1, ranked by a kernel
                                                                step identity: its hop relu -> relu_1
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int16
from torch import Tensor, fx

from summit_dask.facts.layergraph import Channels, Convolution, LayerGraph


class Value(NamedTuple):
    """The output of a node of the traced module: (image, channel, y, x), (image, channel), or with channels last.

    `axis` is that of the channels: 1, or -1 for (image, y, x, channel).
    """

    node: str
    axis: int


@dataclass(frozen=True, eq=False)
class Step:
    """One linear step as it is ranked: a convolution, a fully connected layer, or an identity of a skip connection.

    Its input may hold channels of several layers (a concatenation), so that one step makes several hops; those of one
    target compete in one ranking, as do several steps into the same channels.

    Attributes
    ----------
    name
        Of its weight, or of the identity; for messages.
    input
        The step's real input, gates, norms and pooling included, before its own padding; all of its channels.
    order
        The input's channels in the order of (hop, source), group by group; None: they lie so already.
    convolution
        Geometry; None for an identity. A fully connected layer on a map covers it whole.
    weight
        (target, source in group, kernel y, kernel x), float32, with all constant scales up to the target layer's
        pre-activation folded in; 0 for input channels that come from no layer. Of an identity (target, 1, 1, 1), or
        None where it scales nothing.
    target, targets
        The layer that the step leads to, and which of its channels, one for each row of the weight.
    hop, source
        Of each input channel, in `order`: the hop's index among the target layer's incoming hops, and the channel of
        the hop's source layer; -1, -1 for one that comes from no layer.
    """

    name: str
    input: Value
    order: Channels | None
    convolution: Convolution | None
    weight: Tensor | None
    target: str
    targets: Channels
    hop: Int16[np.ndarray, " source"]
    source: Int16[np.ndarray, " source"]


@dataclass(frozen=True, eq=False)
class ClassStep:
    """The network's last linear layer, whose target is the class of the image at hand.

    Attributes
    ----------
    input
        Its input, (image, source): pooled channels.
    weight, bias
        A row for each of the network's outputs, float32.
    hop, source
        As those of a `Step`.
    """

    input: Value
    weight: Float32[np.ndarray, "output source"]
    bias: Float32[np.ndarray, " output"]
    hop: Int16[np.ndarray, " source"]
    source: Int16[np.ndarray, " source"]


@dataclass(frozen=True, eq=False)
class PreActivation:
    """A node whose value the contributions to some channels of a layer add up to.

    For each of `targets`: the sum of all contributions plus bias = `scale` * the value's channel + `shift`.

    Attributes
    ----------
    value
        Output of a linear step or of an addition, before any nonlinearity.
    channels
        Its channels, one for each of `targets`.
    targets
        The layer's channels.
    scale, shift
        Constants that follow before the layer's own nonlinearity, float64, one for each of `targets`.
    """

    value: Value
    channels: Channels
    targets: Channels
    scale: Tensor
    shift: Tensor


@dataclass(frozen=True, eq=False)
class TracedNetwork:
    """A network ready to be run and looked into.

    Attributes
    ----------
    module
        The network in eval mode as a graph of ATen operations; takes (batch_size, colour, y, x), gives
        (batch_size, output).
    batch_size
        Images that the module takes, no more and no less.
    layer_graph
        Its layers and hops.
    values
        By layer, visible and hidden: its activation; the row of the class has none.
    steps
        In forward order; those of one target layer in the order of its hops.
    unranked
        Steps into layers that come from no layer, but from the image alone: nothing to rank, though they contribute.
    bias
        By layer that steps lead to, of each channel: the constant part of its pre-activation, float64.
    pre_activations
        By layer that steps lead to: what contributions and bias add up to.
    module_outputs
        By path of a module that is called once: the node whose value it returns.
    factors
        By gate, both as nodes' names: the operand that is taken as found.
    class_step
        What leads to the class itself, where that is the top row of the layer graph.
    """

    module: fx.GraphModule
    batch_size: int
    layer_graph: LayerGraph
    values: Mapping[str, Value]
    steps: tuple[Step, ...]
    unranked: tuple[Step, ...]
    bias: Mapping[str, Tensor]
    pre_activations: Mapping[str, tuple[PreActivation, ...]]
    module_outputs: Mapping[str, str]
    factors: Mapping[str, str]
    class_step: ClassStep | None = None
