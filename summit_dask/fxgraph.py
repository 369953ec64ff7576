"""A network as a graph of operations: traced, batch norms folded into convolutions, side exits removed.

What the nodes do (convolution, concatenation, operations that keep channels apart) is known here and
nowhere else; `trace` walks over them, `families` chooses layers, `windows` follows receptive fields.
"""

import copy
import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import _get_qualified_name
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from summit_dask.errors import LayerNotFoundError, TraceError, suggestion
from summit_dask.layergraph import Convolution

#: Operations that act on every value alone, or scale and shift whole channels. Names as `NetworkGraph.operation`
#: gives them: nn.ReLU, functional.relu_ and Tensor.relu are all "relu".
# fmt: off
POINTWISE = frozenset({
    "relu", "relu6", "leakyrelu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish",
    "hardsigmoid", "hardtanh", "sigmoid", "tanh", "softplus", "softsign", "logsigmoid", "threshold", "softshrink",
    "hardshrink", "tanhshrink", "clamp", "clip", "clampmin", "clampmax", "batchnorm1d", "batchnorm2d",
})
_NOTHING = frozenset({
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alphadropout", "featurealphadropout", "identity", "contiguous",
})
# fmt: on
POOLING = frozenset({"maxpool2d", "avgpool2d"})
ADAPTIVE_POOLING = frozenset({"adaptivemaxpool2d", "adaptiveavgpool2d"})
CONCATENATION = frozenset({"cat", "concat", "concatenate"})
FLATTENING = frozenset({"flatten", "view", "reshape", "squeeze"})
_PRESERVING = POINTWISE | POOLING | ADAPTIVE_POOLING | {"localresponsenorm"}

_FOLDED: tuple[tuple[type[nn.Module], type[nn.Module], Callable[[Any, Any], nn.Module]], ...] = (
    (nn.Conv2d, nn.BatchNorm2d, fuse_conv_bn_eval),
    (nn.Linear, nn.BatchNorm1d, fuse_linear_bn_eval),
)


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
        return _operation(self.module, node)

    def owner(self, node: fx.Node) -> str:
        """Path of the innermost module in whose `forward` the node is; empty for the network itself."""
        stack: Mapping[str, object] = node.meta.get("nn_module_stack") or {"": None}
        path = list(stack)[-1].split("@")[0]
        return path.rpartition(".")[0] if node.op == "call_module" else path

    def describe(self, node: fx.Node) -> str:
        """The node in a message: module and operation."""
        if (module := self.called(node)) is not None:
            return f"the module '{node.target}' ({type(module).__name__})"
        return f"the operation '{self.operation(node)}' in {_module_name(self.owner(node))}"

    def is_linear_step(self, node: fx.Node) -> bool:
        """Whether the node is a 2-D convolution or a fully connected layer."""
        return isinstance(self.called(node), nn.Conv2d | nn.Linear)

    def is_concatenation(self, node: fx.Node) -> bool:
        """Whether the node concatenates tensors along the channels."""
        if self.operation(node) not in CONCATENATION or not isinstance(_argument(node, "tensors", 0), list | tuple):
            return False
        dim = node.kwargs.get("axis", _argument(node, "dim", 1, 0))
        return isinstance(dim, int) and dim % max(len(self.shape(node)), 1) == 1

    def parts(self, concatenation: fx.Node) -> Iterator[tuple[fx.Node, int]]:
        """What is concatenated, each with the first channel it lands on."""
        start = 0
        for part in _argument(concatenation, "tensors", 0):
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


