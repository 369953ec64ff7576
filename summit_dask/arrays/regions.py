"""Where in a picture a channel fires: where its map is at least half of its maximum.

    map            half of it and more    the region: in one piece with the maximum, no further than what that saw
    0 1 1 0 0      . . . . .              . . . . .
    1 4 9 5 0      . . # # .              . . # # .        centre; and the crop: what the region saw, and some more
    0 2 6 1 0      . . # . .              . . # . .
    0 0 0 0 7      . . . . #              . . . . .        share: 4 of 20

Of the map is kept what lies in the crop, on a grid of the same size for all layers: whoever draws the outline lays it
over the thumbnail and needs to know nothing of receptive fields, resizing and cropping. The map as it is would hold
thousands of values in the first layers, of which the crop shows a few. Values and not bits, so that the outline of a
map of 7 x 7 is a curve and no staircase; sixteen steps, for no eye sees more of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32, Int64, UInt8
from scipy import ndimage

from summit_dask.facts.layergraph import Layer
from summit_dask.facts.preprocessing import Preprocessing

#: Points of the grid along each side of the crop.
GRID = 16

#: Of the steps that the grid's values have: the maximum's, and the first that is half of it or more.
TOP, HALF = 15, 8

#: Share of the input's side that the crop shows, at most, on either side of the positions that fire.
_MARGIN = 1 / 8

#: Neighbours in the same map, corners included.
_TOUCHING = np.zeros((3, 3, 3), bool)
_TOUCHING[1] = True

Maps = Float32[np.ndarray, "item y x"]
Positions = Int[np.ndarray, " item"]
Mask = Bool[np.ndarray, "item y x"]


class Regions(NamedTuple):
    """Where some maps of a layer fire.

    Attributes
    ----------
    box
        The crop on the network's input: top, left, bottom, right.
    centre
        Of the region, as shares of the input's height and width.
    share
        Positions at which the map is at least half of its maximum, of all; 0 for a channel that doesn't fire.
    """

    box: Int32[np.ndarray, "item side"]
    centre: Float32[np.ndarray, "item axis"]
    share: Float32[np.ndarray, " item"]


class Axis(NamedTuple):
    """What a layer's positions see along one axis, in pixels of the input: position p `size` around its middle."""

    input: int
    first: float
    step: float
    size: float

    @classmethod
    def both(cls, layer: Layer, preprocessing: Preprocessing) -> tuple["Axis", "Axis"]:
        """Of a layer with maps: y and x."""
        y, x = (cls._of(layer, preprocessing, axis) for axis in (0, 1))
        return y, x

    @classmethod
    def _of(cls, layer: Layer, preprocessing: Preprocessing, axis: int) -> "Axis":
        side, window = preprocessing.crop[axis], layer.window
        size, step = float(window.size[axis]), window.stride[axis]
        if step:
            return cls(side, window.start[axis] + size / 2, step, size)
        even = side / (layer.height, layer.width)[axis]  # every position sees all: they are taken to lie evenly
        return cls(side, even / 2, even, float(side))

    def middle(self, position: Float64[np.ndarray, " item"]) -> Float64[np.ndarray, " item"]:
        """The pixel around which a position, or one between two of them, sees."""
        return self.first + position * self.step

    def position(self, pixel: Float64[np.ndarray, "item grid"]) -> Float64[np.ndarray, "item grid"]:
        """The position, or one between two of them, that sees around a pixel."""
        return (pixel - self.first) / self.step

    @property
    def reach(self) -> int:
        """How many positions from another one the last is that sees a pixel of what that one sees."""
        return max(int((self.size - 1) // self.step), 0)

    @property
    def shown(self) -> float:
        """Pixels around a position that a crop shows: what it sees, unless that is nearly all."""
        return min(self.size, self.step + 2 * _MARGIN * self.input)


def regions(maps: Maps, position: Positions, layer: Layer, preprocessing: Preprocessing) -> Regions:
    """Where maps fire.

    Parameters
    ----------
    maps
        Of any channels of the layer.
    position
        Where each one's maximum is, ``y * width + x``.
    preprocessing
        For the size of the network's input.

    Examples
    --------
    >>> from summit_dask.facts.layergraph import Window
    >>> layer = Layer("conv", 1, 4, 4, True, Window(size=(3, 3), stride=(2, 2), start=(-1, -1)))
    >>> maps = np.array([[[0, 0, 0, 0], [0, 8, 3, 0], [0, 4, 1, 0], [0, 0, 0, 8]]], np.float32)
    >>> regions(maps, np.array([5]), layer, Preprocessing(None, (8, 8)))
    Regions(box=array([[1, 0, 6, 5]], dtype=int32), centre=array([[0.4375, 0.3125]], dtype=float32), \
share=array([0.1875], dtype=float32))
    """
    axes = Axis.both(layer, preprocessing)
    y, x = np.divmod(position.astype(np.int64), layer.width)
    top = maps[np.arange(len(maps)), y, x]
    fires = (maps >= (top / 2)[:, None, None]) & (top > 0)[:, None, None]
    own = _in_one_piece(fires, (y, x), axes)
    along = [own.sum(2 - k) for k in (0, 1)]
    spans = [_seen(axis, n > 0) for axis, n in zip(axes, along, strict=True)]
    centre = [axis.middle(_mean(n)) / axis.input for axis, n in zip(axes, along, strict=True)]
    return Regions(
        _crops(spans, axes),
        np.clip(np.stack(centre, 1), 0, 1).astype(np.float32),
        fires.mean((1, 2)).astype(np.float32),
    )


def _in_one_piece(
    fires: Mask, peak: tuple[Int64[np.ndarray, " item"], Int64[np.ndarray, " item"]], axes: Sequence[Axis]
) -> Mask:
    """Positions that fire, from the maximum on and no further than what it saw; itself even if it doesn't fire."""
    items = np.arange(len(fires))
    near = fires
    for k, (own, axis) in enumerate(zip(peak, axes, strict=True)):
        away = np.abs(np.arange(fires.shape[1 + k]) - own[:, None])
        near = near & np.expand_dims(away <= axis.reach, 2 - k)
    near[(items, *peak)] = True
    pieces, _ = ndimage.label(near, _TOUCHING)
    return np.asarray(pieces == pieces[(items, *peak)][:, None, None])


def _seen(axis: Axis, own: Bool[np.ndarray, "item position"]) -> Float64[np.ndarray, "item end"]:
    """The pixels that a crop is to show, from and to."""
    first = own.argmax(1).astype(np.float64)
    last = own.shape[1] - 1.0 - own[:, ::-1].argmax(1)
    return np.stack([axis.middle(first) - axis.shown / 2, axis.middle(last) + axis.shown / 2], 1)


def _mean(n: Int64[np.ndarray, "item position"]) -> Float64[np.ndarray, " item"]:
    """Mean position, of so many at each."""
    mean: Float64[np.ndarray, " item"] = (n * np.arange(n.shape[1])).sum(1) / n.sum(1)
    return mean


def _crops(spans: Sequence[Float64[np.ndarray, "item end"]], axes: Sequence[Axis]) -> Int32[np.ndarray, "item side"]:
    """Squares around what is to be shown, moved into the picture; no longer than it is."""
    longest = np.ceil(np.max([high - low for low, high in (span.T for span in spans)], axis=0))
    lows, highs = [], []
    for axis, span in zip(axes, spans, strict=True):
        length = np.minimum(longest, axis.input)
        low = np.clip(np.floor(span.mean(1) - length / 2), 0, axis.input - length)
        lows.append(low)
        highs.append(low + length)
    return np.stack([*lows, *highs], 1).astype(np.int32)


def on_grid(
    maps: Maps,
    position: Positions,
    box: Int32[np.ndarray, "item side"],
    original: tuple[int, int],
    layer: Layer,
    preprocessing: Preprocessing,
) -> UInt8[np.ndarray, "item grid_y grid_x"]:
    """What of the maps of one image lies in crops, in steps from 0 to `TOP`, bilinearly between positions.

    Parameters
    ----------
    maps, position, layer
        As `regions` takes them.
    box
        The crops in the original's pixels.
    original
        Height and width of the original.
    preprocessing
        How originals became the network's input.

    Examples
    --------
    >>> from summit_dask.facts.layergraph import Window
    >>> layer = Layer("conv", 1, 2, 2, True, Window(size=(8, 8), stride=(8, 8), start=(0, 0)))
    >>> maps, box = np.array([[[4, 0], [4, 0]]], np.float32), np.array([[0, 0, 16, 16]], np.int32)
    >>> on_grid(maps, np.array([0]), box, (16, 16), layer, Preprocessing(None, (16, 16)))[0, 0]
    array([15, 15, 15, 15, 14, 12, 10,  8,  7,  5,  3,  1,  0,  0,  0,  0],
          dtype=uint8)
    """
    size, offset = preprocessing.placement(original)
    places = []
    for k, axis in enumerate(Axis.both(layer, preprocessing)):
        low, high = box[:, [k]].astype(np.float64), box[:, [2 + k]]
        pixel = low + (high - low) * (np.arange(GRID) + 0.5) / GRID
        on_map = axis.position(pixel * size[k] / original[k] - offset[k])
        places.append(np.clip(on_map, 0, maps.shape[1 + k] - 1))
    y, x = np.divmod(position.astype(np.int64), layer.width)
    top = maps[np.arange(len(maps)), y, x].astype(np.float64)
    shares = _bilinear(maps, *places) / np.where(top > 0, top, np.inf)[:, None, None]
    return np.rint(TOP * np.clip(shares, 0, 1)).astype(np.uint8)


def _bilinear(
    maps: Maps, y: Float64[np.ndarray, "item grid"], x: Float64[np.ndarray, "item grid"]
) -> Float64[np.ndarray, "item grid_y grid_x"]:
    """Values between positions."""
    items = np.arange(len(maps))[:, None, None]
    above, left = y.astype(np.int64)[:, :, None], x.astype(np.int64)[:, None, :]
    below = np.minimum(above + 1, maps.shape[1] - 1)
    right = np.minimum(left + 1, maps.shape[2] - 1)
    down, over = y[:, :, None] - above, x[:, None, :] - left
    upper = maps[items, above, left] * (1 - over) + maps[items, above, right] * over
    lower = maps[items, below, left] * (1 - over) + maps[items, below, right] * over
    values: Float64[np.ndarray, "item grid_y grid_x"] = upper * (1 - down) + lower * down
    return values
