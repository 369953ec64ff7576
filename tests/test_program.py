"""A traced network in a file and back; who reads it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from summit_dask.facts.errors import StoreError
from summit_dask.network import build
from summit_dask.network.completeness import check_completeness
from summit_dask.network.program import load_program, save_program
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import Step
from summit_dask.store.store import Store
from tests.networks import tiny_config
from tests.runs import run_here


class Mixed(nn.Module):
    """Arguments of every kind: infinite padding, splits, groups, a scaled identity, pooling to one value."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.grouped, self.last = nn.Conv2d(8, 8, 3, groups=4, padding=1), nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        one, two = F.relu(self.grouped(x)).chunk(2, 1)
        y = F.max_pool2d(F.pad(torch.cat([two, one], 1), (0, 1, 0, 1), value=float("-inf")), 2, 1)
        return self.fc((0.5 * x - self.last(y)).mean((2, 3)))


def same_step(one: Step, two: Step) -> bool:
    weights = (one.weight is None) == (two.weight is None) and (
        one.weight is None or torch.equal(one.weight, two.weight)
    )  # type: ignore[arg-type]
    plain = [(s.name, s.input, s.order, s.convolution, s.target, s.targets, [*s.hop], [*s.source]) for s in (one, two)]
    return weights and plain[0] == plain[1]


def test_a_network_comes_back_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Mixed().eval()
    network = trace_network(module, ("norm", "last", "grouped"), (3, 6, 6), 2, logits=True)
    save_program(network, tmp_path / "beside" / "network.safetensors")
    again = load_program(tmp_path / "beside" / "network.safetensors")
    assert again.layer_graph == network.layer_graph
    assert (again.batch_size, again.values) == (network.batch_size, network.values)
    assert all(same_step(one, two) for one, two in zip(again.steps, network.steps, strict=True))
    assert again.class_step is not None and network.class_step is not None
    np.testing.assert_array_equal(again.class_step.weight, network.class_step.weight)
    images = torch.randn(2, 3, 6, 6)
    with torch.inference_mode():
        assert torch.equal(again.module(images), network.module(images))
    assert all(found.complete for found in check_completeness(module, again))
    assert [path.name for path in (tmp_path / "beside").iterdir()] == ["network.safetensors"]


@pytest.mark.parametrize("damage", [lambda data: data[:50], lambda data: data.replace(b"aten.relu", b"aten.rulu")])
def test_a_damaged_file_is_told(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "network.safetensors"
    save_program(trace_network(Mixed().eval(), ("norm", "last"), (3, 6, 6)), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match=r"network\.safetensors is damaged.*Delete it"):
        load_program(path)


def test_workers_read_what_init_traced(tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(tmp_path)
    traced = []
    trace = build.trace_network
    monkeypatch.setattr(build, "trace_network", lambda *given: traced.append(given) or trace(*given))
    run_here(config, client)
    assert len(traced) == 1  # the client's workers are threads of this process
    assert Store.open(config.out).layer_graph.visible[-1].of_class
