"""The only reader of the store: every page takes what it shows from a `StoreData`.

Values are read when they are first asked for, and kept; what belongs to one class is read for that class alone.
What the store lacks is None here, and `why_absent` says in plain words what would make it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from scipy import sparse

from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.arrays.similarity import similarity_to
from summit_dask.facts import encoded, schema
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.layergraph import Channel, Layer, LayerGraph
from summit_dask.facts.run import Run
from summit_dask.facts.stages import stage_of
from summit_dask.store import status
from summit_dask.store.graphs import read_graph
from summit_dask.store.places import stamp
from summit_dask.store.status import makers
from summit_dask.store.store import Store

HISTOGRAM_BINS = 20

#: What each part is, and the command that makes it; /pictures is no stage of a run.
_PARTS: Mapping[str, tuple[str, str]] = {**makers(), "pictures": ("pictures of channels", "pictures")}


@dataclass(frozen=True)
class Reselection:
    """What differs from the graphs as they were stored; None leaves an option as the run had it.

    Parameters
    ----------
    p
        Share of a layer's scores that is selected at first.
    mass
        Share of an image's activation that makes a channel used; counted again from the class's stored maxima.
    left_out
        Channels left out besides the run's own.
    keep_excluded
        Whether the run's own excluded channels take part after all.
    """

    p: float | None = None
    mass: float | None = None
    left_out: tuple[Channel, ...] = ()
    keep_excluded: bool = False


#: The graphs as they were stored.
STORED = Reselection()


@dataclass(frozen=True)
class Example:
    """One of the images that excite a channel most."""

    image: int
    value: float
    box: tuple[int, int, int, int]
    thumbnail: bytes


@dataclass(frozen=True)
class ClassFacts:
    """What is known of one class; `accuracy` is None where the class has no images."""

    place: int
    folder: str
    label: str
    synset: str
    n_images: int
    n_correct: int

    @property
    def accuracy(self) -> float | None:
        """Share of the images whose highest prediction is the class."""
        return self.n_correct / self.n_images if self.n_images else None


Function = TypeVar("Function", bound=Callable[..., Any])


def kept_with_store(most: int | None) -> Callable[[Function], Function]:
    """Keep a function's latest answers about a store as long as the store is open, and no longer."""

    def decorate(function: Function) -> Function:
        @wraps(function)
        def answer(data: "StoreData", *args: Any) -> Any:
            if function not in data.answers:
                data.answers[function] = lru_cache(most)(partial(function, data))
            return data.answers[function](*args)

        return cast(Function, answer)

    return decorate


