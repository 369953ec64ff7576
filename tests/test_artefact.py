"""Compiled networks: the same values as operation by operation, one artefact for all, errors that say what to do."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import fx, nn

from summit_dask.facts.config import ExtractOptions
from summit_dask.facts.errors import ConfigError, ModelError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure import artefact
from summit_dask.measure.extractor import Extraction, Extractor
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import TracedNetwork
from summit_dask.stages.init import compiles
from tests.networks import SIDE, TinyInception

OPTIONS = ExtractOptions(model="tests:none", images=Path("none"), batch_size=3)
PREPROCESSING = Preprocessing(None, (SIDE, SIDE))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "summit-dask/networks"


def network(seed: int = 0) -> TracedNetwork:
    torch.manual_seed(seed)
    return trace_network(
        TinyInception().eval().requires_grad_(False), ("lower", "upper"), PREPROCESSING.input_size, OPTIONS.batch_size
    )


def check_agree(found: Extraction, expected: Extraction) -> None:
    for layer, extremes in expected.extremes.items():
        largest = np.abs(extremes.maximum).max()
        np.testing.assert_allclose(found.extremes[layer].maximum, extremes.maximum, atol=artefact.AGREEMENT * largest)
    for layer, ranking in expected.rankings.items():
        largest = ranking.value.max()
        np.testing.assert_allclose(found.rankings[layer].value, ranking.value, atol=artefact.AGREEMENT * largest)
        assert (found.rankings[layer].source == ranking.source).mean() > 0.99
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=artefact.AGREEMENT)


@pytest.mark.long
@pytest.mark.skipif(artefact.compiler() is None, reason="no C++ compiler")
def test_compiled_once_and_the_values_agree(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    made = Extractor(network(), PREPROCESSING, OPTIONS, compiled=True)
    check_agree(made(pixels), Extractor(network(), PREPROCESSING, OPTIONS)(pixels))
    assert len(list(cache.glob("*.pt2"))) == 1
    monkeypatch.setattr(artefact, "_compile", lambda *_: pytest.fail("compiled anew"))
    again = Extractor(network(), PREPROCESSING, OPTIONS, compiled=True)
    np.testing.assert_array_equal(again(pixels).probabilities, made(pixels).probabilities)


def test_other_weights_are_another_artefact() -> None:
    images = torch.zeros(3, 3, SIDE, SIDE)
    one, same, other = (artefact._key(network(seed).module, images) for seed in (0, 0, 1))
    assert one == same != other


def test_what_cannot_be_compiled_is_an_error_that_says_how_to_go_on(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.export, "export", Mock(side_effect=RuntimeError("no luck\nat all")))
    with pytest.raises(ModelError, match=r"RuntimeError: no luck\).*--no-compile"):
        artefact.compiled(fx.symbolic_trace(nn.ReLU()), [], torch.zeros(1, 3, 4, 4))
    assert not list(cache.glob("*.pt2"))


def test_by_itself_only_where_it_pays_and_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = network().layer_graph
    least = artefact.pays_from(graph)
    monkeypatch.setattr("summit_dask.stages.init.compiler", lambda: "g++")
    assert not compiles(OPTIONS, least - 1, graph) and compiles(OPTIONS, least, graph)
    assert compiles(OPTIONS.replaced(compile=True), 1, graph)
    assert not compiles(OPTIONS.replaced(compile=False), least, graph)
    monkeypatch.setattr("summit_dask.stages.init.compiler", lambda: None)
    assert not compiles(OPTIONS, least, graph)
    with pytest.raises(ConfigError, match=r"'compile' needs a C\+\+ compiler"):
        compiles(OPTIONS.replaced(compile=True), 1, graph)
