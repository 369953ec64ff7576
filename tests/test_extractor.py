"""One forward pass against float64 written out by hand; batches, damage, numbers that are none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, fx, nn

from summit_dask.arrays.influence.maximum import Strongest
from summit_dask.facts import schema
from summit_dask.facts.addresses import own_lengths
from summit_dask.facts.config import ExtractOptions
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import Convolution
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import decode
from summit_dask.measure.extractor import Extraction, Extractor
from summit_dask.measure.partition import Arrays, Partition, extract_partition
from summit_dask.measure.probabilities import gives_probabilities
from summit_dask.network.trace import trace_network
from tests import oracles_extract as oracle
from tests.networks import CLASSES, SIDE, TinyInception, write_images, write_weights
from tests.oracles_influence import influences, strongest

torch.set_num_threads(1)

PREPROCESSING = Preprocessing(None, (SIDE, SIDE))
OPTIONS = ExtractOptions(model="tests:none", images=Path("none"), batch_size=8)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> TinyInception:
    module = TinyInception().eval().requires_grad_(False)
    module.load_state_dict(load_file(write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors")))
    return module


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(write_images(tmp_path_factory.mktemp("images"), 4).rglob("*.png"))


def extractor(
    module: nn.Module,
    preprocessing: Preprocessing = PREPROCESSING,
    layers: tuple[str, ...] = ("lower", "upper"),
    batch_size: int = OPTIONS.batch_size,
) -> Extractor:
    return Extractor(trace_network(module, layers, preprocessing.input_size, batch_size), preprocessing, OPTIONS)


def scaled(network: TinyInception, **factors: float) -> TinyInception:
    """The network with some weights multiplied; a dot is written as two underscores."""
    module = TinyInception().eval().requires_grad_(False)
    factor = {name.replace("__", "."): value for name, value in factors.items()}
    module.load_state_dict({name: value * factor.get(name, 1) for name, value in network.state_dict().items()})
    return module


def pixels_of(files: list[Path]) -> NDArray[np.uint8]:
    return np.stack([decode(PREPROCESSING, file) for file in files])


def check_extremes(found: Extraction, layer: str, maps: NDArray[np.float64]) -> None:
    flat = maps.reshape(len(maps), -1, maps.shape[-1])
    extremes = found.extremes[layer]
    np.testing.assert_allclose(extremes.maximum, flat.max(1), rtol=1e-4, atol=1e-5)
    there = np.take_along_axis(flat, extremes.position[:, None].astype(np.int64), 1)[:, 0]
    np.testing.assert_allclose(there, flat.max(1), rtol=1e-5, atol=1e-5)


def check_strongest(found: Strongest, influence: NDArray[np.float64]) -> None:
    """Values within 1e-5 of the target's largest; other sources only where theirs are as close."""
    source, value = strongest(influence, found.source.shape[-1])
    near = 1e-5 * np.maximum(value.max(-1, keepdims=True), 1e-6)
    assert (np.abs(found.value - value) <= near).all()
    own = np.take_along_axis(influence, np.maximum(found.source, 0).astype(np.int64), -1)
    assert (np.abs(np.where(found.source >= 0, own, 0) - value) <= near)[found.source != source].all()
    assert (found.source == source).mean() > 0.999


def test_every_number_is_that_of_the_definition(network: TinyInception, files: list[Path]) -> None:
    pixels = pixels_of(files)
    ready = extractor(network, batch_size=16)
    found, expected = ready(pixels), oracle.one_pass(network, pixels, PREPROCESSING)
    assert set(found.extremes) == set(expected.maps)
    for layer, maps in expected.maps.items():
        check_extremes(found, layer, maps)
    for name, influence in expected.influence.items():
        hop = next(hop for hop in ready.layer_graph.hops if hop.name == name)
        ranking = found.rankings[hop.target]
        assert (
            ranking.hop[:, hop.rows]
            == np.where(ranking.source[:, hop.rows] < 0, -1, ready.layer_graph.incoming(hop.target).index(hop))
        ).all()
        check_strongest(Strongest(ranking.source[:, hop.rows], ranking.value[:, hop.rows]), influence)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-4)


