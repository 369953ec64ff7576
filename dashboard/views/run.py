"""What is in the store: how it was made, the network's layers, what is done and to do, what could not be read."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.shown import figures
from summit_dask.facts import schema
from summit_dask.store import status

REFRESH = 3


def show() -> None:
    """The page."""
    data, _ = session.opened()
    _progress(data)
    left, right = st.columns([1, 1], gap="large")
    with left:
        _configuration(data)
        _versions(data)
    with right:
        _layer_graph(data)
        _sizes(data)
    _unreadable(data)


def _progress(data: StoreData) -> None:
    done = data.store.read("partitions/fingerprint")
    unfinished = bool(status.unfinished(data.store))
    going_on = bool(len(done)) and (not done.all() or unfinished) and not data.is_imported
    # Reads the few numbers that change while a run goes on, and only as long as one may.
    st.fragment(_partitions, run_every=REFRESH if going_on else None)(data)


def _partitions(data: StoreData) -> None:
    done = data.store.read("partitions/fingerprint") != 0
    size = data.store.header.partition_size
    facts = [("Images", f"{data.store.header.n_images:,}"), ("Partitions done", f"{done.sum()} of {len(done)}")]
    missing = status.unfinished(data.store)
    facts += [("Not imported" if data.is_imported else "Still to do", ", ".join(missing) or "nothing")]
    facts += [("Outdated", ", ".join(data.outdated))] if data.outdated else []
    components.facts("progress", "What is in this store", facts)
    if data.is_imported:
        st.caption("This store was made from another program's files; it holds no values of single images.")
    elif len(done):
        st.progress(float(done.mean()), f"{done.sum()} of {len(done)} partitions of {size} images are done")


def _configuration(data: StoreData) -> None:
    components.facts("configuration heading", "Configuration")
    _table({name: value for name, value in data.options.plain().items() if value not in (None, [])})


def _versions(data: StoreData) -> None:
    components.facts("versions heading", "Made with")
    facts: dict[str, Any] = {}
    if data.run.network is not None:
        facts |= {"weights digest": data.run.network.digest, "preprocessing": asdict(data.run.network.preprocessing)}
    _table({**facts, "format": schema.FORMAT_VERSION, **data.run.versions})


def _table(values: dict[str, Any]) -> None:
    text = [value if isinstance(value, str) else json.dumps(value, default=str) for value in values.values()]
    st.dataframe(pd.DataFrame({"": list(values), "value": text}), hide_index=True, height="content")


def _sizes(data: StoreData) -> None:
    components.facts("sizes heading", "Sizes")
    table = _on_disk(str(data.path), data.stamp)
    total = int(table["bytes"].sum())
    st.caption(f"{_bytes(total)} in {int(table['files'].sum()):,} files")
    table["size"] = [_bytes(n) for n in table["bytes"]]
    st.dataframe(table[["part", "size", "files"]], hide_index=True, height="content")


@st.cache_data(max_entries=8, show_spinner="Measuring the store")
def _on_disk(path: str, stamp: tuple[int, ...]) -> pd.DataFrame:
    rows = []
    for part in sorted(child for child in Path(path).iterdir() if child.is_dir()):
        sizes = [file.stat().st_size for file in part.rglob("*") if file.is_file()]
        rows.append({"part": part.name, "bytes": sum(sizes), "files": len(sizes)})
    return pd.DataFrame(rows, columns=["part", "bytes", "files"])


def _bytes(n: int) -> str:
    size = float(n)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _layer_graph(data: StoreData) -> None:
    hops = len(data.layer_graph.hops)
    facts = [("Visible", str(len(data.layers))), ("Hidden", str(len(data.layer_graph.layers) - len(data.layers)))]
    components.facts("layer graph heading", "Layer graph", [*facts, ("Hops", str(hops))])
    st.altair_chart(figures.layer_graph(*_placed(data)))


def _placed(data: StoreData) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Layers by depth (the longest way from the input), visible ones in the middle, hidden ones beside."""
    depth: dict[str, int] = {}
    for layer in data.layer_graph.layers:
        depth[layer.name] = 1 + max((depth[h.source] for h in data.layer_graph.incoming(layer.name)), default=-1)
    rows: list[dict[str, Any]] = []
    beside: dict[int, int] = {}
    for layer in data.layer_graph.layers:
        row = depth[layer.name]
        beside[row] = beside.get(row, 0) + (0 if layer.visible else 1)
        kind = "visible layer" if layer.visible else "hidden layer"
        name = layer.name if layer.visible else _own_name(layer.name, data)
        label = f"{name} ({layer.channels})"
        x = 0 if layer.visible else beside[row]
        rows.append({"name": layer.name, "label": label, "channels": layer.channels, "kind": kind, "x": x, "y": row})
    place = {row["name"]: (row["x"], row["y"]) for row in rows}
    lines = [
        {
            **dict(zip(("x", "y", "x2", "y2"), (*place[hop.source], *place[hop.target]), strict=True)),
            "name": hop.name,
            "kind": "convolution" if hop.convolution else "identity",
        }
        for hop in data.layer_graph.hops
    ]
    return pd.DataFrame(rows), pd.DataFrame(lines, columns=["x", "y", "x2", "y2", "name", "kind"])


def _own_name(hidden: str, data: StoreData) -> str:
    """A hidden layer's name without that of the visible layer it lies in: there is little room."""
    inside = [layer.name for layer in data.layers if hidden.startswith(layer.name)]
    return hidden.removeprefix(max(inside, key=len, default="")).lstrip("._") or hidden


def _unreadable(data: StoreData) -> None:
    components.facts("unreadable heading", "Unreadable images")
    rows = np.flatnonzero(data.read("images/status") == schema.UNREADABLE)
    if not len(rows):
        st.caption("None.")
        return
    path, reason = (data.read(f"images/{name}")[rows] for name in ("path", "reason"))
    st.dataframe(pd.DataFrame({"file": [str(p) for p in path], "reason": [str(r) for r in reason]}), hide_index=True)
