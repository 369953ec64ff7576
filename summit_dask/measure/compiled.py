"""Compiles every kernel once, into numba's cache on disk, before work is spread over processes."""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from filelock import FileLock
from scipy.sparse import csr_array

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.graph.attribution import class_graph
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.arrays.influence import contribution, maximum, merge
from summit_dask.arrays.matrices import count_selected, count_sources
from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph, Window

#: Only one process of a user compiles on a machine; the others wait and load what it made.
_USER = getattr(os, "getuid", int)()  # 0 where there are no user numbers
_LOCK = Path(tempfile.gettempdir()) / f"summit-dask-compile-{_USER}.lock"


def compile_kernels() -> float:
    """Compile what is not in the cache yet; returns the seconds it took, under a second if all was there."""
    start = time.monotonic()
    with FileLock(_LOCK):
        maximum.warm_up()
        merge.warm_up()
        contribution.warm_up()
        _count_and_rank()
    return time.monotonic() - start


def _count_and_rank() -> None:
    """One pass of the reductions and of the attribution graph over next to nothing."""
    values, zeros = np.ones((1, 2), np.float32), np.zeros(1, np.int32)
    counts = count_selected(select_channels(values, 0.5, ()), zeros, 1)
    sources = count_sources(np.zeros((1, 2, 1), np.int16), zeros, 1, 2)
    window = Window((1, 1), (1, 1), (0, 0))
    layers = tuple(Layer(name, 2, 1, 1, True, window) for name in ("lower", "upper"))
    graph = LayerGraph(layers, (Hop("upper.weight", "lower", "upper", range(2), Convolution()),))
    activation = {"lower": counts[0], "upper": counts[0]}
    class_graph(graph, ClassCounts(activation, {"upper.weight": csr_array(sources)}), {})
