"""Layers and hops in words, the same in every place that tells of them."""

from collections.abc import Iterator

from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph


def images(n: int) -> str:
    """A number of images: ``1 image``, ``1,281,167 images``."""
    return counted(n, "image")


def counted(n: int, one: str, many: str = "") -> str:
    """A number of things: ``1 class``, ``1,000 classes``; `many` where that isn't `one` with an s."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def times(*numbers: int) -> str:
    """Numbers as a size: ``64 x 56 x 56``."""
    return " x ".join(map(str, numbers))


def layer_size(layer: Layer) -> str:
    """Channels, height and width of a layer."""
    return times(layer.channels, layer.height, layer.width)


def n_sources(hop: Hop, graph: LayerGraph) -> int:
    """Number of channels that a hop comes from."""
    return graph.layer(hop.source).channels if hop.sources is None else len(hop.sources)


def hop_in_words(hop: Hop, graph: LayerGraph) -> str:
    """What a hop does: ``3 x 3, stride 2, 32 groups, to 64 of 128 channels; gate: se``."""
    parts = ["identity"] if hop.convolution is None else list(_geometry(hop.convolution))
    source, target = graph.layer(hop.source).channels, graph.layer(hop.target).channels
    if n_sources(hop, graph) < source:
        parts.append(f"from {n_sources(hop, graph)} of {source} channels")
    if hop.channels < target:
        parts.append(f"to {hop.channels} of {target} channels")
    return "; ".join([", ".join(parts), *hop.notes])


def _geometry(shape: Convolution) -> Iterator[str]:
    yield times(*shape.kernel)
    for name, pair in (("stride", shape.stride), ("dilation", shape.dilation)):
        if pair != (1, 1):
            yield f"{name} {pair[0] if pair[0] == pair[1] else times(*pair)}"
    if shape.groups > 1:
        yield f"{shape.groups} groups"


def notes_in_words(graph: LayerGraph, layer: str) -> str:
    """What is noted of the hops into a layer, and into the hidden layers on the way there; empty where nothing is."""
    waiting, hops = [layer], list[Hop]()
    while waiting:
        found = [hop for hop in graph.incoming(waiting.pop()) if hop not in hops]
        hops += found
        waiting += [hop.source for hop in found if not graph.layer(hop.source).visible]
    return "; ".join(dict.fromkeys(note for hop in hops for note in hop.notes))
