"""What Zarr opens: a folder of this machine, a zip file, or a bucket, whose faults are told in our words."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, ZipStore

from summit_dask.facts.files import Bucket, Folder, Zip, reached


def zarr_place(folder: Folder, writable: bool) -> Any:
    """What `zarr.open_group` takes for a folder."""
    if isinstance(folder, Bucket):
        return BucketStore.from_mapper(folder.fs.get_mapper(folder.root), read_only=not writable)
    return ZipStore(folder.path, mode="r") if isinstance(folder, Zip) else folder.path


class BucketStore(FsspecStore):
    """A store of objects; fsspec tries again what fails, and what fails again and again ends in a `StoreError`."""

    def _named(self, key: str) -> str:
        return str(self.fs.unstrip_protocol(f"{self.path}/{key}".rstrip("/")))

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """See `zarr.abc.store.Store`."""
        with reached("Reading", self._named(key)):
            # From the first byte on: for a whole object its size would be asked for first, in a request of its own.
            return await super().get(key, prototype, byte_range or OffsetByteRequest(0))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """See `zarr.abc.store.Store`."""
        with reached("Reading", self._named("")):
            return await super().get_partial_values(prototype, key_ranges)

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """See `zarr.abc.store.Store`."""
        with reached("Writing", self._named(key)):
            await super().set(key, value, byte_range)

    async def exists(self, key: str) -> bool:
        """See `zarr.abc.store.Store`."""
        with reached("Reading", self._named(key)):
            return await super().exists(key)

    async def delete_dir(self, prefix: str) -> None:
        """See `zarr.abc.store.Store`."""
        with reached("Writing", self._named(prefix)):
            await super().delete_dir(prefix)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """See `zarr.abc.store.Store`."""
        with reached("Listing", self._named(prefix)):
            async for name in super().list_dir(prefix):
                yield name