def network_graph(module: nn.Module, input_size: tuple[int, int, int]) -> NetworkGraph:
    """The graph of a network: batch norms folded, dropout and what doesn't lead to the output removed.

    Parameters
    ----------
    module
        The network; is put into eval mode, otherwise left as it is. Weights that no folding changes are shared.
    input_size
        Channels, height and width of an image.

    Raises
    ------
    TraceError
        If `torch.fx` can't trace the network, it doesn't run on such an image, or the graph computes something else.
    """
    module.eval()
    traced, returned = _traced(module)
    replaced = _simplify(traced)
    alive = set(traced.graph.nodes)
    kept = {path: tuple(_follow(node, replaced) for node in nodes) for path, nodes in returned.items()}
    kept = {path: nodes for path, nodes in kept.items() if nodes[0] in alive}
    _propagate(module, traced, input_size)
    return NetworkGraph(traced, kept)


class _Tracer(fx.Tracer):
    """Also notes which node each module returned."""

    def __init__(self) -> None:
        super().__init__()
        self.returned: dict[str, list[fx.Node]] = {}

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        value = super().call_module(m, forward, args, kwargs)
        if isinstance(value, fx.Proxy):
            self.returned.setdefault(self.path_of_module(m), []).append(value.node)
        return value

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # A subclass that only changes how a convolution is made is still that convolution.
        inherited = type(m).forward.__module__.startswith("torch.nn.modules") and not isinstance(m, nn.Sequential)
        return inherited or super().is_leaf_module(m, module_qualified_name)


def _traced(module: nn.Module) -> tuple[fx.GraphModule, dict[str, list[fx.Node]]]:
    tracer = _Tracer()
    options = list(inspect.signature(module.forward).parameters.values())[1:]
    defaults = {p.name: p.default for p in options if p.default is not p.empty}
    try:
        graph = tracer.trace(module, defaults or None)
    except Exception as error:
        where = f"{_module_name(next(reversed(tracer.module_stack), ''))}, {_source_line(error)}"
        raise TraceError(
            f"torch.fx can't trace the network: {error} (in {where}). Control flow that depends on the image's values "
            "can't be followed; rewrite it, or wrap the network in a module without it."
        ) from error
    return fx.GraphModule(module, graph), tracer.returned


def _simplify(traced: fx.GraphModule) -> dict[fx.Node, fx.Node]:
    """Rewrite the graph in place; says which removed node's output another node gives now."""
    _keep_first_output(traced)
    _remove_assertions(traced)
    replaced = _remove_nothings(traced) | _replace_means(traced)
    traced.graph.eliminate_dead_code()
    replaced |= _fold_batch_norms(traced)
    _reshape_instead_of_view(traced)
    _make_out_of_place(traced)
    _remove_extra_inputs(traced)
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return replaced


def _follow(node: fx.Node, replaced: Mapping[fx.Node, fx.Node]) -> fx.Node:
    while node in replaced:
        node = replaced[node]
    return node


def _keep_first_output(traced: fx.GraphModule) -> None:
    output = next(n for n in traced.graph.nodes if n.op == "output")
    first = next(iter(output.all_input_nodes), None)
    if first is None:
        raise TraceError("The network's output doesn't depend on the image.")
    output.args = (first,)


def _remove_assertions(traced: fx.GraphModule) -> None:
    for node in reversed(traced.graph.nodes):
        if node.op == "call_function" and "assert" in node.name and not node.users:
            traced.graph.erase_node(node)


def _remove_extra_inputs(traced: fx.GraphModule) -> None:
    for node in traced.graph.find_nodes(op="placeholder")[1:]:
        if not node.users:
            traced.graph.erase_node(node)


def _remove_nothings(traced: fx.GraphModule) -> dict[fx.Node, fx.Node]:
    """Remove dropout and other operations that do nothing in eval mode."""
    replaced = {}
    for node in list(traced.graph.nodes):
        always = node.op == "call_function" and node.kwargs.get("training", True) and "dropout" in node.name
        if _operation(traced, node) in _NOTHING and not always:
            replaced[node] = _replace(traced, node, node.all_input_nodes[0])
    return replaced


