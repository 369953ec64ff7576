"""Completeness: what adds up is found complete; whatever is missing, doubled, moved or turned is found out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from summit_dask.network.completeness import check_completeness
from summit_dask.network.traced import Step, TracedNetwork, Value
from tests.traced import Traced, residual, scale_of


@pytest.fixture(scope="module")
def traced() -> Traced:
    """The hand-made network."""
    return residual(batch_size=8)


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
    found = check_completeness(traced.module, replace(network, pre_activations={**network.pre_activations, "cat": ()}))
    assert [(f.layer, f.difference) for f in found if not f.complete] == [("cat", np.inf)]


def test_a_hop_that_no_step_carries_is_found_though_everything_adds_up(traced: Traced) -> None:
    steps = {step.name: step for step in traced.network.steps}
    unranked = (steps.pop("second.weight"),)
    found = check_completeness(traced.module, replace(traced.network, steps=tuple(steps.values()), unranked=unranked))
    assert [(f.layer, f.misplaced) for f in found if not f.complete] == [
        ("block", ("the hop second.weight has 6 sources, and steps lead from 0, not the same ones",))
    ]
    assert all(f.difference < 1e-5 for f in found)


def before_the_norm(network: TracedNetwork, norm: torch.nn.BatchNorm2d) -> TracedNetwork:
    """The pre-activation as what the convolution gives, with the batch norm as constants that follow."""
    scale, (part,) = scale_of(norm).detach().double(), network.pre_activations["first"]
    shift = network.bias["first"].double()
    part = replace(part, value=Value("convolution_1", 1), scale=scale, shift=shift)
    return replace(network, pre_activations={**network.pre_activations, "first": (part,)})


@pytest.mark.parametrize("outputs", [{"first": "convolution_1"}, {"norm": "getitem"}, {}])
def test_constants_behind_the_compared_node_are_taken_into_account(outputs: dict[str, str]) -> None:
    right = residual()
    network = replace(before_the_norm(right.network, right.module.norm), module_outputs=outputs)
    assert all(f.complete for f in check_completeness(right.module, network))
    bias = {**network.bias, "first": network.bias["first"] + 0.01}
    assert not check_completeness(right.module, replace(network, bias=bias))[0].complete


def shown(network: TracedNetwork, name: str) -> str:
    """A new node that only shows a value, for measuring, as the tracer adds them."""
    (node,) = [node for node in network.module.graph.nodes if node.name == name]
    shape = list(node.meta["val"].shape)
    with network.module.graph.inserting_after(node):
        new = network.module.graph.call_function(torch.ops.aten.reshape.default, (node, shape))
    network.module.recompile()
    return new.name


def test_values_that_are_only_shown_stand_for_those_that_are_used() -> None:
    right = residual()
    network = right.network
    (part,) = network.pre_activations["first"]
    part = replace(part, value=Value(shown(network, part.value.node), 1))
    network = replace(
        network,
        pre_activations={**network.pre_activations, "first": (part,)},
        values={**network.values, "first": Value(shown(network, "relu_1"), 1)},
    )
    assert all(f.complete for f in check_completeness(right.module, network))
    for name in ("sources shifted", "sign flipped"):
        found = check_completeness(right.module, mutated(network, "second.weight", WRONG[name]))
        assert [f.layer for f in found if not f.complete] == ["block"]
    bias = {**network.bias, "first": network.bias["first"] + 0.01}
    assert not check_completeness(right.module, replace(network, bias=bias))[0].complete
