"""The examples stage: every channel's strongest images and what it saw of them, on Dask workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client
from numpy.typing import NDArray
from PIL import Image

from summit_dask.arrays.examples import (
    Block,
    Crops,
    Geometry,
    Strongest,
    Thumbnails,
    input_boxes,
    stack_classes,
    strongest_images,
    strongest_images_by_class,
    thumbnails,
)
from summit_dask.facts import encoded, schema
from summit_dask.facts.layergraph import Layer
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import open_image
from summit_dask.stages.cluster import result_of
from summit_dask.stages.reduce import readable_classes
from summit_dask.store.progress import Progress, say
from summit_dask.store.store import Store


@dataclass(frozen=True)
class MaximaReader:
    """Reads one layer's maxima of a partition, where they are, and the class of each image (-1: unreadable)."""

    path: Path
    layer: str

    def __call__(self, partition: int) -> Block:
        """Block of a partition."""
        store = Store.open(self.path)
        rows = store.partition(partition)
        value, position = (store.read(f"activations/{self.layer}/{name}", rows) for name in ("value", "position"))
        return Block(value, position, readable_classes(store, rows), rows.start)


@dataclass(frozen=True)
class Originals:
    """Opens images by their place in the store, as long as they are the files that were extracted."""

    path: Path
    run: int
    preprocessing: Preprocessing

    def __call__(self, image: int) -> Image.Image:
        """The picture, neither resized nor cropped.

        Raises
        ------
        ValueError
            If the file has another size than when it was extracted.
        Exception
            Whatever Pillow raises for a file that it can't read.
        """
        root, paths, sizes = _files(self.path, self.run)
        file = root / str(paths[image])
        if sizes[image] and file.stat().st_size != sizes[image]:
            raise ValueError("not the file that was extracted: its size has changed")
        return open_image(self.preprocessing, file)


@lru_cache(maxsize=1)
def _files(path: Path, run: int) -> tuple[Path, NDArray[Any], NDArray[np.int64]]:
    """Folder, paths and sizes of the images of a run's store, read once by each worker."""
    store = Store.open(path)
    return Path(store.header.run["images_root"]), store.read("images/path"), store.read("images/file_size")


@dataclass(frozen=True)
class Found:
    """Strongest images as arrays of (channel, rank) or (class, channel, rank); `prefix` tells the variables apart."""

    layer: Layer
    prefix: str
    value: NDArray[np.float32]
    image: NDArray[np.int32]
    position: NDArray[np.int32]

    def crops(self) -> Crops:
        """What to cut, flat."""
        return Crops(self.image.ravel(), input_boxes(self.layer, self.position).reshape(-1, 4))


def make_examples(store: Store, client: Client, k: int, class_k: int, side: int) -> None:
    """Find and cut the examples of all visible layers.

    Parameters
    ----------
    k
        Images kept per channel, at least 1.
    class_k
        Images kept per class and channel; 0: none.
    side
        Longer side of a thumbnail in pixels.
    """
    found = _strongest(store, client, k, class_k)
    crops = [part.crops() for part in found]
    everything = Crops(*(np.concatenate(column) for column in zip(*crops, strict=True)))
    preprocessing = Preprocessing.from_json(store.header.run["network"]["preprocessing"])
    geometry = Geometry(preprocessing.resize, preprocessing.crop, side)
    originals = Originals(store.path, int(store.header.run["fingerprint"]), preprocessing)
    cut: Thumbnails = result_of(client.compute(thumbnails(everything, originals, geometry)))
    for reason, count in sorted(cut.reasons.items()):
        say(f"{count} images have blank thumbnails: {reason}.")
    _write(store, found, cut)


def _strongest(store: Store, client: Client, k: int, class_k: int) -> list[Found]:
    n_partitions, found = store.header.lengths()["partition"], list[Found]()
    layers = store.layer_graph.visible
    with Progress("examples", "layers", len(layers)) as progress:
        for layer in layers:
            read = MaximaReader(store.path, layer.name)
            overall: Strongest = result_of(client.compute(strongest_images(read, n_partitions, k)))
            found.append(Found(layer, "", *overall))
            if class_k:
                by_class = result_of(client.compute(strongest_images_by_class(read, n_partitions, class_k)))
                stacked = stack_classes(by_class, store.header.n_classes, layer.channels, class_k)
                found.append(Found(layer, "class_", *stacked))
            progress.add(1)
    return found


def _write(store: Store, found: Sequence[Found], cut: Thumbnails) -> None:
    start = 0
    for part in found:
        items = slice(start, start + part.image.size)
        data, offsets = encoded.pack(cut.jpeg[items])
        columns = {
            "image_index": part.image,
            "value": part.value,
            "box": cut.box[items].reshape(*part.image.shape, 4),
            "thumbnail_bytes": data,
            "thumbnail_offset": offsets,
        }
        _write_columns(store, part.layer, {f"{part.prefix}{name}": values for name, values in columns.items()})
        start = items.stop


def _write_columns(store: Store, layer: Layer, columns: Mapping[str, NDArray[Any]]) -> None:
    lengths: dict[str, int] = {}
    for name, values in columns.items():
        lengths |= dict(zip(schema.variable("examples/{layer}", name).dims, values.shape, strict=True))
    store.make_group("examples/{layer}", layer.name, columns, **lengths)
    for name, values in columns.items():
        store.write("examples/{layer}", layer.name, name, values)
