"""What the root's attributes of a store say: the layer graph, the run, and the length of every fixed dim."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from pydantic import ValidationError

from summit_dask.facts import schema
from summit_dask.facts.errors import StoreError, StoreVersionError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.location import Location
from summit_dask.facts.run import Run


@dataclass(frozen=True)
class Header:
    """The root's attributes."""

    layer_graph: LayerGraph
    run: Run
    n_images: int
    n_classes: int
    n_outputs: int
    partition_size: int

    @property
    def n_partitions(self) -> int:
        """Partitions of the images."""
        return ceil(self.n_images / self.partition_size)

    def lengths(self) -> dict[str, int]:
        """Length of each dim that all groups share."""
        return {
            "image": self.n_images,
            "class": self.n_classes,
            "class_bound": self.n_classes + 1,
            "output": self.n_outputs,
            "prediction_rank": min(schema.N_PREDICTIONS, self.n_outputs),
            "source_rank": schema.N_NODE_SOURCES,
            "visible_layer": len(self.layer_graph.visible),
            "partition": self.n_partitions,
        }

    def attributes(self) -> dict[str, Any]:
        """As the root's attributes."""
        return {
            "summit_format": schema.FORMAT_VERSION,
            "layer_graph": json.loads(self.layer_graph.to_json()),
            "run": self.run.plain(),
            "sizes": {
                "n_images": self.n_images,
                "n_classes": self.n_classes,
                "n_outputs": self.n_outputs,
                "partition_size": self.partition_size,
            },
        }

    @classmethod
    def of(cls, attributes: Mapping[str, Any], path: Location) -> "Header":
        """From the root's attributes.

        Raises
        ------
        StoreError, StoreVersionError
            If they are not those of a store, or of another format version.
        """
        if "summit_format" not in attributes:
            raise StoreError(
                f"{path} is a Zarr group, but no summit-dask store (its attributes lack 'summit_format'). "
                "Give the folder that 'summit-dask run --out' made."
            )
        version = attributes["summit_format"]
        if version != schema.FORMAT_VERSION:
            raise StoreVersionError(
                f"{path} has the store format {version}; this version reads format {schema.FORMAT_VERSION}. "
                "Make the store again with 'summit-dask run', or use the version that wrote it."
            )
        try:
            layer_graph = LayerGraph.from_json(json.dumps(attributes["layer_graph"]))
            return cls(layer_graph, Run(**attributes["run"]), **attributes["sizes"])
        except (KeyError, TypeError, ValidationError) as error:
            raise StoreError(
                f"The attributes of {path} are damaged ({type(error).__name__}: {error}); delete the store and make it "
                "again, or restore its zarr.json."
            ) from error
