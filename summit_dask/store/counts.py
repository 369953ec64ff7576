"""What was counted of classes, read from a store; and which images count.

Values are read through `Read`, so that workers (zarr) and users (an open xarray tree) share the code.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.facts import schema
from summit_dask.facts.layergraph import LayerGraph

#: Values of an array, by its address; some rows of its first dim or all.
Read = Callable[[str, Any], NDArray[Any]]


def read_counts(read: Read, layer_graph: LayerGraph, classes: slice) -> list[ClassCounts]:
    """Counts of some neighbouring classes, each array read once."""
    activation = {layer.name: read(f"matrices/{layer.name}/activation_count", classes) for layer in layer_graph.visible}
    influence = {hop.name: read(f"matrices/{hop.name}/influence_count", classes) for hop in layer_graph.hops}
    return [
        ClassCounts(
            {name: counts[index] for name, counts in activation.items()},
            {name: csr_array(counts[index]) for name, counts in influence.items()},
        )
        for index in range(classes.stop - classes.start)
    ]


def readable_classes(read: Read, rows: slice) -> NDArray[np.int32]:
    """Class of each image, -1 for the unreadable ones."""
    status = read("images/status", rows)
    classes = read("images/class_index", rows)
    return np.where(status == schema.READ, classes, -1).astype(np.int32)
