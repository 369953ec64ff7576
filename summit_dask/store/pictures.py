"""Pictures of channels in a store: reading a layer's, adding to them.

What is there stays, whether it was made or imported; a picture of the same channel and kind is replaced.
Called within `Store.changing`.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts import encoded
from summit_dask.facts.errors import FormatError, suggestion
from summit_dask.facts.schema import PICTURE_KINDS
from summit_dask.store.store import Store

#: Encoded pictures by channel and kind (one of `schema.PICTURE_KINDS`).
Pictures = Mapping[tuple[int, str], bytes]


def read_pictures(store: Store, layer: str) -> dict[tuple[int, str], bytes]:
    """All pictures of a layer, by channel, then kind; empty if it has none."""
    _recover(store, layer)
    if f"pictures/{layer}/picture_offset" not in store.group:
        return {}
    offsets = store.read(f"pictures/{layer}/picture_offset")
    items = encoded.unpack_all(store.read(f"pictures/{layer}/picture_bytes"), offsets)
    return {
        (place // len(PICTURE_KINDS), PICTURE_KINDS[place % len(PICTURE_KINDS)]): b
        for place, b in enumerate(items)
        if b
    }


def made_with(store: Store, layer: str) -> NDArray[np.uint64]:
    """Settings that each picture was made with (channel, kind); 0: imported, or no picture."""
    _recover(store, layer)
    if f"pictures/{layer}/made_with" not in store.group:
        return np.zeros((store.layer_graph.layer(layer).channels, len(PICTURE_KINDS)), np.uint64)
    return store.read(f"pictures/{layer}/made_with")


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
    channels, kinds = store.layer_graph.layer(layer).channels, len(PICTURE_KINDS)
    for channel, kind in pictures:
        _check(layer, channel, channels, kind)
    table = made_with(store, layer)
    everything = {**read_pictures(store, layer), **pictures}
    for channel, kind in pictures:
        table[channel, PICTURE_KINDS.index(kind)] = settings
    data, offsets = encoded.pack([everything.get((c, kind), b"") for c in range(channels) for kind in PICTURE_KINDS])
    _set_aside(store, layer)
    store.make_group(
        "pictures/{layer}", layer, channel=channels, kind=kinds, picture_byte=len(data), picture_bound=len(offsets)
    )
    for name, values in (("picture_bytes", data), ("picture_offset", offsets), ("made_with", table)):
        store.write("pictures/{layer}", layer, name, values)
    _forget(store, layer)


def drafts_folder(store: Store) -> Path:
    """Beside the store: where pictures lie while a layer is incomplete or written anew."""
    return store.path.with_name(f"{store.path.name}.pictures")


def tidy(store: Store) -> None:
    """Remove the folder of drafts if nothing is left in it."""
    with suppress(OSError):
        drafts_folder(store).rmdir()


def _check(layer: str, channel: int, channels: int, kind: str) -> None:
    if not 0 <= channel < channels:
        raise FormatError(f"A picture is for channel {channel} of {layer}, which has the channels 0 to {channels - 1}.")
    if kind not in PICTURE_KINDS:
        raise FormatError(f"A picture of {layer} is of the unknown kind {kind!r}. {suggestion(kind, PICTURE_KINDS)}")


# While a layer is written anew, what it was lies beside the store; if it still lies there later, the
# writer was killed, and it goes back to its place.


def _place(store: Store, layer: str) -> Path:
    return store.path / "pictures" / layer


def _aside(store: Store, layer: str) -> Path:
    return drafts_folder(store) / f"before-{layer}"


def _set_aside(store: Store, layer: str) -> None:
    store.group.require_group("pictures")
    if _place(store, layer).exists():
        _aside(store, layer).parent.mkdir(exist_ok=True)
        _place(store, layer).rename(_aside(store, layer))


def _forget(store: Store, layer: str) -> None:
    if _aside(store, layer).exists():
        old = _aside(store, layer).with_name(f"old-{layer}")
        _aside(store, layer).rename(old)  # at once, where deleting is not
        shutil.rmtree(old)
    tidy(store)


def _recover(store: Store, layer: str) -> None:
    if _aside(store, layer).exists():
        shutil.rmtree(_place(store, layer), ignore_errors=True)
        _aside(store, layer).rename(_place(store, layer))
