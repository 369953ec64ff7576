"""What a power cut must not take: files that are there by name, and whose content the system still holds in memory."""

import ctypes
import os
from pathlib import Path

from summit_dask.facts.location import Location


def flush(path: Location) -> None:
    """Have the file system of a folder write to disk what it holds; what says that a part is whole comes after this.

    One call for a part of hundreds of files: each by itself would wait for the disk. A bucket has what it answered for.
    """
    if not isinstance(path, Path):
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(folder):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    except AttributeError:  # a system that can only be asked for all its disks
        os.sync()
    finally:
        os.close(folder)
