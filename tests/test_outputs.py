"""Which tensor of what a network returns is taken for the classes, and what is said where none or several may be."""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from summit_dask.facts.errors import ConfigError, ModelError
from summit_dask.network.outputs import find_classes, select_output

Named = namedtuple("Named", ["logits", "aux_logits"])


@dataclass
class Answer:
    """A data class as a network may return it."""

    maps: Tensor
    classes: Tensor
    loss: None = None


def returned(*shape: int) -> Tensor:
    return torch.zeros(2, *shape)


@pytest.mark.parametrize(
    ("output", "n_classes", "asked", "place"),
    [
        pytest.param(returned(5), None, None, (), id="one tensor"),
        pytest.param((returned(5),), None, None, (0,), id="a tuple of one"),
        pytest.param([returned(8, 3, 3), returned(5)], None, None, (1,), id="the one of the right shape"),
        pytest.param((torch.zeros(5, 5), returned(5)), None, None, (1,), id="axis of images"),
        pytest.param((returned(1), returned(5)), None, None, (1,), id="a value beside the classes"),
        pytest.param((returned(512), returned(5)), 5, None, (1,), id="known number of classes"),
        pytest.param({"features": returned(512), "logits": returned(5)}, None, None, ("logits",), id="by name"),
        pytest.param(Named(returned(5), returned(5)), None, None, ("logits",), id="named tuple"),
        pytest.param(Answer(returned(8, 3, 3), returned(5)), None, None, ("classes",), id="data class"),
        pytest.param({"a": returned(4), "b": (returned(6), returned(5))}, None, "b.1", ("b", 1), id="asked, nested"),
        pytest.param((returned(4), returned(5)), None, "1", (1,), id="asked by index"),
    ],
)
def test_classes_are_found(output: Any, n_classes: int | None, asked: str | None, place: tuple[Any, ...]) -> None:
    assert find_classes(output, 2, n_classes, asked) == (place, 5)


@pytest.mark.parametrize(
    ("output", "asked", "error", "message"),
    [
        ((returned(4), returned(6)), None, ModelError, r"0 \(2, 4\), 1 \(2, 6\) .*--output 0"),
        ({"a": returned(4), "b": [returned(6)]}, None, ModelError, r"a \(2, 4\), b\.0 \(2, 6\) .*--output a"),
        ((returned(4, 3, 3), returned(6, 3, 3)), None, ModelError, r"none of them is \(image, class\)"),
        (returned(4, 3, 3), None, ModelError, r"shape \(2, 4, 3, 3\), expected \(2, classes\)"),
        (torch.zeros(5), None, ModelError, r"shape \(5,\), expected \(2, classes\)"),
        (None, None, ModelError, "returns a NoneType without tensors"),
        ({"a": 3}, None, ModelError, "returns a dict without tensors"),
        ((returned(4), returned(6)), "2", ConfigError, r"is '2'; the network returns 0 \(2, 4\), 1 \(2, 6\)\."),
        ((returned(4), returned(6, 1)), "1", ModelError, r"output 1 .* shape \(2, 6, 1\)"),
        (returned(5), "logits", ConfigError, "returns one tensor; leave it out"),
    ],
)
def test_outputs_that_are_none(output: Any, asked: str | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        find_classes(output, 2, None, asked)


class Several(nn.Module):
    """Returns what a function makes of the classes."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.fc, self.make = nn.Conv2d(3, 4, 2), nn.Linear(4, 5), make

    def forward(self, image: Tensor) -> Any:
        return self.make(self.fc(self.conv(image).relu().mean((2, 3))))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x,
        lambda x: (x[:, :1], x),
        lambda x: {"y": [x, None]},
        lambda x: Named(x, x + 1),
        lambda x: Answer(x[..., None], x),
    ],
)
def test_the_network_returns_that_tensor_alone_and_keeps_its_names(make: Callable[[Tensor], Any]) -> None:
    network, images = Several(make).eval(), torch.randn(2, 3, 4, 4)
    expected = network.fc(network.conv(images).relu().mean((2, 3)))
    names = list(network.state_dict())
    selected = select_output(network, find_classes(network(images), 2, None, None).place)
    assert torch.equal(selected(images), expected)
    assert list(selected.state_dict()) == names
    assert type(selected).__name__ == "Several"
    exported = torch.export.export(selected, (images,), strict=False)
    assert torch.equal(exported.module()(images), expected)
    stack = next(node.meta["nn_module_stack"] for node in exported.graph.nodes if "conv2d" in str(node.target))
    assert [path for path, _ in stack.values()] == ["", "conv"]


class Pair(nn.Module):
    """What the message advises for a single output."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x), x], 1)


def test_a_single_output_needs_a_partner() -> None:
    with pytest.raises(
        ModelError, match=r"shape \(2, 1\): a single number .*torch\.cat\(\[torch\.zeros_like\(x\), x\], 1\)"
    ):
        find_classes(returned(1), 2, None, None)
    assert find_classes(Pair()(returned(1)), 2, None, None).n_classes == 2
