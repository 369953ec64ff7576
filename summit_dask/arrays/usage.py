"""Which channels a network uses at all, which ones its classes share, which belong to few (the paper's section 8).

All numbers come from A: the images of each class that use each channel.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

#: Strongest channels of a class.
N_TOP = 4


@dataclass(frozen=True)
class Usage:
    """Use of one layer's channels over all classes; variables of the group "usage/{layer}".

    `class_count` classes and `image_count` images use the channel, `top_class_count` classes have it among their four
    strongest. `entropy` is in bits, 0 for a channel of one class to log2(classes) for one that all use alike; NaN for
    a channel that no class uses.
    """

    class_count: Int32[np.ndarray, " channel"]
    top_class_count: Int32[np.ndarray, " channel"]
    image_count: Int64[np.ndarray, " channel"]
    entropy: Float64[np.ndarray, " channel"]


def usage(counts: Int32[np.ndarray, "class channel"], n_images: Int32[np.ndarray, " class"]) -> Usage:
    """Use of a layer's channels.

    Parameters
    ----------
    counts
        A of the layer.
    n_images
        Images of each class; 0 where unknown, its counts are taken as they are.

    Returns
    -------
    Usage
        The entropy is that of the classes' shares in the channel, of the share of each class's images that use it.

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.array([[4, 2, 0], [0, 2, 0]], np.int32)
    >>> found = usage(counts, np.array([4, 4], np.int32))
    >>> found.class_count
    array([1, 2, 0], dtype=int32)
    >>> found.entropy
    array([ 0.,  1., nan])
    """
    image_count = counts.sum(axis=0, dtype=np.int64)
    class_count = (counts > 0).sum(axis=0, dtype=np.int32)
    top_class_count = _strongest(counts).sum(axis=0, dtype=np.int32)
    rate = counts / np.maximum(n_images, 1)[:, None]
    share = rate / np.where(image_count > 0, rate.sum(axis=0), 1)
    entropy = np.where(image_count > 0, _entropy(share), np.nan)
    return Usage(class_count, top_class_count, image_count, entropy)


def _strongest(counts: Int32[np.ndarray, "class channel"]) -> Bool[np.ndarray, "class channel"]:
    """Each class's most used channels, those with a count alone; ties: the lower channel."""
    order = np.argsort(-counts, axis=1, kind="stable")[:, :N_TOP]
    is_strongest = np.zeros(counts.shape, np.bool_)
    np.put_along_axis(is_strongest, order, True, axis=1)
    return is_strongest & (counts > 0)


def _entropy(share: Float64[np.ndarray, "class channel"]) -> Float64[np.ndarray, " channel"]:
    """In bits, of shares that sum to 1 over the classes."""
    surprise = np.zeros_like(share)
    np.log2(share, out=surprise, where=share > 0)
    bits: Float64[np.ndarray, " channel"] = np.maximum(0.0, 0.0 - (share * surprise).sum(axis=0))
    return bits


def most_shared(use: Usage, n: int) -> list[int]:
    """The channels that most classes use.

    Parameters
    ----------
    use
        Of the layer's channels.
    n
        Channels wanted; there may be fewer.

    Returns
    -------
    list
        Used channels by falling class_count; ties: the higher image_count, then the lower channel.

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.array([[4, 2, 0, 1], [0, 2, 0, 2]], np.int32)
    >>> most_shared(usage(counts, np.array([4, 4], np.int32)), 3)
    [1, 3, 0]
    """
    order = np.lexsort((-use.image_count, -use.class_count))
    used = use.class_count[order] > 0
    return [int(channel) for channel in order[used][:n]]


def most_specific(use: Usage, n: int) -> list[int]:
    """The channels that belong to the fewest classes.

    Of channels that few images use nothing can be said: one image alone has one class. So only those count that are
    used by as many images as the median of the used channels, or by more.

    Parameters
    ----------
    use
        Of the layer's channels.
    n
        Channels wanted; there may be fewer.

    Returns
    -------
    list
        By rising entropy; ties: the higher image_count, then the lower channel.

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.array([[4, 3, 0, 1], [0, 1, 0, 0]], np.int32)
    >>> most_specific(usage(counts, np.array([4, 4], np.int32)), 3)  # channel 3: one image alone
    [0, 1]
    """
    used = use.class_count > 0
    if not used.any():
        return []
    often = used & (use.image_count >= np.median(use.image_count[used]))
    order = np.lexsort((-use.image_count, use.entropy))
    return [int(channel) for channel in order[often[order]][:n]]
