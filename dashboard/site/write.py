"""Writes a site, or one class as a single page."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from dashboard.data import StoreData
from dashboard.evidence import evidence_of
from dashboard.shown.graphs import data_url
from dashboard.site.channels import BLOCK, all_neighbours, channel_facts
from dashboard.site.classes import class_facts
from dashboard.site.evidence import of_all
from dashboard.site.facts import site_facts
from dashboard.site.files import MARK, new_site, write_bytes, write_part
from dashboard.site.layers import layer_facts
from dashboard.site.page import index_page, program_file, single_page
from dashboard.site.pictures import Pictures, channels_of, pictures_of, side_by_side
from dashboard.site.source import Source
from summit_dask.facts.errors import StoreIncompleteError
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.location import Location
from summit_dask.formats.job import new_file
from summit_dask.store.progress import Progress

#: Classes whose counts are read together: each reading takes its time, however little it reads.
AHEAD = 16

#: Encoders; Pillow lets go of the interpreter while it encodes.
THREADS = 4


def open_source(store: Location, classes: Sequence[int] = (), examples: bool = False) -> Source:
    """A store whose graphs are to be shown.

    Parameters
    ----------
    classes
        Places of some classes in the store; none: all.
    examples
        Whether images of the data set are to be shown, where the store has them.

    Raises
    ------
    StoreError, StoreVersionError
        If there is no store, it is broken, or of another format version.
    StoreIncompleteError
        If it has no graphs.
    """
    data = StoreData(store, AHEAD if len(classes) != 1 else 1)
    if not data.pairs:
        raise StoreIncompleteError(f"{store} can't be shown. {data.why_absent('graphs')}")
    chosen = np.unique(np.array(classes or range(data.n_classes), np.int64))
    return Source(data, chosen, examples and _has_examples(data))


def _has_examples(data: StoreData) -> bool:
    return data.has("examples") or (data.is_imported and data.has("pictures"))


def write_site(source: Source, folder: Path, title: str, credit: str = "", base: str | None = None) -> int:
    """Write the folder of a site; it is there whole or not at all.

    Parameters
    ----------
    source
        What is shown.
    title
        Of the page.
    credit
        Whose the images are.
    base
        Address at which all files but the first page lie; beside it by default.

    Returns
    -------
    int
        Number of classes.

    Raises
    ------
    StoreError
        If there is something else in the folder, or the disk is full or can't be written.
    ConfigError
        If `base` is no address.
    """
    page = index_page(title, base)
    with new_site(folder) as draft:
        pictured = _write_pictures(source, draft)
        write_part(draft, "site", site_facts(source, title, credit, frozenset(pictured)))
        _write_classes(source, draft)
        _write_evidence(source, draft)
        _write_layers(source, draft)
        _write_first(source, draft)
        for name in ("site.js", "site.css"):
            write_bytes(draft / name, program_file(name).encode())
        write_bytes(draft / "index.html", page.encode())
        write_bytes(draft / ".nojekyll", b"")  # some hosts pass over files that they take for drafts
        write_bytes(draft / MARK, b"Written by 'summit-dask site', which may write this folder again.\n")
    return len(source.classes)


def _write_pictures(source: Source, folder: Path) -> list[Channel]:
    """The channels that have any."""
    layers = channels_of(source)
    pictured = []
    with Progress("site", "channels", sum(map(len, layers))) as progress, ThreadPoolExecutor(THREADS) as pool:
        for channels in layers:
            found = {channel: pictures_of(source, channel) for channel in channels}
            seen = {channel: pictures for channel, pictures in found.items() if pictures.node or pictures.tiles}
            progress.add(len(found) - len(seen))
            for _ in pool.map(partial(_write_picture, source, folder), seen, seen.values()):
                progress.add(1)
            pictured += list(seen)
    return pictured


def _write_picture(source: Source, folder: Path, channel: Channel, found: Pictures) -> None:
    place = f"{source.index_of_layer[channel.layer]}/{channel.index}"
    write_part(folder, f"picture/{place}", found.facts(f"tiles/{place}.webp"))
    if found.tiles:
        write_bytes(folder / "tiles" / f"{place}.webp", side_by_side(found.tiles))


def _write_classes(source: Source, folder: Path) -> None:
    with Progress("site", "classes", len(source.classes)) as progress:
        for number in range(len(source.classes)):
            write_part(folder, f"class/{number}", class_facts(source, number))
            progress.add(1)


def _write_evidence(source: Source, folder: Path) -> None:
    """Of all classes together."""
    for pair in source.data.pairs:
        if evidence_of(source.data, pair) is not None:
            write_part(folder, f"evidence/{pair.name}", of_all(source, pair))


def _write_layers(source: Source, folder: Path) -> None:
    neighbours = all_neighbours(source)
    with Progress("site", "layers", len(source.data.layers)) as progress:
        for layer in source.data.layers:
            place = source.index_of_layer[layer.name]
            write_part(folder, f"layer/{place}", layer_facts(source, layer.name))
            facts = list(channel_facts(source, layer, neighbours))
            for block in range(0, len(facts), BLOCK):
                write_part(folder, f"channel/{place}/{block // BLOCK}", facts[block : block + BLOCK])
            progress.add(1)


def _write_first(source: Source, folder: Path) -> None:
    """Once more, as one file, all that the first graph shows: that of the first class."""
    graph = source.data.graph(int(source.classes[0]))
    assert graph is not None, "the usual pair has graphs"
    nodes = zip(graph.node_layer.tolist(), graph.node_channel.tolist(), strict=True)
    keys = ["site", "class/0", *(f"picture/{layer}/{k}" for layer, k in nodes)]
    files = [folder / "data" / f"{key}.js" for key in keys]
    write_bytes(folder / "data" / "first.js", b"".join(file.read_bytes() for file in files if file.exists()))


def class_page(source: Source, title: str, credit: str = "") -> str:
    """The graph of a source's only class as one page of HTML that needs no other file."""
    found = {channel: pictures_of(source, channel) for channel in sorted(source.graph_channels, key=str)}
    seen = {channel: pictures for channel, pictures in found.items() if pictures.node or pictures.tiles}
    parts = {"site": site_facts(source, title, credit, frozenset(seen)), "class/0": class_facts(source, 0)}
    for channel, pictures in seen.items():
        tiles = data_url(side_by_side(pictures.tiles)) if pictures.tiles else None
        parts[f"picture/{source.index_of_layer[channel.layer]}/{channel.index}"] = pictures.facts(tiles)
    return single_page(title, parts)


def write_class_page(source: Source, file: Path, title: str, credit: str = "") -> None:
    """Write the page of one class.

    Raises
    ------
    StoreError
        If the disk is full or can't be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with new_file(file) as draft:
        draft.write_text(class_page(source, title, credit), encoding="utf-8")
