"""What channels see of the images that excite them most: where in them they fire, and a thumbnail of that.

    image ── opened once ─┬─ network ── maps of all layers ── regions ── crops ─┐
                          └─────────────── the original's own pixels ───────────┴── thumbnails

Of maps only what the crop shows of them is kept, so memory is that of a batch, whatever the number of examples.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int, Int32, Int64, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from summit_dask.arrays.regions import GRID, on_grid, regions
from summit_dask.arrays.thumbnails import blank, original_boxes, thumbnail
from summit_dask.facts.layergraph import Box
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import fitted
from summit_dask.measure.memory import on_device
from summit_dask.measure.meters import channels_first
from summit_dask.measure.normalise import Normaliser
from summit_dask.measure.running import interpreted_run
from summit_dask.network.traced import TracedNetwork

#: Pixels of the originals of a batch: beyond that it is run before it is full.
_MOST_PIXELS = 64_000_000

#: Gives an original by its place in the store, neither resized nor cropped, in the mode RGB or L. What it raises is
#: taken as the reason for a blank thumbnail.
OpenImage = Callable[[int], Image.Image]

Rows = Int64[np.ndarray, " row"]


class Wanted(NamedTuple):
    """Examples to look at: the image (-1: there is none), the layer's place among those with maps, the channel, and the
    position of the maximum.
    """

    image: Int32[np.ndarray, " item"]
    layer: Int32[np.ndarray, " item"]
    channel: Int32[np.ndarray, " item"]
    position: Int32[np.ndarray, " item"]

    def rows(self, rows: Int[np.ndarray, " row"]) -> "Wanted":
        """Some of them."""
        return Wanted(*(column[rows] for column in self))


class Seen(NamedTuple):
    """What was seen, in the order of what was wanted; see the registry, group "examples".

    `box` is 0, `centre` and `share` are NaN where an image could not be opened; the thumbnail is blank there, and empty
    where there is no image.
    """

    box: Int32[np.ndarray, "item side"]
    centre: Float32[np.ndarray, "item axis"]
    share: Float32[np.ndarray, " item"]
    map: UInt8[np.ndarray, "item grid_y grid_x"]
    thumbnail: list[bytes]

    @classmethod
    def nothing(cls, n: int) -> "Seen":
        """Of so many items, before any image was opened."""
        return cls(
            np.zeros((n, 4), np.int32),
            np.full((n, 2), np.nan, np.float32),
            np.full(n, np.nan, np.float32),
            np.zeros((n, GRID, GRID), np.uint8),
            [b""] * n,
        )

    def rows(self, rows: Int[np.ndarray, " row"]) -> "Seen":
        """What was seen of some items."""
        thumbnails = [self.thumbnail[row] for row in rows.tolist()]
        return Seen(self.box[rows], self.centre[rows], self.share[rows], self.map[rows], thumbnails)

    def put(self, rows: Int[np.ndarray, " row"], part: "Seen") -> None:
        """Put what was seen of some items in its place."""
        for own, theirs in zip(self[:4], part[:4], strict=True):
            own[rows] = theirs
        for row, data in zip(rows.tolist(), part.thumbnail, strict=True):
            self.thumbnail[row] = data


def rows_by_images(image: Int32[np.ndarray, " item"], n_images: int) -> list[Rows]:
    """Items of every few images that occur, the images ascending; items without an image are left out.

    Examples
    --------
    >>> rows_by_images(np.array([7, -1, 2, 7, 5], np.int32), 2)
    [array([2, 4]), array([0, 3])]
    """
    order = np.argsort(image, kind="stable")
    order = order[np.count_nonzero(image < 0) :]
    if len(order) == 0:
        return []
    _, starts = np.unique(image[order], return_index=True)
    return np.split(order, starts[n_images::n_images])


class ExampleViewer:
    """A traced network that shows where channels fire.

    Parameters
    ----------
    network
        Takes `batch_size` images at a time; what is missing is filled up.
    preprocessing
        How originals become the network's input.
    device
        Where it runs: "cpu" or "cuda:0".
    """

    def __init__(self, network: TracedNetwork, preprocessing: Preprocessing, device: str = "cpu") -> None:
        self._network, self._preprocessing, self._device = network, preprocessing, torch.device(device)
        self._layers = network.layer_graph.with_maps
        self._values = [network.values[layer.name] for layer in self._layers]
        with on_device(network, self._device):
            module = network.module.to(self._device).to(memory_format=torch.channels_last)
        self._run = interpreted_run(module, [value.node for value in self._values])
        self._normalise = Normaliser(preprocessing, network.batch_size, self._device)

    def __call__(self, wanted: Wanted, open_image: OpenImage, side: int) -> tuple[Seen, Counter[str]]:
        """Open and run each image once, and see all that is wanted of it; counts the images that failed, by reason.

        Parameters
        ----------
        side
            Longer side of the thumbnails, in pixels.
        """
        seen, reasons = Seen.nothing(len(wanted.image)), Counter[str]()
        rows = {int(wanted.image[own[0]]): own for own in rows_by_images(wanted.image, 1)}
        for pictures in self._batches(list(rows), open_image, reasons):
            self._look(pictures, rows, wanted, seen)
            for image, picture in pictures.items():
                for row in rows[image].tolist():
                    seen.thumbnail[row] = thumbnail(picture, Box(*seen.box[row].tolist()), side)
        for row in np.flatnonzero((wanted.image >= 0) & np.isnan(seen.share)).tolist():
            seen.thumbnail[row] = blank(side)
        return seen, reasons

    def _batches(
        self, images: Sequence[int], open_image: OpenImage, reasons: Counter[str]
    ) -> Iterator[dict[int, Image.Image]]:
        """Opened pictures, as many as the network takes or as memory should hold."""
        batch: dict[int, Image.Image] = {}
        for image in images:
            try:
                batch[image] = open_image(image)
            except Exception as error:  # Pillow's plugins raise whatever they like on damaged files
                reasons[_reason(error)] += 1
            n_pixels = sum(picture.height * picture.width for picture in batch.values())
            if len(batch) == self._network.batch_size or n_pixels > _MOST_PIXELS:
                yield batch
                batch = {}
        if batch:
            yield batch

    def _look(self, pictures: Mapping[int, Image.Image], rows: Mapping[int, Rows], wanted: Wanted, seen: Seen) -> None:
        """Run some images and note what their maps show."""
        pixels = np.stack([fitted(self._preprocessing, picture) for picture in pictures.values()])

        def look(node: str, tensor: Tensor) -> None:
            for layer in (k for k, value in enumerate(self._values) if value.node == node):
                maps = channels_first(tensor, self._values[layer].axis)
                for own_maps, (image, picture) in zip(maps, pictures.items(), strict=False):
                    own = rows[image][wanted.layer[rows[image]] == layer]
                    self._note(layer, own_maps, own, (picture.height, picture.width), wanted, seen)

        with on_device(self._network, self._device), torch.inference_mode():
            self._run(self._normalise(self._normalise.whole(pixels)), look)

    def _note(
        self, layer: int, maps: Tensor, rows: Rows, original: tuple[int, int], wanted: Wanted, seen: Seen
    ) -> None:
        """Of one image and layer."""
        position = wanted.position[rows]
        own = maps[torch.from_numpy(wanted.channel[rows]).to(maps.device)].float().cpu().numpy()
        found = regions(own, position, self._layers[layer], self._preprocessing)
        seen.box[rows] = original_boxes(found.box, original, self._preprocessing)
        seen.centre[rows], seen.share[rows] = found.centre, found.share
        seen.map[rows] = on_grid(own, position, seen.box[rows], original, self._layers[layer], self._preprocessing)


def _reason(error: Exception) -> str:
    """Without the file's name, so that equal reasons count together."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture that Pillow can read"
    return str(getattr(error, "strerror", None) or error)
