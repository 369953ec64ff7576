"""How a store's classes use its channels: as a table, as a summary, and kept in the store (the paper's section 8)."""

import numpy as np
import pandas as pd
from jaxtyping import Int32

from summit_dask.arrays.usage import Usage, most_shared, most_specific, usage
from summit_dask.facts.config import fingerprint
from summit_dask.facts.layergraph import Layer
from summit_dask.store.store import Store

#: Channels named per layer in the summary.
N_NAMED = 10


def channel_usage(store: Store) -> pd.DataFrame:
    """Use of every channel of every visible layer.

    Parameters
    ----------
    store
        Read only.

    Returns
    -------
    DataFrame
        A row a channel, input side first: layer, channel, class_count, top_class_count, image_count, entropy.

    Raises
    ------
    StoreIncompleteError
        If the store has no activation counts.
    """
    n_images = store.read("classes/n_images")
    frames = [
        usage_frame(layer, store.read(f"matrices/{layer.name}/activation_count"), n_images)
        for layer in store.layer_graph.with_maps
    ]
    return pd.concat(frames, ignore_index=True)


def usage_frame(
    layer: Layer, counts: Int32[np.ndarray, "class channel"], n_images: Int32[np.ndarray, " class"]
) -> pd.DataFrame:
    """What `usage` gives, a row a channel."""
    return pd.DataFrame({"layer": layer.name, "channel": np.arange(layer.channels), **vars(usage(counts, n_images))})


def usage_summary(channels: pd.DataFrame) -> pd.DataFrame:
    """A row a layer, from what `channel_usage` gives.

    Returns
    -------
    DataFrame
        layer, channels, used, unused, top_used, top_unused (among no class's four strongest), and up to ten channels
        each, as text, of `most_shared` and `most_specific`.
    """
    return pd.DataFrame([_summary(str(layer), rows) for layer, rows in channels.groupby("layer", sort=False)])


def _summary(layer: str, rows: pd.DataFrame) -> dict[str, object]:
    use = Usage(**{name: rows[name].to_numpy() for name in Usage.__dataclass_fields__})
    n_used = int((use.class_count > 0).sum())
    n_top = int((use.top_class_count > 0).sum())
    return {
        "layer": layer,
        "channels": len(rows),
        "used": n_used,
        "unused": len(rows) - n_used,
        "top_used": n_top,
        "top_unused": len(rows) - n_top,
        "most_shared": " ".join(map(str, most_shared(use, N_NAMED))),
        "most_specific": " ".join(map(str, most_specific(use, N_NAMED))),
    }


def write_usage(store: Store, channels: pd.DataFrame) -> None:
    """Keep what `channel_usage` gives in the store, group "usage/{with_maps}"."""
    key = fingerprint({"matrices": store.finished("matrices")})
    with store.changing(), store.renewing("usage") as draft:
        for layer, rows in channels.groupby("layer", sort=False):
            for name in Usage.__dataclass_fields__:
                draft.add(f"usage/{layer}/{name}", rows[name].to_numpy())
        draft.finish("usage", key)
