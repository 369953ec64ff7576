"""What people call channels: a file beside the store, which itself stays as it was computed.

store.zarr
store.zarr.names.json     {"mixed4c": {"447": {"name": "snake scales", "note": "also fish, see mixed4d 12"}}}
"""

import json
from collections.abc import Mapping
from typing import NamedTuple

from summit_dask.facts.errors import StoreError
from summit_dask.facts.files import folder
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.location import Location


class Called(NamedTuple):
    """A channel's name and what is noted of it; either may be empty."""

    name: str
    note: str = ""


def names_file(store: Location) -> Location:
    """Where the names of a store's channels are kept; it goes along when it is copied with the store."""
    return store.with_name(f"{store.name}.names.json")


def read_names(store: Location) -> dict[Channel, Called]:
    """Names by channel; none where no channel was named.

    Raises
    ------
    StoreError
        If the file isn't one of names.
    """
    file = names_file(store)
    try:
        by_layer = json.loads(folder(file.parent).read(file.name))
        return {
            Channel(str(layer), int(index)): Called(str(entry.get("name", "")), str(entry.get("note", "")))
            for layer, own in by_layer.items()
            for index, entry in own.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise StoreError(
            f"{file} doesn't hold names of channels ({type(error).__name__}: {error}). Mend it or remove it."
        ) from error


def write_name(store: Location, channel: Channel, called: Called) -> None:
    """Call a channel something, or nothing any more where name and note are empty.

    Raises
    ------
    StoreError
        If the file isn't one of names, or can't be written.
    """
    names = {**read_names(store), channel: called}
    file = names_file(store)
    content = json.dumps(_by_layer(names), indent=1, ensure_ascii=False).encode()
    try:
        folder(file.parent).write(file.name, content)
    except OSError as error:
        raise StoreError(
            f"The name can't be written to {file}: {error}. Make room there, or copy the store to where you may write."
        ) from error


def _by_layer(names: Mapping[Channel, Called]) -> dict[str, dict[str, dict[str, str]]]:
    by_layer: dict[str, dict[str, dict[str, str]]] = {}
    for channel, called in sorted(names.items()):
        if any(called):
            by_layer.setdefault(channel.layer, {})[str(channel.index)] = called._asdict()
    return by_layer
