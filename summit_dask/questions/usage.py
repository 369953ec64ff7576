"""Which channels a network uses at all, which ones its classes share, which belong to few (the paper's section 8).

All numbers come from A: the images of each class that use each channel.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float64, Int32, Int64

from summit_dask.facts.config import fingerprint
from summit_dask.facts.layergraph import Layer
from summit_dask.store.store import Store, layer_graph_of

#: Strongest channels of a class, and channels named per layer in the summary.
N_TOP, N_NAMED = 4, 10


@dataclass(frozen=True)
class Usage:
    """Use of one layer's channels over all classes; variables of the group "usage/{layer}"."""

    class_count: Int32[np.ndarray, " channel"]
    top_class_count: Int32[np.ndarray, " channel"]
    image_count: Int64[np.ndarray, " channel"]
    entropy: Float64[np.ndarray, " channel"]


def usage(counts: Int32[np.ndarray, "class channel"], n_images: Int32[np.ndarray, " class"]) -> Usage:
    """Use of a layer's channels.

    Parameters
    ----------
    counts : (class, channel)
        A of the layer.
    n_images : (class,)
        Images of each class; 0 where unknown, its counts are taken as they are.

    Returns
    -------
    Usage
        `entropy` in bits, 0 to log2(classes); NaN for a channel that no class uses.
    """
    total = counts.sum(axis=0, dtype=np.int64)
    rate = counts / np.maximum(n_images, 1)[:, None]
    share = rate / np.where(total > 0, rate.sum(axis=0), 1)
    surprise = np.zeros_like(share)
    np.log2(share, out=surprise, where=share > 0)
    entropy = np.where(total > 0, np.maximum(0.0, -(share * surprise).sum(axis=0)), np.nan)
    return Usage(
        (counts > 0).sum(axis=0, dtype=np.int32), _strongest(counts).sum(axis=0, dtype=np.int32), total, entropy
    )


def _strongest(counts: Int32[np.ndarray, "class channel"]) -> Bool[np.ndarray, "class channel"]:
    """Each class's most used channels, those with a count alone."""
    order = np.argsort(-counts, axis=1, kind="stable")[:, :N_TOP]
    is_strongest = np.zeros(counts.shape, np.bool_)
    np.put_along_axis(is_strongest, order, True, axis=1)
    return is_strongest & (counts > 0)


def channel_usage(tree: xr.DataTree) -> pd.DataFrame:
    """Use of every channel of every visible layer.

    Parameters
    ----------
    tree
        An open store.

    Returns
    -------
    DataFrame
        A row a channel, input side first: layer, channel, class_count, top_class_count, image_count, entropy.

    Raises
    ------
    StoreIncompleteError
        If the store has no activation counts.
    """
    from summit_dask.questions.query import reader_of

    read = reader_of(tree)
    n_images = read("classes/n_images", slice(None))
    frames = [
        usage_frame(layer, read(f"matrices/{layer.name}/activation_count", slice(None)), n_images)
        for layer in layer_graph_of(tree).visible
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
        layer, channels, used, unused, top_used, top_unused (among no class's four strongest), most_shared and
        most_specific: up to ten channels each as text, the used ones of highest class_count (ties: image_count,
        then the lower channel) and of lowest entropy (likewise).
    """
    return pd.DataFrame([_summary(str(layer), rows) for layer, rows in channels.groupby("layer", sort=False)])


def _summary(layer: str, rows: pd.DataFrame) -> dict[str, object]:
    used = rows[rows["class_count"] > 0]
    shared = used.sort_values(["class_count", "image_count", "channel"], ascending=[False, False, True])
    specific = used.sort_values(["entropy", "image_count", "channel"], ascending=[True, False, True])
    n_top = int((rows["top_class_count"] > 0).sum())
    return {
        "layer": layer,
        "channels": len(rows),
        "used": len(used),
        "unused": len(rows) - len(used),
        "top_used": n_top,
        "top_unused": len(rows) - n_top,
        "most_shared": _named(shared),
        "most_specific": _named(specific),
    }


def _named(rows: pd.DataFrame) -> str:
    return " ".join(map(str, rows["channel"].head(N_NAMED)))


def write_usage(store: Store, channels: pd.DataFrame) -> None:
    """Keep what `channel_usage` gives in the store, group "usage/{layer}"."""
    with store.changing():
        store.begin_stage("usage")
        for layer, rows in channels.groupby("layer", sort=False):
            store.make_group("usage/{layer}", str(layer), channel=len(rows))
            for name in Usage.__dataclass_fields__:
                store.write("usage/{layer}", str(layer), name, rows[name].to_numpy())
        store.finish_stage("usage", fingerprint({"matrices": store.stage_fingerprint("matrices")}))
