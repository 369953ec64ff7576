"""What a batch takes on a GPU or a worker, and what is said when it doesn't fit."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod

import torch
from torch import fx

from summit_dask.facts.errors import DeviceMemoryError
from summit_dask.network.traced import Step, TracedNetwork

#: Share of a GPU's free memory that may be used: the libraries' own working space is not counted, nor are gaps.
_USABLE = 0.7

#: The same of a worker, which keeps what it has freed (measured: 0.51 of what it took beside the process).
_USABLE_BY_WORKER = 0.5

#: Share of a worker's limit above which Dask's nanny kills it.
_ALLOWED = 0.95

_FLOAT = 4

#: Bytes of a worker before it has a network: Python, torch, the compiled kernels (measured with torch 2.15).
_PROCESS = 1.05e9

#: Numbers that are held at a time of each source, target and image: a sum, and what is added to it.
_HELD = 3


@contextmanager
def on_device(network: TracedNetwork, device: torch.device) -> Iterator[None]:
    """Say which batch would fit if a GPU's memory runs out inside the block.

    Raises
    ------
    DeviceMemoryError
        Names the GPU, the batch size that was asked for, and one that should fit.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        free, total = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device)  # all that is not somebody else's
        name = torch.cuda.get_device_name(device)
        raise DeviceMemoryError(
            f"A batch of {network.batch_size} images doesn't fit in the memory of {device} ({name}, "
            f"{total / 1e9:.1f} GB, {free / 1e9:.1f} GB of it not used by other programs). {_remedy(network, free)}"
        ) from error


def _remedy(network: TracedNetwork, free: int) -> str:
    fitting = batch_that_fits(network, free)
    if fitting < 1:
        return "Not even one image should fit: free memory on it, or run on the CPU with CUDA_VISIBLE_DEVICES=''."
    return _smaller(fitting)


def said_of_worker(network: TracedNetwork, memory: int, values: int, backward: bool = False) -> str:
    """Which batch fits into a worker of so much memory, as a sentence.

    Parameters
    ----------
    memory
        Bytes that the worker may take in all; 0: not known.
    values
        Bytes of what is kept of a partition.
    backward
        Whether there is a backward pass, for which all of the forward pass' values are kept.
    """
    held = _sum_of_values(network.module) if backward else _peak_of_values(network.module)
    batch = held + _largest_step(network)
    needed = ((_weights(network) + batch) / _USABLE_BY_WORKER + _PROCESS + values) / _ALLOWED
    text = f"With a batch of {network.batch_size} images a worker takes about {needed / 1e9:.1f} GB."
    if not memory or needed <= memory:
        return text
    room = _USABLE_BY_WORKER * (_ALLOWED * memory - _PROCESS - values) - _weights(network)
    fitting = _images_in(room, batch, network)
    return f"{text} In what it had, " + (_smaller(fitting) if fitting > 0 else "not even one image should fit.")


def _smaller(fitting: int) -> str:
    return (
        f"{fitting} {'image' if fitting == 1 else 'images'} should fit: give --batch-size {fitting} and a new --out "
        "(results depend a little on the batch size, so a store keeps its own)."
    )


def batch_that_fits(network: TracedNetwork, free: int) -> int:
    """Number of images that should fit beside the weights on a GPU, roughly; less than `batch_size`."""
    batch = _peak_of_values(network.module) + _largest_step(network)
    return _images_in(_USABLE * free - _weights(network), batch, network)


def _images_in(room: float, batch: int, network: TracedNetwork) -> int:
    """Images of which the values take so many bytes, by those of a whole batch; less than that."""
    return min(int(max(0.0, room) * network.batch_size / batch), network.batch_size - 1)


def _weights(network: TracedNetwork) -> int:
    weights = _bytes_of(network.module.parameters()) + _bytes_of(network.module.buffers())
    return weights + _bytes_of(step.weight for step in network.steps if step.weight is not None)


def _bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _peak_of_values(module: fx.GraphModule) -> int:
    """Most bytes that values take together, each from where it is computed to where it is last needed."""
    sizes = _bytes_of_values(module)
    last = {used: node for node in module.graph.nodes for used in node.all_input_nodes}  # later users overwrite
    ends: dict[fx.Node, int] = {}
    for node, end in last.items():
        ends[end] = ends.get(end, 0) + sizes.get(node, 0)
    held = peak = 0
    for node in module.graph.nodes:
        held += sizes.get(node, 0)
        peak = max(peak, held)
        held -= ends.get(node, 0)
    return peak


def _sum_of_values(module: fx.GraphModule) -> int:
    """Bytes that all values take together."""
    return sum(_bytes_of_values(module).values())


def _bytes_of_values(module: fx.GraphModule) -> dict[fx.Node, int]:
    return {node: prod(node.meta["val"].shape) * _FLOAT for node in module.graph.nodes if _is_value(node)}


def _is_value(node: fx.Node) -> bool:
    """Not a weight, nor a node that gives several values."""
    return node.op in ("placeholder", "call_function") and isinstance(node.meta.get("val"), torch.Tensor)


def _largest_step(network: TracedNetwork) -> int:
    """Most bytes that a step's influences and its input, laid out anew, take."""
    shapes = {node.name: node.meta["val"].shape for node in network.module.graph.nodes if _is_value(node)}
    return max((_bytes_of_step(step, shapes[step.input.node]) for step in network.steps), default=0)


def _bytes_of_step(step: Step, shape: torch.Size) -> int:
    influences = shape[0] * prod(step.weight.shape[:2]) if step.convolution and step.weight is not None else 0
    return (_HELD * influences + prod(shape)) * _FLOAT
