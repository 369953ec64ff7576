"""From a module to its graph: traced, batch norms folded into convolutions, dropout and side exits removed."""

import copy
import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from summit_dask.facts.errors import TraceError
from summit_dask.network.operations import NetworkGraph, argument, module_name, operation_of

# fmt: off
_NOTHING = frozenset({
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alphadropout", "featurealphadropout", "identity", "contiguous",
})
# fmt: on

_FOLDED: tuple[tuple[type[nn.Module], type[nn.Module], Callable[[Any, Any], nn.Module]], ...] = (
    (nn.Conv2d, nn.BatchNorm2d, fuse_conv_bn_eval),
    (nn.Linear, nn.BatchNorm1d, fuse_linear_bn_eval),
)


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
        where = f"{module_name(next(reversed(tracer.module_stack), ''))}, {_source_line(error)}"
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
        if operation_of(traced, node) in _NOTHING and not always:
            replaced[node] = _replace(traced, node, node.all_input_nodes[0])
    return replaced


def _replace_means(traced: fx.GraphModule) -> dict[fx.Node, fx.Node]:
    """Write a mean over both axes of a map as pooling, so that the map before flattening is a node of its own."""
    replaced = {}
    for node in list(traced.graph.nodes):
        dim = argument(node, "dim", 1)
        if (
            operation_of(traced, node) != "mean"
            or not isinstance(dim, list | tuple)
            or {*dim} not in ({2, 3}, {-1, -2})
        ):
            continue
        with traced.graph.inserting_before(node):
            new = traced.graph.call_function(nn.functional.adaptive_avg_pool2d, (node.all_input_nodes[0], 1))
            if not argument(node, "keepdim", 2, False):
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
        with torch.inference_mode(), redirect_stderr(StringIO()):  # torch prints a traceback of its own
            expected = first_tensor(module(image))  # first: its errors are the network's own words
            found = ShapeProp(traced).propagate(image)
    except Exception as error:
        size = " x ".join(map(str, input_size))
        raise TraceError(
            f"The network doesn't run on an image of {size} (channels, height, width): {error}. "
            "Check --crop, --mean and --std, which decide the size and the colours."
        ) from error
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


def _source_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(torch.__file__).parent not in Path(f.filename).parents]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}: {frame.line}"
