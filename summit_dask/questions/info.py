"""What a store holds, as plain facts and as text."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from summit_dask.facts import schema
from summit_dask.facts.errors import StoreError
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import Pair
from summit_dask.facts.wording import notes_in_words
from summit_dask.store.evidence import is_tested
from summit_dask.store.graphs import stored_pairs
from summit_dask.store.groups import counted_groups
from summit_dask.store.places import room
from summit_dask.store.present import present_arrays
from summit_dask.store.progress import size
from summit_dask.store.status import fingerprints, outdated, pending_commands
from summit_dask.store.store import Store

REASONS_SHOWN = 10


def describe(path: Location) -> dict[str, Any]:
    """Facts about a store that JSON can hold: its run, its sizes, what is done, what went wrong.

    Raises
    ------
    StoreError, StoreVersionError
        If there is no such store.
    """
    store = Store.open(path)
    header, graph = store.header, store.layer_graph
    status = store.read("images/status")
    facts = {
        "path": str(path),
        "format": schema.FORMAT_VERSION,
        "model": header.run.config.model,
        "options": header.run.config.plain(),
        "imported": header.run.imported is not None,
        "versions": dict(header.run.versions),
        "layers": [
            {
                "name": layer.name,
                "channels": layer.channels,
                "visible": layer.visible,
                "notes": notes_in_words(graph, layer.name),
            }
            for layer in graph.layers
        ],
        "hops": len(graph.hops),
        "images": header.n_images,
        "classes": header.n_classes,
        "outputs": header.n_outputs,
        "graphs": _graphs(store),
        "grouped": _grouped(store),
        "unreadable": _unreadable(store, status == schema.UNREADABLE),
        "damaged": list(damaged_arrays(store)),
        "bytes": {group: taken.bytes for group, taken in room(path).items()},
    }
    return {**facts, **_progress(store), **_accuracy(store)}


def _graphs(store: Store) -> list[dict[str, Any]]:
    """What the graphs that are there are measured by, whether other options made them, whether they have evidence."""
    old = outdated(store)
    return [
        {**pair._asdict(), "outdated": pair.group in old, "tested": is_tested(store, pair)}
        for pair in stored_pairs(store)
    ]


def _grouped(store: Store) -> list[dict[str, Any]]:
    """By which columns images were counted too, and in how many groups (None: they would be others now)."""
    if store.header.run.imported is not None:
        return []
    found = counted_groups(store).items()
    return [{"by": name.split(" "), "groups": None if own is None else len(own.names)} for name, own in found]


def damaged_arrays(store: Store) -> Iterator[str]:
    """A sentence for every array that lacks a file which was written, or has an empty one; no value is read."""
    for address, _ in present_arrays(store):
        try:
            store.refuse_lost_files(address)
        except StoreError as error:
            yield str(error)


def _unreadable(store: Store, which: Any) -> list[dict[str, str]]:
    if not which.any():
        return []
    paths, reasons = store.read("images/path")[which], store.read("images/reason")[which]
    return [{"path": str(path), "reason": str(reason)} for path, reason in zip(paths, reasons, strict=True)]


def _progress(store: Store) -> dict[str, Any]:
    if store.header.run.imported is not None:
        return {"partitions": 0, "partitions_done": 0, "pending": []}
    done = store.done(fingerprints(store)["extract"])
    return {"partitions": len(done), "partitions_done": int(done.sum()), "pending": pending_commands(store)}


def _accuracy(store: Store) -> dict[str, Any]:
    """Top-1 and top-5 over the readable images, None before there are any."""
    read = store.read("images/status") == schema.READ
    if not read.any() or not store.has("images/predicted"):
        return {"top1": None, "top5": None}
    own = store.read("classes/output_index")[store.read("images/class_index")[read]]
    right = store.read("images/predicted")[read] == own[:, None]
    return {"top1": round(float(right[:, 0].mean()), 6), "top5": round(float(right.any(axis=1).mean()), 6)}


def printed(facts: Mapping[str, Any]) -> str:
    """The facts as text for people."""
    return "\n".join(_lines(facts))


def _lines(facts: Mapping[str, Any]) -> Iterable[str]:
    total = int(np.sum(list(facts["bytes"].values())))
    visible = [f"{layer['name']} ({layer['channels']})" for layer in facts["layers"] if layer["visible"]]
    hidden = sum(not layer["visible"] for layer in facts["layers"])
    yield f"{facts['path']}: {facts['model']}, store format {facts['format']}"
    yield f"{facts['images']} images of {facts['classes']} classes; {facts['outputs']} outputs of the network"
    yield f"Layers: {', '.join(visible)}; hidden: {hidden}; hops: {facts['hops']}"
    yield from (
        f"  {layer['name']}: {layer['notes']}" for layer in facts["layers"] if layer["visible"] and layer["notes"]
    )
    if facts["imported"]:
        yield "Imported from the original's files: no images, no network"
    else:
        options = facts["options"]
        yield f"Options: k {options['k']}, mass {options['mass']:g}, p {options['p']:g}"
        yield f"Partitions extracted: {facts['partitions_done']} of {facts['partitions']}"
    if facts["top1"] is not None:
        yield f"Accuracy: top-1 {facts['top1']:.1%}, top-5 {facts['top5']:.1%}"
    if facts["graphs"]:
        yield f"Graphs: {'; '.join(map(_graphs_in_words, facts['graphs']))}"
    if facts["grouped"]:
        yield f"Counted by: {'; '.join(map(_grouping_in_words, facts['grouped']))}"
    yield f"Still to run: {', '.join(facts['pending']) or 'nothing'}"
    each = f", {size(total / facts['images'])} per image" if facts["images"] else ""
    yield f"Size: {size(total)}{each}"
    yield from (f"  {group}: {size(count)}" for group, count in facts["bytes"].items())
    yield from _unreadable_lines(facts["unreadable"])
    yield from facts["damaged"]


def _graphs_in_words(graphs: Mapping[str, Any]) -> str:
    states = [word for word, key in (("made with other options", "outdated"), ("tested", "tested")) if graphs[key]]
    return Pair(graphs["nodes"], graphs["edges"]).words + (f" ({', '.join(states)})" if states else "")


def _grouping_in_words(grouping: Mapping[str, Any]) -> str:
    columns, n_groups = " and ".join(grouping["by"]), grouping["groups"]
    return f"{columns} ({'made with other options or values' if n_groups is None else f'{n_groups} groups'})"


def _unreadable_lines(unreadable: list[dict[str, str]]) -> Iterable[str]:
    if unreadable:
        yield f"{len(unreadable)} unreadable images:"
        yield from (f"  {item['path']}: {item['reason']}" for item in unreadable[:REASONS_SHOWN])
    if len(unreadable) > REASONS_SHOWN:
        yield f"  and {len(unreadable) - REASONS_SHOWN} more (info --json lists all)"
