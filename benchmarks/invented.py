"""A store without a network or images: laid out as a run does, its values are made up by whoever measures."""

from pathlib import Path

import numpy as np

from summit_dask.facts.layergraph import LayerGraph
from summit_dask.store.header import Header
from summit_dask.store.layout import partition_size
from summit_dask.store.store import Store
from tests.stores import run_of_images, tables

#: The paper's measures at a run's own settings.
OPTIONS = {"k": 5, "p": 0.075, "excluded": (), "contributions": False, "influence_values": False}


def invented_store(path: Path, layer_graph: LayerGraph, n_images: int, n_classes: int) -> Store:
    """Images ordered by class, as many of each; their arrays are laid out and empty."""
    per_class = n_images // n_classes
    given = tables(np.random.default_rng(0), n_classes, per_class, ())
    run = run_of_images()
    run = run.model_copy(update={"config": run.config.replaced(**OPTIONS)})
    n_images = n_classes * per_class
    header = Header(layer_graph, run, n_images, n_classes, n_classes, partition_size(n_images))
    return Store.create(path, header, given)
