"""The two ways to run a traced network and see the values inside: operation by operation, or compiled."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx

from summit_dask.measure.artefact import compiled

#: What looks at a node's value.
Look = Callable[[str, Tensor], None]

#: Takes a batch, shows values to a callback, gives the network's outputs.
Run = Callable[[Tensor, Look], Tensor]


def interpreted_run(module: fx.GraphModule, nodes: Sequence[str]) -> Run:
    """Operation by operation; a value is dropped when the network no longer needs it."""
    wanted = frozenset(nodes)

    def run(images: Tensor, look: Look) -> Tensor:
        outputs: Tensor = _Interpreter(module, wanted, look).run(images)
        return outputs

    return run


def compiled_run(module: fx.GraphModule, nodes: Sequence[str], images: Tensor) -> Run:
    """Compiled for batches like `images`; all values of a batch are there at once.

    Raises
    ------
    ModelError
        If it can't be compiled here.
    """
    made = compiled(module, nodes, images)

    def run(images: Tensor, look: Look) -> Tensor:
        outputs, *values = made(images)
        for node, value in zip(nodes, values, strict=True):
            look(node, value)
        return outputs

    return run


class _Interpreter(fx.Interpreter):
    """Runs a network and shows each wanted node's value as soon as it is there."""

    def __init__(self, module: fx.GraphModule, wanted: frozenset[str], look: Look) -> None:
        super().__init__(module)
        self.extra_traceback = False  # torch would add lines of its own to our messages
        self._wanted, self._look = wanted, look

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self._wanted:
            self._look(n.name, value)
        return value
