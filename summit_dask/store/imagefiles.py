"""Where the images of a store are, as `images` reads them, and opening them as long as they are those measured."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from summit_dask.facts.location import Location
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import open_image
from summit_dask.images.files import ImageFile, Part, Reader, Row, image_file, size_of
from summit_dask.store.store import Store


@dataclass(frozen=True)
class ImageFiles:
    """Some of a store's images: the folder or address that paths start from, paths, places in shards, and sizes."""

    root: Location
    paths: NDArray[Any]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, store: Store, read: Callable[[str], NDArray[Any]]) -> "ImageFiles":
        """Those of which `read` gives the values at an address."""
        paths, sizes = read("images/path"), read("images/file_size")
        if not store.has("images/shard_offset"):  # laid out when there were no shards
            nowhere = np.full(len(paths), -1)
            return cls(store.images_root, paths, nowhere, nowhere, sizes)
        return cls(store.images_root, paths, read("images/shard_offset"), read("images/shard_length"), sizes)

    def file(self, index: int) -> ImageFile:
        """One of them."""
        return image_file(self.root, str(self.paths[index]), int(self.offsets[index]), int(self.lengths[index]))

    def all(self) -> list[ImageFile]:
        """All of them, in their order."""
        return [self.file(index) for index in range(len(self.paths))]

    def is_here(self, index: int) -> bool:
        """Whether one of them would be on this machine, and not at an address."""
        file = self.file(index)
        return isinstance(file.shard if isinstance(file, Part | Row) else file, Path)

    def opened(self, index: int, reader: Reader, preprocessing: Preprocessing) -> Image.Image:
        """The picture, neither resized nor cropped.

        Raises
        ------
        ValueError
            If the file has another size than when it was extracted.
        Exception
            Whatever Pillow, or a file system, raises for a file that it can't read.
        """
        (content,) = reader.read([self.file(index)])
        if isinstance(content, Exception):
            raise content
        if self.sizes[index] and size_of(content) not in (0, self.sizes[index]):  # 0: it is gone, as opening it tells
            raise ValueError("not the file that was extracted: its size has changed")
        return open_image(preprocessing, content)
