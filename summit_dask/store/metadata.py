"""The metadata of all nodes, gathered in the root's zarr.json, and the checksum that tells its own damage."""

import json
from collections.abc import Mapping
from typing import Any

import google_crc32c

from summit_dask.facts.files import folder
from summit_dask.facts.location import Location

METADATA = "zarr.json"

#: Attribute of the root; None while something writes.
CHECKSUM = "checksum"


def checksum(root: Mapping[str, Any]) -> int:
    """Checksum of what a root's zarr.json says, but for the checksum itself."""
    attributes = {name: value for name, value in root["attributes"].items() if name != CHECKSUM}
    text = json.dumps({**root, "attributes": attributes}, sort_keys=True)
    return int(google_crc32c.value(text.encode()))


def root_of(path: Location) -> dict[str, Any]:
    """The root's zarr.json of a store."""
    found: dict[str, Any] = json.loads(folder(path).read(METADATA))
    return found


def gathered(root: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The zarr.json of each node below the root, by address; none while something writes."""
    copies = (root.get("consolidated_metadata") or {}).get("metadata", {})
    return {
        address: {key: value for key, value in copy.items() if key != "consolidated_metadata"}
        for address, copy in copies.items()
    }


def write_again(path: Location, address: str, copy: Mapping[str, Any]) -> None:
    """Write a node's zarr.json, to the bytes that Zarr wrote."""
    folder(path).write(f"{address}/{METADATA}", json.dumps(copy, indent=2).encode())
