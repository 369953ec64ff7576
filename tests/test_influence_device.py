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
from summit_dask.arrays.influence.device import DeviceStep, device_extremes
from summit_dask.arrays.influence.maximum import Strongest
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import Convolution
from tests.test_influence import Case, cases, verify_strongest

#: Runs the kernels against the plain forms, on a GPU or, slowly, in Triton's interpreter.
KERNELS = """
import torch
from summit_dask.arrays.influence import device, triton
from summit_dask.facts.layergraph import Convolution

torch.manual_seed(0)
where = "cuda" if torch.cuda.is_available() else "cpu"


def same(got, expected):
    torch.testing.assert_close([part.cpu() for part in got], list(expected))


for convolution, targets, size in [
    (Convolution((3, 3), (1, 1), (1, 1)), 33, (8, 9)),
    (Convolution((3, 2), (2, 1), (1, 0), (1, 2), groups=2), 8, (9, 7)),
    (Convolution((3, 3), (1, 1), (1, 1), groups=4), 4, (5, 5)),
    (Convolution((5, 5)), 3, (5, 5)),
]:
    maps = torch.randn(2, 4, *size)
    weight = torch.randn(targets, 4 // convolution.groups, *convolution.kernel)
    laid_out = triton.lay_out(weight, convolution.groups).to(where)
    peaks = device.plain_peaks(maps, weight, convolution)
    fused = triton.fused_peaks(maps.to(where), laid_out, convolution)
    same([fused], [peaks])
    peaks = (4 * peaks).round()  # ties
    for k in (1, 3, 9):
        got = triton.strongest_of_peaks(peaks.to(where), convolution.groups, k)
        same(got, device._ranked(peaks, convolution.groups, k))

for shape in [(2, 5, 3, 7), (1, 70, 13, 11), (3, 33, 1, 1), (1, 3, 90, 91)]:
    maps = torch.randint(-3, 4, shape).float()
    for laid in (maps, maps.contiguous(memory_format=torch.channels_last), maps[:, :, ::2, ::3]):
        same(triton.extremes(laid.to(where)), device.device_extremes(laid))

maps = torch.zeros(1, 3, 9, 11)
maps[0, 0, 4, 4], maps[0, 1, 8, 10] = torch.nan, torch.inf
maximum, _, minimum = triton.extremes(maps.to(where))
torch.testing.assert_close(maximum.cpu(), torch.tensor([[torch.nan, torch.inf, 0]]), equal_nan=True)
torch.testing.assert_close(minimum.cpu(), torch.tensor([[torch.nan, 0, 0]]), equal_nan=True)

for targets, sources, groups in [(7, 5, 1), (6, 4, 2), (3, 1, 3), (9, 2100, 1)]:
    found = device.device_extremes(torch.randint(-2, 3, (2, groups * sources, 2, 2)).float())
    weight = torch.randint(-2, 3, (targets, sources)).float()
    high, low, weight_there = (part.to(where) for part in (found.maximum, found.minimum, weight))
    same(
        triton.strongest_of_extremes(high, low, weight_there, groups, 5),
        device._ranked(device._closed(found, weight, groups), groups, 5),
    )
"""


def nchw(case: Case) -> torch.Tensor:
    return torch.from_numpy(case.maps).permute(0, 3, 1, 2)


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(cases())
def test_equals_the_definition(case: Case) -> None:
    got = DeviceStep(case.convolution, torch.from_numpy(case.weight), case.k, "hop", "cpu")(nchw(case))
    verify_strongest(Strongest(got.source.numpy(), got.value.numpy()), case)


def test_one_channel_narrower_than_the_kernel_is_summed_right() -> None:
    rng = np.random.default_rng(0)
    maps, weight = (rng.normal(size=shape).astype(np.float32) for shape in [(1, 6, 1, 1), (3, 1, 5, 5)])
    case = Case(maps, weight, Convolution((5, 5), (1, 2), (1, 2)), 2)
    got = DeviceStep(case.convolution, torch.from_numpy(weight), 2, "hop", "cpu")(nchw(case))
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
def test_triton_kernels_in_the_interpreter_or_on_a_gpu() -> None:
    interpreted = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", KERNELS], check=True, env={**os.environ, **interpreted})
