"""Steps before their hops have names and numbers: in parts, in order, with the rows that each source reaches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from summit_dask.facts.layergraph import Convolution
from summit_dask.network.channels import Operand
from summit_dask.network.export import NetworkGraph
from summit_dask.network.inputs import StepInput
from summit_dask.network.operations import operation
from summit_dask.network.walk import Term

#: A layer, and which of its hops: a source that comes twice by one step comes by two hops.
HopKey = tuple[fx.Node, int]


@dataclass(eq=False)
class Draft:
    """A step before its hops have names and numbers."""

    name: str
    input: StepInput
    target: fx.Node
    targets: list[int]
    convolution: Convolution | None
    weight: Tensor | None
    sources: list[tuple[HopKey, int] | None]
    notes: tuple[str, ...]

    def hop_keys(self, graph: NetworkGraph) -> list[HopKey]:
        """Its hops, by the layers they come from, input side first."""
        keys = {source[0] for source in self.sources if source}
        order = {layer: i for i, layer in enumerate(graph.in_order(layer for layer, _ in keys))}
        return sorted(keys, key=lambda key: (order[key[0]], key[1]))


def by_part(graph: NetworkGraph, operand: Operand, terms: list[Term]) -> Iterator[tuple[Operand, int, list[Term]]]:
    """The operand, or each tensor that it concatenates: first place of its channels, and the terms that lie there."""
    node = operand.node
    if operation(node) != "cat" or operand.slice or _axis_of_cat(graph, node) != terms[0].axis:
        yield operand, 0, terms
        return
    start = 0
    parts: Any = node.args[0]
    for part in parts:
        stop = start + graph.shape(part)[terms[0].axis]
        own = [term for term in terms if start <= term.place < stop]
        if own:
            yield Operand(part, operand.factor), start, own
        start = stop


def _axis_of_cat(graph: NetworkGraph, node: fx.Node) -> int:
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    return int(dim) % len(graph.shape(node))  # type: ignore[arg-type]


def rows_reached(draft: Draft, at: Sequence[int]) -> list[int]:
    """Rows of a step's weight that any of some input channels can reach: those of their groups, or their own."""
    if draft.convolution is None:
        return list(at)
    groups, n_rows = draft.convolution.groups, len(draft.targets)
    if groups == 1:
        return [*range(n_rows)]
    reached = {i * groups // len(draft.sources) for i in at}
    return [row for row in range(n_rows) if row * groups // n_rows in reached]


def in_order(hop: Any, channel: Any, groups: int) -> list[int]:
    """Input channels by hop and source, those without a hop last, group by group."""
    group = np.arange(len(hop)) * groups // len(hop)
    return [int(i) for i in np.lexsort((channel, hop, hop < 0, group))]


def reordered(weight: Tensor, order: list[int], groups: int) -> Tensor:
    """Weights of reordered input channels."""
    size = weight.shape[1]
    rows = torch.arange(len(weight)) * groups // len(weight)
    columns = torch.tensor(order).reshape(groups, size) - torch.arange(groups)[:, None] * size
    return weight[torch.arange(len(weight))[:, None], columns[rows]]


def by_origin(draft: Draft) -> Iterator[Draft]:
    """The draft; two of them where some of its input channels come from layers and some from the image alone."""
    known = torch.tensor([source is not None for source in draft.sources])
    if known.all() or not known.any():
        yield draft
    elif draft.convolution is None:
        yield from (_of_sources(draft, torch.nonzero(own)[:, 0].tolist()) for own in (known, ~known))
    else:
        yield replace(draft, weight=_weight_of(draft, known))
        yield replace(draft, weight=_weight_of(draft, ~known), sources=[None] * len(known))


def _of_sources(draft: Draft, own: list[int]) -> Draft:
    """An identity of some of its channels."""
    before = draft.input.order or [*range(draft.input.n_channels)]
    return replace(
        draft,
        input=draft.input._replace(order=[before[i] for i in own]),
        targets=[draft.targets[i] for i in own],
        weight=None if draft.weight is None else draft.weight[own],
        sources=[draft.sources[i] for i in own],
    )


def _weight_of(draft: Draft, own: Tensor) -> Tensor:
    """A convolution's weight, 0 for all input channels but some."""
    assert draft.convolution is not None and draft.weight is not None
    groups, n_rows = draft.convolution.groups, len(draft.weight)
    is_own = own.reshape(groups, -1)[torch.arange(n_rows) * groups // n_rows]
    return torch.where(is_own[:, :, None, None], draft.weight, 0.0)
