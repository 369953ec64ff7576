"""From a module to its graph of ATen operations: exported at one size, constants computed, batch norms folded.

    module.forward ── torch.export ── core ATen operations ── constants ── folding ── NetworkGraph

Every spelling of an operation (module, function, method, in place) has become one operation by then, and every shape is
a number. What module an operation came from stands in its metadata.
"""

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from summit_dask.facts.errors import TraceError
from summit_dask.network.operations import (
    KEPT_WHOLE,
    Kind,
    described,
    does_nothing,
    is_random,
    kind,
    operation,
    operation_name,
    reshaping,
)

#: Largest difference between the outputs of the graph and the module, as a share of the largest output.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class NetworkGraph:
    """An exported network, and which module gave which value.

    Attributes
    ----------
    module
        Takes as many images as it was exported for.
    returned
        By module path the nodes whose values it returned, one for each call; modules that return anything else than
        one tensor, or do nothing, are not in it.
    types
        Class name of every module that computes anything, by path.
    folded
        Paths of modules that returned something else than their node's value now: a folded batch norm is in it.
    """

    module: fx.GraphModule
    returned: Mapping[str, tuple[fx.Node, ...]]
    types: Mapping[str, str]
    folded: frozenset[str]

    @property
    def nodes(self) -> tuple[fx.Node, ...]:
        """All nodes, in the order they are computed."""
        return tuple(self.module.graph.nodes)

    def in_order(self, nodes: Iterable[fx.Node]) -> list[fx.Node]:
        """Some of the nodes, each once, in the order they are computed."""
        wanted = set(nodes)
        return [node for node in self.module.graph.nodes if node in wanted]

    @property
    def image(self) -> fx.Node:
        """The network's input."""
        return next(node for node in self.nodes if node.op == "placeholder")

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Shape of a node's tensor, images first; empty for anything else."""
        return tuple(getattr(node.meta.get("val"), "shape", ()))

    def constant(self, node: Any) -> Tensor | None:
        """The tensor that a node stands for, if it depends on no image."""
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        return attribute(self.module, str(node.target)).detach()

    def owner(self, node: fx.Node) -> str:
        """Path of the innermost module in whose `forward` the node is; empty for the network itself."""
        return owner(node)

    def describe(self, node: fx.Node) -> str:
        """The node in a message: module and operation."""
        return f"the operation '{described(node)}' in {module_name(self.owner(node))}"


def network_graph(module: nn.Module, input_size: tuple[int, int, int], batch_size: int = 1) -> NetworkGraph:
    """The graph of a network: batch norms folded, what doesn't lead to the output removed.

    Parameters
    ----------
    module
        The network; is put into eval mode, otherwise left as it is. Weights that no folding changes are shared.
    input_size
        Channels, height and width of an image.
    batch_size
        Images at a time.

    Raises
    ------
    TraceError
        If the network doesn't run on such images, can't be exported, is random, or the graph computes something else.
    """
    module.eval()
    images = _random_images((batch_size, *input_size))
    alone = _outputs(module, images[:1])
    traced = _exported(module, images)
    graph = _simplified(traced)
    _check_equal(graph, images, alone)
    return graph


def first_tensor(output: Any) -> Tensor:
    """The first tensor of what a network returns: a tensor, or a tuple, list or dict of them."""
    while not isinstance(output, Tensor):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    return output


def module_name(path: str) -> str:
    """A module in a message."""
    return f"the module '{path}'" if path else "the network itself"


def module_stack(node: fx.Node) -> dict[str, tuple[str, str]]:
    """The modules in whose `forward` a node is, outermost first: path and class, by a key for each call."""
    stack = node.meta.get("nn_module_stack") or {}
    return {key: (path.partition("@")[0], str(getattr(cls, "__name__", cls)).rpartition(".")[2])
            for key, (path, cls) in stack.items()}  # fmt: skip


def owner(node: fx.Node) -> str:
    """Path of the innermost module in whose `forward` a node is; empty for the network itself."""
    return next((path for path, _ in reversed(module_stack(node).values())), "")


def attribute(module: nn.Module, path: str) -> Tensor:
    """A parameter or buffer by its path."""
    parent, _, name = path.rpartition(".")
    found: Tensor = getattr(module.get_submodule(parent), name)
    return found


# Exporting


def _random_images(shape: tuple[int, ...]) -> Tensor:
    try:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))
    except RuntimeError as error:
        size = " x ".join(map(str, shape))
        raise TraceError(
            f"No memory for a batch of {size} (images, channels, height, width): {_first_line(error)}. Give a smaller "
            "--batch-size or --crop."
        ) from error


