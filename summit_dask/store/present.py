"""What of the registry a store has."""

from collections.abc import Iterator

import zarr

from summit_dask.facts import schema
from summit_dask.facts.addresses import addresses
from summit_dask.facts.schema import Variable
from summit_dask.store.store import Store

#: The store's group of what is counted by other groups of images than classes.
GROUPED = "grouped"


def stored_groupings(store: Store) -> list[str]:
    """What images were grouped by, of whose counts the store has finished ones; columns with a space between."""
    node = store.group.get(GROUPED)
    names = sorted(name for name, _ in node.groups()) if isinstance(node, zarr.Group) else []
    return [name for name in names if store.finished(f"{GROUPED}/{name}") is not None]


def present_arrays(store: Store) -> Iterator[tuple[str, Variable]]:
    """Addresses of the registry's arrays that the store has, and what they are."""
    groupings = stored_groupings(store)
    for head in dict.fromkeys(variable.head for variable in schema.VARIABLES):
        for address, variable in addresses(store.layer_graph, head, groupings):
            if store.has(address):
                yield address, variable
