"""Truth of sources: what a channel loses without each, a second way; and what is made of that."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from summit_dask.arrays.truth import Losses, Truth, capture, source_keys
from summit_dask.measure.partial import PartialNetwork
from summit_dask.measure.sources import SourceTester
from tests.test_contribution import Pooled
from tests.test_evidence import network_of
from tests.test_relevance import PIXELS, PREPROCESSING, images, made


@pytest.fixture(scope="module")
def network() -> PartialNetwork:
    return PartialNetwork(network_of(made(Pooled), 8), PREPROCESSING)


def sums(module: Pooled, layer: str, maps: dict[str, torch.Tensor]) -> torch.Tensor:
    """Pre-activation of a layer from the real inputs of its hops, as the module itself makes it."""
    if layer == "mid":
        return module.mid[0](maps["mid.0.weight"][:, [0, 4, 1, 5, 2, 6, 3, 7]])
    return module.more(maps["more.weight"]) + maps["identity"] + module.gate(maps["gate.weight"])


def inputs(module: Pooled, layer: str) -> dict[str, torch.Tensor]:
    low = module.low(module.stem(images()))
    mid = module.mid(low[:, [0, 4, 1, 5, 2, 6, 3, 7]])
    if layer == "mid":
        return {"mid.0.weight": low}
    return {"more.weight": mid, "identity": low, "gate.weight": mid.mean((2, 3), keepdim=True)}


@pytest.mark.parametrize("layer", ["mid", "last"])
def test_losses_are_those_of_the_module_with_a_source_replaced(network: PartialNetwork, layer: str) -> None:
    tester, module = SourceTester(network), made(Pooled).double()
    means = tester.input_means(PIXELS)
    graph = network.network.layer_graph
    (name,) = (known for known in tester.layers if known.startswith(layer))
    hops = ["identity" if hop.convolution is None else hop.name for hop in graph.incoming(name)]
    plain = inputs(module, layer)
    assert sorted(hops) == sorted(plain)
    seen = 0
    for _, place, image, found in tester.losses(PIXELS, {name: range(8)}, means):
        largest = float(sums(module, layer, plain)[image, place].amax())
        assert largest > 0
        for key, lost in zip(found.key.tolist(), found.lost, strict=True):
            hop, source = hops[key >> 16], key & 0xFFFF
            changed = {other: maps.clone() for other, maps in plain.items()}
            changed[hop][:, source] = plain[hop][:, source].mean()
            without = float(sums(module, layer, changed)[image, place].amax())
            assert lost == pytest.approx(1 - without / largest, rel=1e-3, abs=1e-4)
            seen += 1
    assert seen > 50


def test_a_channel_that_does_not_fire_has_no_losses(network: PartialNetwork) -> None:
    tester, module = SourceTester(network), made(Pooled).double()
    (name,) = (known for known in tester.layers if known.startswith("last"))
    fires = (sums(module, "last", inputs(module, "last")).amax((2, 3)) > 0).numpy()
    found = {
        (image, place) for _, place, image, _ in tester.losses(PIXELS, {name: range(8)}, tester.input_means(PIXELS))
    }
    assert found == {(int(i), int(c)) for i, c in np.argwhere(fires)}


def losses(lost: list[float], influence: list[float], contribution: list[float]) -> Losses:
    key = source_keys(np.zeros(len(lost), int), np.arange(len(lost)))
    return Losses(key, *(np.array(values, float) for values in (lost, influence, contribution)))


def test_truth_of_a_class_is_that_of_its_images_together() -> None:
    truth = Truth(("low", "high"), k=1)
    add = partial(truth.add, "high", 0)
    add(losses([0.5, 0.1, 0.2], [1, 2, 3], [3, 1, 2]), {"influence": np.array([2]), "contribution": np.array([0])})
    add(losses([0.1, 0.3, 0.2], [1, 2, 3], [1, 3, 2]), {"influence": np.array([2]), "contribution": np.array([1])})
    add(losses([0.5, 0.1, 0.0], [0, 0, 0], [3, 2, 1]), {"influence": np.array([-1]), "contribution": np.array([0])})
    found = truth.found()
    assert found["n_targets"].tolist() == [0, 3]
    np.testing.assert_allclose(found["capture"][1], [(0.2 / 0.5 + 0.2 / 0.3 + 0) / 3, 1])
    np.testing.assert_allclose(found["rank_correlation"][1], [(-0.5 + 0.5) / 2, 1])
    np.testing.assert_allclose(found["class_capture"][1], [0.4 / 1.1, 1])
    for name in ("capture", "class_capture", "rank_correlation"):
        assert np.isnan(found[name][0]).all()


def test_a_measure_that_is_not_kept_catches_nothing_that_is_known() -> None:
    truth = Truth(("high",), k=1)
    truth.add("high", 0, losses([0.5, 0.1], [1, 2], [2, 1]), {"influence": np.array([1])})
    assert np.isfinite(truth.found()["capture"]).tolist() == [[True, False]]
    assert np.isfinite(truth.found()["rank_correlation"]).all()


def test_where_nothing_is_lost_nothing_is_caught() -> None:
    lost: NDArray[np.float64] = np.array([0.0, -0.1])
    assert np.isnan(capture(lost, np.array([True, False]), 1))


def test_sources_that_lower_a_channel_are_none_of_the_best() -> None:
    assert capture(np.array([0.4, -0.1]), np.array([True, False]), k=5) == 1
