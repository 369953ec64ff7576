"""The original's network: the layer graph of the InceptionV1 that its published data speak of, as a table.

The sizes are those of the paper (Szegedy et al. 2015, table 1), but for two that the TensorFlow model has
otherwise: 204 instead of 208 channels in mixed4a's 3x3 branch, 48 instead of 32 in mixed5a's 5x5 bottleneck.
Layer names are TensorFlow's, hop names those of its weights.
"""

from functools import cache
from typing import NamedTuple

from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph, Window


class _Module(NamedTuple):
    """Channels of one inception module's convolutions, and the side and stride of its positions."""

    name: str
    one: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pool: int
    side: int
    stride: int


_MODULES = (
    _Module("mixed3a", 64, 96, 128, 16, 32, 32, 28, 8),
    _Module("mixed3b", 128, 128, 192, 32, 96, 64, 28, 8),
    _Module("mixed4a", 192, 96, 204, 16, 48, 64, 14, 16),
    _Module("mixed4b", 160, 112, 224, 24, 64, 64, 14, 16),
    _Module("mixed4c", 128, 128, 256, 24, 64, 64, 14, 16),
    _Module("mixed4d", 112, 144, 288, 32, 64, 64, 14, 16),
    _Module("mixed4e", 256, 160, 320, 32, 128, 128, 14, 16),
    _Module("mixed5a", 256, 160, 320, 48, 128, 128, 7, 32),
    _Module("mixed5b", 384, 192, 384, 48, 128, 128, 7, 32),
)

#: What a position in front of mixed3a sees, pixels, with TensorFlow's "same" padding.
_STEM = Window((27, 27), (8, 8), (-6, -6))


@cache
def layer_graph() -> LayerGraph:
    """Layers mixed3a to mixed5b with the bottlenecks between them; the stem below mixed3a is left out."""
    layers: list[Layer] = []
    hops: list[Hop] = []
    seen = _STEM
    for below, module in zip((None, *_MODULES), _MODULES, strict=False):
        seen = _pooled(seen, module.stride)
        if below:
            layers += _bottlenecks(module, seen)
            hops += _hops(below.name, module)
        seen = _widened(seen)
        channels = module.one + module.three + module.five + module.pool
        layers.append(Layer(module.name, channels, module.side, module.side, True, seen))
    return LayerGraph(tuple(layers), tuple(hops))


def _bottlenecks(module: _Module, seen: Window) -> list[Layer]:
    sizes = {"3x3": module.reduce3, "5x5": module.reduce5}
    return [Layer(f"{module.name}_{k}_bottleneck", n, module.side, module.side, False, seen) for k, n in sizes.items()]


def _hops(below: str, module: _Module) -> list[Hop]:
    """The module's hops; its channels are those of the branches 1x1, 3x3, 5x5 and pool, in this order."""
    reduced3, reduced5 = f"{module.name}_3x3_bottleneck", f"{module.name}_5x5_bottleneck"
    branches = (
        ("1x1", below, module.one, Convolution()),
        ("3x3", reduced3, module.three, Convolution((3, 3), padding=(1, 1))),
        ("5x5", reduced5, module.five, Convolution((5, 5), padding=(2, 2))),
        ("pool_reduce", below, module.pool, Convolution()),
    )
    hops = [
        Hop(f"{reduced3}_w", below, reduced3, range(module.reduce3), Convolution()),
        Hop(f"{reduced5}_w", below, reduced5, range(module.reduce5), Convolution()),
    ]
    start = 0
    for branch, source, channels, convolution in branches:
        hops.append(Hop(f"{module.name}_{branch}_w", source, module.name, range(start, start + channels), convolution))
        start += channels
    return hops


def _pooled(seen: Window, stride: int) -> Window:
    """After the 3x3 pooling of stride 2 that stands where the stride doubles; it pads below and right alone."""
    before = seen.stride[0]
    size = seen.size[0] + (2 * before if stride > before else 0)
    return Window((size, size), (stride, stride), seen.start)


def _widened(seen: Window) -> Window:
    """After the widest branch, the 5x5 convolution."""
    stride = seen.stride[0]
    size, start = seen.size[0] + 4 * stride, seen.start[0] - 2 * stride
    return Window((size, size), seen.stride, (start, start))
