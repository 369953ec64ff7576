"""How arrays are cut into chunks and files.

A partition of images is exactly one shard (one file) of each array along `image`, so workers never share a file:

    image     channel ->
    partition |chunk|chunk|chunk|   one shard, one file
    partition |chunk|chunk|chunk|
"""

from math import ceil, prod
from typing import NamedTuple

from summit_dask.facts.schema import Variable

CHUNK_BYTES = 2**18
MATRIX_SHARD_BYTES = 2**26
CLASSES_PER_SHARD = 8
PICTURE_CHUNK_BYTES = 2**16
LONGEST_CHUNK = 2**16

Shape = tuple[int, ...]


class Cut(NamedTuple):
    """Shape of an array's chunks, and of its shards where several chunks share a file."""

    chunk: Shape
    shard: Shape | None


def partition_size(n_images: int) -> int:
    """Images in one partition: 1024, halved for smaller sets until there are 16, not below 32."""
    size = 1024
    while size > 32 and ceil(n_images / size) < 16:
        size //= 2
    return size


def cut(variable: Variable, shape: Shape, partition: int) -> Cut:
    """How an array is cut; `partition` is the number of images in one."""
    itemsize = variable.numpy_dtype.itemsize
    if variable.dims == ("partition",):
        return Cut((1,), None)
    if variable.dims[0] == "image":
        return _cut_by_partition(shape, itemsize, partition)
    if variable.dims[1:] == ("channel", "source"):
        return _cut_by_class(shape, itemsize)
    if variable.dims[0].endswith("_byte"):
        return _cut_bytes(shape[0])
    return Cut(tuple(max(1, min(length, LONGEST_CHUNK)) for length in shape), None)


def _cut_by_partition(shape: Shape, itemsize: int, partition: int) -> Cut:
    if len(shape) == 1:
        return Cut((partition,), (partition,))
    rest = shape[2:]
    channels = max(1, min(shape[1], CHUNK_BYTES // (partition * prod(rest) * itemsize)))
    whole = ceil(shape[1] / channels) * channels
    return Cut((partition, channels, *rest), (partition, whole, *rest))


def _cut_by_class(shape: Shape, itemsize: int) -> Cut:
    """A class is read at a time; eight are written at a time, or four, two, one if they are large."""
    bytes_per_class = max(1, prod(shape[1:]) * itemsize)
    classes = CLASSES_PER_SHARD
    while classes > 1 and classes * bytes_per_class > MATRIX_SHARD_BYTES:
        classes //= 2
    return Cut((1, *shape[1:]), (min(shape[0], classes), *shape[1:]))


def _cut_bytes(length: int) -> Cut:
    whole = ceil(max(length, 1) / PICTURE_CHUNK_BYTES) * PICTURE_CHUNK_BYTES
    return Cut((PICTURE_CHUNK_BYTES,), (min(whole, MATRIX_SHARD_BYTES),))
