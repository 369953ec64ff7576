"""Pictures of channels in a store: reading a layer's, adding to them.

What is there stays, whether it was made or imported; a picture of the same channel and kind is replaced.
Called within `Store.changing`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts import encoded
from summit_dask.facts.errors import FormatError, suggestion
from summit_dask.facts.schema import PICTURE_KINDS
from summit_dask.store.store import Store

SETTINGS = "settings"

#: Encoded pictures by channel and kind (one of `schema.PICTURE_KINDS`).
Pictures = Mapping[tuple[int, str], bytes]


def read_pictures(store: Store, layer: str) -> dict[tuple[int, str], bytes]:
    """All pictures of a layer, by channel, then kind; empty if it has none."""
    if not store.has(f"pictures/{layer}/picture_offset"):
        return {}
    offsets = store.read(f"pictures/{layer}/picture_offset")
    items = encoded.unpack_all(store.read(f"pictures/{layer}/picture_bytes"), offsets)
    n_kinds = len(PICTURE_KINDS)
    return {(item // n_kinds, PICTURE_KINDS[item % n_kinds]): picture for item, picture in enumerate(items) if picture}


def made_with(store: Store, layer: str) -> NDArray[np.uint64]:
    """Settings that each picture was made with (channel, kind); 0: imported, or no picture."""
    address = f"pictures/{layer}/made_with"
    if not store.has(address):
        return np.zeros((store.layer_graph.layer(layer).channels, len(PICTURE_KINDS)), np.uint64)
    return store.read(address)


def note_settings(store: Store, key: int, settings: Mapping[str, Any]) -> None:
    """Keep what settings a fingerprint in `made_with` stands for."""
    group = store.group.require_group("pictures")
    noted: Any = group.attrs.get(SETTINGS, {})
    group.update_attributes({SETTINGS: {**noted, f"{key:x}": dict(settings)}})


def noted_settings(store: Store) -> dict[int, dict[str, Any]]:
    """Settings of pictures, by the fingerprint in `made_with`."""
    noted: Any = store.group["pictures"].attrs.get(SETTINGS, {})
    return {int(key, 16): settings for key, settings in noted.items()}


def add_pictures(store: Store, layer: str, pictures: Pictures, settings: int = 0) -> None:
    """Add pictures to a layer's; a kill at any moment loses none that were there.

    Parameters
    ----------
    settings
        Fingerprint of what they were made with; 0: imported.

    Raises
    ------
    FormatError
        For a channel that the layer doesn't have, or an unknown kind.
    """
    channels = store.layer_graph.layer(layer).channels
    for channel, kind in pictures:
        _check(layer, channel, channels, kind)
    table = made_with(store, layer)
    for channel, kind in pictures:
        table[channel, PICTURE_KINDS.index(kind)] = settings
    everything = {**read_pictures(store, layer), **pictures}
    data, offsets = encoded.pack([everything.get((c, kind), b"") for c in range(channels) for kind in PICTURE_KINDS])
    with store.renewing(f"pictures/{layer}") as draft:
        draft.add(f"pictures/{layer}/picture_bytes", data)
        draft.add(f"pictures/{layer}/picture_offset", offsets)
        draft.add(f"pictures/{layer}/made_with", table)


def _check(layer: str, channel: int, channels: int, kind: str) -> None:
    if not 0 <= channel < channels:
        raise FormatError(f"A picture is for channel {channel} of {layer}, which has the channels 0 to {channels - 1}.")
    if kind not in PICTURE_KINDS:
        raise FormatError(f"A picture of {layer} is of the unknown kind {kind!r}. {suggestion(kind, PICTURE_KINDS)}")
