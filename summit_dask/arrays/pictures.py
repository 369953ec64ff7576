"""Pictures that a network's channels are optimised for: feature visualisation.

After Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017. A picture is kept as its Fourier
spectrum in decorrelated colours, seen through small random shifts, scalings and rotations, and climbs the
gradient of a channel's activation by Adam::

    spectrum ── /frequency ── inverse FFT ── colours ── sigmoid ── shift, scale, rotate ── network ── channel

Of the network this file knows the part up to the layer alone, as a function from images to the layer's maps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal, NamedTuple
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

Kind = Literal["channel", "neuron", "negative", "diversity"]

#: From the network's input, (image, colour, y, x), to the maps of one of its layers.
Part = Callable[[Tensor], Tensor]

#: What can be made, in the order it is made.
KINDS: tuple[Kind, ...] = ("channel", "neuron", "negative", "diversity")

#: Pictures that a diversity is made of.
N_DIVERSE = 4

# How the colours of natural images vary together: the square root of their covariance over ImageNet, as published
# with the paper; columns are lightness, blue to yellow, green to red.
_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))

# The paper's transformations, for 128 pixels: shift by a uniform number of pixels, scale, turn, shift again.
_SHIFTS = (16.0, 8.0)
_SCALES = (1.0, 0.975, 1.025, 0.95, 1.05)
_DEGREES = tuple(range(-5, 6))

#: Power of the frequency by which its weight falls.
_FALLOFF = 1.3

_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Settings:
    """What a picture depends on beside the network, its layer and its channel.

    `size` is the longer side in pixels, at most the network's input. `batch` pictures are optimised at a time;
    it is among the settings because sums of floats depend on it.
    """

    size: int = 128
    steps: int = 256
    learning_rate: float = 0.05
    diversity: float = 0.1
    seed: int = 0
    batch: int = 8


class Batch(NamedTuple):
    """Channels of one layer whose pictures are optimised together."""

    layer: str
    kind: Kind
    channels: tuple[int, ...]

    @property
    def n_pictures(self) -> int:
        """How many pictures it makes."""
        return len(self.channels) * (N_DIVERSE if self.kind == "diversity" else 1)


def batches(layer: str, kind: Kind, channels: Sequence[int], settings: Settings) -> Iterator[Batch]:
    """Part the channels, in order, into batches of `settings.batch` pictures.

    Examples
    --------
    >>> [batch.channels for batch in batches("conv", "channel", [3, 5, 8], Settings(batch=2))]
    [(3, 5), (8,)]
    >>> next(batches("conv", "diversity", [3, 5, 8], Settings(batch=8))).n_pictures
    8
    """
    size = max(1, settings.batch // (N_DIVERSE if kind == "diversity" else 1))
    return (Batch(layer, kind, tuple(channels[i : i + size])) for i in range(0, len(channels), size))


def stored_kinds(kind: Kind) -> tuple[str, ...]:
    """Names under which the pictures of a kind are stored.

    Examples
    --------
    >>> stored_kinds("diversity")
    ('diversity-0', 'diversity-1', 'diversity-2', 'diversity-3')
    """
    return tuple(f"diversity-{i}" for i in range(N_DIVERSE)) if kind == "diversity" else (kind,)


class Preparation(NamedTuple):
    """The network's input: channels, height, width; and the mean and standard deviation of each colour."""

    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Visualiser:
    """Optimises pictures for the channels of one layer.

    Parameters
    ----------
    part
        Gives the layer's maps, (image, channel, y, x) or (image, channel), of the network's input; can be
        differentiated, and lies on the device. A last ReLU is best left out, or silent channels stay silent.
    layer
        Its name, from which the random numbers start.
    preparation
        How images became the network's input.
    settings
        Of the pictures.
    device
        Of torch.

    Examples
    --------
    Where the maps are the input itself, channel 0 looks for red.

    >>> preparation = Preparation((3, 8, 8), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    >>> visualiser = Visualiser(lambda seen: seen, "input", preparation, Settings(size=8, steps=20))
    >>> pictures = visualiser.paint([0], "channel")
    >>> pictures.shape
    (1, 8, 8, 3)
    >>> red, _, blue = pictures.mean(axis=(0, 1, 2))
    >>> bool(red > blue)
    True
    """

    def __init__(
        self,
        part: Part,
        layer: str,
        preparation: Preparation,
        settings: Settings,
        device: str = "cpu",
    ) -> None:
        self.part = part
        self.layer = layer
        self.settings = settings
        self.device = device
        self.height, self.width = self._size(preparation.input_size)
        self.n_colours = preparation.input_size[0]
        self.mean = torch.tensor(preparation.mean, device=device).view(1, -1, 1, 1)
        self.std = torch.tensor(preparation.std, device=device).view(1, -1, 1, 1)
        self.falloff = _falloff(self.height, self.width).to(device)

    def _size(self, input_size: tuple[int, int, int]) -> tuple[int, int]:
        """The settings' size, or the network's own where a layer takes no other."""
        colours, *full = input_size
        shrink = min(1.0, self.settings.size / max(full))
        height, width = (max(1, round(side * shrink)) for side in full)
        try:
            with torch.no_grad():
                self.part(torch.zeros(1, colours, height, width, device=self.device))
        except RuntimeError:
            height, width = full
        return height, width

    def pictures(self, batch: Batch) -> dict[tuple[int, str], bytes]:
        """Encoded pictures of a batch, by channel and stored kind."""
        keys = [(channel, kind) for channel in batch.channels for kind in stored_kinds(batch.kind)]
        painted = self.paint(batch.channels, batch.kind)
        return {key: _encoded(pixels) for key, pixels in zip(keys, painted, strict=True)}

    def paint(self, channels: Sequence[int], kind: Kind) -> UInt8[np.ndarray, "picture height width colour"]:
        """Optimised pictures, one after the other; of diversity `N_DIVERSE` for each channel.

        The same bytes again for the same channels, settings and machine.

        Parameters
        ----------
        channels
            Of the layer.
        kind
            What is climbed: a channel's mean over the map, its middle alone, its negative, or several pictures'
            means and their difference from each other.
        """
        copies = N_DIVERSE if kind == "diversity" else 1
        draws = [self._draws(channel, kind, i) for channel in channels for i in range(copies)]
        spectrum = torch.stack([self._start(draw) for draw in draws]).requires_grad_()
        views = torch.stack([self._views(draw) for draw in draws], dim=1)  # (step, picture, 2, 3)
        index = torch.tensor(channels, device=self.device).repeat_interleave(copies)
        optimiser = torch.optim.Adam([spectrum], lr=self.settings.learning_rate)
        for view in views:
            optimiser.zero_grad()
            seen = self._seen(self.image(spectrum), view)
            self._loss(seen, index, kind).backward()
            optimiser.step()
        with torch.no_grad():
            pixels = (self.image(spectrum) * 255).round().byte()
        return pixels.permute(0, 2, 3, 1).cpu().numpy()

    def _draws(self, channel: int, kind: Kind, copy: int) -> np.random.Generator:
        """Random numbers of one picture, whichever others are made with it."""
        layer = crc32(self.layer.encode())
        return np.random.default_rng([self.settings.seed, layer, channel, KINDS.index(kind), copy])

    def _start(self, draw: np.random.Generator) -> Tensor:
        shape = (self.n_colours, self.height, self.width // 2 + 1, 2)
        return torch.from_numpy(draw.normal(0, 0.01, shape).astype(np.float32)).to(self.device)

    def _views(self, draw: np.random.Generator) -> Float[Tensor, "step 2 3"]:
        """Random shift, scaling and rotation of each step, as `affine_grid` takes them.

        | cos  -sin  shift x |      divided by the scale, and in units of the picture's sides, from -1 to 1:
        | sin   cos  shift y |      the sines are stretched by the aspect so that an oblong picture turns, too
        """
        steps = self.settings.steps
        sides = np.array([self.width, self.height])
        shift = np.zeros((steps, 2))
        for reach in np.array(_SHIFTS) * max(sides) / 128:
            shift += draw.integers(-round(reach), round(reach) + 1, (steps, 2))
        shift *= 2 / sides
        angle = np.radians(draw.choice(_DEGREES, steps))
        scale = draw.choice(_SCALES, steps)
        cos = np.cos(angle) / scale
        sin = np.sin(angle) / scale
        aspect = self.width / self.height
        rows = [[cos, -sin / aspect, shift[:, 0]], [sin * aspect, cos, shift[:, 1]]]
        views = np.array(rows, np.float32).transpose(2, 0, 1).copy()
        return torch.from_numpy(views).to(self.device)

    def image(self, spectrum: Float[Tensor, "n colour y x 2"]) -> Float[Tensor, "n colour height width"]:
        """Pixels from 0 to 1."""
        scaled = torch.view_as_complex(spectrum) * self.falloff
        # Of a real picture's spectrum one half of the horizontal frequencies says all.
        picture = torch.fft.irfft2(scaled, s=(self.height, self.width), norm="ortho") / 4
        if self.n_colours == 3:
            colours = torch.tensor(_COLOURS, device=self.device)
            picture = torch.einsum("nchw,rc->nrhw", picture, colours / colours.norm(dim=0).max())
        return torch.sigmoid(picture)

    def _seen(self, image: Tensor, view: Float[Tensor, "n 2 3"]) -> Tensor:
        """The network's input: moved, grey around, normalised."""
        # What comes in from outside is 0 to `grid_sample`, and grey if grey is 0.
        grid = functional.affine_grid(view, list(image.shape), align_corners=False)
        moved = functional.grid_sample(image - 0.5, grid, align_corners=False) + 0.5
        normalised: Tensor = (moved - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)

    def _loss(self, seen: Tensor, index: Tensor, kind: Kind) -> Tensor:
        """What Adam takes down: the fewer, the stronger the channels `index` fire."""
        maps = self.part(seen)
        if maps.ndim == 2:  # a layer without positions
            maps = maps[:, :, None, None]
        own = maps[torch.arange(len(index), device=index.device), index]
        if kind == "neuron":
            middle_y = own.shape[1] // 2
            middle_x = own.shape[2] // 2
            return -own[:, middle_y, middle_x].sum()
        height = _height(-own if kind == "negative" else own)
        if kind != "diversity":
            return -height.sum()
        # Likeness weighs as much as the activations do, however large these are.
        scale = height.detach().abs().reshape(-1, N_DIVERSE).sum(dim=1)
        return self.settings.diversity * (scale * _likeness(maps)).sum() - height.sum()


def _encoded(pixels: UInt8[np.ndarray, "height width colour"]) -> bytes:
    picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _height(maps: Float[Tensor, "n y x"]) -> Float[Tensor, " n"]:
    """How strongly channels fire: the root mean square of what is above 0, and a tenth of the mean.

    The plain mean of the paper leaves one picture in five weaker than the best photograph: squares reward peaks. The
    mean leads out of where nothing is above 0.
    """
    positive = maps.relu().square().mean(dim=(1, 2))
    return (positive + 1e-6).sqrt() + 0.1 * maps.mean(dim=(1, 2))


def _falloff(height: int, width: int) -> Float[Tensor, "y x"]:
    """How much each frequency weighs, so that all scales of a natural picture learn alike.

    The paper's weight is one over the frequency, in waves per pixel; a steeper fall gives the same activations with
    less fine noise and fuller colours.
    """
    longer = max(height, width)
    down = torch.fft.fftfreq(height)[:, None]
    across = torch.fft.rfftfreq(width)[None]
    waves = torch.hypot(down, across) * longer
    return 2 * longer * waves.clamp(min=1) ** -_FALLOFF


def _likeness(maps: Float[Tensor, "n channel y x"]) -> Float[Tensor, " group"]:
    """Cosine of the styles (Gram matrices) of two pictures, summed over the pairs of a group of `N_DIVERSE`."""
    flat = maps.flatten(2)
    grams = flat @ flat.transpose(1, 2)
    styles = functional.normalize(grams.flatten(1), dim=1)
    groups = styles.reshape(-1, N_DIVERSE, styles.shape[1])
    cosines = groups @ groups.transpose(1, 2)
    # All ordered pairs but those of a picture with itself, whose cosine is 1.
    return (cosines.sum(dim=(1, 2)) - N_DIVERSE) / 2
