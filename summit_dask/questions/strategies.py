"""Strategies: images of a class that use the same channels, found in stored values alone, and what sets them apart.

channels that a class's images use ── distance ── Ward's linkage ── strategies ── shares of images that use a channel
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Int64
from numpy.typing import NDArray

from summit_dask.arrays.comparison import difference
from summit_dask.arrays.strategies import cluster_images
from summit_dask.facts import schema, wording
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.errors import ConfigError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.questions.query import find_class
from summit_dask.store.counts import Read, used_channels
from summit_dask.store.tree import layer_graph_of, reader_of, run_of

#: Images that can be told apart in at least two ways.
FEWEST = 6


@dataclass(frozen=True, eq=False)
class Strategies:
    """Ways in which a network recognises a class.

    Attributes
    ----------
    strategy
        Of each of the store's images, by size of the strategy from 0 on; -1 for other classes' and unreadable ones.
    is_odd
        Images that are nearer to another strategy than to their own.
    channels
        A row for each strategy and channel that any of the class's images uses: strategy, layer, channel, share (of the
        strategy's images, those that use the channel), elsewhere (the same of the class's other images), difference
        and is_clear (whether the middle 90 % of its bootstrap samples leave 0 out); what sets a strategy apart most
        comes first. Empty where there is but one.
    """

    strategy: Int64[np.ndarray, " image"]
    is_odd: Bool[np.ndarray, " image"]
    channels: pd.DataFrame

    @property
    def number(self) -> int:
        """How many there are."""
        return int(self.strategy.max()) + 1

    def images(self, number: int) -> Bool[np.ndarray, " image"]:
        """Those of one strategy, as `attribution_graph(tree, images=)` takes them."""
        chosen: Bool[np.ndarray, " image"] = self.strategy == number
        return chosen


def strategies(tree: xr.DataTree, class_name: str) -> Strategies:
    """Part a class's images by the channels that they use, into two to four groups, as many as part them best.

    Raises
    ------
    ClassNotFoundError
        If the class doesn't exist or its name is not unique.
    ConfigError
        If it has fewer than six readable images.
    StoreIncompleteError
        If the store holds no values of single images.

    Examples
    --------
    With the path of a finished store of 90 images of three classes:

    >>> from summit_dask import attribution_graph, open_store
    >>> tree = open_store(path)
    >>> found = strategies(tree, "bee")
    >>> int((found.strategy >= 0).sum())
    30
    >>> [*found.channels]
    ['strategy', 'layer', 'channel', 'share', 'elsewhere', 'difference', 'is_clear']
    >>> attribution_graph(tree, images=found.images(0)).number_of_edges() > 0
    True
    """
    index = find_class(tree, class_name)
    return strategies_in(reader_of(tree), layer_graph_of(tree), run_of(tree).config, index, class_name)


def strategies_in(read: Read, graph: LayerGraph, options: ResultOptions, index: int, name: str) -> Strategies:
    """Of the index-th class, which is called `name`; see `strategies`."""
    rows = (read("images/class_index", slice(None)) == index) & (read("images/status", slice(None)) == schema.READ)
    if rows.sum() < FEWEST:
        raise ConfigError(
            f"{name!r} has {wording.counted(int(rows.sum()), 'readable image')}, too few to part by the channels that "
            f"they use; at least {FEWEST} are needed."
        )
    used = dict(used_channels(read, graph, rows, options.mass, options.excluded_by_layer(), options.pair))
    own, odd = cluster_images(list(used.values()))
    strategy, is_odd = np.full(len(rows), -1), np.zeros(len(rows), bool)
    strategy[rows], is_odd[rows] = own, odd
    numbers = range(int(own.max()) + 1)
    parts = [_apart(number, layer, of, own) for number in numbers for layer, of in used.items() if len(numbers) > 1]
    return Strategies(strategy, is_odd, _by_difference(parts))


COLUMNS = ("strategy", "layer", "channel", "share", "elsewhere", "difference", "is_clear")


def _apart(
    number: int, layer: str, used: Bool[np.ndarray, "image channel"], strategy: Int64[np.ndarray, " image"]
) -> pd.DataFrame:
    """How a strategy's images differ from the others in the channels of a layer that any of them uses."""
    is_own, some = strategy == number, np.flatnonzero(used.any(axis=0))
    counts: list[NDArray[np.int64]] = [used[np.ix_(images, some)].sum(axis=0) for images in (is_own, ~is_own)]
    found = difference(counts[0], int(is_own.sum()), counts[1], int((~is_own).sum()))
    values = (number, layer, some, found.share_a, found.share_b, found.value, found.is_clear)
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))


def _by_difference(parts: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    return table.sort_values(["strategy", "difference"], ascending=[True, False], kind="stable", ignore_index=True)