def _outputs(module: nn.Module, images: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            return first_tensor(module(images))
    except Exception as error:
        size = " x ".join(map(str, images.shape[1:]))
        raise TraceError(
            f"The network doesn't run on an image of {size} (channels, height, width): {_first_line(error)} "
            f"(in {_place(module, error)}). Check --crop, --mean and --std, which decide the size and the colours."
        ) from error


def _exported(module: nn.Module, images: Tensor) -> fx.GraphModule:
    table = torch.export.default_decompositions()
    for target in [target for target in table if operation_name(target) in KEPT_WHOLE]:
        del table[target]
    try:
        with torch.no_grad(), redirect_stderr(StringIO()):  # torch prints a traceback of its own
            program = torch.export.export(module, (images,), strict=False).run_decompositions(table)
    except Exception as error:
        raise TraceError(
            f"torch.export can't follow the network: {_first_line(error)} (in {_place(module, error)}). Control flow "
            "that depends on the image's values can't be followed; rewrite it, or wrap the network in a module "
            "without it."
        ) from error
    traced = program.module()
    assert isinstance(traced, fx.GraphModule)
    return _plain(traced)


def _plain(traced: fx.GraphModule) -> fx.GraphModule:
    """Without checks of the input, with the first output alone."""
    for node in reversed(traced.graph.nodes):
        if node.op == "call_module" or (node.op == "call_function" and not node.users and "assert" in node.name):
            traced.graph.erase_node(node)
    output = traced.graph.output_node()
    first = next((n for n in output.all_input_nodes if n.op == "call_function"), None)
    if first is None:
        raise TraceError("The network's output doesn't depend on the image.")
    output.args = (first,)
    traced.graph.set_codegen(fx.graph.CodeGen())
    if random := next((n for n in traced.graph.nodes if is_random(n)), None):
        raise TraceError(
            f"The network is random: the operation '{operation(random)}' in {module_name(owner(random))} gives "
            f"something else each time ({_user_line(random)}). Remove it, or switch it off in eval mode."
        )
    return traced


def _place(module: nn.Module, error: BaseException) -> str:
    """The innermost module of the network that was running when an error came up, and the line."""
    paths = {id(child): path for path, child in module.named_modules()}
    frames = list(traceback.walk_tb(error.__traceback__))
    running = [paths[id(own)] for frame, _ in frames if id(own := frame.f_locals.get("self")) in paths]
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if Path(torch.__file__).parent not in Path(line.filename).parents]
    line = (own or lines)[-1]
    return f"{module_name(running[-1] if running else '')}, {Path(line.filename).name}, line {line.lineno}: {line.line}"


def _user_line(node: fx.Node) -> str:
    lines = [line.strip() for line in str(node.meta.get("stack_trace") or "").splitlines()]
    return " ".join(lines[-2:]) or "no line known"


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


# Simplifying


def _simplified(traced: fx.GraphModule) -> NetworkGraph:
    returned, types = _returned(traced)
    replaced = _compute_constants(traced) | _remove_nothings(traced)
    traced.graph.eliminate_dead_code()
    folds = _fold_batch_norms(traced)
    for node in traced.graph.nodes:
        if node.op == "call_function":
            node.target = reshaping(node.target)
    traced.graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    replaced |= folds
    alive = set(traced.graph.nodes)
    kept = {path: tuple(_follow(node, replaced) for node in nodes) for path, nodes in returned.items()}
    kept = {path: nodes for path, nodes in kept.items() if all(n in alive and n.op == "call_function" for n in nodes)}
    changed = {path for path, nodes in kept.items() if any(n in folds.values() for n in returned[path])}
    return NetworkGraph(traced, kept, types, frozenset(changed))


def _returned(traced: fx.GraphModule) -> tuple[dict[str, list[fx.Node]], dict[str, str]]:
    """What each module gave: its one node that is used outside of it, call by call; and the modules' classes."""
    stacks = {node: module_stack(node) for node in traced.graph.nodes}
    given: dict[str, list[fx.Node]] = {}
    paths: dict[str, tuple[str, str]] = {}
    for node, stack in stacks.items():
        paths |= stack
        outside = {key for key in stack if any(key not in stacks[user] for user in node.users)}
        for key in outside:
            given.setdefault(key, []).append(node)
    returned: dict[str, list[fx.Node]] = {}
    for key, nodes in given.items():
        if len(nodes) == 1:
            returned.setdefault(paths[key][0], []).extend(nodes)
    return returned, dict(paths.values())


def _follow(node: fx.Node, replaced: Mapping[fx.Node, fx.Node]) -> fx.Node:
    while node in replaced:
        node = replaced[node]
    return node


def _compute_constants(traced: fx.GraphModule) -> dict[fx.Node, fx.Node]:
    """What depends on parameters alone (standardised, normed or masked weights, scales) becomes a constant."""
    values: dict[fx.Node, Any] = {}
    replaced = {}
    for node in list(traced.graph.nodes):
        if node.op == "get_attr":
            values[node] = attribute(traced, str(node.target)).detach()
            node.meta["val"] = values[node]
        elif node.op == "call_function" and all(n in values for n in node.all_input_nodes):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            with torch.no_grad():
                values[node] = node.target(*args, **kwargs)
            if isinstance(values[node], Tensor):
                replaced[node] = _replace(traced, node, _new_constant(traced, node, values[node]))
                values[replaced[node]] = values[node]
    return replaced


