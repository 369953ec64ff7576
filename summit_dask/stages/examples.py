"""The examples stage: every channel's strongest images, and where in them it fires, on Dask workers.

maxima of all images ── k strongest of each channel ── by image ── workers: the network ── regions, thumbnails
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from distributed import Worker

from summit_dask.arrays.examples import Block, Strongest, strongest_images
from summit_dask.arrays.regions import GRID
from summit_dask.facts import encoded
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.errors import DatasetError
from summit_dask.facts.layergraph import Layer
from summit_dask.facts.location import Location
from summit_dask.images.files import Reader
from summit_dask.measure.viewing import ExampleViewer, OpenImage, Seen, Wanted, rows_by_images
from summit_dask.network.build import built
from summit_dask.stages.cluster import Cluster, Connect, resources
from summit_dask.stages.tasks import computed, finished
from summit_dask.stages.workers import NetworkPlugin, device_of, installed, plugin_of, prepare_process
from summit_dask.store.counts import readable_classes
from summit_dask.store.imagefiles import ImageFiles
from summit_dask.store.progress import Progress, say
from summit_dask.store.status import fingerprints
from summit_dask.store.store import Store

#: Images of a task.
_IMAGES_PER_TASK = 64


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


def originals(store: Store) -> OpenImage:
    """Opens images by their index in the store, as long as they are the files that were extracted."""
    files = ImageFiles.of(store, store.read)
    return partial(files.opened, reader=Reader(), preprocessing=store.network.preprocessing)


def find_examples(store: Store, options: ResultOptions, connect: Connect) -> None:
    """Find the examples of all visible layers, see where in them the channels fire, and cut that.

    Raises
    ------
    DatasetError
        If none of the images can be opened.
    SummitError
        As it comes from the workers.
    """
    cluster = connect()
    layers = store.layer_graph.with_maps
    best = _strongest(store, cluster, layers, options.examples)
    wanted = _wanted(best)
    with installed(
        cluster.client, ViewerPlugin(store.path, fingerprints(store)["extract"]), store.network.model
    ) as name:
        seen = _view(store, cluster, wanted, options.thumbnail, name)
    for place, (layer, own) in enumerate(zip(layers, best, strict=True)):
        _write(store, layer, own, seen.rows(np.flatnonzero(wanted.layer == place)))


def _strongest(store: Store, cluster: Cluster, layers: Sequence[Layer], k: int) -> list[Strongest]:
    """Of each layer."""
    read = MaximaReader(store.path, tuple(layer.name for layer in layers))
    with Progress("examples", "layers", len(layers)) as progress:
        best: list[Strongest]
        (best,) = computed(cluster, [strongest_images(read, store.header.n_partitions, k)])
        progress.add(len(layers))
    return best


def _wanted(best: Sequence[Strongest]) -> Wanted:
    """The examples of all layers, channel after channel."""
    parts = []
    for place, own in enumerate(best):
        channel = np.broadcast_to(np.arange(len(own.image), dtype=np.int32)[:, None], own.image.shape)
        layer = np.full(own.image.size, place, np.int32)
        parts.append(Wanted(own.image.ravel(), layer, channel.ravel(), own.position.ravel()))
    return Wanted(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _view(store: Store, cluster: Cluster, wanted: Wanted, side: int, plugin: str) -> Seen:
    """What is seen of all layers at once, so that every image is opened and run once; a few images are a task."""
    groups = rows_by_images(wanted.image, max(_IMAGES_PER_TASK, store.header.run.config.batch_size))
    sizes = [len(np.unique(wanted.image[rows])) for rows in groups]
    seen, reasons = Seen.nothing(len(wanted.image)), Counter[str]()
    asked = resources(cluster.client)
    with Progress("examples", "images", sum(sizes)) as progress:
        futures = [
            cluster.client.submit(view_task, wanted.rows(rows), side, plugin, pure=False, resources=asked)
            for rows in groups
        ]
        for place, (part, failed) in finished(cluster, futures, range(len(groups))):
            seen.put(groups[place], part)
            reasons.update(failed)
            progress.add(sizes[place])
    if reasons and reasons.total() == sum(sizes):
        raise _blind(store, reasons)
    for reason, count in sorted(reasons.items()):
        say(f"{count} images have blank thumbnails: {reason}.")
    return seen


def _blind(store: Store, reasons: Counter[str]) -> DatasetError:
    """Nothing to be opened is a fault of the place, not of the images: what there was of examples stays."""
    return DatasetError(
        f"None of the {reasons.total()} images that excite channels most can be opened ({min(reasons)}); they were "
        f"read from {store.images_root}. Give --images anew to 'summit-dask run' where they lie now; examples that "
        f"{store.path} has stay as they are."
    )


def _write(store: Store, layer: Layer, best: Strongest, seen: Seen) -> None:
    data, offsets = encoded.pack(seen.thumbnail)
    shape = best.image.shape
    columns = {
        "image_index": best.image,
        "value": best.value,
        "box": seen.box.reshape(*shape, 4),
        "centre": seen.centre.reshape(*shape, 2),
        "share": seen.share.reshape(shape),
        "map": seen.map.reshape(*shape, GRID, GRID),
        "thumbnail_bytes": data,
        "thumbnail_offset": offsets,
    }
    for name, values in columns.items():
        store.add(f"examples/{layer.name}/{name}", values)


# On workers


class ViewerPlugin(NetworkPlugin):
    """Builds the network on every worker, once, and knows where the images are."""

    def __init__(self, path: Location, key: int) -> None:
        super().__init__(path, key)
        self.path = path

    def prepare(self, worker: Worker) -> None:
        """See `NetworkPlugin`."""
        prepare_process()
        store = Store.open(self.path)
        spec = store.network
        network = built(spec, store.header.run.config.batch_size, self.path)
        self.viewer = ExampleViewer(network, spec.preprocessing, device_of(worker))
        self.open_image = originals(store)


def view_task(wanted: Wanted, side: int, plugin: str) -> tuple[Seen, Counter[str]]:
    """Look at the examples of some images. Runs on a worker."""
    at = plugin_of(plugin, ViewerPlugin)
    return at.viewer(wanted, at.open_image, side)
