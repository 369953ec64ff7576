"""A partition of images measured in fixed batches: decoded in threads, run through the network, written into arrays.

files ── reading thread ── decoding threads ── batches ── Extractor ── arrays of the whole partition, by address
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from dask.system import CPU_COUNT
from jaxtyping import Int32, UInt8
from numpy.typing import NDArray

from summit_dask.arrays.influence.merge import Ranking
from summit_dask.facts import schema
from summit_dask.facts.addresses import measured_arrays, own_lengths
from summit_dask.facts.config import ExtractOptions
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.images.decode import decode
from summit_dask.images.files import Content, ImageFile, Reader, checksum_of, place_of, size_of
from summit_dask.measure.extractor import Extraction, Extractor

#: Values by address, as `Store.write` takes them.
Arrays = dict[str, NDArray[Any]]

#: Of a worker on the CPU, of which there is one a core; a GPU's own are counted below.
DECODING_THREADS = 2
BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Partition:
    """The images to measure: their files, the network's output of each one's class, and how many outputs it has."""

    files: Sequence[ImageFile]
    outputs: Int32[np.ndarray, " image"]
    n_outputs: int


def extract_partition(
    extractor: Extractor, preprocessing: Preprocessing, partition: Partition, options: ExtractOptions
) -> Arrays:
    """Measure a partition in fixed batches, decoding in threads while the network computes.

    An unreadable image keeps its place in the batch, as zeros, so that its neighbours' values don't depend on it.

    Parameters
    ----------
    options
        The run's; k and influence_values matter here.

    Returns
    -------
    Arrays
        Every variable of the partition as the registry describes it. Unreadable images have fill values
        and a reason.

    Raises
    ------
    NumericalError
        For NaN, infinity, or an influence beyond float16.
    """
    buffers = _Buffers(extractor.layer_graph, partition, options)
    begun: deque[tuple[int, NDArray[np.bool_], Callable[[], Extraction]]] = deque()
    for start, batch in decoded_batches(
        preprocessing, partition.files, extractor.batch_size, decoding_threads(extractor)
    ):
        readable = np.array([not reason for reason in batch.reasons])
        buffers.note_reading(start, readable, batch)
        if readable.any():
            outputs = partition.outputs[start : start + len(readable)]
            begun.append((start, readable, extractor.begin(batch.pixels, outputs)))
        if len(begun) > 1:  # a GPU has work while the batch before is taken down
            buffers.fill(*begun.popleft())
    for last in begun:
        buffers.fill(*last)
    return buffers.values


def decoding_threads(extractor: Extractor) -> int:
    """A GPU takes what all cores of its share of the machine can decode."""
    return max(DECODING_THREADS, CPU_COUNT // torch.cuda.device_count()) if extractor.on_gpu else DECODING_THREADS


class _Buffers:
    """The arrays of one partition, filled batch by batch."""

    def __init__(self, graph: LayerGraph, partition: Partition, options: ExtractOptions) -> None:
        self.graph = graph
        self.outputs = partition.outputs
        n_ranks = min(schema.N_PREDICTIONS, partition.n_outputs)
        lengths = {"image": len(partition.files), "rank": options.k, "prediction_rank": n_ranks}
        variables = {address: schema.variable(address) for address in schema.MEASURED_OF_IMAGES}
        variables |= measured_arrays(graph, options)
        self.values: Arrays = {
            address: np.full(
                schema.sizes(variable, {**lengths, **own_lengths(graph, address)}), variable.fill, variable.numpy_dtype
            )
            for address, variable in variables.items()
        }

    def note_reading(self, start: int, readable: NDArray[np.bool_], batch: "Batch") -> None:
        """Status, reason, size and checksum of the images of a batch."""
        rows = slice(start, start + len(readable))
        self.values["images/status"][rows] = np.where(readable, schema.READ, schema.UNREADABLE)
        self.values["images/reason"][rows] = np.array(batch.reasons, schema.STRING)
        self.values["images/file_size"][rows] = batch.sizes
        self.values["images/checksum"][rows] = batch.checksums

    def fill(self, start: int, readable: NDArray[np.bool_], measured: Callable[[], Extraction]) -> None:
        """Values of a batch's readable images, once they are there."""
        result = measured()
        rows = start + np.flatnonzero(readable)
        for name, extremes in result.extremes.items():
            self.values[f"activations/{name}/value"][rows] = extremes.maximum[readable]
            self.values[f"activations/{name}/position"][rows] = extremes.position[readable]
        for name, ranking in result.rankings.items():
            self._fill_ranking(rows, readable, name, f"influences/{name}/", ranking)
        for name, ranking in result.contributions.items():
            self._fill_ranking(rows, readable, name, f"contributions/{name}/", ranking)
        for name, ranking in result.inhibitors.items():
            lowering = ranking._replace(value=-ranking.value)
            self._fill_ranking(rows, readable, name, f"contributions/{name}/inhibitor_", lowering)
        for name, relevance in result.relevances.items():
            self.values[f"relevances/{name}/value"][rows] = relevance[readable]
        self._fill_predictions(rows, result.probabilities[readable])

    def _fill_ranking(
        self, rows: NDArray[np.int64], readable: NDArray[np.bool_], layer: str, address: str, ranking: Ranking
    ) -> None:
        self.values[f"{address}hop"][rows] = ranking.hop[readable]
        self.values[f"{address}source"][rows] = ranking.source[readable]
        if f"{address}value" in self.values:
            hops = [hop.name for hop in self.graph.incoming(layer)]
            self.values[f"{address}value"][rows] = _as_half(ranking.value[readable], ranking.hop[readable], hops)

    def _fill_predictions(self, rows: NDArray[np.int64], probabilities: NDArray[np.float32]) -> None:
        n_ranks = self.values["images/predicted"].shape[1]
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :n_ranks]
        self.values["images/predicted"][rows] = best
        self.values["images/probability"][rows] = np.take_along_axis(probabilities, best, 1)
        self.values["images/true_probability"][rows] = probabilities[np.arange(len(rows)), self.outputs[rows]]


