"""Two networks on the same images: which channel of the one answers as a channel of the other does, layers by CKA.

    store a, images of a partition ─┐
                                    ├─ moments of every pair of layers ── summed over the partitions
    store b, the same images ───────┘

Where both stores hold the images in one order, each is read once. What is held is a number for every two channels:
240 MB for two networks of 5500.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from summit_dask.arrays.correlation import Centred, Moments, correlation, linear_cka, moments_of
from summit_dask.facts import schema
from summit_dask.facts.errors import StoreMismatchError
from summit_dask.facts.layergraph import Channel, LayerGraph
from summit_dask.facts.location import Location
from summit_dask.store.counts import Read
from summit_dask.store.tree import layer_graph_of, open_store, reader_of

#: Fewer tell nothing: two images make every correlation 1 or -1.
FEWEST = 10


@dataclass(frozen=True, eq=False)
class Match:
    """How two stores' channels and layers are alike over the images that both hold.

    Attributes
    ----------
    n_images
        Readable images of both.
    channels
        The best matches of each channel of a, input side first: layer_a, channel_a, rank (0 is the best), layer_b,
        channel_b, and the correlation of their maxima over the images, -1 to 1.
    layers
        Linear CKA, 0 to 1: a row for each visible layer of a, a column for each of b.
    """

    n_images: int
    channels: pd.DataFrame
    layers: pd.DataFrame


class Network(NamedTuple):
    """What a store holds of a network: what reads it, and its layers."""

    read: Read
    layer_graph: LayerGraph


def match(a: xr.DataTree, b: xr.DataTree, n_best: int = 3) -> Match:
    """Hold the channels of two networks against each other that ran over the same images.

    Parameters
    ----------
    a, b
        Open stores of any networks; images are the same where their paths are.
    n_best
        Matches for each channel of a.

    Raises
    ------
    StoreMismatchError
        If they share fewer than ten readable images; says how many.
    StoreIncompleteError
        If a store holds no values of single images.

    Examples
    --------
    With the path of a finished store of 90 images of three classes:

    >>> from summit_dask import open_store
    >>> found = match(open_store(path), open_store(path), n_best=1)
    >>> found.n_images, round(float(found.layers.loc["lower", "lower"]), 6)
    (90, 1.0)
    >>> bool((found.channels["correlation"] > 0.999).any())
    True
    """
    side_a, side_b = _sides(*(Network(reader_of(tree), layer_graph_of(tree)) for tree in (a, b)))
    found = _moments(side_a, side_b)
    best = pd.concat([_best(x, side_b.keys("b"), found, n_best) for x in side_a.keys("a")], ignore_index=True)
    return Match(len(side_a.places), best, _alike(side_a, side_b, found))


class AlikeLayers(NamedTuple):
    """How two networks' layers are alike, as in `Match`."""

    n_images: int
    layers: pd.DataFrame


def alike_layers(a: Network, b: Network) -> AlikeLayers:
    """Hold the layers of two networks against each other; see `match`.

    Raises
    ------
    StoreMismatchError
        If they share fewer than ten readable images.
    """
    side_a, side_b = _sides(a, b)
    return AlikeLayers(len(side_a.places), _alike(side_a, side_b, _moments(side_a, side_b)))


def matches_of(channel: Channel, a: Network, b: Network, n_best: int = 5) -> list[tuple[Channel, float]]:
    """The channels of another network that answer most as one of a's does, and the correlations; see `match`.

    Raises
    ------
    StoreMismatchError
        If both share fewer than ten readable images.
    """
    side_a, side_b = _sides(a, b)
    own = side_a._replace(layers=(channel.layer,))
    (key,), keys_b = own.keys("a"), side_b.keys("b")
    found = moments_of(
        lambda piece: {key: own.values("a", piece)[key].only(channel.index), **side_b.values("b", piece)},
        [(key, other) for other in keys_b],
        len(own.places),
    )
    best = _best(key, keys_b, found, n_best)
    rows = zip(best["layer_b"], best["channel_b"], best["correlation"], strict=True)
    return [(Channel(str(layer), int(index)), float(value)) for layer, index, value in rows]


#: Which store, and a layer of it.
_Key = tuple[str, str]


class _Side(NamedTuple):
    """A store: its visible layers, and where the shared images are."""

    read: Read
    layers: Sequence[str]
    places: NDArray[np.int64]

    def keys(self, name: str) -> tuple[_Key, ...]:
        """Of its layers, as those of the store of that name."""
        return tuple((name, layer) for layer in self.layers)

    def values(self, name: str, piece: slice) -> dict[_Key, Centred]:
        """Maxima of the channels of each layer on some of the shared images."""
        places = self.places[piece]
        order = np.argsort(places)
        rows = np.zeros(places.max() + 1, bool)
        rows[places] = True
        back = np.argsort(order)
        return {(name, layer): Centred.of(self._of(layer, rows)[back]) for layer in self.layers}

    def _of(self, layer: str, rows: NDArray[np.bool_]) -> NDArray[np.float32]:
        first = int(rows.argmax())
        span: NDArray[np.float32] = self.read(f"activations/{layer}/value", slice(first, len(rows)))
        return span[rows[first:]]


