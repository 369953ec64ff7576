"""Single images as small pictures: from their own files, or else as the store's examples of channels show them.

file on this machine, the one that was measured ── the whole picture
else, an example of a channel ───────────────────── the part that excites it; of several the largest
else ────────────────────────────────────────────── none, which is said

What lies at an address is not fetched: a page would wait for it.
"""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.shown.graphs import data_url, shrunk
from dashboard.versus import Versus
from summit_dask.facts import wording
from summit_dask.facts.errors import SummitError
from summit_dask.store.imagefiles import ImageFiles

#: Longest side in pixels.
SIDE = 128

#: Pictures of a gallery.
MOST = 12


class Photograph(NamedTuple):
    """A picture as the browser takes it, and whether it shows all of the image; None: there is none."""

    picture: str | None
    is_whole: bool


@kept_with_store(1024)
def photograph(data: StoreData, image: int) -> Photograph:
    """What can be seen of an image."""
    if whole := _whole(data, image):
        return Photograph(data_url(whole), True)
    part = _part(data, image)
    return Photograph(data_url(shrunk(part)) if part else None, False)


def _whole(data: StoreData, image: int) -> bytes:
    """From the image's own file; empty where that can't be opened, or is no longer the one that was measured."""
    files = _files(data)
    if files is None or not files.is_here(image):
        return b""
    from summit_dask.images.files import Reader

    try:
        picture = files.opened(image, Reader(), data.store.network.preprocessing)
    except Exception:  # Pillow's plugins raise whatever they like on damaged files
        return b""
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


@kept_with_store(1)
def _files(data: StoreData) -> ImageFiles | None:
    try:
        return ImageFiles.of(data.store, data.read)
    except SummitError:  # imported, or where no address leads
        return None


def _part(data: StoreData, image: int) -> bytes:
    layer, place = _largest_parts(data).get(image, ("", 0))
    return data.example_thumbnail(layer, place) if layer else b""


@kept_with_store(1)
def _largest_parts(data: StoreData) -> Mapping[int, tuple[str, int]]:
    """Of each image that is an example of a channel: the layer and place of the example that shows most of it."""
    largest: dict[int, tuple[int, str, int]] = {}
    for layer in data.layers:
        if not data.has("examples", layer.name):
            continue
        image = data.read(f"examples/{layer.name}/image_index").ravel()
        top, left, bottom, right = data.read(f"examples/{layer.name}/box").reshape(-1, 4).astype(np.int64).T
        size = (bottom - top) * (right - left)
        order = np.argsort(-size, kind="stable")
        _, first = np.unique(image[order], return_index=True)
        for place in order[first].tolist():
            if size[place] > largest.get(int(image[place]), (0, "", 0))[0]:
                largest[int(image[place])] = (int(size[place]), layer.name, place)
    return {image: (layer, place) for image, (_, layer, place) in largest.items() if image >= 0}


def gallery(
    data: StoreData, key: str, label: str, images: Sequence[int], titles: Sequence[str], texts: Sequence[str]
) -> None:
    """Some images; a click holds one against the class that is shown, in Explore."""
    seen = [photograph(data, image) for image in images]
    items = [
        components.Item(photo.picture, title, text, f"{title}, {text}", True)
        for photo, title, text in zip(seen, titles, texts, strict=True)
    ]

    def opened(k: int) -> None:
        session.go("explore", vs=Versus("image", images=(images[int(k)],)))

    components.gallery(key, label, items, 96, opened)
    if why := remark_on(seen):
        st.caption(why)


def remark_on(seen: Sequence[Photograph]) -> str:
    """Why some pictures show but a part of their image, or are not there; empty where all are whole."""
    n_parts = sum(photo.picture is not None and not photo.is_whole for photo in seen)
    n_none = sum(photo.picture is None for photo in seen)
    gone = "their files can't be read here, or are no longer those that were measured"
    parts = [
        f"{wording.images(n_parts)} shown in part, as an example of a channel" if n_parts else "",
        f"{wording.images(n_none)} without a picture" if n_none else "",
    ]
    said = ", and ".join(filter(None, parts))
    return f"{said}: {gone}." if said else ""
