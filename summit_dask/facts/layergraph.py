"""The layers of a network and the hops between them, as plain data.

         inception4b          visible layer: a row of the attribution graph
        /     |     \\
       /   4b.b_3x3.0  \\       hidden layer: influences only pass through
       \\      |      /
         inception4a          visible layer below

Each line is a hop: one linear step from channels of a layer to channels of another. Hops may add into the same
channels (a skip connection), and pass over visible layers (a dense one). Nothing here knows torch; `trace` makes these
objects, everything else reads them.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts.errors import LayerNotFoundError, StoreError, TraceError, suggestion


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
    """An activation: what it is called, its size, and what part of the image it sees.

    Of the row `of_class` the one channel is another for each image: the logit of the image's own class.
    """

    name: str
    channels: int
    height: int
    width: int
    visible: bool
    window: Window
    of_class: bool = False


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

    def made(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of what the kernel makes of a map of this height and width.

        Examples
        --------
        >>> Convolution(kernel=(3, 3), stride=(2, 2), padding=(1, 1)).made((7, 8))
        (4, 4)
        """
        ends = zip(size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in ends)
        return height, width


#: Channels of a layer, none twice: evenly spaced, or any (those that a shuffle or a split leaves).
Channels = range | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hop:
    """One linear step from channels of `source` to channels of `target`.

    Attributes
    ----------
    targets
        Channels of the target layer that it leads to; the hop's counts have a row for each, in this order.
    convolution
        None for an identity, which carries each of its sources to the target at the same place.
    sources
        Channels of the source layer that it comes from; None: all, in their order.
    notes
        What happens to the source's maps on the way to the step and depends on the image: gates and norms.
    """

    name: str
    source: str
    target: str
    targets: Channels
    convolution: Convolution | None
    sources: Channels | None = None
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Number of target channels."""
        return len(self.targets)

    @property
    def rows(self) -> slice | NDArray[np.int64]:
        """The target channels as an index into an array's channel axis."""
        return as_index(self.targets)


def as_index(channels: Channels) -> slice | NDArray[np.int64]:
    """Channels as an index into an array: a slice where they are evenly spaced, so that nothing is copied.

    Examples
    --------
    >>> as_index(range(4, 10, 2)), as_index((7, 2))
    (slice(4, 10, 2), array([7, 2]))
    """
    if isinstance(channels, range):
        return slice(channels.start, channels.stop, channels.step)
    return np.array(channels, np.int64)


def as_channels(indices: Iterable[int]) -> Channels:
    """Channel indices as a range where they ascend evenly, else as they are.

    Examples
    --------
    >>> as_channels([1, 3, 5]), as_channels([2, 1]), as_channels([4])
    (range(1, 7, 2), (2, 1), range(4, 5))
    """
    found = tuple(indices)
    if not found:
        return range(0)
    step = found[1] - found[0] if len(found) > 1 else 1
    even = range(found[0], found[-1] + step, step) if step > 0 else range(0)
    return even if tuple(even) == found else found


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
        sources = self.sources_of(hop)
        _check_channels(f"Hop {hop.name} leads to", hop.targets, target)
        _check_channels(f"Hop {hop.name} comes from", sources, source)
        if hop.convolution is None and hop.channels != len(sources):
            raise StoreError(
                f"The identity hop {hop.name} leads from {len(sources)} channels of {source.name} to "
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

    def refuse_nothing_to_show(self) -> None:
        """See that there is something to show of the network: two visible layers and a hop, or more.

        Raises
        ------
        TraceError
            If there is less; says what there is.
        """
        if len(self.with_maps) < 2 or not self.hops:
            names = ", ".join(layer.name for layer in self.with_maps) or "none"
            raise TraceError(
                f"The network's layer graph has {len(self.with_maps)} visible layers ({names}) and {len(self.hops)} "
                "hops; expected at least two layers and a hop between them, or there is nothing to show. Name layers "
                "that lie one above the other with --layers."
            )

    def sources_of(self, hop: Hop) -> Channels:
        """Channels of the source layer that a hop comes from."""
        return range(self.layer(hop.source).channels) if hop.sources is None else hop.sources

    def incoming(self, name: str) -> tuple[Hop, ...]:
        """Hops into a layer, in the layer graph's order; empty in the lowest layer."""
        return self._incoming[self.layer(name).name]

    @property
    def visible(self) -> tuple[Layer, ...]:
        """Visible layers, input side first."""
        return tuple(layer for layer in self.layers if layer.visible)

    @property
    def with_maps(self) -> tuple[Layer, ...]:
        """Visible layers but the row of the class, which has no maps to look at and no channels to compare."""
        return tuple(layer for layer in self.visible if not layer.of_class)

    def without_class(self) -> "LayerGraph":
        """The layer graph without the row of the class; layers keep their places, as it is the last."""
        kept = {layer.name for layer in self.layers if not layer.of_class}
        layers = tuple(layer for layer in self.layers if layer.name in kept)
        return LayerGraph(layers, tuple(hop for hop in self.hops if hop.target in kept))

    @property
    def influenced(self) -> tuple[Layer, ...]:
        """Visible and hidden layers that any hop leads to, input side first."""
        return tuple(layer for layer in self.layers if self._incoming[layer.name])

    def below(self, name: str) -> tuple[Layer, ...]:
        """The visible layers from which a chain of hops reaches a layer without passing another, input side first.

        One in a plain network, none below a lowest layer, several where dense or long skip connections lead past.
        """
        return tuple(layer for layer in self._reaching(name) if layer.visible)

    def hidden_below(self, name: str) -> tuple[Layer, ...]:
        """The hidden layers among which chains of hops run from the visible layers below to a layer."""
        return tuple(layer for layer in self._reaching(name) if not layer.visible)

    def _reaching(self, name: str) -> tuple[Layer, ...]:
        """Layers from which a chain of hops reaches a layer without passing a visible one, input side first."""
        reached: set[str] = set()
        waiting = [name]
        while waiting:
            sources = {hop.source for hop in self.incoming(waiting.pop())} - reached
            reached |= sources
            waiting += [source for source in sources if not self.layer(source).visible]
        return tuple(layer for layer in self.layers if layer.name in reached)

    def to_json(self) -> str:
        """JSON text that `from_json` turns into an equal layer graph."""
        return json.dumps(asdict(self), default=_plain)

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
    geometry, sources = data["convolution"], data["sources"]
    return Hop(
        **{
            **data,
            "convolution": geometry and Convolution(**_pairs(geometry)),
            "targets": _channels(data["targets"]),
            "sources": None if sources is None else _channels(sources),
            "notes": tuple(data["notes"]),
        }
    )


def _plain(channels: range) -> dict[str, int]:
    """A range in JSON; other channels are a list."""
    return {"start": channels.start, "stop": channels.stop, "step": channels.step}


def _channels(data: dict[str, int] | list[int]) -> Channels:
    return range(data["start"], data["stop"], data["step"]) if isinstance(data, dict) else tuple(data)


def _check_channels(what: str, channels: Channels, layer: Layer) -> None:
    if not channels or len(set(channels)) < len(channels) or not 0 <= min(channels) <= max(channels) < layer.channels:
        raise StoreError(
            f"{what} the channels {channels} of {layer.name}, which has {layer.channels}; expected one or more of "
            "these, none twice."
        )
