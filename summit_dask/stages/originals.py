"""Where the images of a store are, as `images` reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts.location import Location
from summit_dask.images.files import ImageFile, image_file
from summit_dask.store.store import Store


@dataclass(frozen=True)
class ImageFiles:
    """Some of a store's images: the folder or address that their paths start from, paths, and places in shards."""

    root: Location
    paths: NDArray[Any]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, store: Store, read: Callable[[str], NDArray[Any]]) -> "ImageFiles":
        """Those of which `read` gives the values at an address."""
        paths = read("images/path")
        if not store.has("images/shard_offset"):  # laid out when there were no shards
            nowhere = np.full(len(paths), -1)
            return cls(store.images_root, paths, nowhere, nowhere)
        return cls(store.images_root, paths, read("images/shard_offset"), read("images/shard_length"))

    def file(self, index: int) -> ImageFile:
        """One of them."""
        return image_file(self.root, str(self.paths[index]), int(self.offsets[index]), int(self.lengths[index]))

    def all(self) -> list[ImageFile]:
        """All of them, in their order."""
        return [self.file(index) for index in range(len(self.paths))]
