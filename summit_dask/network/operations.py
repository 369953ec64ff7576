"""The one table of operations: how each passes channels on. Nothing else knows the names of operations.

A network is a graph of ATen operations (see `export`), which has one spelling for each of them.

==============  ==================================================================================
kind            what it does with channels
==============  ==================================================================================
LINEAR          makes new ones of all of them: convolutions, fully connected layers
POINTWISE       acts on every value alone; of two maps: adds, gates, or mixes them
SPATIAL         keeps them and combines positions: pooling, padding, resizing
NORM            keeps them, though each value depends on the other channels or positions
BATCH_NORM      scales and shifts each by constants
MOVE            gives them other places: concatenation, split, permutation, reshaping
REDUCE          combines along axes: over positions it keeps channels, over channels it adds them
ITEM            one of several results of an operation
MIXES           anything else: influences can't be followed through it
==============  ==================================================================================

Pointwise operations are known by torch's own tag, so no name of theirs has to stand here.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, fx

from summit_dask.facts.layergraph import Convolution


class Kind(Enum):
    """How an operation passes channels on; see the table above."""

    LINEAR = auto()
    POINTWISE = auto()
    SPATIAL = auto()
    NORM = auto()
    BATCH_NORM = auto()
    MOVE = auto()
    REDUCE = auto()
    ITEM = auto()
    MIXES = auto()


# fmt: off
_NAMES: dict[Kind, str] = {
    Kind.LINEAR: "convolution linear addmm mm",
    Kind.SPATIAL: """
        max_pool2d_with_indices avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d constant_pad_nd reflection_pad2d
        replication_pad2d upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d
        _upsample_bilinear2d_aa _upsample_bicubic2d_aa
    """,
    Kind.NORM: """
        native_layer_norm native_group_norm _native_batch_norm_legit _fused_rms_norm rms_norm _softmax _log_softmax
        linalg_vector_norm
    """,
    Kind.POINTWISE: "hardswish _prelu_kernel",  # not tagged as such
    Kind.BATCH_NORM: "_native_batch_norm_legit_no_training",
    Kind.MOVE: """
        view reshape _unsafe_view permute transpose t squeeze unsqueeze expand slice select cat stack split
        split_with_sizes chunk unbind alias clone _to_copy repeat flip roll index index_select as_strided narrow
    """,
    Kind.REDUCE: "mean sum amax amin",
}
# fmt: on
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_KINDS["getitem"] = Kind.ITEM

#: Operations of one map that leave its values in a known range: what they give is a factor, not a map.
_BOUNDED = frozenset({"sigmoid", "hardsigmoid", "tanh", "_softmax", "clamp", "hardtanh"})

#: Operations that change neither a value nor its place.
_NOTHING = frozenset({"alias", "clone", "_to_copy", "detach", "lift_fresh_copy", "as_strided", "expand", "view"})

#: Composite operations that stay whole: as one step they are faster, and can be told by name.
KEPT_WHOLE = (
    "linear", "hardswish", "hardsigmoid", "hardtanh", "relu6", "silu", "mish", "softplus", "elu", "celu", "selu",
    "leaky_relu", "_prelu_kernel", "pixel_shuffle", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d",
    "_upsample_nearest_exact2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
)  # fmt: skip


def operation(node: fx.Node) -> str:
    """Name of a node's operation without namespace and overload; empty for an input or a constant."""
    if node.op != "call_function":
        return ""
    return operation_name(node.target)


def operation_name(target: Any) -> str:
    """Name of what a node calls, without namespace and overload."""
    return str(getattr(target, "overloadpacket", target).__name__)


def described(node: fx.Node) -> str:
    """Name of a node's operation for a message; that of the value if it is none."""
    is_transposed = operation(node) == "convolution" and node.args[6]
    return "transposed convolution" if is_transposed else operation(node) or node.name


def kind(node: fx.Node) -> Kind:
    """How a node's operation passes channels on."""
    pointwise = torch.Tag.pointwise in getattr(node.target, "tags", ())
    return _KINDS.get(operation(node), Kind.POINTWISE if pointwise else Kind.MIXES)


def is_random(node: fx.Node) -> bool:
    """Whether an operation gives something else each time."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def is_bounded(node: fx.Node) -> bool:
    """Whether a node's values lie in a range that its operation sets, as those of a gate do."""
    return operation(node) in _BOUNDED


def is_probability(node: fx.Node) -> bool:
    """Whether an operation makes logits into probabilities, or their logarithms."""
    return operation(node) in ("_softmax", "_log_softmax", "sigmoid")


def is_relu(node: fx.Node) -> bool:
    """Whether a node cuts off what is negative: ReLU, also with an upper end."""
    name = operation(node)
    return name in ("relu", "relu6") or (name in ("hardtanh", "clamp") and argument(node, 1, "min") == 0)


def does_nothing(node: fx.Node) -> bool:
    """Whether a node gives its input as it is, same shape and type."""
    if operation(node) not in _NOTHING or len(node.all_input_nodes) != 1:
        return False
    before, after = node.all_input_nodes[0].meta.get("val"), node.meta.get("val")
    if before is None or after is None or before.shape != after.shape or before.dtype != after.dtype:
        return False
    return operation(node) != "as_strided" or _steps(before) == _steps(after)


def _steps(tensor: Tensor) -> list[int]:
    """Strides of the axes along which a tensor has anything to step over."""
    return [step for step, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def argument(node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    """An argument of a node's call, wherever it was given."""
    return node.args[index] if len(node.args) > index else node.kwargs.get(name, default)


def geometry(node: fx.Node) -> Convolution:
    """Kernel, stride, padding and dilation of a pooling; of a convolution also its groups."""
    name = operation(node)
    if name == "convolution":
        weight: Any = node.args[1]
        kernel = tuple(weight.meta["val"].shape[2:])
        stride, padding, dilation = (_pair(node.args[i]) for i in (3, 4, 5))
        return Convolution(_pair(kernel), stride, padding, dilation, int(node.args[8]))  # type: ignore[arg-type]
    kernel = _pair(argument(node, 1, "kernel_size"))
    stride = _pair(argument(node, 2, "stride") or kernel)
    padding = _pair(argument(node, 3, "padding", 0))
    dilation = _pair(argument(node, 4, "dilation", 1)) if name.startswith("max") else (1, 1)
    return Convolution(kernel, stride, padding, dilation)


def _pair(value: Any) -> tuple[int, int]:
    sizes = (value,) if isinstance(value, int) else tuple(value)
    return sizes[0], sizes[-1]


def reshaping(target: Callable[..., Any]) -> Callable[..., Any]:
    """What to call for a view, which fails on maps that are laid out channels last; anything else as it is."""
    views = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)
    return torch.ops.aten.reshape.default if target in views else target