def _replace_means(traced: fx.GraphModule) -> dict[fx.Node, fx.Node]:
    """Write a mean over both axes of a map as pooling, so that the map before flattening is a node of its own."""
    replaced = {}
    for node in list(traced.graph.nodes):
        dim = _argument(node, "dim", 1)
        if _operation(traced, node) != "mean" or not isinstance(dim, list | tuple) or {*dim} not in ({2, 3}, {-1, -2}):
            continue
        with traced.graph.inserting_before(node):
            new = traced.graph.call_function(nn.functional.adaptive_avg_pool2d, (node.all_input_nodes[0], 1))
            if not _argument(node, "keepdim", 2, False):
                new = traced.graph.call_function(torch.flatten, (new, 1))
        replaced[node] = _replace(traced, node, new)
    return replaced


def _fold_batch_norms(traced: fx.GraphModule) -> dict[fx.Node, fx.Node]:
    replaced, calls = {}, Counter(n.target for n in traced.graph.nodes if n.op == "call_module")
    for node in list(traced.graph.nodes):
        before = next(iter(node.all_input_nodes), None)
        if before is None or {node.op, before.op} != {"call_module"} or len(before.users) > 1:
            continue
        linear, norm = (traced.get_submodule(str(n.target)) for n in (before, node))
        fold = next((f for a, b, f in _FOLDED if isinstance(linear, a) and isinstance(norm, b)), None)
        if fold and calls[before.target] == 1 and norm.running_mean is not None:
            _set_module(traced, before, fold(linear, norm))
            replaced[node] = _replace(traced, node, before)
    return replaced


def _make_out_of_place(traced: fx.GraphModule) -> None:
    """Keep the values that are looked at as they were: no activation may overwrite its input."""
    for node in traced.graph.nodes:
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
        elif node.op == "call_module" and getattr(called := traced.get_submodule(str(node.target)), "inplace", False):
            changed = copy.copy(called)
            changed.__dict__["inplace"] = False
            _set_module(traced, node, changed)


def _reshape_instead_of_view(traced: fx.GraphModule) -> None:
    """A view fails on maps that are laid out channels last; reshaping gives the same values."""
    for node in traced.graph.find_nodes(op="call_method", target="view"):
        node.target = "reshape"


def _set_module(traced: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    parent, _, name = str(node.target).rpartition(".")
    setattr(traced.get_submodule(parent), name, module)


def _replace(traced: fx.GraphModule, node: fx.Node, new: fx.Node) -> fx.Node:
    new.meta.setdefault("nn_module_stack", node.meta.get("nn_module_stack"))
    node.replace_all_uses_with(new)
    traced.graph.erase_node(node)
    return new


def _propagate(module: nn.Module, traced: fx.GraphModule, input_size: tuple[int, int, int]) -> None:
    """Note every node's shape on a random image, and check that the graph computes what the network does."""
    image = torch.randn((1, *input_size), generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            found, expected = ShapeProp(traced).propagate(image), first_tensor(module(image))
    except Exception as error:
        size = " x ".join(map(str, input_size))
        raise TraceError(f"The network doesn't run on an image of {size} (channels, height, width): {error}") from error
    scale = float(expected.nan_to_num().abs().max())
    if not torch.allclose(found, expected, rtol=0, atol=1e-3 * scale + 1e-9, equal_nan=True):
        difference = float((found - expected).abs().max())
        raise TraceError(
            f"The traced graph computes something else than the network: outputs differ by up to {difference:.3g} "
            f"(expected at most {1e-3 * scale:.3g}). Random operations and operations in place that other code "
            "relies on have this effect; remove them from the network."
        )


def first_tensor(output: Any) -> Tensor:
    """The first tensor of what a network returns: a tensor, or a tuple, list or dict of them."""
    while not isinstance(output, Tensor):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    return output


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


def _operation(traced: nn.Module, node: fx.Node) -> str:
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


def _argument(node: fx.Node, name: str, place: int, default: Any = None) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    pair = tuple(value)
    return (pair[0], pair[-1])


def _module_name(path: str) -> str:
    return f"the module '{path}'" if path else "the network itself"


def _source_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(torch.__file__).parent not in Path(f.filename).parents]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}: {frame.line}"
