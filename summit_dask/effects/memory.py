"""How a worker's process keeps its memory."""

import ctypes

# Numbers of the options in glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT, _MAPPED = 2**31 - 1, 2**30


def keep_freed_memory() -> bool:
    """Have the C library keep memory that was freed, for the next batch; returns whether it could be asked.

    A forward pass frees and asks for the same sizes again and again. Dask starts workers with a threshold of 64 KiB,
    beyond which freed memory goes back to the system at once; every activation then comes as new pages, each zeroed
    by a page fault, which costs a third of the extraction's time. Only glibc can be asked.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_TRIM_THRESHOLD, _KEPT) and mallopt(_MMAP_THRESHOLD, _MAPPED))