def _as_half(values: NDArray[np.float32], hop: NDArray[np.int8], names: Sequence[str]) -> NDArray[np.float16]:
    sizes = np.abs(values)
    largest = float(sizes.max(initial=0))
    if largest > float(np.finfo(np.float16).max):
        name = names[int(hop.flat[sizes.argmax()])]
        raise NumericalError(
            f"An influence or contribution by hop {name} is {largest:g}, more than float16 holds (65504); "
            "run with --no-influence-values, which keeps the sources alone."
        )
    return values.astype(np.float16)


class Batch(NamedTuple):
    """Decoded images: zeros and a reason where one is unreadable, else an empty reason; size and checksum of each."""

    pixels: UInt8[np.ndarray, "image height width colour"]
    reasons: Sequence[str]
    sizes: Sequence[int]
    checksums: Sequence[int]


def decoded_batches(
    preprocessing: Preprocessing, files: Sequence[ImageFile], batch_size: int, n_threads: int
) -> Iterator[tuple[int, Batch]]:
    """Place of the first image, and all of a batch: read ahead in their order by one thread, decoded by others."""
    reader = Reader()
    with ThreadPoolExecutor(1, "read") as reading, ThreadPoolExecutor(n_threads, "decode") as pool:
        waiting: deque[list[Future[Any]]] = deque()
        starts = range(0, len(files), batch_size)
        ahead = iter(starts)
        for start in starts:
            while len(waiting) <= BATCHES_AHEAD and (upcoming := next(ahead, None)) is not None:
                batch = files[upcoming : upcoming + batch_size]
                contents = reading.submit(reader.read, batch)
                waiting.append([pool.submit(_decoded, preprocessing, contents, *item) for item in enumerate(batch)])
            pixels, *facts = zip(*(item.result() for item in waiting.popleft()), strict=True)
            yield start, Batch(np.stack(pixels), *facts)


def _decoded(
    preprocessing: Preprocessing, contents: "Future[list[Content]]", index: int, file: ImageFile
) -> tuple[NDArray[np.uint8], str, int, int]:
    """Pixels of an image of a batch, why there are none, its size and its checksum."""
    content = contents.result()[index]
    try:
        if isinstance(content, Exception):
            raise content
        return decode(preprocessing, content), "", size_of(content), checksum_of(content)
    except Exception as error:  # Pillow's plugins raise whatever they like on damaged files
        colours, height, width = preprocessing.input_size
        nothing = np.zeros((height, width, colours), np.uint8)
        reason = f"{type(error).__name__}: {error}".replace(place_of(file), "")
        return nothing, reason, size_of(content), checksum_of(content)
