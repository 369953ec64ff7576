"""Single images: what the network predicted for them, and the graph of some of them."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.selection import STORED, Reselection
from summit_dask.arrays.graph.attribution import ClassGraph
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import PAPERS, Pair

#: Images that a channel's distribution is taken from, at the most; spread evenly over the store.
SAMPLE = 16_384


def of_class(data: StoreData, class_index: int, taken_for: int | None = None) -> pd.DataFrame:
    """Readable images of a class: image, file, probability of the class, correct, and the predictions by name.

    With `taken_for`, only those whose highest prediction is that output.

    Rows from the lowest probability to the highest, ties by image.
    """
    rows = data.images_of(class_index)
    read = {name: data.read_rows(f"images/{name}", rows) for name in ("path", "predicted", "probability")}
    table = pd.DataFrame(
        {
            "image": np.flatnonzero(rows),
            "file": [str(path) for path in read["path"]],
            "probability": data.read("images/true_probability")[rows],
            "correct": data.is_correct[rows],
        }
    )
    names = np.array([*output_names(data), "–"], dtype=object)
    for rank in range(read["predicted"].shape[1]):
        table[f"prediction {rank + 1}"] = names[read["predicted"][:, rank]]
        table[f"probability {rank + 1}"] = read["probability"][:, rank]
    kept = data.is_read[rows]
    if taken_for is not None:
        kept = kept & (read["predicted"][:, 0] == taken_for)
    readable: pd.DataFrame = table.loc[kept]
    return readable.sort_values(["probability", "image"]).reset_index(drop=True)


def file_name(data: StoreData, image: int) -> str:
    """What an image's file is called, without its folders."""
    return str(data.read("images/path")[image]).rpartition("/")[2]


@kept_with_store(None)
def output_names(data: StoreData) -> list[str]:
    """Name of each of the network's outputs, with its synset where several share the name; unnamed: which it is."""
    synsets = [str(synset) for synset in data.read("outputs/synset")]
    names = [str(name) or synset for name, synset in zip(data.read("outputs/name"), synsets, strict=True)]
    times = Counter(names)
    added = [f" ({synset})" if synset and times[name] > 1 else "" for name, synset in zip(names, synsets, strict=True)]
    return [f"{name}{more}" or f"output {k}" for k, (name, more) in enumerate(zip(names, added, strict=True))]


def confusions(data: StoreData, class_index: int) -> pd.DataFrame:
    """What a class's images are taken for: output, name, number of images, mean probability; most frequent first."""
    rows = data.images_of(class_index)
    wrong = data.is_read[rows] & ~data.is_correct[rows]
    output = data.read_rows("images/predicted", rows)[wrong, 0]
    probability = data.read_rows("images/probability", rows)[wrong, 0]
    table = pd.DataFrame({"output": output, "probability": probability})
    result: pd.DataFrame = table.groupby("output")["probability"].agg(["size", "mean"]).reset_index()
    result.columns = pd.Index(["output", "images", "probability"])
    names = output_names(data)
    result.insert(1, "name", [names[int(k)] for k in result["output"]])
    return result.sort_values(["images", "output"], ascending=[False, True]).reset_index(drop=True)


def class_of_output(data: StoreData, output: int) -> int | None:
    """Index of the class that an output stands for; None if the data set lacks it."""
    indices = np.flatnonzero(data.read("classes/output_index") == output)
    return int(indices[0]) if len(indices) else None


@kept_with_store(16)
def counts_of(data: StoreData, images: tuple[int, ...], pair: Pair = PAPERS, how: Reselection = STORED) -> ClassCounts:
    """Counts over some images, from what is stored of each, of a pair of measures."""
    # Brings numba and Dask, which nothing else of the dashboard needs.
    from summit_dask.questions.query import count_images

    rows = np.zeros(data.store.header.n_images, bool)
    rows[list(images)] = True
    mass = how.mass or data.options.mass
    return count_images(data.store.read, data.layer_graph, rows, mass, data.left_out(how), pair)


@kept_with_store(16)
def graph_of(data: StoreData, images: tuple[int, ...], pair: Pair = PAPERS, how: Reselection = STORED) -> ClassGraph:
    """Attribution graph of some images, see `counts_of`."""
    return data.selected(counts_of(data, images, pair, how), how)


@kept_with_store(16)
def lowering_of(data: StoreData, images: tuple[int, ...], layer: str) -> ClassCounts | None:
    """Over some images, counts of the sources that lower a layer's channels most; None where the store has none."""
    if not data.store.has(f"contributions/{layer}/inhibitor_source"):
        return None
    from summit_dask.questions.query import count_inhibitors

    rows = np.zeros(data.store.header.n_images, bool)
    rows[list(images)] = True
    return count_inhibitors(data.store.read, data.layer_graph, rows & data.is_read, layer)


def channel_values(data: StoreData, channel: Channel, class_index: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """A channel's maxima over an even sample of all images, and over the images of one class."""
    own = data.images_of(class_index)
    values = data.store.read(f"activations/{channel.layer}/value", own, channel.index)
    return sampled(data, channel.layer, channel.index), np.asarray(values[data.is_read[own]])


def sampled(data: StoreData, layer: str, channel: int | None = None) -> NDArray[Any]:
    """Maxima over an even sample of all images, of one channel (image,) or of all (image, channel)."""
    n_images = data.store.header.n_images

    def read(rows: slice) -> NDArray[Any]:
        values = data.store.read(f"activations/{layer}/value", rows, channel)
        return np.asarray(values[data.is_read[rows]])

    if n_images <= SAMPLE:
        return read(slice(0, n_images))
    step = data.store.header.partition_size
    starts = np.linspace(0, n_images - step, max(1, SAMPLE // step)).astype(int) // step * step
    return np.concatenate([read(slice(s, s + step)) for s in starts.tolist()])
