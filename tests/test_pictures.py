"""Optimised pictures: the right part of the network runs, views move as they say, activations rise, bytes repeat."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, fx, nn

from summit_dask import cli
from summit_dask.arrays.pictures import (
    KINDS,
    N_DIVERSE,
    Batch,
    Kind,
    Preparation,
    Settings,
    Visualiser,
    _height,
    batches,
    stored_kinds,
)
from summit_dask.facts.errors import ModelError
from summit_dask.network.export import network_graph
from summit_dask.network.part import part_below
from tests import oracles_examples as oracle

SIDE = 16
FEW = Settings(size=SIDE, steps=12, batch=4)


class Branches(nn.Module):
    """Two branches side by side, one of them used twice, then a layer that takes one size alone."""

    def __init__(self, colours: int = 3) -> None:
        super().__init__()
        self.a = nn.Conv2d(colours, 6, 3, padding=1)
        self.b = nn.Conv2d(6, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(10 * SIDE * SIDE, 5)

    def forward(self, x: Tensor) -> Tensor:
        first = self.relu(self.a(x))
        both = torch.cat([first, torch.relu(self.b(first))], 1)
        return torch.relu(self.fc(both.flatten(1)))


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(colours: int = 3, n_images: int = 2) -> fx.GraphModule:
    torch.manual_seed(3)
    return network_graph(Branches(colours).eval().requires_grad_(False), (colours, SIDE, SIDE), n_images).module


def visualiser(node: str, settings: Settings = FEW, colours: int = 3, side: int = SIDE) -> Visualiser:
    preparation = Preparation((colours, side, side), (0.4,) * colours, (0.2,) * colours)
    return Visualiser(part_below(network(colours), node), "layer", preparation, settings)


def activations(pixels: Any, node: str) -> Any:
    """Values of a node on painted pictures, from the whole network."""
    module = network(pixels.shape[-1], len(pixels))
    seen = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.4) / 0.2
    found: dict[str, Tensor] = {}

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            found[n.name] = super().run_node(n)
            return found[n.name]

    with torch.no_grad():
        Watch(module).run(seen)
    return found[node].numpy()


@pytest.mark.parametrize("node", ["relu", "cat", "relu_2"])
def test_runs_the_part_below_without_its_last_relu(node: str) -> None:
    x = np.random.default_rng(0).integers(0, 255, (2, SIDE, SIDE, 3), dtype=np.uint8)
    with torch.no_grad():
        out = part_below(network(), node)((torch.from_numpy(x).permute(0, 3, 1, 2) / 255 - 0.4) / 0.2)
    np.testing.assert_allclose(out.relu(), activations(x, node), rtol=1e-5, atol=1e-6)
    own = out[:, 6:] if node == "cat" else out
    assert (own < 0).any()
    if node == "cat":  # the first branch's ReLU also feeds the second branch, so it must stay
        assert (out[:, :6] >= 0).all()


def test_a_part_takes_any_number_of_images_whatever_shapes_are_written_out() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.LocalResponseNorm(5), nn.Conv2d(6, 4, 1), nn.Flatten())
    module = network_graph(layers.eval().requires_grad_(False), (3, SIDE, SIDE), 2).module
    node = next(n.name for n in module.graph.nodes if "conv" in n.name and n.meta["val"].shape[1] == 4)
    images = torch.rand(3, 3, SIDE, SIDE)
    torch.testing.assert_close(part_below(module, node)(images), layers[:3](images))


def test_unknown_node() -> None:
    with pytest.raises(ModelError, match="no node 'mixed'"):
        part_below(network(), "mixed")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("colours", [1, 3])
def test_pictures_repeat_and_differ(kind: Kind, colours: int) -> None:
    pixels = visualiser("cat", colours=colours).paint([1, 7], kind)
    copies = N_DIVERSE if kind == "diversity" else 1
    assert pixels.shape == (2 * copies, SIDE, SIDE, colours)
    np.testing.assert_array_equal(pixels, visualiser("cat", colours=colours).paint([1, 7], kind))
    assert len({p.tobytes() for p in pixels}) == len(pixels)
    assert (visualiser("cat", Settings(size=SIDE, steps=12, seed=1), colours).paint([1, 7], kind) != pixels).any()


def test_activations_rise() -> None:
    """Above all of many noise images; the neuron's at the centre; the negative's below all."""
    noise = np.random.default_rng(0).integers(0, 256, (200, SIDE, SIDE, 3), dtype=np.uint8)
    usual, channels = activations(noise, "convolution").mean(axis=(2, 3)), np.arange(6)
    v = visualiser("relu", Settings(size=SIDE, steps=60))
    kinds: tuple[Kind, ...] = ("channel", "neuron", "negative")
    channel, neuron, negative = (
        activations(v.paint(range(6), kind), "convolution")[channels, channels] for kind in kinds
    )
    assert (channel.mean(axis=(1, 2)) > usual.max(axis=0)).all()
    assert (negative.mean(axis=(1, 2)) < usual.min(axis=0)).all()
    places = np.array(np.divmod(neuron.reshape(6, -1).argmax(axis=1), SIDE))
    assert (np.abs(places - SIDE // 2) <= 3).all()  # as far as the views shift
    assert (neuron[:, SIDE // 2, SIDE // 2] > usual.max(axis=0)).all()


def test_diversity_parts_the_pictures() -> None:
    alike, diverse = (
        np.mean(
            oracle.likeness(
                activations(visualiser("cat", Settings(SIDE, 60, diversity=d)).paint([8], "diversity"), "cat")
            )
        )
        for d in (0.0, 4.0)
    )
    assert diverse < alike - 0.02


def test_layer_of_one_size_is_painted_at_that_size() -> None:
    assert visualiser("convolution", Settings(size=8)).paint([0], "channel").shape == (1, 8, 8, 3)
    assert visualiser("relu_2", Settings(size=8, steps=2)).paint([0], "neuron").shape == (1, SIDE, SIDE, 3)


def test_view_moves_the_picture() -> None:
    """A shift by whole pixels brings grey in from outside; a quarter turn turns."""
    v = visualiser("convolution")
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    moved = v._seen(image, torch.tensor([[[1.0, 0, 2 * 3 / SIDE], [0, 1, 0]]])) * v.std + v.mean
    torch.testing.assert_close(moved[..., : SIDE - 3], image[..., 3:])
    torch.testing.assert_close(moved[..., SIDE - 3 :], torch.full((1, 3, SIDE, 3), 0.5))
    turned = v._seen(image, torch.tensor([[[0.0, -1, 0], [1, 0, 0]]])) * v.std + v.mean
    torch.testing.assert_close(turned, image.rot90(1, (2, 3)))


def test_views_keep_shapes_on_oblong_pictures() -> None:
    """In pixels every view is a turn and one scaling, whatever the picture's sides; they use their whole range."""
    v = Visualiser(
        part_below(network(), "convolution"),
        "layer",
        Preparation((3, 12, 30), (0.5,) * 3, (1.0,) * 3),
        Settings(size=30, steps=50),
    )
    pixels = np.diag([30 / 2, 12 / 2])
    degrees, scales, shifts = [], [], []
    for view in v._views(np.random.default_rng(0)).numpy().astype(float):
        turn = pixels @ view[:, :2] @ np.linalg.inv(pixels)
        scale = np.sqrt(np.linalg.det(turn))
        np.testing.assert_allclose(turn @ turn.T, scale**2 * np.eye(2), atol=1e-6)
        degrees.append(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
        scales.append(1 / scale)
        shifts.append(pixels @ view[:, 2])
    assert sorted({round(float(d)) for d in degrees}) == list(range(-5, 6))
    assert sorted({round(float(s), 3) for s in scales}) == [0.95, 0.975, 1, 1.025, 1.05]
    reach = round(16 * 30 / 128) + round(8 * 30 / 128)
    assert (np.abs(shifts).max(axis=0) > 0.6 * reach).all()
    assert (np.abs(shifts).max(axis=0) < reach + 1e-5).all()


def test_a_flat_spectrum_gives_grey_and_each_frequency_its_wave() -> None:
    v = visualiser("convolution", colours=1)
    spectrum = torch.zeros(1, 1, SIDE, SIDE // 2 + 1, 2)
    torch.testing.assert_close(v.image(spectrum), torch.full((1, 1, SIDE, SIDE), 0.5))
    heights = []
    for frequency in (1, 4):
        spectrum[:] = 0
        spectrum[0, 0, frequency, 0, 0] = 0.1
        wave = torch.logit(v.image(spectrum))[0, 0, :, 0]
        heights.append(float(wave.max()))
        assert torch.fft.rfft(wave).abs().argmax() == frequency
    assert heights[0] == pytest.approx(4**1.3 * heights[1], rel=1e-3)


def test_painting_starts_from_grey() -> None:
    v = visualiser("convolution")
    start = v.image(v._start(np.random.default_rng(0))[None])
    assert 0 < (start - 0.5).abs().max() < 0.05


def test_colours_are_lightness_blue_to_yellow_and_green_to_red() -> None:
    """How the second and third change a picture adds up to nothing, but for rounding of the published figures."""
    v = visualiser("convolution")
    spectrum = torch.zeros(3, 3, SIDE, SIDE // 2 + 1, 2)
    for colour in range(3):
        spectrum[colour, colour, 0, 0, 0] = 0.1  # the picture as a whole
    red, green, blue = torch.logit(v.image(spectrum))[:, :, 0, 0].T
    assert (red + green + blue).tolist() == pytest.approx([float((red + green + blue)[0]), 0, 0], abs=1e-5)
    assert red[0] > 0 and green[0] > 0 and blue[0] > 0
    assert red[1] > 0 > blue[1] and green[1].abs() < 1e-5
    assert red[2] > 0 and blue[2] > 0 > green[2]


def test_the_command_s_settings_are_the_settings() -> None:
    assert Settings() == Settings(size=128, steps=256, learning_rate=0.05, diversity=0.1, seed=0, batch=8)
    given = {option.name: option.default for option in cli.commands.commands["pictures"].params}
    assert [given[name] for name in ("size", "steps", "seed")] == [128, 256, 0]


def test_a_channel_climbs_by_its_peaks_and_a_tenth_of_its_mean() -> None:
    maps = torch.tensor([[[3.0, -1], [0, 0]], [[-2.0, -2], [-2, -2]]])
    torch.testing.assert_close(_height(maps), torch.tensor([1.5 + 0.05, -0.2]), atol=2e-3, rtol=0)


def test_batches_cover_the_channels_in_order() -> None:
    parts = list(batches("a", "diversity", range(5), Settings(batch=8)))
    assert [p.channels for p in parts] == [(0, 1), (2, 3), (4,)]
    assert [p.n_pictures for p in parts] == [8, 8, 4]
    assert [p.channels for p in batches("a", "channel", range(5), Settings(batch=3))] == [(0, 1, 2), (3, 4)]


def test_encoded_pictures_by_channel_and_kind() -> None:
    v = visualiser("cat", colours=1)
    made = v.pictures(Batch("layer", "diversity", (3, 5)))
    assert list(made) == [(c, kind) for c in (3, 5) for kind in stored_kinds("diversity")]
    picture = Image.open(BytesIO(made[5, "diversity-1"]))
    assert (picture.mode, picture.size) == ("L", (SIDE, SIDE))
    np.testing.assert_allclose(np.asarray(picture), v.paint([3, 5], "diversity")[5, ..., 0], atol=40)
