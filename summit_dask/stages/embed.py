"""The embed stage: similar classes near each other in the plane, layer by layer; needs no cluster."""

import numpy as np

from summit_dask.arrays.embedding import embed_layers
from summit_dask.facts.config import ResultOptions
from summit_dask.stages.cluster import Connect
from summit_dask.store.progress import Progress
from summit_dask.store.store import Store


def embed(store: Store, options: ResultOptions, connect: Connect) -> None:
    """Place the classes by their counts."""
    names = [layer.name for layer in store.layer_graph.with_maps]
    counts = {name: store.read(f"matrices/{name}/activation_count") for name in names}
    with Progress("embed", "layers", len(names)) as progress:
        for name, points in embed_layers(counts, options.seed).items():
            for axis, column in enumerate("xy"):
                store.add(f"embedding/{name}/{column}", np.ascontiguousarray(points[:, axis]))
            progress.add(1)
