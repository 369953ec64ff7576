"""The layers of a network and the hops between them, as plain data.

         inception4b          visible layer: a row of the attribution graph
        /     |     \\
       /   4b.b_3x3.0  \\       hidden layer: influences only pass through
       \\      |      /
         inception4a          visible layer below

Each line is a hop: one linear step from all channels of a layer to a contiguous range of channels
of another. Nothing here knows torch; `trace` makes these objects, everything else reads them.
"""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

from summit_dask.facts.errors import LayerNotFoundError, StoreError, suggestion


@dataclass(frozen=True, slots=True, order=True)
class Channel:
    """One feature map of a layer; the only identity of a node of an attribution graph."""

    layer: str
    index: int


class Box(NamedTuple):
    """A rectangle of pixels; bottom and right are outside, values may lie beyond the border."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, slots=True)
class Window:
    """The receptive field of a layer's positions on the network's input, in pixels (y, x).

    Position p sees the pixels ``start + p * stride`` up to ``start + p * stride + size``.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    start: tuple[int, int]

    def box(self, y: int, x: int) -> Box:
        """Receptive field of the position in row y, column x; not clipped."""
        top, left = self.start[0] + y * self.stride[0], self.start[1] + x * self.stride[1]
        return Box(top, left, top + self.size[0], left + self.size[1])


@dataclass(frozen=True, slots=True)
class Layer:
    """An activation: what it is called, its size, and what part of the image it sees."""

    name: str
    channels: int
    height: int
    width: int
    visible: bool
    window: Window


@dataclass(frozen=True, slots=True)
class Convolution:
    """Geometry of a hop's kernel, (y, x) each; a linear layer covers its whole input.

    `padding` is the number of zeros on either side.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Hop:
    """One linear step from all channels of `source` to channels ``start:start + channels`` of `target`.

    `convolution` is None for an identity, which carries channel i to channel ``start + i``.
    """

    name: str
    source: str
    target: str
    start: int
    channels: int
    convolution: Convolution | None

    @property
    def stop(self) -> int:
        """First target channel after the hop's range."""
        return self.start + self.channels


@dataclass(frozen=True)
class LayerGraph:
    """Layers in forward order (input side first) and the hops between them.

    Raises
    ------
    StoreError
        On construction, when names repeat or a hop doesn't fit its layers.
    """

    layers: tuple[Layer, ...]
    hops: tuple[Hop, ...]

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers] + [hop.name for hop in self.hops]
        if repeated := sorted({n for n in names if names.count(n) > 1}):
            raise StoreError(f"The layer graph uses the names {repeated} more than once; they must be unique.")
        for hop in self.hops:
            self._check_hop(hop)

    def _check_hop(self, hop: Hop) -> None:
        source, target = self.layer(hop.source), self.layer(hop.target)
        if not 0 <= hop.start < hop.stop <= target.channels:
            raise StoreError(
                f"Hop {hop.name} leads to channels {hop.start} to {hop.stop} of {target.name}, "
                f"which has {target.channels}."
            )
        if hop.convolution is None and hop.channels != source.channels:
            raise StoreError(
                f"The identity hop {hop.name} leads from {source.channels} channels of {source.name} to "
                f"{hop.channels} channels of {target.name}; the numbers must agree."
            )

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _incoming(self) -> dict[str, tuple[Hop, ...]]:
        return {layer.name: tuple(h for h in self.hops if h.target == layer.name) for layer in self.layers}

    def layer(self, name: str) -> Layer:
        """The layer of that name.

        Raises
        ------
        LayerNotFoundError
            If there is none; names near ones.
        """
        if name not in self._by_name:
            raise LayerNotFoundError(f"There is no layer {name!r}. {suggestion(name, self._by_name)}")
        return self._by_name[name]

    def incoming(self, name: str) -> tuple[Hop, ...]:
        """Hops into a layer, in the layer graph's order; empty in the lowest layer."""
        return self._incoming[self.layer(name).name]

    @property
    def visible(self) -> tuple[Layer, ...]:
        """Visible layers, input side first."""
        return tuple(layer for layer in self.layers if layer.visible)

    @property
    def influenced(self) -> tuple[Layer, ...]:
        """Visible and hidden layers that any hop leads to, input side first."""
        return tuple(layer for layer in self.layers if self._incoming[layer.name])

    def below(self, name: str) -> Layer | None:
        """The visible layer next to a visible one on the input side; None for the lowest."""
        visible = self.visible
        place = visible.index(self.layer(name))
        return visible[place - 1] if place else None

    def to_json(self) -> str:
        """JSON text that `from_json` turns into an equal layer graph."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "LayerGraph":
        """The layer graph that `to_json` wrote.

        Raises
        ------
        StoreError
            If the text is something else.
        """
        try:
            data = json.loads(text)
            return cls(tuple(map(_layer, data["layers"])), tuple(map(_hop, data["hops"])))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"This is not a layer graph: {text[:80]!r} ({error}).") from error


def _pairs(data: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def _layer(data: dict[str, Any]) -> Layer:
    return Layer(**{**data, "window": Window(**_pairs(data["window"]))})


def _hop(data: dict[str, Any]) -> Hop:
    geometry = data["convolution"]
    return Hop(**{**data, "convolution": geometry and Convolution(**_pairs(geometry))})
