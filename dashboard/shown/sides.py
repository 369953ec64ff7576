"""The two sides of a comparison: what each is called, its graph, and how many of its images use each channel.

A               B
class           another class
class           the same class in another store
class           one image, of this class or another
right images    wrong images
other images    images that were chosen, or those of one strategy
graph made anew graph as it was stored
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard import session
from dashboard.data import StoreData, open_data
from dashboard.evidence import marks_of
from dashboard.selection import STORED, Reselection, Selection
from dashboard.shown import images, measures, strategies
from dashboard.shown.beside import why_unlike
from dashboard.versus import PARTED, Versus
from summit_dask.arrays.graph.attribution import ClassGraph, Marks
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.facts.errors import StoreIncompleteError, StoreMismatchError
from summit_dask.facts.pairs import Pair
from summit_dask.store.places import stores_in


@dataclass(frozen=True, eq=False)
class Side:
    """One of two graphs that are compared.

    Attributes
    ----------
    name
        Of the class.
    label
        What it is called.
    graph
        As it is drawn.
    before
        The same, as it was stored: its channels keep their places.
    counts
        What the graph is made from.
    n_images
        Images that were counted; 0 where it isn't known.
    is_partial
        Whether only the graph's own channels have counts.
    marks
        What evidence says of the graph; None where there is none.
    lowering
        Of a layer's channels, the counts of the sources that lower them most; None where there are none.
    """

    name: str
    label: str
    graph: ClassGraph
    before: ClassGraph
    counts: ClassCounts
    n_images: int
    is_partial: bool = False
    marks: Marks | None = None
    lowering: Callable[[str], ClassCounts | None] = lambda layer: None

    @property
    def used(self) -> Mapping[str, NDArray[Any]]:
        """Images that use each channel (channel,), by layer with maps."""
        return self.counts.activation


def sides(data: StoreData, wanted: Selection, vs: Versus, class_index: int) -> tuple[Side, Side]:
    """What is compared.

    Raises
    ------
    StoreError
        If one side has no images or no graph, or a store lacks what it would be made from; says what to do.
    """
    pair, how = measures.shown(data, wanted), wanted.how
    if vs.kind in PARTED:
        return _groups(data, vs, class_index, pair, how)
    own = _class_side(data, class_index, pair, how)
    if vs.kind == "class":
        return own, _class_side(data, data.index_of[vs.name], pair, how)
    if vs.kind == "image":
        return own, _image(data, vs.images[0], pair, how)
    if vs.kind == "store":
        return own, _elsewhere(data, vs.name, class_index, pair, how)
    stored = _class_side(data, class_index, pair, STORED)
    return _called(own, f"{own.label}, made anew"), _called(stored, f"{stored.label}, as stored")


def _called(side: Side, label: str) -> Side:
    return replace(side, label=label)


def _class_side(data: StoreData, index: int, pair: Pair, how: Reselection) -> Side:
    graph = data.graph(index, how, pair)
    facts = data.facts(index)
    if graph is None:
        raise StoreIncompleteError(data.why_absent("graphs"))
    counts = data.counts_with(index, how, pair)
    marks = marks_of(data, index, pair) if how == STORED else None
    before = data.graph(index, STORED, pair) or graph
    return Side(
        facts.label,
        facts.label,
        graph,
        before,
        counts,
        facts.n_images,
        data.counts_are_partial,
        marks,
        lambda layer: data.lowering_counts(index),
    )


def _elsewhere(data: StoreData, name: str, class_index: int, pair: Pair, how: Reselection) -> Side:
    """The class in another store of the folder."""
    path = next((path for path in stores_in(session.folder()) if path.name == name), None)
    if path is None:
        raise StoreMismatchError(f"There is no store {name!r} beside this one to compare with.")
    other = open_data(path)
    if why := why_unlike(data, other):
        raise StoreMismatchError(f"{name} can't be compared with this store: {why}.")
    facts = data.facts(class_index)
    if facts.folder not in other.index_of:
        raise StoreMismatchError(f"{name} has no class {facts.folder!r}, so there is nothing to compare with.")
    if pair not in other.pairs:
        raise StoreIncompleteError(f"{name} has no graphs with {pair.words} to compare with.")
    side = _class_side(other, other.index_of[facts.folder], pair, how)
    return _called(side, f"{facts.label} in {name}")


def _groups(data: StoreData, vs: Versus, class_index: int, pair: Pair, how: Reselection) -> tuple[Side, Side]:
    """Two groups of a class's images, which share none."""
    if why := why_no_groups(data, pair):
        raise StoreIncompleteError(why)
    own = np.flatnonzero(data.images_of(class_index) & data.is_read)
    in_b, words = _chosen(data, vs, class_index, own)
    label = data.facts(class_index).label
    groups = (own[~in_b], own[in_b])
    for group, word in zip(groups, words, strict=True):
        if not len(group):
            raise StoreMismatchError(f"{label} has no {word}, so there is nothing to compare; choose another B.")
    a, b = (
        _group(data, group, label, f"{word} of {label}", pair, how) for group, word in zip(groups, words, strict=True)
    )
    return a, b


def _chosen(
    data: StoreData, vs: Versus, class_index: int, own: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], tuple[str, str]]:
    """Which of a class's images are B's, and what those of A and of B are called."""
    if vs.kind == "images":
        return np.isin(own, vs.images), ("other images", "chosen images")
    if vs.kind == "strategy":
        found = strategies.found(data, class_index)
        return found.images(int(vs.name) - 1)[own], ("other images", f"strategy {vs.name}")
    words = ("wrong images", "right images") if vs.kind == "right" else ("right images", "wrong images")
    return data.is_correct[own] == (vs.kind == "right"), words


def _image(data: StoreData, image: int, pair: Pair, how: Reselection) -> Side:
    """One image, whatever its class."""
    if why := why_no_groups(data, pair):
        raise StoreIncompleteError(why)
    label, file = data.label_of_image(image), images.file_name(data, image)
    if not data.is_read[image]:
        raise StoreMismatchError(f"{file} could not be read, so nothing is known of it; choose another image as B.")
    return _group(data, np.array([image]), label, f"{file} ({label})", pair, how)


def _group(data: StoreData, group: NDArray[np.int64], name: str, label: str, pair: Pair, how: Reselection) -> Side:
    numbers = tuple(group.tolist())
    counts = images.counts_of(data, numbers, pair, how)
    graph = images.graph_of(data, numbers, pair, how)
    before = images.graph_of(data, numbers, pair)
    lowering = partial(images.lowering_of, data, numbers)
    return Side(name, label, graph, before, counts, len(numbers), lowering=lowering)


def why_no_groups(data: StoreData, pair: Pair) -> str:
    """Why the store can't give graphs of some images of a class; empty if it can."""
    if not data.has_predictions or not data.has(f"{pair.nodes}s") or not data.has(f"{pair.edges}s"):
        return data.why_absent("activations")
    return ""
