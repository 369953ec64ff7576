"""Several stores of one layer graph in a row, as of checkpoints, or of clean and shifted images: each class in each."""

from collections.abc import Sequence
from typing import Any

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
from summit_dask.store.tree import layer_graph_of, open_store, reader_of


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
        and similarity to the class in the first store: cosine of how many images use each channel, mean over the
        visible layers in which it uses any, 0 to 1.

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
    first = trees[0]
    graph, folders = layer_graph_of(first), _folders(first)
    parts = [_store(number, tree, first, graph, folders) for number, tree in enumerate(trees)]
    table = pd.concat(parts, ignore_index=True)
    order = {folder: place for place, folder in enumerate(folders)}
    return table.sort_values(
        ["class", "store"], key=lambda own: own.map(order) if own.name == "class" else own
    ).reset_index(drop=True)


def _store(number: int, tree: xr.DataTree, first: xr.DataTree, graph: LayerGraph, folders: list[str]) -> pd.DataFrame:
    if lines := other_layers(graph, layer_graph_of(tree)):
        raise StoreMismatchError(
            f"Store {number} has other layers than the first (a: the first, b: this one): {lines}. Only networks of "
            "one layer graph have channels in common; 'summit-dask match' holds any two against each other."
        )
    places = {folder: place for place, folder in enumerate(_folders(tree))}
    both = [folder for folder in folders if folder in places]
    own, of_first = [places[folder] for folder in both], [folders.index(folder) for folder in both]
    read = reader_of(tree)
    n_images, n_correct = (read(f"classes/{name}", slice(None))[own] for name in ("n_images", "n_correct"))
    layers = [layer.name for layer in graph.visible]
    alike = [_cosine(_counts(tree, layer)[own], _counts(first, layer)[of_first]) for layer in layers]
    return pd.DataFrame(
        {
            "class": both,
            "store": number,
            "n_images": n_images,
            "accuracy": np.where((n_images > 0) & (n_correct >= 0), n_correct / np.maximum(n_images, 1), np.nan),
            "similarity": pd.DataFrame(alike).mean(axis=0),
        }
    )


def _folders(tree: xr.DataTree) -> list[str]:
    return [str(folder) for folder in reader_of(tree)("class", slice(None))]


def _counts(tree: xr.DataTree, layer: str) -> NDArray[np.int32]:
    return reader_of(tree)(f"matrices/{layer}/activation_count", slice(None))


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
    means = table.groupby("store", sort=False)[["accuracy", "similarity"]].mean()
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
    return f"similarity {row['similarity']:.2f}, {accuracy}"
