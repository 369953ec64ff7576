"""What a process may use: how it keeps its memory, and where compiled code may be kept."""

import ctypes
import os
import tempfile
from contextlib import suppress
from pathlib import Path

# Numbers of the options in glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT, _ARENAS = 2**31 - 1, 2
_MAPPED = (2**30, 2**25)  # older versions take 32 MiB at most


def keep_freed_memory() -> bool:
    """Have the C library keep memory that was freed, for the next batch; returns whether it could be asked.

    A forward pass frees and asks for the same sizes again and again. Dask starts workers with a threshold of 64 KiB,
    beyond which freed memory goes back to the system at once; every activation then comes as new pages, each zeroed
    by a page fault, which costs a third of the extraction's time. Only glibc can be asked.
    """
    return _set(_TRIM_THRESHOLD, _KEPT) and any(_set(_MMAP_THRESHOLD, size) for size in _MAPPED)


def give_back_freed_memory() -> None:
    """Give the system back, once, what this process has freed; where its C library can't, nothing happens.

    Each thread keeps what it has freed for itself: what was tried in one would be missing in another.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def share_freed_memory() -> bool:
    """Have the threads of this process use each other's freed memory; returns whether the C library could be asked.

    A server runs each answer in a thread of its own, and glibc gives threads pools that keep what they once held.
    """
    return _set(_ARENA_MAX, _ARENAS)


def _set(option: int, value: int) -> bool:
    try:
        return bool(ctypes.CDLL(None).mallopt(option, value))
    except (AttributeError, OSError, TypeError):  # another C library; Windows has none of this name at all
        return False


def keep_compiled_code(beside: str) -> None:
    """Have numba keep what it compiles in a temporary folder, where it may write neither beside the code nor at home.

    Numba looks for a place when it compiles the first function, and without one the import fails: as in a container
    that runs as another user. To be called before anything of numba is imported.

    Parameters
    ----------
    beside
        A file of the code that will be compiled.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.expanduser fails for a user without a home
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path(home) / ".cache")
    if not (_can_write(Path(beside).parent) or _can_write(cache)):
        user = getattr(os, "getuid", int)()  # 0 where there are no user numbers
        os.environ["NUMBA_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / f"summit-dask-compiled-{user}")


def _can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)
