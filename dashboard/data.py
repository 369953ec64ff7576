"""What the pages show of a store: they take all of it from a `StoreData`.

Values are read when they are first asked for, and kept; what belongs to one class is read for that class alone.
What the store lacks is None here, and `why_absent` says in plain words what would make it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from scipy import sparse

from dashboard.influence import InfluenceOfClass
from dashboard.kept import kept_with_store
from dashboard.openstore import OpenStore
from dashboard.selection import STORED, Reselection
from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.arrays.similarity import similarity_to
from summit_dask.facts import encoded, schema
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import PAPERS, Nodes, Pair
from summit_dask.store.graphs import read_graph
from summit_dask.store.store import located

HISTOGRAM_BINS = 20


@dataclass(frozen=True, eq=False)
class Firing:
    """Where in an image a channel fires: see the registry, group "examples"."""

    centre: tuple[float, float]
    share: float
    map: NDArray[np.uint8]


@dataclass(frozen=True)
class Example:
    """One of the images that excite a channel most; where in it, unless an earlier version made the store."""

    image: int
    value: float
    box: tuple[int, int, int, int]
    thumbnail: bytes
    firing: Firing | None


@dataclass(frozen=True)
class ClassFacts:
    """What is known of one class, the index-th of the store; `accuracy` is None where the class has no images."""

    index: int
    folder: str
    label: str
    synset: str
    n_images: int
    n_correct: int

    @property
    def accuracy(self) -> float | None:
        """Share of the images whose highest prediction is the class."""
        return self.n_correct / self.n_images if self.n_images else None


class StoreData(OpenStore):
    """A store as the pages see it."""

    # Classes

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.store.header.n_classes

    @cached_property
    def n_images(self) -> int:
        """Images that were counted: of all classes, or read so far."""
        return int(self.classes["n_images"].sum())

    @cached_property
    def is_read(self) -> NDArray[np.bool_]:
        """Whether an image was read, (image,)."""
        return np.asarray(self.read("images/status") == schema.READ, bool)

    @cached_property
    def has_predictions(self) -> bool:
        """Whether it is known what single images were taken for; an import tells it of no image."""
        return bool(self.is_read.any()) and self.store.has("images/predicted")

    @property
    def why_no_communities(self) -> str:
        """Why channels that fire together can't be found; empty if they can."""
        return "" if self.has("activations") and self.is_read.any() else self.why_absent("activations")

    @cached_property
    def classes(self) -> pd.DataFrame:
        """One row per class: folder (unique), name, label, synset, output, n_images, n_correct, accuracy.

        The label is the name, with the synset (or the folder) after it where several classes share the name.
        Accuracy is NaN for a class without images.
        """
        folder = _text(self.read("class"))
        synset = _text(self.read("classes/synset"))
        name = [n or f for n, f in zip(_text(self.read("classes/name")), folder, strict=True)]
        shared = {n for n, times in pd.Series(name).value_counts().items() if times > 1}
        label = [f"{n} ({s or f})" if n in shared else n for n, s, f in zip(name, synset, folder, strict=True)]
        images, correct = self._class_statistics()
        accuracy = np.where(images > 0, correct / np.maximum(images, 1), np.nan)
        return pd.DataFrame(
            {
                "folder": folder,
                "name": name,
                "label": label,
                "synset": synset,
                "output": self.read("classes/output_index"),
                "n_images": images,
                "n_correct": correct,
                "accuracy": accuracy,
            }
        )

    def _class_statistics(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Images and rightly classified images of each class; while a run goes on, of those read so far."""
        images = self.read("classes/n_images").astype(np.int64)
        correct = self.read("classes/n_correct").astype(np.int64)
        if images.any() or not self.has_predictions:
            return images, correct
        of_class = self.read("images/class_index")
        images = np.bincount(of_class[self.is_read], minlength=self.n_classes)
        correct = np.bincount(of_class[self.is_read & self.is_correct], minlength=self.n_classes)
        return images, correct

    @cached_property
    def is_correct(self) -> NDArray[np.bool_]:
        """Whether an image's highest prediction is its class, (image,)."""
        output = self.read("classes/output_index")[self.read("images/class_index")]
        return np.asarray(self.read("images/predicted")[:, 0] == output, bool)

    def facts(self, index: int) -> ClassFacts:
        """What is known of the index-th class."""
        row = self.classes.iloc[index].to_dict()
        numbers = (int(row["n_images"]), int(row["n_correct"]))
        return ClassFacts(index, row["folder"], row["label"], row["synset"], *numbers)

    @cached_property
    def index_of(self) -> Mapping[str, int]:
        """Index of a class, by its folder name."""
        return {folder: index for index, folder in enumerate(self.classes["folder"])}

    @cached_property
    def histograms(self) -> NDArray[np.int64] | None:
        """Images per class and range of the true class's probability, (class, bin); None where it isn't known."""
        if not self.has_predictions:
            return None
        probability = np.nan_to_num(self.read("images/true_probability")[self.is_read])
        fullest = HISTOGRAM_BINS - 1
        bin_of = np.clip((probability * HISTOGRAM_BINS).astype(np.int64), 0, fullest)
        cell = self.read("images/class_index")[self.is_read].astype(np.int64) * HISTOGRAM_BINS + bin_of
        return np.bincount(cell, minlength=self.n_classes * HISTOGRAM_BINS).reshape(-1, HISTOGRAM_BINS)

    def images_of(self, class_index: int) -> NDArray[np.bool_]:
        """Which images are those of a class, (image,)."""
        return np.asarray(self.read("images/class_index") == class_index, bool)

    def label_of_image(self, image: int) -> str:
        """Label of an image's class."""
        return str(self.classes["label"].iloc[int(self.read("images/class_index")[image])])

    # Channels

    def counts(self, layer: str, nodes: Nodes = "activation") -> NDArray[np.int32] | None:
        """A: images of each class that use each channel, or for which it is relevant, (class, channel).

        Where the store has none, the counts of the nodes of its graphs, 0 for all other channels
        (`counts_are_partial`); None without graphs.
        """
        if self.has("matrices", f"{layer}/{nodes}_count"):
            return self.read(f"matrices/{layer}/{nodes}_count")
        return self._node_counts(layer) if self.counts_are_partial else None

    @cached_property
    def counts_are_partial(self) -> bool:
        """Whether only the channels of the classes' graphs have counts, as in the original's published data."""
        return not self.has("matrices") and self.has("graphs")

    @kept_with_store(None)
    def _node_counts(self, layer: str) -> NDArray[np.int32]:
        known = self.layer_graph.layer(layer)
        columns = ("layer", "class", "channel", "count")
        of_layer, of_class, channel, count = (self.read(f"{self.usual_pair.group}/node_{name}") for name in columns)
        own = of_layer == self.layer_graph.layers.index(known)
        counts = np.zeros((self.n_classes, known.channels), np.int32)
        counts[of_class[own], channel[own]] = count[own]
        return counts

    def embedding(self, layer: str) -> NDArray[np.float32] | None:
        """Where each class lies, (class, 2)."""
        if not self.has("embedding", layer):
            return None
        return np.stack([self.read(f"embedding/{layer}/{axis}") for axis in "xy"], axis=1)

    def similarity(self, layer: str, class_index: int) -> NDArray[np.float64] | None:
        """Cosine of the counts of each class and those of one class, (class,); 0 for a class without counts."""
        counts = self.counts(layer)
        return None if counts is None else similarity_to(counts, class_index)

    def pictures(self, channel: Channel) -> dict[str, bytes]:
        """A channel's encoded pictures by kind (`schema.PICTURE_KINDS`); only those there are."""
        if not self.has("pictures", channel.layer):
            return {}
        kinds = schema.PICTURE_KINDS
        items = self._encoded(f"pictures/{channel.layer}/picture", channel.index * len(kinds), len(kinds))
        return {kind: item for kind, item in zip(kinds, items, strict=True) if item}

    def examples(self, channel: Channel) -> list[Example]:
        """The images that excite a channel most, strongest first; empty if the store has none."""
        group = f"examples/{channel.layer}"
        if not self.has("examples", channel.layer):
            return []
        image = self.read(f"{group}/image_index")[channel.index]
        value = self.read(f"{group}/value")[channel.index]
        box = self.read(f"{group}/box")[channel.index]
        thumbnails = self._encoded(f"{group}/thumbnail", channel.index * len(image), len(image))
        firing = self._firing(group, channel.index, len(image))
        return [
            Example(int(i), float(value[k]), tuple(box[k].tolist()), thumbnails[k], firing[k])
            for k, i in enumerate(image)
            if i >= 0
        ]

    def example_thumbnail(self, layer: str, place: int) -> bytes:
        """The thumbnail of one of a layer's examples, by its place among all of them, channel after channel."""
        return self._encoded(f"examples/{layer}/thumbnail", place, 1)[0]

    def _firing(self, group: str, channel: int, n: int) -> Sequence[Firing | None]:
        """Where a channel fires in its examples."""
        if not self.store.has(f"{group}/map"):
            return [None] * n
        columns = (self.read(f"{group}/{name}")[channel] for name in ("centre", "share", "map"))
        return [Firing((float(c[0]), float(c[1])), float(share), m) for c, share, m in zip(*columns, strict=True)]

    def _encoded(self, stem: str, first: int, n: int) -> list[bytes]:
        """Some neighbouring encoded pictures, read together."""
        offsets = self.read(f"{stem}_offset")[first : first + n + 1]
        data = self.store.read(f"{stem}_bytes", slice(int(offsets[0]), int(offsets[-1])))
        return [encoded.unpack(data, offsets - offsets[0], k) for k in range(n)]

    # Graphs

    @kept_with_store(8)
    def class_counts(self, class_index: int, pair: Pair = PAPERS) -> ClassCounts:
        """Counts of one class that graphs of a pair are made of, as far as the store has them."""
        counts = {layer.name: self.counts(layer.name, pair.nodes) for layer in self.layer_graph.visible}
        nodes = {name: values[class_index] for name, values in counts.items() if values is not None}
        hops = [hop.name for hop in self.layer_graph.hops if self.has("matrices", hop.name)]
        return ClassCounts(nodes, InfluenceOfClass(self._counts_of(class_index), hops, f"{pair.edges}_count"))

    def _counts_of(self, class_index: int) -> Callable[[str], sparse.csr_array]:
        """Reads the counts of sources of one class."""
        first = class_index - class_index % self.ahead
        return lambda address: self._counts_ahead(address, first)[class_index - first]

    @kept_with_store(128)
    def _counts_ahead(self, address: str, first: int) -> list[sparse.csr_array]:
        """Counts of sources of as many classes as are read together, from the first of them."""
        return [sparse.csr_array(counts) for counts in self.store.read(address, slice(first, first + self.ahead))]

    @kept_with_store(8)
    def lowering_counts(self, class_index: int) -> ClassCounts | None:
        """Of one class, the sources that lower channels most; None where the store has none."""
        hops = self._inhibited
        return (
            ClassCounts({}, InfluenceOfClass(self._counts_of(class_index), hops, "inhibition_count")) if hops else None
        )

    @cached_property
    def _inhibited(self) -> list[str]:
        """Hops that have counts of what lowers most."""
        hops = [hop.name for hop in self.layer_graph.hops]
        return [name for name in hops if self.store.has(f"matrices/{name}/inhibition_count")]

    @property
    def can_reselect(self) -> bool:
        """Whether graphs can be made again from the counts."""
        return all(self.has("matrices", hop.name) for hop in self.layer_graph.hops) and bool(self.layer_graph.hops)

    @kept_with_store(64)
    def graph(self, class_index: int, how: Reselection = STORED, pair: Pair | None = None) -> ClassGraph | None:
        """Attribution graph of a class: as stored, or made again from the counts; of the usual pair by default."""
        pair = pair or self.usual_pair
        if how == STORED:
            return read_graph(self.read, class_index, pair) if pair in self.pairs else None
        return self.selected(self.counts_with(class_index, how, pair), how)

    @kept_with_store(8)
    def counts_with(self, class_index: int, how: Reselection, pair: Pair) -> ClassCounts:
        """As `class_counts`, with the mass and the channels left out that are asked for."""
        counts = self.class_counts(class_index, pair)
        if how.mass is None:
            return counts
        return ClassCounts(self._counts_at(class_index, how.mass, self.left_out(how), pair), counts.influence)

    def selected(self, counts: ClassCounts, how: Reselection) -> ClassGraph:
        """The graph that counts give."""
        options = self.options if how.p is None else self.options.replaced(p=how.p)
        return class_graph(self.layer_graph, counts, self.left_out(how), options)

    def left_out(self, how: Reselection) -> dict[str, tuple[int, ...]]:
        """Channels that take no part, by layer."""
        result = {} if how.keep_excluded else self.options.excluded_by_layer()
        for channel in how.left_out:
            result[channel.layer] = (*result.get(channel.layer, ()), channel.index)
        return result

    def _counts_at(
        self, class_index: int, mass: float, excluded: Mapping[str, tuple[int, ...]], pair: Pair
    ) -> Mapping[str, NDArray[np.int32]]:
        # Brings numba, which a page that doesn't ask for another mass need not load.
        from summit_dask.questions.query import count_channels

        rows = self.images_of(class_index) & self.is_read
        return count_channels(self.store.read, self.layer_graph, rows, mass, excluded, pair)

    @kept_with_store(None)
    def largest_node_count(self, pair: Pair) -> int:
        """The largest count of any node of any class's graph; at least 1."""
        return max(1, int(self.read(f"{pair.group}/node_count").max(initial=1))) if pair in self.pairs else 1


def open_data(path: Location) -> StoreData:
    """The store, opened once for all sessions and again when it changes.

    Raises
    ------
    StoreError
        If there is no store, it is broken, or of another format version.
    """
    return _opened(str(path))


@st.cache_resource(max_entries=4, validate=StoreData.unchanged, show_spinner=False)
def _opened(place: str) -> StoreData:  # a text, for Streamlit knows no addresses
    return StoreData(located(place))


def _text(values: NDArray[Any]) -> list[str]:
    return [str(v) for v in values]
