"""Influence on a torch device: its plain form on the CPU, its Triton kernel in Triton's interpreter, or on a GPU."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings

from summit_dask.arrays.activations import channel_extremes
from summit_dask.arrays.influence.device import DeviceStep, device_extremes, plain_peaks
from summit_dask.arrays.influence.maximum import Strongest
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import Convolution
from tests.test_influence import Case, cases, verify_strongest

INTERPRETED = """
import torch
from summit_dask.arrays.influence.device import plain_peaks
from summit_dask.arrays.influence.triton import fused_peaks, lay_out
from summit_dask.facts.layergraph import Convolution

torch.manual_seed(0)
for convolution, targets, size in [
    (Convolution((3, 3), (1, 1), (1, 1)), 33, (8, 9)),
    (Convolution((3, 2), (2, 1), (1, 0), (1, 2), groups=2), 8, (9, 7)),
    (Convolution((1, 1), (2, 2)), 2, (3, 3)),
]:
    maps = torch.randn(1, 4, *size)
    weight = torch.randn(targets, 4 // convolution.groups, *convolution.kernel)
    fused = fused_peaks(maps, lay_out(weight, convolution.groups), convolution)
    torch.testing.assert_close(fused, plain_peaks(maps, weight, convolution))
"""


def nchw(case: Case) -> torch.Tensor:
    return torch.from_numpy(case.maps).permute(0, 3, 1, 2)


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(cases())
def test_equals_the_definition(case: Case) -> None:
    got = DeviceStep(case.convolution, torch.from_numpy(case.weight), case.k, "hop", "cpu")(nchw(case))
    verify_strongest(Strongest(got.source.numpy(), got.value.numpy()), case)


@pytest.mark.parametrize("channels", [1, 7, 16, 37])
def test_extremes_are_those_of_the_definition(channels: int) -> None:
    maps = np.random.default_rng(0).integers(-2, 3, (2, 9, 11, channels)).astype(np.float32)
    flat = maps.reshape(2, 99, channels)
    for found in (channel_extremes(maps), device_extremes(torch.from_numpy(maps).permute(0, 3, 1, 2))):
        for mine, theirs in zip(found, (flat.max(1), flat.argmax(1), flat.min(1)), strict=True):
            np.testing.assert_array_equal(np.asarray(mine), theirs)


@pytest.mark.parametrize("place", [0, 60, 98])
def test_nan_and_infinity_stand_in_the_extremes(place: int) -> None:
    maps = np.zeros((1, 9, 11, 20), np.float32)
    maps.reshape(99, 20)[place, :3] = np.nan, np.inf, -np.inf
    for found in (channel_extremes(maps), device_extremes(torch.from_numpy(maps).permute(0, 3, 1, 2))):
        high, low = np.asarray(found.maximum)[0], np.asarray(found.minimum)[0]
        np.testing.assert_array_equal(high[:4], [np.nan, np.inf, 0, 0])
        np.testing.assert_array_equal(low[:4], [np.nan, 0, -np.inf, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_an_error_that_names_the_step(bad: float) -> None:
    with pytest.raises(NumericalError, match="the step"):
        DeviceStep(Convolution(), torch.full((1, 3, 1, 1), bad), 2, "the step", "cpu")


@pytest.mark.skipif(not find_spec("triton"), reason="Triton is not installed")
def test_triton_kernel_in_the_interpreter() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", INTERPRETED], check=True, env=environment)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_triton_kernel_on_a_gpu() -> None:
    from summit_dask.arrays.influence.triton import fused_peaks, lay_out

    convolution = Convolution((3, 3), (1, 1), (1, 1))
    maps, weight = torch.randn(4, 96, 28, 28, device="cuda"), torch.randn(208, 96, 3, 3, device="cuda")
    got, expected = (
        fused_peaks(maps, lay_out(weight, 1), convolution),
        plain_peaks(maps.cpu(), weight.cpu(), convolution),
    )
    torch.testing.assert_close(got.cpu(), expected)