def _sides(a: Network, b: Network) -> tuple[_Side, _Side]:
    place_b = {path: place for place, path in _readable(b.read)}
    both = [(place, place_b[path]) for place, path in _readable(a.read) if path in place_b]
    if len(both) < FEWEST:
        sizes = [len(network.read("images/status", slice(None))) for network in (a, b)]
        raise StoreMismatchError(
            f"The stores share {len(both)} readable images, of {sizes[0]} in a and {sizes[1]} in b; at least {FEWEST} "
            "are needed to tell which channels answer alike. Run both networks over the same --images."
        )
    places = np.array(both, np.int64).T
    return _Side(a.read, _layers(a), places[0]), _Side(b.read, _layers(b), places[1])


def _moments(a: _Side, b: _Side) -> Mapping[tuple[_Key, _Key], Moments]:
    """Of every layer of a with every layer of b, and of each with itself."""
    keys_a, keys_b = a.keys("a"), b.keys("b")
    pairs = [*product(keys_a, keys_b), *((key, key) for key in (*keys_a, *keys_b))]
    return moments_of(lambda piece: {**a.values("a", piece), **b.values("b", piece)}, pairs, len(a.places))


def _alike(a: _Side, b: _Side, found: Mapping[tuple[_Key, _Key], Moments]) -> pd.DataFrame:
    """Linear CKA of every layer of a with every layer of b."""
    keys_a, keys_b = a.keys("a"), b.keys("b")
    alike = [[linear_cka(found[x, y], found[x, x], found[y, y]) for y in keys_b] for x in keys_a]
    return pd.DataFrame(alike, index=list(a.layers), columns=list(b.layers))


def _readable(read: Read) -> Iterator[tuple[int, str]]:
    """Place and path of each image that was read."""
    paths = read("images/path", slice(None))
    return (
        (int(place), str(paths[place])) for place in np.flatnonzero(read("images/status", slice(None)) == schema.READ)
    )


def _layers(network: Network) -> tuple[str, ...]:
    return tuple(layer.name for layer in network.layer_graph.visible)


def _best(key: _Key, others: Sequence[_Key], found: Mapping[tuple[_Key, _Key], Moments], n_best: int) -> pd.DataFrame:
    """The channels of b that answer most as each channel of a layer of a does; the lower one first where equal."""
    alike = [correlation(found[key, other]) for other in others]
    sizes = [part.shape[1] for part in alike]
    layer_b = np.repeat(np.array([layer for _, layer in others], object), sizes)
    channel_b = np.concatenate([np.arange(size) for size in sizes])
    all_of_b = np.hstack(alike)
    order = np.argsort(-all_of_b, axis=1, kind="stable")[:, :n_best]
    n_channels, n_kept = order.shape
    return pd.DataFrame(
        {
            "layer_a": key[1],
            "channel_a": np.repeat(np.arange(n_channels), n_kept),
            "rank": np.tile(np.arange(n_kept), n_channels),
            "layer_b": layer_b[order.ravel()],
            "channel_b": channel_b[order.ravel()],
            "correlation": np.take_along_axis(all_of_b, order, 1).ravel(),
        }
    )


def match_stores(a: Location, b: Location) -> Match:
    """Of two stores, by their places."""
    return match(open_store(a), open_store(b))


#: Channels that `printed` shows of each layer.
N_SHOWN = 3


def printed(found: Match) -> str:
    """A match to read: for each layer of a, the layers of b most like it, and the channels with the closest matches."""
    lines = [f"{found.n_images} images are in both stores.", "Layers of a, input side first, by CKA and channels:"]
    for layer in found.layers.index:
        near = found.layers.loc[layer].sort_values(ascending=False, kind="stable")[:N_SHOWN]
        lines.append(f"  {layer}: {', '.join(f'{name} {value:.2f}' for name, value in near.items())}")
        own = found.channels[(found.channels["layer_a"] == layer) & (found.channels["rank"] == 0)]
        closest = own.sort_values("correlation", ascending=False, kind="stable")[:N_SHOWN]
        lines += [
            f"    {row.channel_a}: {row.layer_b} {row.channel_b} ({row.correlation:.2f})"
            for row in closest.itertuples()
        ]
    return "\n".join(lines)


def plain(found: Match) -> dict[str, Any]:
    """A match as JSON can hold it."""
    layers = {
        str(layer): {str(other): float(value) for other, value in row.items()} for layer, row in found.layers.iterrows()
    }
    return {"n_images": found.n_images, "layers": layers, "channels": found.channels.to_dict("records")}