class StoreData:
    """A store as the pages see it.

    Parameters
    ----------
    path
        The store's folder.

    Raises
    ------
    StoreError, StoreVersionError
        If there is no store, it is broken, or of another format version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamp = stamp(path)
        self.store = Store.open(path)
        self._kept: dict[str, NDArray[Any]] = {}
        self.answers: dict[Any, Any] = {}  # of functions, see `kept_with_store`

    def unchanged(self) -> bool:
        """Whether no stage of the store was made, renewed or removed since it was opened."""
        return self.stamp == stamp(self.path)

    def read(self, path: str, rows: slice = slice(None)) -> NDArray[Any]:
        """Values of an array; whole arrays are kept."""
        if rows != slice(None):
            return self.store.read(path, rows)
        if path not in self._kept:
            self._kept[path] = self.store.read(path)
        return self._kept[path]

    # What there is

    @property
    def layer_graph(self) -> LayerGraph:
        """The network's layers and hops."""
        return self.store.layer_graph

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Visible layers, input side first."""
        return self.layer_graph.visible

    @property
    def run(self) -> Run:
        """The run's configuration, network and versions."""
        return self.store.header.run

    @property
    def options(self) -> ResultOptions:
        """The options that the results were made with."""
        return self.run.config

    @kept_with_store(None)
    def has(self, part: str, layer: str | None = None) -> bool:
        """Whether a part of the store is there, finished where a stage makes it, and (if given) holds the layer."""
        stage = stage_of(part)
        if stage is not None and stage.by_partition and not self.read("partitions/fingerprint").any():
            return False
        if stage is not None and not stage.by_partition and self.store.finished(part) is None:
            return False
        return self.store.has(f"{part}/{layer}" if layer else part)

    @cached_property
    def outdated(self) -> tuple[str, ...]:
        """The finished parts that were made with other options than the store's present ones."""
        return status.outdated(self.store)

    def why_outdated(self) -> str:
        """Which parts are outdated and what renews them, in plain words; empty if none is."""
        if not self.outdated:
            return ""
        what = ", ".join(_PARTS[part][0] for part in self.outdated)
        commands = " and ".join(dict.fromkeys(f"'summit-dask {_PARTS[part][1]}'" for part in self.outdated))
        return f"Made with other options than this store's present ones: {what}. Run {commands} to renew them."

    def why_absent(self, part: str) -> str:
        """What the store lacks and what makes it, in plain words."""
        what, command = _PARTS[part]
        stage = stage_of(part)
        maker = f"'summit-dask {command}' makes that"
        if stage is not None and stage.by_partition:
            maker = "only a run over the images makes them"
        return f"This store holds no {what}; {'the imported files lack that' if self.is_imported else maker}."

    @property
    def is_imported(self) -> bool:
        """Whether the store was made from another program's files, so that no stage can run on it."""
        return self.run.imported is not None

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
    def n_images_read(self) -> int:
        """Readable images."""
        return int((self.read("images/status") == schema.READ).sum())

    @cached_property
    def classes(self) -> pd.DataFrame:
        """One row per class: folder (unique), name, label, synset, output, n_images, n_correct, accuracy.

        The label is the name, with the synset (or the folder) after it where several classes share the name.
        Accuracy is NaN for a class without images.
        """
        folder, name, synset = (_text(self.read(p)) for p in ("class", "classes/name", "classes/synset"))
        name = [n or f for n, f in zip(name, folder, strict=True)]
        shared = {n for n, times in pd.Series(name).value_counts().items() if times > 1}
        label = [f"{n} ({s or f})" if n in shared else n for n, s, f in zip(name, synset, folder, strict=True)]
        images, correct = self._class_statistics()
        with np.errstate(invalid="ignore"):
            accuracy = np.where(images > 0, correct / np.maximum(images, 1), np.nan)
        table = {"folder": folder, "name": name, "label": label, "synset": synset}
        numbers = {"output": self.read("classes/output_index"), "n_images": images, "n_correct": correct}
        return pd.DataFrame({**table, **numbers, "accuracy": accuracy})

    def _class_statistics(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        images, correct = (self.read(f"classes/{n}").astype(np.int64) for n in ("n_images", "n_correct"))
        if images.any() or not self.n_images_read:
            return images, correct
        read = self.read("images/status") == schema.READ
        of_class, right = self.read("images/class_index"), self.is_correct
        return tuple(np.bincount(of_class[m], minlength=self.n_classes) for m in (read, read & right))  # type: ignore[return-value]

    @cached_property
    def is_correct(self) -> NDArray[np.bool_]:
        """Whether an image's highest prediction is its class, (image,)."""
        output = self.read("classes/output_index")[self.read("images/class_index")]
        return np.asarray(self.read("images/predicted")[:, 0] == output, bool)

    def facts(self, place: int) -> ClassFacts:
        """What is known of the class at a place in /classes."""
        row = self.classes.iloc[place].to_dict()
        numbers = (int(row["n_images"]), int(row["n_correct"]))
        return ClassFacts(place, row["folder"], row["label"], row["synset"], *numbers)

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """Place of a class in /classes, by its folder name."""
        return {folder: place for place, folder in enumerate(self.classes["folder"])}

    @cached_property
    def histograms(self) -> NDArray[np.int64] | None:
        """Images per class and range of the true class's probability, (class, bin); None without images."""
        if not self.n_images_read:
            return None
        read = self.read("images/status") == schema.READ
        probability = np.nan_to_num(self.read("images/true_probability")[read])
        place = np.clip((probability * HISTOGRAM_BINS).astype(np.int64), 0, HISTOGRAM_BINS - 1)
        cell = self.read("images/class_index")[read].astype(np.int64) * HISTOGRAM_BINS + place
        return np.bincount(cell, minlength=self.n_classes * HISTOGRAM_BINS).reshape(-1, HISTOGRAM_BINS)

    def images_of(self, place: int) -> slice:
        """The images of a class; they lie together."""
        of_class = self.read("images/class_index")
        start, stop = np.searchsorted(of_class, [place, place + 1])
        return slice(int(start), int(stop))

    def label_of_image(self, image: int) -> str:
        """Label of an image's class."""
        return str(self.classes["label"].iloc[int(self.read("images/class_index")[image])])

    # Channels

    def counts(self, layer: str) -> NDArray[np.int32] | None:
        """A: images of each class that use each channel, (class, channel).

        Where the store has none, the counts of the nodes of its graphs, 0 for all other channels
        (`counts_are_partial`); None without graphs.
        """
        if self.has("matrices", layer):
            return self.read(f"matrices/{layer}/activation_count")
        return self._node_counts(layer) if self.counts_are_partial else None

    @cached_property
    def counts_are_partial(self) -> bool:
        """Whether only the channels of the classes' graphs have counts, as in the original's published data."""
        return not self.has("matrices") and self.has("graphs")

    @kept_with_store(None)
    def _node_counts(self, layer: str) -> NDArray[np.int32]:
        known = self.layer_graph.layer(layer)
        own = self.read("graphs/node_layer") == self.layer_graph.layers.index(known)
        place, channel, count = (self.read(f"graphs/node_{name}")[own] for name in ("class", "channel", "count"))
        counts = np.zeros((self.n_classes, known.channels), np.int32)
        counts[place, channel] = count
        return counts

    def embedding(self, layer: str) -> NDArray[np.float32] | None:
        """Place of each class, (class, 2)."""
        if not self.has("embedding", layer):
            return None
        return np.stack([self.read(f"embedding/{layer}/{axis}") for axis in "xy"], axis=1)

    def similarity(self, layer: str, place: int) -> NDArray[np.float64] | None:
        """Cosine of the counts of each class and those of one class, (class,); 0 for a class without counts."""
        counts = self.counts(layer)
        return None if counts is None else similarity_to(counts, place)

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
        image, value, box = (self.read(f"{group}/{n}")[channel.index] for n in ("image_index", "value", "box"))
        thumbnails = self._encoded(f"{group}/thumbnail", channel.index * len(image), len(image))
        return [
            Example(int(i), float(value[k]), tuple(box[k].tolist()), thumbnails[k])
            for k, i in enumerate(image)
            if i >= 0
        ]

    def _encoded(self, stem: str, first: int, n: int) -> list[bytes]:
        """Some neighbouring encoded pictures, read together."""
        offsets = self.read(f"{stem}_offset")[first : first + n + 1]
        data = self.store.read(f"{stem}_bytes", slice(int(offsets[0]), int(offsets[-1])))
        return [encoded.unpack(data, offsets - offsets[0], k) for k in range(n)]

    # Graphs

    @kept_with_store(8)
    def class_counts(self, place: int) -> ClassCounts:
        """Counts of one class, as far as the store has them."""
        counts = {layer.name: self.counts(layer.name) for layer in self.layers}
        activation = {name: values[place] for name, values in counts.items() if values is not None}
        return ClassCounts(activation, _Influence(self, place))

    @property
    def can_reselect(self) -> bool:
        """Whether graphs can be made again from the counts."""
        return all(self.has("matrices", hop.name) for hop in self.layer_graph.hops) and bool(self.layer_graph.hops)

    @kept_with_store(64)
    def graph(self, place: int, how: Reselection = STORED) -> ClassGraph | None:
        """Attribution graph of a class: as stored, or made again from the counts."""
        if how == STORED:
            return read_graph(self.read, place) if self.has("graphs") else None
        counts = self.class_counts(place)
        excluded = self._left_out(how)
        if how.mass is not None:
            counts = ClassCounts(self._activation_at(place, how.mass, excluded), counts.influence)
        options = self.options if how.p is None else self.options.replaced(p=how.p)
        return class_graph(self.layer_graph, counts, excluded, options)

    def _left_out(self, how: Reselection) -> dict[str, tuple[int, ...]]:
        found = {} if how.keep_excluded else self.options.excluded_by_layer()
        for channel in how.left_out:
            found[channel.layer] = (*found.get(channel.layer, ()), channel.index)
        return found

    def _activation_at(
        self, place: int, mass: float, excluded: Mapping[str, tuple[int, ...]]
    ) -> Mapping[str, NDArray[np.int32]]:
        # Brings numba, which a page that doesn't ask for another mass need not load.
        from summit_dask.questions.query import count_activations

        rows = np.zeros(self.store.header.n_images, bool)
        rows[self.images_of(place)] = True
        rows &= self.read("images/status") == schema.READ
        return count_activations(self.store.read, self.layer_graph, rows, mass, excluded)

    @cached_property
    def largest_node_count(self) -> int:
        """The largest count of any node of any class's graph; at least 1."""
        return max(1, int(self.read("graphs/node_count").max(initial=1))) if self.has("graphs") else 1


class _Influence(Mapping[str, sparse.csr_array]):
    """Influence counts of one class by hop, each read when it is asked for."""

    def __init__(self, data: StoreData, place: int) -> None:
        self._data, self._rows = data, slice(place, place + 1)
        self._names = [hop.name for hop in data.layer_graph.hops if data.has("matrices", hop.name)]
        self._kept: dict[str, sparse.csr_array] = {}

    def __getitem__(self, name: str) -> sparse.csr_array:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._kept:
            self._kept[name] = sparse.csr_array(self._data.read(f"matrices/{name}/influence_count", self._rows)[0])
        return self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@st.cache_resource(max_entries=4, validate=StoreData.unchanged, show_spinner=False)
def open_data(path: Path) -> StoreData:
    """The store, opened once for all sessions and again when it changes.

    Raises
    ------
    StoreError
        If there is no store, it is broken, or of another format version.
    """
    return StoreData(path)


def _text(values: NDArray[Any]) -> list[str]:
    return [str(v) for v in values]
