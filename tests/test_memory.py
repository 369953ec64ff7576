"""What is said when a batch fits neither a GPU, whose own figures are invented, nor a worker."""

import re

import pytest
import torch
from torch import nn

from summit_dask.facts.errors import DeviceMemoryError
from summit_dask.measure.memory import batch_that_fits, on_device, said_of_worker
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import TracedNetwork

SIDE, CHANNELS, BATCH = 32, 64, 16
FLOAT = 4


@pytest.fixture(scope="module")
def network() -> TracedNetwork:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU(), nn.Conv2d(CHANNELS, 4, 3, padding=1), nn.ReLU()
    )
    classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return trace_network(nn.Sequential(layers, classifier).eval(), (), (3, SIDE, SIDE), BATCH)


def out_of_memory(network: TracedNetwork, monkeypatch: pytest.MonkeyPatch, free: int) -> str:
    """The message where so many bytes are free."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80_000_000_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "some card")
    with pytest.raises(DeviceMemoryError) as error, on_device(network, torch.device("cuda:0")):
        raise torch.OutOfMemoryError("CUDA out of memory")
    return str(error.value)


def test_what_fits_is_what_the_largest_values_leave_room_for(network: TracedNetwork) -> None:
    # At the most two maps of 64 channels lie there, before and after the first ReLU, and the image no more; then the
    # second convolution's input is laid out anew beside them: 3 maps an image.
    a_map = CHANNELS * SIDE * SIDE * FLOAT
    assert batch_that_fits(network, 8 * a_map * 10) < 20
    assert batch_that_fits(network, 30 * a_map) in range(5, 9)
    assert batch_that_fits(network, 10**12) == BATCH - 1  # it did not fit, whatever the figures say


def test_the_message_names_a_batch_size_that_fits(network: TracedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    message = out_of_memory(network, monkeypatch, 30 * CHANNELS * SIDE * SIDE * FLOAT)
    assert re.search(r"batch of 16 images .* cuda:0 \(some card, 80\.0 GB.*--batch-size [5-8] and a new --out", message)


def test_where_nothing_fits_the_cpu_is_the_way(network: TracedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "CUDA_VISIBLE_DEVICES=''" in out_of_memory(network, monkeypatch, 1000)


def test_a_worker_that_died_for_memory_is_told_what_would_fit(network: TracedNetwork) -> None:
    values, gigabyte = 10**8, 10**9
    assert said_of_worker(network, 0, values) == "With a batch of 16 images a worker takes about 1.2 GB."
    assert said_of_worker(network, 2 * gigabyte, values) == said_of_worker(network, 0, values)
    room = 1_050_000_000 + values + 42 * CHANNELS * SIDE * SIDE * FLOAT
    little = said_of_worker(network, int(room / 0.95), values)
    assert re.search(r"In what it had, [5-8] images should fit: give --batch-size [5-8] and a new --out", little)
    assert said_of_worker(network, gigabyte // 2, values).endswith("not even one image should fit.")
