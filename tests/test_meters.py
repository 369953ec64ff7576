"""Both meters give the same numbers for the same network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from summit_dask.facts.config import ExtractOptions
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure.extractor import Extractor
from summit_dask.measure.meters import DeviceMeter
from tests.adapter import traced
from tests.networks import SIDE, TinyInception

OPTIONS = ExtractOptions(model="tests:none", images=Path("none"), k=3)
PREPROCESSING = Preprocessing(resize=None, crop=(SIDE, SIDE))


def extractor(on_device: bool, spoilt: bool = False) -> Extractor:
    torch.manual_seed(1)
    network = TinyInception().eval()
    if spoilt:
        network.lower.one[1].weight.data[2] = torch.inf
    made = Extractor(traced(network, (), PREPROCESSING.input_size), PREPROCESSING, OPTIONS)
    if on_device:
        made._meter = DeviceMeter(made._steps, OPTIONS.k, torch.device("cpu"))
    return made


def test_the_device_s_numbers_are_the_host_s() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    host, device = extractor(on_device=False)(pixels), extractor(on_device=True)(pixels)
    for layer, extremes in host.extremes.items():
        np.testing.assert_allclose(device.extremes[layer].maximum, extremes.maximum, rtol=1e-6)
        np.testing.assert_array_equal(device.extremes[layer].position, extremes.position)
        assert device.extremes[layer].position.dtype == extremes.position.dtype
    for layer, ranking in host.rankings.items():
        np.testing.assert_array_equal(device.rankings[layer].hop, ranking.hop)
        np.testing.assert_array_equal(device.rankings[layer].source, ranking.source)
        np.testing.assert_allclose(device.rankings[layer].value, ranking.value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("on_device", [False, True])
def test_infinity_is_an_error_on_both(on_device: bool) -> None:
    pixels = np.full((1, SIDE, SIDE, 3), 200, np.uint8)
    with pytest.raises(NumericalError):
        extractor(on_device, spoilt=True)(pixels)
