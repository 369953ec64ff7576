"""Influence: against the definition in float64, and against the real layer with all other channels shut."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numba import types
from numpy.typing import NDArray

from summit_dask.arrays import activations
from summit_dask.arrays.activations import channel_extremes
from summit_dask.arrays.influence import kernels, patches
from summit_dask.arrays.influence.device import DeviceStep
from summit_dask.arrays.influence.maximum import Strongest, prepare_step
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import Convolution
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import decode
from summit_dask.network.load import find_network, load_network
from tests import oracles_influence as oracles


@dataclass(frozen=True)
class Case:
    """A hop and a batch for it."""

    maps: NDArray[np.float32]
    weight: NDArray[np.float32]
    convolution: Convolution
    k: int


def whole(found: Strongest, k: int) -> Strongest:
    """With all k ranks, where a target has fewer possible sources."""
    missing = [(0, 0), (0, 0), (0, k - found.source.shape[2])]
    return Strongest(np.pad(found.source, missing, constant_values=-1), np.pad(found.value, missing))


def verify_strongest(got: Strongest, case: Case) -> None:
    """Values within 1e-5 of the target's largest; sources equal but where two influences are as near as that.

    Where positive and negative products cancel, float32 knows no better than 1e-6 of what is summed.
    """
    influence = oracles.influences(case.maps, case.weight, case.convolution)
    summed = oracles.influences(np.abs(case.maps), np.abs(case.weight), case.convolution).max(2)
    source, value = oracles.strongest(influence, case.k)
    got = whole(got, case.k)
    slack = np.maximum(1e-5 * value[..., 0], 1e-6 * summed)[..., None]
    assert (np.abs(got.value - value) <= slack).all()
    assert (np.diff(got.value, axis=-1) <= 0).all()
    assert ((got.source >= 0) == (got.value > 0)).all()
    for place in map(tuple, np.argwhere(got.source != source)):
        image, target, _ = place
        kept = got.source[image, target]
        assert len(set(kept[kept >= 0])) == (kept >= 0).sum()
        own = influence[image, target, got.source[place]] if got.source[place] >= 0 else 0
        assert abs(own - value[place]) <= slack[image, target, 0]


def pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (5, 5), (1, 7), (7, 1), (2, 3), (13, 13)]))
    dilation, stride, padding = draw(pairs(1, 2)), draw(pairs(1, 3)), draw(pairs(0, 2))
    groups = draw(st.sampled_from([1, 1, 2, 3, 19]))
    targets, sources = groups * draw(st.integers(1, 40 // groups)), groups * draw(st.sampled_from([1, 1, 2, 3, 12]))
    size = [
        max(1, (k - 1) * d + 1 - 2 * p) + draw(st.integers(0, 6))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    maps = rng.normal(size=(draw(st.integers(1, 2)), *size, sources)).astype(np.float32)
    if draw(st.booleans()):
        maps = np.maximum(maps - draw(st.sampled_from([0, 1, 2])), 0)
    if draw(st.booleans()):  # whole numbers: exact arithmetic, so ties really occur
        maps = np.round(maps)
    maps = maps * np.float32(draw(st.sampled_from([1, 1e-12, 1e12])))
    weight = rng.normal(size=(targets, sources // groups, *kernel)).astype(np.float32)
    if draw(st.booleans()):
        weight = np.round(weight)
    return Case(maps, weight, Convolution(kernel, stride, padding, dilation, groups), draw(st.integers(1, 7)))


@settings(max_examples=150, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(cases())
def test_equals_the_definition(case: Case) -> None:
    kernel = prepare_step(case.convolution, case.weight, case.k, "hop")
    verify_strongest(kernel(case.maps), case)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_intervention_gives_the_same_map(case: Case) -> None:
    """The real layer, bias gone and all input channels but one shut, peaks at the influence of that channel."""
    c = case.convolution
    influence = oracles.influences(case.maps, case.weight, c)
    source = case.maps.shape[-1] // 2
    alone = np.zeros_like(case.maps)
    alone[..., source] = case.maps[..., source]
    out = torch.nn.functional.conv2d(
        torch.from_numpy(alone).permute(0, 3, 1, 2).double(),
        torch.from_numpy(case.weight).double(),
        None,
        c.stride,
        c.padding,
        c.dilation,
        c.groups,
    )
    peak = out.amax((2, 3)).numpy()
    reached = np.isfinite(influence[:, :, source])
    np.testing.assert_allclose(peak[reached], influence[:, :, source][reached], rtol=1e-9)
    got = prepare_step(c, case.weight, 1, "hop")(alone)
    assert set(np.unique(got.source)) <= {-1, source}
    slack = 1e-6 * oracles.influences(np.abs(alone), np.abs(case.weight), c)[:, :, source][reached]
    assert (np.abs(got.value[..., 0][reached] - np.maximum(peak[reached], 0)) <= slack).all()


@pytest.mark.parametrize(
    ("scale", "source", "value"),
    [(None, [[0], [-1], [-1]], [[3], [0], [0]]), ((2, -1, 5), [[0], [1], [-1]], [[6], [2], [0]])],
)
def test_an_identity_carries_each_channel_to_itself(
    scale: tuple[float, ...] | None, source: list[list[int]], value: list[list[float]]
) -> None:
    maps = np.array([[[[1, -2, 0], [3, -1, 0]]]], np.float32)
    weight = None if scale is None else np.array(scale, np.float32).reshape(3, 1, 1, 1)
    got = prepare_step(None, weight, 2, "skip")(maps)
    assert got.source.tolist() == [source] and got.value.tolist() == [value]
    device = DeviceStep(None, None if weight is None else torch.from_numpy(weight), 2, "skip", "cpu")
    theirs = device(torch.from_numpy(maps).permute(0, 3, 1, 2))
    assert theirs.source.tolist() == [source] and theirs.value.tolist() == [value]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kernel", [None, (1, 1), (3, 3)])
def test_nan_and_infinity_are_errors_that_name_the_hop(bad: float, kernel: tuple[int, int] | None) -> None:
    convolution = kernel and Convolution(kernel)
    weight = np.ones((2, 3, *kernel), np.float32) if kernel else None
    maps = np.zeros((2, 5, 4, 3), np.float32)
    maps[1, 2, 1, 2] = bad
    hop = prepare_step(convolution, weight, 2, "the hop")
    with pytest.raises(NumericalError, match="the hop"):
        hop(maps)
    with pytest.raises(NumericalError, match="the hop"):
        hop(maps, channel_extremes(maps))
    if weight is not None:
        weight[1, 1] = bad
        with pytest.raises(NumericalError, match="the hop"):
            prepare_step(convolution, weight, 2, "the hop")


@pytest.mark.parametrize("seed", range(3))
def test_extremes_of_channels(seed: int) -> None:
    maps = np.random.default_rng(seed).integers(-3, 3, (2, 4, 5, 21)).astype(np.float32)
    got = channel_extremes(maps)
    flat = maps.reshape(2, 20, 21)
    np.testing.assert_array_equal(got.maximum, flat.max(1))
    np.testing.assert_array_equal(got.minimum, flat.min(1))
    np.testing.assert_array_equal(got.position, flat.argmax(1))


def test_extremes_show_nan_wherever_it_is() -> None:
    for place in range(6):
        maps = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
        maps.reshape(6)[place] = np.nan
        got = channel_extremes(maps)
        assert np.isnan(got.maximum).all() and np.isnan(got.minimum).all()


def test_real_network_and_images(shared_data: Path) -> None:
    """Trained weights and real maps: most patches are skipped, and nothing may be missed by that."""
    models = shared_data / "models"
    found = find_network(f"{models}/googlenet_bvlc.py:GoogLeNetBVLC", f"{models}/googlenet_bvlc.safetensors")
    module = load_network(found).module
    names = ["inception_4a.b_3x3.1.conv", "inception_5a.b_5x5.1.conv", "inception_4a.b_1x1.conv"]
    inputs: dict[str, torch.Tensor] = {}
    for name in names:
        module.get_submodule(name).register_forward_hook(
            lambda _module, given, _result, name=name: inputs.__setitem__(name, given[0])
        )
    files = sorted((shared_data / "images/imagenet_val").glob("*/*.jpeg"))[::400]
    pixels = torch.from_numpy(np.stack([decode(Preprocessing(), file) for file in files])).float() / 255
    with torch.inference_mode():
        module((pixels.permute(0, 3, 1, 2) - 0.45) / 0.225)
    for name in names:
        layer = module.get_submodule(name)
        assert isinstance(layer, torch.nn.Conv2d)
        convolution = Convolution(padding=(int(layer.padding[0]),) * 2, kernel=(layer.kernel_size[0],) * 2)
        maps, weight = inputs[name].permute(0, 2, 3, 1).contiguous().numpy(), layer.weight.detach().numpy()
        got = prepare_step(convolution, weight, 5, name)(maps)
        verify_strongest(got, Case(maps, weight, convolution, 5))


NARROW = """
import sys
import numpy as np
from summit_dask.arrays.influence.maximum import prepare_step
from summit_dask.facts.layergraph import Convolution

