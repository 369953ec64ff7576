"""From a module as it was built to one that can be run on images: what can't be is refused here, with what to do."""

import inspect
import traceback
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from summit_dask.facts.errors import ModelError
from summit_dask.network.own import ANY_ERROR

#: Images in a trial run; more than one, so that an output's axis of images is known from its length.
N_IMAGES = 2

_HALF = (torch.float16, torch.bfloat16)

#: What trains on several devices, or compiles, and where it keeps the network.
_WRAPPERS: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.DataParallel, "module"),
    (DistributedDataParallel, "module"),
    (torch._dynamo.OptimizedModule, "_orig_mod"),
)


def check_kind(module: nn.Module) -> None:
    """See that the network is one of Python's own, with weights that are numbers.

    Raises
    ------
    ModelError
        For TorchScript and quantised modules; names the first.
    """
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise ModelError(
                f"{_called(name, part)} is TorchScript, which can't be looked into. Build the network from its Python "
                "class, save the weights with torch.save(scripted.state_dict(), file), and give that file as --weights."
            )
        if _is_quantised(part):
            raise ModelError(
                f"{_called(name, part)} is quantised: its weights are integers, and what is measured are the network's "
                "real numbers. Give the network as it was before it was quantised, with its float weights."
            )


def unwrapped(module: nn.Module) -> nn.Module:
    """The network without what trains it on several devices or compiles it, inside too."""
    for wrapper, name in _WRAPPERS:
        if isinstance(module, wrapper):
            return unwrapped(getattr(module, name))
    for name, child in list(module.named_children()):
        if (inner := unwrapped(child)) is not child:
            module.register_module(name, inner)
    module._compiled_call_impl = None  # what module.compile() sets
    return module


def half_precision(tensors: Iterator[Tensor]) -> tuple[str, ...]:
    """A sentence where weights are stored in half precision."""
    kinds = dict.fromkeys(str(tensor.dtype).removeprefix("torch.") for tensor in tensors if tensor.dtype in _HALF)
    return tuple(f"The weights are stored as {kind}; all is computed in float32." for kind in kinds)


def stored_tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers whose sizes are known."""
    return (tensor for tensor in chain(module.parameters(), module.buffers()) if not is_lazy(tensor))


def lazy_layers(module: nn.Module) -> list[str]:
    """Layers without sizes before their first image."""
    return [
        _called(name, layer)
        for name, layer in module.named_modules()
        if any(is_lazy(tensor) for tensor in chain(layer.parameters(recurse=False), layer.buffers(recurse=False)))
    ]


def compute_weights(module: nn.Module) -> None:
    """Weights that are computed from others whenever they are used (standardised, normed) are so once for all."""
    for layer in [layer for layer in module.modules() if parametrize.is_parametrized(layer)]:
        for name, _ in list(layer.get_submodule("parametrizations").named_children()):
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)


def trial_run(module: nn.Module, input_size: tuple[int, int, int]) -> Any:
    """What the network returns for `N_IMAGES` black images of some channels, height and width.

    Raises
    ------
    ModelError
        If it takes anything but an image, or doesn't run on these, whatever it raises; says where in the network.
    """
    _check_one_input(module)
    try:
        # Not inference_mode, whose tensors no gradient can pass: lazy layers make their weights here.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            return module(torch.zeros(N_IMAGES, *input_size))
    except ANY_ERROR as error:
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise ModelError(
            f"The network doesn't run on an image of {' x '.join(map(str, input_size))}: {reason} "
            f"(in {_place(module, error)}). If it was made for another size or other colours, give --resize and "
            "--crop, --mean and --std (one value each for grey)."
        ) from error


def _is_quantised(module: nn.Module) -> bool:
    kind = type(module).__module__
    whole_numbers = any(not (t.is_floating_point() or t.is_complex()) for t in module.parameters(recurse=False))
    return "quantized" in kind.split(".") or whole_numbers


def _check_one_input(module: nn.Module) -> None:
    inputs = inspect.signature(module.forward).parameters.values()
    names = [p.name for p in inputs if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(names) > 1:
        raise ModelError(
            f"The network takes {len(names)} inputs ({', '.join(names)}), expected the image alone. Wrap it in a "
            "module whose forward takes the image and gives the network the others."
        )


def _called(name: str, module: nn.Module) -> str:
    return f"{name} ({type(module).__name__})" if name else f"The network ({type(module).__name__})"


def _place(network: nn.Module, error: BaseException) -> str:
    """The innermost module that was running, and the last line outside torch."""
    names = {id(module): name for name, module in network.named_modules()}
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    running = [module for frame in frames if id(module := _self(frame)) in names]
    lines = [line for line in traceback.extract_tb(error.__traceback__) if not _is_torchs(line.filename)]
    inner = _called(names[id(running[-1])], running[-1]) if running else "its forward"
    return f"{inner}; {Path(lines[-1].filename).name}, line {lines[-1].lineno}: {lines[-1].line}"


def _self(frame: FrameType) -> Any:
    return frame.f_locals.get("self")


def _is_torchs(file: str) -> bool:
    return Path(torch.__file__).parent in Path(file).parents
