"""A traced network (see `symbolic`) as a graph of operations.

What the nodes do (convolution, concatenation, operations that keep channels apart) is known here and
nowhere else; `trace` walks over them, `families` chooses layers, `windows` follows receptive fields.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import _get_qualified_name

from summit_dask.facts.errors import LayerNotFoundError, TraceError, suggestion
from summit_dask.facts.layergraph import Convolution

#: Operations that act on every value alone, or scale and shift whole channels. Names as `NetworkGraph.operation`
#: gives them: nn.ReLU, functional.relu_ and Tensor.relu are all "relu".
# fmt: off
POINTWISE = frozenset({
    "relu", "relu6", "leakyrelu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish",
    "hardsigmoid", "hardtanh", "sigmoid", "tanh", "softplus", "softsign", "logsigmoid", "threshold", "softshrink",
    "hardshrink", "tanhshrink", "clamp", "clip", "clampmin", "clampmax", "batchnorm1d", "batchnorm2d",
})
# fmt: on
POOLING = frozenset({"maxpool2d", "avgpool2d"})
ADAPTIVE_POOLING = frozenset({"adaptivemaxpool2d", "adaptiveavgpool2d"})
CONCATENATION = frozenset({"cat", "concat", "concatenate"})
FLATTENING = frozenset({"flatten", "view", "reshape", "squeeze"})
_PRESERVING = POINTWISE | POOLING | ADAPTIVE_POOLING | {"localresponsenorm"}


@dataclass(frozen=True)
class NetworkGraph:
    """A traced network that knows what its nodes do and which module returned which node."""

    module: fx.GraphModule
    returned: Mapping[str, tuple[fx.Node, ...]]

    @property
    def nodes(self) -> tuple[fx.Node, ...]:
        """All nodes, in the order they are computed."""
        return tuple(self.module.graph.nodes)

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Shape of the node's tensor for one image; empty for anything else."""
        return tuple(getattr(node.meta.get("tensor_meta"), "shape", ()))

    def channels(self, node: fx.Node) -> int:
        """Channels of the node's tensor."""
        return self.shape(node)[1]

    def called(self, node: fx.Node) -> nn.Module | None:
        """The module that the node calls, if it calls one."""
        return self.module.get_submodule(str(node.target)) if node.op == "call_module" else None

    def operation(self, node: fx.Node) -> str:
        """What the node does, one name for the module, functional and method forms of an operation."""
        return operation_of(self.module, node)

    def owner(self, node: fx.Node) -> str:
        """Path of the innermost module in whose `forward` the node is; empty for the network itself."""
        stack: Mapping[str, object] = node.meta.get("nn_module_stack") or {"": None}
        path = list(stack)[-1].split("@")[0]
        return path.rpartition(".")[0] if node.op == "call_module" else path

    def describe(self, node: fx.Node) -> str:
        """The node in a message: module and operation."""
        if (module := self.called(node)) is not None:
            return f"the module '{node.target}' ({type(module).__name__})"
        return f"the operation '{self.operation(node)}' in {module_name(self.owner(node))}"

    def is_linear_step(self, node: fx.Node) -> bool:
        """Whether the node is a 2-D convolution or a fully connected layer."""
        return isinstance(self.called(node), nn.Conv2d | nn.Linear)

    def is_concatenation(self, node: fx.Node) -> bool:
        """Whether the node concatenates tensors along the channels."""
        if self.operation(node) not in CONCATENATION or not isinstance(argument(node, "tensors", 0), list | tuple):
            return False
        dim = node.kwargs.get("axis", argument(node, "dim", 1, 0))
        return isinstance(dim, int) and dim % max(len(self.shape(node)), 1) == 1

    def parts(self, concatenation: fx.Node) -> Iterator[tuple[fx.Node, int]]:
        """What is concatenated, each with the first channel it lands on."""
        start = 0
        for part in argument(concatenation, "tensors", 0):
            yield part, start
            start += self.channels(part)

    def preserves_channels(self, node: fx.Node) -> bool:
        """Whether channel i of the node comes from channel i of its input (in a local response norm: mostly)."""
        operation, module = self.operation(node), self.called(node)
        if operation in FLATTENING | {"unsqueeze"}:
            return self._keeps_vector(node)
        if self.is_batch_norm(node) and getattr(module, "running_mean", None) is None:
            return False  # it depends on the other images of the batch
        return operation in _PRESERVING and self.shape(node)[:2] == self.shape(node.all_input_nodes[0])[:2]

    def is_batch_norm(self, node: fx.Node) -> bool:
        """Whether the node calls a batch norm."""
        return isinstance(self.called(node), nn.BatchNorm1d | nn.BatchNorm2d)

    def norm_scale(self, node: fx.Node) -> Tensor:
        """What a batch norm multiplies each channel by."""
        norm = self.called(node)
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.running_var is not None
        scale = torch.rsqrt(norm.running_var + norm.eps)
        return scale if norm.weight is None else scale * norm.weight.detach()

    def _keeps_vector(self, node: fx.Node) -> bool:
        before, after = self.shape(node.all_input_nodes[0]), self.shape(node)
        return len(after) > 1 and before[1:2] == after[1:2] and {*before[2:], *after[2:]} <= {1}

    def value(self, node: fx.Node) -> fx.Node:
        """The activation that a node's output becomes: past batch norm and nonlinearities that alone use it."""
        while len(node.users) == 1 and self.operation(user := next(iter(node.users))) in POINTWISE:
            if user.all_input_nodes[0] is not node:
                break
            node = user
        return node

    def layer_value(self, path: str) -> fx.Node:
        """The activation of the module at a path.

        Raises
        ------
        LayerNotFoundError
            If no such module is on the way to the network's output; names near ones.
        TraceError
            If the module is called more than once.
        """
        nodes = self.returned.get(path)
        if not nodes:
            raise LayerNotFoundError(
                f"No module {path!r} returns a tensor on the way to the network's output. "
                f"{suggestion(path, self.returned)}"
            )
        if len(nodes) > 1:
            raise TraceError(f"The module {path!r} is called {len(nodes)} times, so its output is no single layer.")
        return self.value(nodes[0])


