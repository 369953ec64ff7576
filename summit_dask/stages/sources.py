"""What a store keeps of the images and classes that it is made of: in short as facts, in full as tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts import schema
from summit_dask.facts.config import fingerprint
from summit_dask.facts.errors import StoreMismatchError
from summit_dask.images.classes import Outputs, map_classes
from summit_dask.images.sources import ImageSet, read_image_set
from summit_dask.network.load import find_network
from summit_dask.store.store import Store


def facts_of_images(images: ImageSet, outputs: Outputs) -> dict[str, str]:
    """Which images and classes there are, in short."""
    mapping = [outputs.of_class[label] for label in images.classes]
    return {
        "images": f"{len(images.table)} images, digest {images.digest()[:16]}",
        "classes": f"{len(images.classes)} classes, digest {fingerprint({'outputs': mapping}):x}",
    }


def tables_of(images: ImageSet, outputs: Outputs) -> dict[str, dict[str, NDArray[Any]]]:
    """Tables of images, classes and outputs, as `Store.create` takes them."""
    index = np.array([outputs.of_class[label] for label in images.classes], np.int32)
    names, synsets = _strings(outputs.names), _strings(outputs.synsets)
    return {
        "": {"image": np.arange(len(images.table)), "class": _strings(images.classes)},
        "outputs": {"name": names, "synset": synsets},
        "images": {
            "path": _strings(images.table["path"].tolist()),
            "class_index": images.class_index,
            **images.shard_columns,
            **images.columns,
        },
        "classes": {"name": names[index], "synset": synsets[index], "output_index": index},
    }


def _strings(texts: Sequence[str]) -> NDArray[Any]:
    return np.array(texts, dtype=schema.STRING)


def tables_again(store: Store) -> dict[str, NDArray[Any]]:
    """All that `init` fills, by address, from the images and classes as they are now.

    Raises
    ------
    StoreMismatchError
        If these are no longer those that the store was made of, or images were appended, in their own order.
    """
    run, config = store.header.run, store.header.run.config
    if run.earlier:
        raise StoreMismatchError(
            f"The tables of {store.path} are damaged and can't be made again: images were appended to it, in an order "
            "that nothing else tells. Restore the store's files, or make it again with 'summit-dask run'."
        )
    images = read_image_set(config.images, config.images_per_class)
    found = find_network(config.model, config.weights, config.weights_key, config.transform_input)
    outputs = map_classes(images.classes, store.header.n_outputs, config.classes, found.categories)
    for name, now in facts_of_images(images, outputs).items():
        if run.facts[name] != now:
            raise StoreMismatchError(
                f"The tables of {store.path} are damaged and can't be made again: the store has {run.facts[name]}, "
                f"now there are {now}. Restore the {name}, or the store's files."
            )
    tables = tables_of(images, outputs)
    return {f"{group}/{name}".strip("/"): values for group, own in tables.items() for name, values in own.items()}
