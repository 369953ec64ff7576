"""The examples stage: every channel's strongest images and what it saw of them, on Dask workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from summit_dask.arrays.examples import Block, Strongest, strongest_images
from summit_dask.arrays.thumbnails import Crops, Geometry, Thumbnails, input_boxes, thumbnails
from summit_dask.facts import encoded
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.layergraph import Layer
from summit_dask.facts.location import Location
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import open_image
from summit_dask.images.files import Reader, size_of
from summit_dask.stages.cluster import Cluster, Connect
from summit_dask.stages.tasks import computed
from summit_dask.store.counts import readable_classes
from summit_dask.store.imagefiles import ImageFiles
from summit_dask.store.progress import Progress, say
from summit_dask.store.status import fingerprints
from summit_dask.store.store import Store


@dataclass(frozen=True)
class MaximaReader:
    """Reads some layers' maxima of a partition, where they are, and the class of each image (-1: unreadable)."""

    path: Location
    layers: tuple[str, ...]

    def __call__(self, partition: int) -> Iterator[Block]:
        """Block of each layer."""
        store = Store.open(self.path)
        rows = store.partition(partition)
        classes = readable_classes(store.read, rows)
        for layer in self.layers:
            value = store.read(f"activations/{layer}/value", rows)
            position = store.read(f"activations/{layer}/position", rows)
            yield Block(value, position, classes, rows.start)


@dataclass(frozen=True)
class Originals:
    """Opens images by their index in the store, as long as they are the files that were extracted."""

    path: Location
    run: int
    preprocessing: Preprocessing

    def __call__(self, image: int) -> Image.Image:
        """The picture, neither resized nor cropped.

        Raises
        ------
        ValueError
            If the file has another size than when it was extracted.
        Exception
            Whatever Pillow, or a file system, raises for a file that it can't read.
        """
        reader, files, sizes = _files(self.path, self.run)
        (content,) = reader.read([files.file(image)])
        if isinstance(content, Exception):
            raise content
        if sizes[image] and size_of(content) not in (0, sizes[image]):  # 0: it is gone, as opening it will tell
            raise ValueError("not the file that was extracted: its size has changed")
        return open_image(self.preprocessing, content)


@lru_cache(maxsize=1)
def _files(path: Location, run: int) -> tuple[Reader, ImageFiles, NDArray[np.int64]]:
    """What reads the images of a run's store, where they are and their sizes, found once by each worker."""
    store = Store.open(path)
    return Reader(), ImageFiles.of(store, store.read), store.read("images/file_size")


def find_examples(store: Store, options: ResultOptions, connect: Connect) -> None:
    """Find and cut the examples of all visible layers."""
    cluster = connect()
    layers = store.layer_graph.with_maps
    best = _strongest(store, cluster, layers, options.examples)
    crops = [_crops(layer, own) for layer, own in zip(layers, best, strict=True)]
    cut = _cut(store, cluster, crops, options.thumbnail)
    start = 0
    for layer, own in zip(layers, best, strict=True):
        stop = start + own.image.size
        _write(store, layer, own, cut.box[start:stop], cut.jpeg[start:stop])
        start = stop


def _strongest(store: Store, cluster: Cluster, layers: Sequence[Layer], k: int) -> list[Strongest]:
    """Of each layer."""
    read = MaximaReader(store.path, tuple(layer.name for layer in layers))
    with Progress("examples", "layers", len(layers)) as progress:
        best: list[Strongest]
        (best,) = computed(cluster, [strongest_images(read, store.header.n_partitions, k)])
        progress.add(len(layers))
    return best


def _crops(layer: Layer, best: Strongest) -> Crops:
    """What to cut, channel after channel."""
    return Crops(best.image.ravel(), input_boxes(layer, best.position).reshape(-1, 4))


def _cut(store: Store, cluster: Cluster, crops: Sequence[Crops], side: int) -> Thumbnails:
    """The thumbnails of all layers at once, so that every original is opened once."""
    everything = Crops(*(np.concatenate(column) for column in zip(*crops, strict=True)))
    preprocessing = store.network.preprocessing
    geometry = Geometry(preprocessing, side)
    originals = Originals(store.path, fingerprints(store)["extract"], preprocessing)
    cut: Thumbnails
    (cut,) = computed(cluster, [thumbnails(everything, originals, geometry)])
    for reason, count in sorted(cut.reasons.items()):
        say(f"{count} images have blank thumbnails: {reason}.")
    return cut


def _write(store: Store, layer: Layer, best: Strongest, box: NDArray[np.int32], jpeg: Sequence[bytes]) -> None:
    data, offsets = encoded.pack(jpeg)
    columns = {
        "image_index": best.image,
        "value": best.value,
        "box": box.reshape(*best.image.shape, 4),
        "thumbnail_bytes": data,
        "thumbnail_offset": offsets,
    }
    for name, values in columns.items():
        store.add(f"examples/{layer.name}/{name}", values)