def geometry(node: fx.Node, module: nn.Module | None) -> Convolution:
    """Kernel of a convolution or pooling node; `module` is what it calls, None for a function.

    Padding that differs between two sides counts as the smaller one; `pads_zeros_evenly` tells.
    """
    if module is None:
        names = ("input", "kernel_size", "stride", "padding", "dilation")
        given = zip(names[: 5 if "max" in node.name else 4], node.args, strict=False)
        options: dict[str, Any] = {**dict(given), **node.kwargs}
    else:
        options = vars(module)
    kernel, dilation = _pair(options["kernel_size"]), _pair(options.get("dilation", 1))
    stride = _pair(options["stride"]) if options.get("stride") else kernel
    padding = options.get("padding", 0)
    if isinstance(padding, str):
        same = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
        padding = same if padding == "same" else 0
    return Convolution(kernel, stride, _pair(padding), dilation, options.get("groups", 1))


def pads_zeros_evenly(convolution: nn.Conv2d) -> bool:
    """Whether a convolution pads with zeros only, as many on either side."""
    odd = any(d * (k - 1) % 2 for d, k in zip(convolution.dilation, convolution.kernel_size, strict=True))
    padded = convolution.padding == "same" or any(p for p in convolution.padding if isinstance(p, int))
    return not (padded and convolution.padding_mode != "zeros") and not (convolution.padding == "same" and odd)


def operation_of(traced: nn.Module, node: fx.Node) -> str:
    """What a node does: nn.ReLU, functional.relu_ and Tensor.relu are all "relu"."""
    if node.op == "call_module":
        types = type(traced.get_submodule(str(node.target))).__mro__
        name = next(t.__name__ for t in types if t.__module__.startswith("torch.nn"))
    elif node.op == "call_function":
        name = _get_qualified_name(node.target)  # type: ignore[arg-type]
        if not name.startswith(("torch.", "_operator.")):
            return name
    else:
        name = str(node.target)
    return name.rpartition(".")[2].replace("_", "").lower()


def argument(node: fx.Node, name: str, place: int, default: Any = None) -> Any:
    """An argument of a node's call, wherever it was given."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    pair = tuple(value)
    return (pair[0], pair[-1])


def module_name(path: str) -> str:
    """A module in a message."""
    return f"the module '{path}'" if path else "the network itself"
