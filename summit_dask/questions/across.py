"""Several stores of one layer graph in a row, as of checkpoints, or of clean and shifted images: each class in each."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float64, Int
from numpy.typing import NDArray

from summit_dask.arrays.similarity import unit_rows
from summit_dask.facts.errors import StoreMismatchError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.location import Location
from summit_dask.questions.compare import other_layers
from summit_dask.store.counts import Read
from summit_dask.store.evidence import group_of
from summit_dask.store.tree import layer_graph_of, made_with, open_store, reader_of, run_of


def across(trees: Sequence[xr.DataTree]) -> pd.DataFrame:
    """How each class changes from store to store.

    Parameters
    ----------
    trees
        Open stores of one layer graph, in order; others are held against the first.

    Returns
    -------
    DataFrame
        A row for each class of the first and each store that has it: class (folder name), store (place in `trees`),
        n_images, accuracy (share of the images whose first prediction is right, 0 to 1; NaN where that isn't known),
        similarity to the class in the first store (cosine of how many images use each channel, mean over the visible
        layers in which it uses any, 0 to 1), and necessity of the class's graph, by the evidence for the graphs of the
        run's own pair of measures (NaN where these, as they are now, weren't tested).

    Raises
    ------
    StoreMismatchError
        If one has other layers; says the first difference.
    StoreIncompleteError
        If one has no counts.

    Examples
    --------
    With the path of a finished store of 90 images of three classes:

    >>> from summit_dask import open_store
    >>> table = across([open_store(path), open_store(path)])
    >>> table["class"].tolist(), table["store"].tolist(), bool((table["similarity"] > 0.999).all())
    (['ant', 'ant', 'bee', 'bee', 'cat', 'cat'], [0, 1, 0, 1, 0, 1], True)
    """
    return across_all([_source(tree) for tree in trees])


class Source(NamedTuple):
    """What a store holds: what reads it, its layers, and the group of the evidence for its graphs as they are now."""

    read: Read
    layer_graph: LayerGraph
    evidence: str | None

    @property
    def folders(self) -> list[str]:
        """Folder names of its classes."""
        return [str(folder) for folder in self.read("class", slice(None))]

    def counts(self, layer: str) -> NDArray[np.int32]:
        """Images of each class that use each channel, (class, channel)."""
        return self.read(f"matrices/{layer}/activation_count", slice(None))

    def necessity(self) -> NDArray[np.float64]:
        """Of each class's graph, NaN where it isn't known."""
        if self.evidence is None:
            return np.full(len(self.folders), np.nan)
        choices = self.read(f"{self.evidence}/choice", slice(None)).tolist()
        return np.asarray(self.read(f"{self.evidence}/necessity", slice(None))[:, choices.index("graph")], np.float64)


def _source(tree: xr.DataTree) -> Source:
    pair = run_of(tree).config.pair
    tested = made_with(tree, group_of(pair))
    is_tested = tested is not None and tested == made_with(tree, pair.group)
    return Source(reader_of(tree), layer_graph_of(tree), group_of(pair) if is_tested else None)


def across_all(sources: Sequence[Source]) -> pd.DataFrame:
    """See `across`."""
    folders = sources[0].folders
    parts = [_store(number, source, sources[0], folders) for number, source in enumerate(sources)]
    table = pd.concat(parts, ignore_index=True)
    order = {folder: place for place, folder in enumerate(folders)}
    return table.sort_values(
        ["class", "store"], key=lambda own: own.map(order) if own.name == "class" else own
    ).reset_index(drop=True)


def _store(number: int, source: Source, first: Source, folders: list[str]) -> pd.DataFrame:
    if lines := other_layers(first.layer_graph, source.layer_graph):
        raise StoreMismatchError(
            f"Store {number} has other layers than the first (a: the first, b: this one): {lines}. Only networks of "
            "one layer graph have channels in common; 'summit-dask match' holds any two against each other."
        )
    places = {folder: place for place, folder in enumerate(source.folders)}
    both = [folder for folder in folders if folder in places]
    own, of_first = [places[folder] for folder in both], [folders.index(folder) for folder in both]
    n_images, n_correct = (source.read(f"classes/{name}", slice(None))[own] for name in ("n_images", "n_correct"))
    layers = [layer.name for layer in first.layer_graph.visible]
    alike = [_cosine(source.counts(layer)[own], first.counts(layer)[of_first]) for layer in layers]
    return pd.DataFrame(
        {
            "class": both,
            "store": number,
            "n_images": n_images,
            "accuracy": np.where((n_images > 0) & (n_correct >= 0), n_correct / np.maximum(n_images, 1), np.nan),
            "similarity": pd.DataFrame(alike).mean(axis=0),
            "necessity": source.necessity()[own],
        }
    )


def _cosine(a: Int[np.ndarray, "class channel"], b: Int[np.ndarray, "class channel"]) -> Float64[np.ndarray, " class"]:
    """Of each class with itself; NaN where it uses no channel in either."""
    cosine: Float64[np.ndarray, " class"] = np.einsum("ij,ij->i", unit_rows(a), unit_rows(b))
    cosine[~(a.any(axis=1) | b.any(axis=1))] = np.nan
    return cosine


def across_stores(places: Sequence[Location]) -> pd.DataFrame:
    """Of stores by their places, which are the column store."""
    table = across([open_store(place) for place in places])
    return table.assign(store=[str(places[number]) for number in table["store"]])


def printed(table: pd.DataFrame) -> str:
    """A table to read: the means of each store, then the classes that change most."""
    means = table.groupby("store", sort=False)[["accuracy", "similarity", "necessity"]].mean()
    lines = [f"  {store}: {_words(row)}" for store, row in means.iterrows()]
    least = table.groupby("class", sort=False)["similarity"].min().sort_values(kind="stable").index[:N_SHOWN]
    for name in least:
        lines.append(f"{name}:")
        own = table[table["class"] == name]
        lines += [f"  {row['store']}: {_words(row)}" for _, row in own.iterrows()]
    return "\n".join([f"Means over {table['class'].nunique()} classes; then those that change most:", *lines])


#: Classes that `printed` shows.
N_SHOWN = 10


def _words(row: "pd.Series[Any]") -> str:
    accuracy = "accuracy not known" if np.isnan(row["accuracy"]) else f"accuracy {row['accuracy']:.1%}"
    necessity = "" if np.isnan(row["necessity"]) else f", necessity {row['necessity']:.1%}"
    return f"similarity {row['similarity']:.2f}, {accuracy}{necessity}"
