"""How a process keeps its memory: what glibc's malloc can be asked."""

import ctypes

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
