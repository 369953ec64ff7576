"""What a device does with a batch, as one piece of work: recorded once, one launch a batch, results in one copy.

    host                      device
    pixels ── copy ──> input ── work of the whole batch ──> results, laid end to end ── copy ──> one flat tensor

A batch starts hundreds of small kernels; starting them one by one takes the host longer than the GPU takes for them.
"""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from threading import Lock

import torch
from jaxtyping import Int32
from torch import Tensor

#: Times that work is done before it is recorded, for what is set up at first use.
_WARM_UP = 2


class DeviceBatches:
    """Does the same work on batch after batch.

    Parameters
    ----------
    work
        Takes a batch on the device, one tensor or more; gives tensors there of float32 or int32.
    batch
        Any batch in main memory, for its shapes.
    device
        Where to work; only on a GPU is anything recorded.
    """

    def __init__(self, work: Callable[..., Sequence[Tensor]], batch: Sequence[Tensor], device: torch.device) -> None:
        self._work, self._inputs, self._lock = work, [part.to(device, copy=True) for part in batch], Lock()
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type == "cuda":
            self._record()
        else:
            self._do()

    def __call__(self, *batch: Tensor) -> tuple[Int32[Tensor, " number"], torch.cuda.Event | None]:
        """Begin with a batch; the results in main memory, there when the event has come."""
        on_gpu = self._inputs[0].is_cuda
        with self._lock:
            for here, part in zip(self._inputs, batch, strict=True):
                here.copy_(part.pin_memory() if on_gpu else part, non_blocking=True)
            if self._graph is None:
                self._do()
            else:
                self._graph.replay()
            return self._flat.to("cpu", non_blocking=True, copy=True), _mark() if on_gpu else None

    def parts(self, flat: Int32[Tensor, " number"]) -> Iterator[Tensor]:
        """The tensors of `work` that were laid end to end."""
        pieces = flat.split([prod(shape) for _, shape in self._like])
        for piece, (dtype, shape) in zip(pieces, self._like, strict=True):
            yield piece.view(dtype).reshape(shape)

    def _do(self) -> None:
        """The work itself, or what is recorded of it."""
        tensors = self._work(*self._inputs)
        self._like = [(tensor.dtype, tensor.shape) for tensor in tensors]
        self._flat = torch.cat([tensor.contiguous().view(torch.int32).flatten() for tensor in tensors])

    def _record(self) -> None:
        apart = torch.cuda.Stream()
        apart.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(apart):
            for _ in range(_WARM_UP):
                self._do()
        torch.cuda.current_stream().wait_stream(apart)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._do()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # an operation that asks the host in between can't be recorded
            self._do()
        else:
            self._graph = graph


def _mark() -> torch.cuda.Event:
    """A mark in the GPU's work, to wait for."""
    event = torch.cuda.Event()
    event.record()
    return event