class Flat(nn.Module):
    """A convolution and two linear layers, grey input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(1, 4, 3, stride=2), nn.ReLU()
        self.inner, self.inner_act = nn.Linear(4 * 3 * 3, 6), nn.ReLU()
        self.outer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x)).flatten(1)
        return self.outer(self.inner_act(self.inner(x)))


def test_linear_layers_are_kernels_over_their_whole_input() -> None:
    torch.manual_seed(0)
    module, grey = Flat().eval(), Preprocessing(None, (7, 7), (0.5,), (0.5,))
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 7, 1), dtype=np.uint8)
    found = extractor(module, grey, ("act", "inner_act"))(pixels)
    with torch.no_grad():
        lower = module.act(module.conv(oracle.normalised(pixels, grey).float()))
        inner = module.inner_act(module.inner(lower.flatten(1))).numpy().astype(np.float64)
    check_extremes(found, "act", oracle.channels_last(lower).astype(np.float64))
    check_extremes(found, "inner_act", inner[:, None, None, :])
    assert not found.extremes["inner_act"].position.any()
    kernel = module.inner.weight.detach().numpy().reshape(6, 4, 3, 3)
    ranking = found.rankings["inner_act"]
    check_strongest(
        Strongest(ranking.source, ranking.value), influences(oracle.channels_last(lower), kernel, Convolution((3, 3)))
    )


def test_a_partition_holds_every_variable_as_registered(network: TinyInception, files: list[Path]) -> None:
    outputs = np.arange(len(files), dtype=np.int32) % len(CLASSES)
    ready = extractor(network)
    arrays = extract_partition(ready, PREPROCESSING, Partition(files, outputs, len(CLASSES)), OPTIONS)
    lengths = {"image": len(files), "rank": 5, "prediction_rank": 3}
    for address, values in arrays.items():
        schema.check(address, values.shape, values.dtype, {**lengths, **own_lengths(ready.layer_graph, address)})
    whole = extractor(network, batch_size=len(files))(pixels_of(files)).probabilities
    np.testing.assert_array_equal(arrays["images/predicted"], np.argsort(-whole, axis=1, kind="stable"))
    np.testing.assert_allclose(arrays["images/probability"], -np.sort(-whole, axis=1), rtol=1e-5)
    np.testing.assert_allclose(arrays["images/true_probability"], whole[np.arange(len(files)), outputs], rtol=1e-5)
    assert arrays["images/file_size"].tolist() == [file.stat().st_size for file in files]
    assert arrays["images/checksum"].tolist() == [crc32(file.read_bytes()) for file in files]


def measured(network: TinyInception, files: list[Path], batch_size: int = OPTIONS.batch_size, **options: Any) -> Arrays:
    partition = Partition(files, np.zeros(len(files), np.int32), len(CLASSES))
    ready = extractor(network, batch_size=batch_size)
    return extract_partition(ready, PREPROCESSING, partition, OPTIONS.replaced(**options))


def check_same_images(found: Arrays, expected: Arrays, order: NDArray[np.int64]) -> None:
    assert set(found) == set(expected)
    for key, values in expected.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(found[key], values[order], rtol=2e-3, atol=1e-5)
        else:
            assert (found[key] == values[order]).mean() > 0.999, key


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_neither_order_nor_batches_show(network: TinyInception, files: list[Path], batch_size: int) -> None:
    order = np.random.default_rng(batch_size).permutation(len(files))
    found = measured(network, [files[i] for i in order], batch_size=batch_size)
    check_same_images(found, measured(network, files), order)


def test_influence_values_can_be_left_out(network: TinyInception, files: list[Path]) -> None:
    without = measured(network, files, influence_values=False)
    whole = measured(network, files)
    ranked = ("influences/{}/value", "contributions/{}/value", "contributions/{}/inhibitor_value")
    layers = [layer.name for layer in extractor(network).layer_graph.influenced]
    assert {key for key in whole if key not in without} == {r.format(name) for r in ranked for name in layers}
    assert all((values == whole[key]).all() for key, values in without.items())


def test_an_unreadable_image_leaves_its_neighbours_bits_alone(
    network: TinyInception, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "cut.png").write_bytes(files[2].read_bytes()[:300])
    (tmp_path / "text.png").write_text("no picture")
    spoilt = [*files[:2], tmp_path / "cut.png", *files[3:6], tmp_path / "text.png", tmp_path / "gone.png", *files[8:]]
    lost = np.isin(np.arange(len(files)), [2, 6, 7])
    found, whole = measured(network, spoilt), measured(network, files)
    for key, values in found.items():
        if key not in ("images/status", "images/reason", "images/file_size", "images/checksum"):
            np.testing.assert_array_equal(values[~lost], whole[key][~lost])
            assert (values[lost] == schema.variable(key).fill).all(), key
    assert (found["images/status"] == np.where(lost, schema.UNREADABLE, schema.READ)).all()
    reasons = found["images/reason"]
    assert not any(reasons[~lost]) and all(reasons[lost])
    assert "FileNotFoundError" in reasons[7] and not any(str(tmp_path) in reason for reason in reasons)


def test_a_partition_without_any_readable_image(network: TinyInception, tmp_path: Path) -> None:
    found = measured(network, [tmp_path / "gone.png"] * 3)
    assert found["images/status"].tolist() == [schema.UNREADABLE] * 3
    assert (found["influences/upper/source"] == -1).all() and (found["images/predicted"] == -1).all()


@pytest.mark.parametrize(
    ("weight", "factor", "match"),
    [
        ("stem__weight", float("nan"), r"upper\.three"),
        ("upper__three__2__bias", float("inf"), "upper"),
        ("classify__bias", float("nan"), "network's outputs hold NaN"),
    ],
)
def test_numbers_that_are_none_are_told_with_their_place(
    network: TinyInception, files: list[Path], weight: str, factor: float, match: str
) -> None:
    with pytest.raises(NumericalError, match=match) as caught:
        extractor(scaled(network, **{weight: factor}))(pixels_of(files[:2]))
    assert "\n" not in str(caught.value)


def test_an_influence_beyond_float16_is_an_error_that_says_how_to_go_on(
    network: TinyInception, files: list[Path]
) -> None:
    large = scaled(network, upper__three__2__weight=1e6)
    with pytest.raises(NumericalError, match=r"hop upper\.three\.2\.weight is .*65504.*--no-influence-values"):
        measured(large, files[:3])
    sources = measured(large, files[:3], influence_values=False)["influences/upper/source"]
    usual = measured(network, files[:3])["influences/upper/source"]
    np.testing.assert_array_equal(sources, usual)


class Ending(nn.Module):
    """The network with something done to its outputs."""

    def __init__(self, network: nn.Module, end: Callable[..., Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.network, self.end = network, end
        self.modules_used = nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.network(x), *self.modules_used)


def probabilities(network: nn.Module, files: list[Path], end: Callable[..., Tensor], *modules: nn.Module) -> Any:
    """What is stored for the network with such an end, and its own outputs."""
    ending = Ending(network, end, *modules).eval()
    pixels = pixels_of(files[:3])
    stored = extractor(ending, layers=("network.lower", "network.upper"))(pixels).probabilities
    with torch.inference_mode():
        return stored, ending(oracle.normalised(pixels, PREPROCESSING).float()).numpy()


@pytest.mark.parametrize(
    ("end", "modules"),
    [
        (lambda x, m: m(x), (nn.Softmax(1),)),
        (lambda x, m, n, o: o(n(m(x))), (nn.Softmax(1), nn.Dropout(), nn.Flatten())),
        (lambda x: torch.softmax(x, 1), ()),
        (lambda x: nn.functional.softmax(x, dim=1).double(), ()),
        (lambda x: x.softmax(1).flatten(1), ()),
        (lambda x: x.softmax(1).to(torch.float16).float().contiguous(), ()),
        (lambda x: x[:, :, None, None].softmax(1).squeeze(3).squeeze(2), ()),
        (lambda x: x.log_softmax(1).exp().view(-1, 3), ()),
        (lambda x: (x.softmax(1) + (2 * x).softmax(1)) / 2, ()),
        (lambda x: x.exp() / x.exp().sum(1, keepdim=True), ()),
        (lambda x: torch.cat([1 - x[:, :1].sigmoid(), x[:, :1].sigmoid(), 0 * x[:, :1]], 1), ()),
        (lambda x, m: m(x).float(), (nn.Sigmoid(),)),
        (lambda x: torch.sigmoid(x)[:, :, None, None].flatten(1), ()),
    ],
)  # fmt: skip
def test_outputs_that_are_probabilities_are_kept(
    network: TinyInception, files: list[Path], end: Callable[..., Tensor], modules: tuple[nn.Module, ...]
) -> None:
    stored, own = probabilities(network, files, end, *modules)
    np.testing.assert_allclose(stored, own, rtol=1e-5, atol=1e-6)


def test_outputs_that_sum_to_1_for_a_grey_image_alone_are_logits() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        module[1].bias.copy_(torch.tensor([0.25, 0.75]))
    assert not gives_probabilities(fx.symbolic_trace(module), (2, 3, 1, 1), torch.device("cpu"))


@pytest.mark.parametrize(
    "end", [lambda x: x.log_softmax(1), lambda x: x.relu(), lambda x: x.sigmoid() * 5, lambda x: x / x.sum(1)[:, None]]
)
def test_other_outputs_are_logits(network: TinyInception, files: list[Path], end: Callable[..., Tensor]) -> None:
    stored, own = probabilities(network, files, end)
    np.testing.assert_allclose(stored, torch.from_numpy(own).softmax(1), rtol=1e-5)
