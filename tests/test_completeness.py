"""Completeness: what adds up is found complete; whatever is missing, doubled, moved or turned is found out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from summit_dask.network.completeness import check_completeness
from summit_dask.network.traced import Step, TracedNetwork
from tests.traced import Traced, residual


@pytest.fixture(scope="module")
def traced() -> Traced:
    """The hand-made network."""
    return residual()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_layer_of_a_right_layer_graph_is_complete(batch_size: int) -> None:
    right = residual(batch_size)
    found = check_completeness(right.module, right.network)
    assert [(f.layer, f.compared, f.misplaced) for f in found] == [
        ("first", ("norm",), ()),
        ("block", ("branch.0", "pool"), ()),
        ("cat", ("branch.0", "pool"), ()),
        ("out", ("out",), ()),
    ]
    assert all(f.complete for f in found)


STEPS = ("first.weight", "second.weight", "block.identity", "branch.0.weight", "cat.identity", "out.weight")
Change = Callable[[Step], tuple[Step, ...]]


def _weight(step: Step) -> torch.Tensor:
    return torch.ones(len(step.targets), 1, 1, 1) if step.weight is None else step.weight


def _swapped(step: Step) -> tuple[int, ...]:
    """The step's input channels with the first two changing places."""
    order = list(range(len(step.source)) if step.order is None else step.order)
    order[:2] = order[1::-1]
    return tuple(order)


WRONG: dict[str, Change] = {
    "dropped": lambda step: (),
    "doubled": lambda step: (step, step),
    "sign flipped": lambda step: (replace(step, weight=-_weight(step)),),
    "input permuted": lambda step: (replace(step, order=_swapped(step)),),
    "targets permuted": lambda step: (replace(step, targets=(*step.targets[1::-1], *step.targets[2:])),),
    "one weight missing": lambda step: (replace(step, weight=_weight(step).index_fill(0, torch.tensor(0), 0)),),
    "sources permuted": lambda step: (replace(step, source=step.source[::-1].copy()),),
    "sources shifted": lambda step: (replace(step, source=np.roll(step.source, 1)),),
}


def mutated(network: TracedNetwork, name: str, change: Change) -> TracedNetwork:
    """The network with one of its steps changed."""
    steps = (changed for step in network.steps for changed in (change(step) if step.name == name else (step,)))
    return replace(network, steps=tuple(steps))


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_wrong_step_is_found_in_its_layer_and_in_no_other(traced: Traced, name: str, change: Change) -> None:
    found = check_completeness(traced.module, mutated(traced.network, name, change))
    (step,) = [step for step in traced.network.steps if step.name == name]
    assert [f.layer for f in found if not f.complete] == [step.target]


def test_a_wrong_bias_and_a_layer_without_anything_to_compare_are_found(traced: Traced) -> None:
    network = traced.network
    bias = {**network.bias, "block": network.bias["block"] + 0.01}
    found = check_completeness(traced.module, replace(network, bias=bias))
    assert [f.layer for f in found if not f.complete] == ["block"]
    found = check_completeness(traced.module, replace(network, pre_activation={**network.pre_activation, "cat": ()}))
    assert [(f.layer, f.difference) for f in found if not f.complete] == [("cat", np.inf)]