def _new_constant(traced: fx.GraphModule, before: fx.Node, value: Tensor) -> fx.Node:
    name = f"_constant_{sum(key.startswith('_constant_') for key in traced._buffers)}"
    traced.register_buffer(name, value.detach().contiguous())
    with traced.graph.inserting_before(before):
        node = traced.graph.get_attr(name)
    node.meta["val"] = value.detach()
    return node


def _remove_nothings(traced: fx.GraphModule) -> dict[fx.Node, fx.Node]:
    return {
        node: _replace(traced, node, node.all_input_nodes[0])
        for node in list(traced.graph.nodes)
        if node.op == "call_function" and does_nothing(node)
    }


def _replace(traced: fx.GraphModule, node: fx.Node, new: fx.Node) -> fx.Node:
    node.replace_all_uses_with(new)
    traced.graph.erase_node(node)
    return new


def _fold_batch_norms(traced: fx.GraphModule) -> dict[fx.Node, fx.Node]:
    """Put each batch norm that alone follows a linear step into the step's weights."""
    replaced = {}
    for step, norm, value in list(_foldable(traced)):
        scale, shift = norm_constants(traced, norm)
        weight = attribute(traced, str(step.args[1].target))  # type: ignore[union-attr]
        bias = step.args[2] if len(step.args) > 2 else None
        old = attribute(traced, str(bias.target)) if isinstance(bias, fx.Node) else torch.zeros_like(shift)
        new_weight = (weight.detach().double() * scale.reshape(-1, *[1] * (weight.ndim - 1))).to(weight.dtype)
        new_bias = (old.detach().double() * scale + shift).to(weight.dtype)
        folded = (_new_constant(traced, step, new_weight), _new_constant(traced, step, new_bias))
        step.args = (step.args[0], *folded, *step.args[3:])
        replaced[value] = _replace(traced, value, step)
        traced.graph.erase_node(norm)
    return replaced


def _foldable(traced: fx.GraphModule) -> Iterator[tuple[fx.Node, fx.Node, fx.Node]]:
    """Linear step, batch norm that alone uses it, and the norm's value."""
    for norm in traced.graph.nodes:
        if kind(norm) is not Kind.BATCH_NORM:
            continue
        step: Any = norm.args[0]
        users = list(norm.users)
        constant = operation(step) in ("convolution", "linear") and step.args[1].op == "get_attr"
        transposed = operation(step) == "convolution" and step.args[6]  # its weights lie otherwise
        if constant and not transposed and len(step.users) == 1 == len(users):
            yield step, norm, users[0]


def norm_constants(traced: fx.GraphModule, norm: fx.Node) -> tuple[Tensor, Tensor]:
    """What a batch norm with running statistics multiplies each channel by, and what it adds; float64."""
    weight, bias, mean, variance = (_constant_or_none(traced, a) for a in norm.args[1:5])
    assert mean is not None and variance is not None
    scale = torch.rsqrt(variance + float(norm.args[6]))  # type: ignore[arg-type]
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias


def _constant_or_none(traced: fx.GraphModule, node: Any) -> Tensor | None:
    return attribute(traced, str(node.target)).detach().double() if isinstance(node, fx.Node) else None


def _check_equal(graph: NetworkGraph, images: Tensor, alone: Tensor) -> None:
    """Within a batch the graph gives the first image what the network gives it alone."""
    found = _first_outputs(graph, images)
    allowed = TOLERANCE * float(alone.nan_to_num().abs().max())
    if torch.allclose(found, alone, rtol=0, atol=allowed + 1e-9, equal_nan=True):
        return
    beside_others = _first_outputs(graph, torch.cat([images[:1], -images[1:]]))
    difference = float((beside_others - found).nan_to_num().abs().max())
    if difference > allowed + 1e-9:
        raise TraceError(
            f"The network's output for an image depends on the others in its batch: it differs by up to "
            f"{difference:.3g} beside other images (expected at most {allowed:.3g}). A batch norm without "
            "running statistics has this effect, for one; give it some."
        )
    raise TraceError(
        "The traced graph computes something else than the network: outputs differ by up to "
        f"{float((found - alone).abs().max()):.3g} (expected at most {allowed:.3g}). What changes from one call to the "
        "next has this effect; remove it from the network."
    )


def _first_outputs(graph: NetworkGraph, images: Tensor) -> Tensor:
    """Of the first image of a batch."""
    with torch.no_grad():
        outputs: Tensor = graph.module(images)
    return outputs[:1]
