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
from jaxtyping import Int16
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


class PreActivation(NamedTuple):
    """Where contributions add up: a linear step's, batch norm's or addition's output, before any nonlinearity.

    A layer has one, or one for each branch of a concatenation; `targets` are the layer's channels that the node's
    `channels` become, one for each (a split may leave others out).
    """

    value: Value
    channels: Channels
    targets: Channels


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
        By layer, visible and hidden: its activation.
    steps
        In forward order; those of one target layer in the order of its hops.
    pre_activation
        By layer that any step leads to: the values that its steps' contributions and its bias sum up to.
    bias
        By the same layers: the constant part of each channel's pre-activation, folded biases and shifts; float32.
    module_outputs
        By path of a module that is called once and returns one tensor: the value that it returned.
    """

    module: fx.GraphModule
    batch_size: int
    layer_graph: LayerGraph
    values: Mapping[str, Value]
    steps: tuple[Step, ...]
    pre_activation: Mapping[str, tuple[PreActivation, ...]]
    bias: Mapping[str, Tensor]
    module_outputs: Mapping[str, Value]
