"""The class as the top row: logits and sources against the definition, and which networks have it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from summit_dask.facts.errors import TraceError
from summit_dask.measure.classrow import measure_class_row
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import ClassStep, Value


def test_sources_are_ranked_by_what_they_add_to_the_own_logit() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.integers(-2, 3, (5, 7)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    hop, source = np.array([0, 1, 0, -1, 1, 0, 0], np.int16), np.array([4, 0, 2, -1, 3, 1, 0], np.int16)
    pooled, outputs = rng.integers(0, 3, (6, 7)).astype(np.float32), np.array([0, 4, 2, 2, 1, 3], np.int32)
    row = measure_class_row(ClassStep(Value("pool", 1), weight, bias, hop, source), pooled, outputs, k=4)
    np.testing.assert_allclose(
        row.logit, (pooled.astype(np.float64) @ weight.T + bias)[np.arange(6), outputs], rtol=1e-5
    )
    for image, output in enumerate(outputs):
        added = pooled[image] * weight[output]
        best = sorted(
            (i for i in range(7) if added[i] > 0 and hop[i] >= 0), key=lambda i: (-added[i], hop[i], source[i])
        )[:4]
        missing = 4 - len(best)
        assert row.ranking.hop[image, 0].tolist() == [*hop[best], *[-1] * missing]
        assert row.ranking.source[image, 0].tolist() == [*source[best], *[-1] * missing]
        assert row.ranking.value[image, 0].tolist() == [*added[best], *[0.0] * missing]


def test_more_sources_wanted_than_there_are() -> None:
    step = ClassStep(
        Value("pool", 1), np.ones((2, 1), np.float32), np.zeros(2, np.float32), *np.zeros((2, 1), np.int16)
    )
    row = measure_class_row(step, np.ones((1, 1), np.float32), np.array([1], np.int32), k=3)
    assert row.ranking.source.tolist() == [[[0, -1, -1]]]


class Ending(nn.Module):
    """Two convolutions, and an end."""

    def __init__(self, *end: nn.Module) -> None:
        super().__init__()
        self.low, self.high = (nn.Sequential(nn.Conv2d(i, 6, 3), nn.ReLU()) for i in (3, 6))
        self.end = nn.Sequential(*end)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.end(self.high(self.low(x)))
        return found


POOLED = (nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("end", "by_itself", "asked"),
    [
        ((*POOLED, nn.Linear(6, 4)), True, True),
        ((nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(6, 4, bias=False), nn.Softmax(1)), True, True),
        ((*POOLED, nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), False, True),
        ((nn.Flatten(), nn.Linear(6 * 16, 4)), False, False),
        ((nn.Conv2d(6, 4, 1), *POOLED), False, False),
    ],
)
def test_networks_that_end_in_pooling_and_one_linear_layer(
    end: tuple[nn.Module, ...], by_itself: bool, asked: bool
) -> None:
    module = Ending(*end)
    assert (trace_network(module, ("low", "high"), (3, 8, 8), logits=None).class_step is not None) == by_itself
    assert trace_network(module, ("low", "high"), (3, 8, 8), logits=False).class_step is None
    if asked:
        graph = trace_network(module, ("low", "high"), (3, 8, 8), logits=True).layer_graph
        assert [layer.of_class for layer in graph.visible] == [False, False, True]
        assert {layer.name for layer in graph.below("logit")} == {"high"}
        assert graph.with_maps == graph.visible[:-1]
    else:
        with pytest.raises(TraceError, match=r"doesn't end in a linear layer on one value a channel.*--logits"):
            trace_network(module, ("low", "high"), (3, 8, 8), logits=True)


def test_what_feeds_the_classifier_without_being_shown_is_a_hidden_layer() -> None:
    torch.manual_seed(0)
    graph = trace_network(Ending(*POOLED, nn.Linear(6, 4)), ("low",), (3, 8, 8), logits=None).layer_graph
    assert [(layer.name, layer.visible) for layer in graph.layers] == [("low", True), ("high", False), ("logit", True)]