given = np.load(sys.argv[1])
hop = prepare_step(Convolution((3, 3), (1, 1), (1, 1)), given["weight"], 5, "hop")
np.savez(sys.argv[2], **hop(given["maps"])._asdict())
"""


@pytest.mark.long
def test_narrower_vectors_give_the_same(tmp_path: Path) -> None:
    """Without the processor's own vector instructions, as on machines that have only short ones."""
    rng = np.random.default_rng(0)
    maps = np.maximum(rng.normal(size=(2, 9, 8, 24)), 0).astype(np.float32)
    weight = rng.normal(size=(20, 24, 3, 3)).astype(np.float32)
    np.savez(tmp_path / "given.npz", maps=maps, weight=weight)
    plain = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-c", NARROW, str(tmp_path / "given.npz"), str(tmp_path / "got.npz")]
    subprocess.run(command, check=True, env=plain, cwd=Path(__file__).parents[1])
    with np.load(tmp_path / "got.npz") as got:
        case = Case(maps, weight, Convolution((3, 3), (1, 1), (1, 1)), 5)
        verify_strongest(Strongest(got["source"], got["value"]), case)


def test_one_compilation_serves_every_hop() -> None:
    """Else workers would compile at run time what was meant to be compiled once, before they start."""
    rng = np.random.default_rng(0)
    for kernel, stride, padding, groups in [
        ((1, 1), (1, 1), (0, 0), 1),
        ((1, 1), (2, 2), (1, 1), 2),
        ((3, 3), (1, 1), (1, 1), 1),
        ((5, 1), (2, 1), (0, 0), 2),
        ((3, 3), (1, 2), (1, 0), 4),
        ((1, 1), (1, 1), (0, 0), 4),
    ]:
        maps = torch.randn(2, 4, 7, 7).to(memory_format=torch.channels_last).permute(0, 2, 3, 1).numpy()
        weight = rng.normal(size=(8, 4 // groups, *kernel)).astype(np.float32)
        prepare_step(Convolution(kernel, stride, padding, groups=groups), weight, 3, "hop")(maps)
    for function in (kernels.rank_closed, patches.rank_patches, kernels.rank_depthwise, activations._extremes):
        assert len(function.signatures) == 1
        # A cache on disk that names a class of ours could not be read by a later version without that class.
        assert not any(isinstance(argument, types.BaseNamedTuple) for argument in function.signatures[0])
