"""What is in the store: how it was made, the network's layers, what is done and to do, what could not be read."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData, open_data
from dashboard.kept import kept_with_store
from dashboard.parts import in_words, maker
from dashboard.shown import figures, photographs
from dashboard.shown.fault import explained
from summit_dask.facts import schema, wording
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import PAIRS
from summit_dask.facts.stages import STAGES, Stage
from summit_dask.store import status
from summit_dask.store.evidence import group_of, is_tested
from summit_dask.store.places import Room, room
from summit_dask.store.progress import size

#: Seconds between two looks at a run that may be going on.
REFRESH = 3

#: Unreadable images that are tried again, to be shown.
MOST_TRIED = 24


def show() -> None:
    """The page."""
    data, _ = session.opened()
    may_go_on = not data.is_imported and bool(_to_do(data))
    st.fragment(_progress, run_every=REFRESH if may_go_on else None)(data.path)
    left, right = st.columns([1, 1], gap="large")
    with left:
        _configuration(data)
        _network(data)
        _versions(data)
    with right:
        _layer_graph(data)
        _sizes(data)
    _unreadable(data)


def _progress(path: Location) -> None:
    """The few numbers that change while a run goes on; opens the store again where it has changed.

    It runs by itself too, when nothing around it could tell what is in the way.
    """
    with explained():
        _what_is_there(open_data(path))


def _what_is_there(data: StoreData) -> None:
    missing = ", ".join(_to_do(data)) or "nothing"
    facts = [("Images", f"{data.store.header.n_images:,}")]
    facts += [("Not imported", missing)] if data.is_imported else [("Still to do", missing)]
    components.facts("progress", "What is in this store", facts)
    if data.is_imported:
        st.caption("This store was made from another program's files; no stage of a run can be made on it.")
        return
    _partitions(data)
    rows = [(_makes(stage), f"summit-dask {stage.command}", _state(data, stage)) for stage in STAGES]
    rows += [
        (in_words(group), f"summit-dask {maker(group, data.options.pair)}", _age(data, group)) for group in _more(data)
    ]
    rows += list(_evidence(data))
    st.dataframe(pd.DataFrame(rows, columns=["part", "made by", "state"]), hide_index=True, height="content")


def _evidence(data: StoreData) -> Iterator[tuple[str, str, str]]:
    """Of each pair of measures whose graphs were tested."""
    for pair in PAIRS:
        if data.store.finished(group_of(pair)) is not None:
            state = "done" if is_tested(data.store, pair) else "done for graphs that were made again"
            yield f"evidence for {in_words(pair.group)}", "summit-dask evidence", state


def _partitions(data: StoreData) -> None:
    done = _partitions_done(data)
    each = wording.images(data.store.header.partition_size)
    of = f"{done.sum():,} of {wording.counted(len(done), 'partition')} of {each} done"
    st.progress(float(done.mean()), of)


def _partitions_done(data: StoreData) -> Any:
    return data.store.read("partitions/fingerprint") != 0


def _to_do(data: StoreData) -> list[str]:
    """What is not there, or not whole, in words."""
    unfinished = status.unfinished(data.store)
    return [_makes(stage) for stage in STAGES if _lacks(data, stage, unfinished)]


def _lacks(data: StoreData, stage: Stage, unfinished: tuple[str, ...]) -> bool:
    if stage.by_partition:
        return data.is_imported or not _partitions_done(data).all()
    return not set(stage.made_with(data.options)).isdisjoint(unfinished)


def _state(data: StoreData, stage: Stage) -> str:
    if _lacks(data, stage, status.unfinished(data.store)):
        return "to do"
    return _age(data, *stage.made_with(data.options))


def _age(data: StoreData, *groups: str) -> str:
    """Of groups that are there."""
    return "done" if set(groups).isdisjoint(data.outdated) else "done with other options"


def _more(data: StoreData) -> list[str]:
    """Groups of graphs beside those of the run's own pair of measures."""
    return [pair.group for pair in data.pairs if pair != data.options.pair]


def _makes(stage: Stage) -> str:
    """What a stage makes, in words."""
    return " and ".join(stage.groups.values())


def _configuration(data: StoreData) -> None:
    if data.is_imported:
        return
    st.subheader("Configuration", anchor=False)
    _table({name: value for name, value in data.options.plain().items() if value not in (None, [])})


def _network(data: StoreData) -> None:
    network = data.run.network
    if network is None:
        return
    st.subheader("Measured with", anchor=False)
    preprocessing = {name: "none" if value is None else value for name, value in asdict(network.preprocessing).items()}
    _table({"weights digest": network.digest, **preprocessing, "images start from": str(data.run.images_root)})


def _versions(data: StoreData) -> None:
    st.subheader("Versions", anchor=False)
    _table({"store format": schema.FORMAT_VERSION, **data.run.versions})


def _table(values: Mapping[str, Any]) -> None:
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values.values()]
    st.dataframe(pd.DataFrame({"": list(values), "value": texts}), hide_index=True, height="content")


def _sizes(data: StoreData) -> None:
    st.subheader("Sizes", anchor=False)
    with st.spinner("Measuring the store"):
        taken = _room(data)
    n_bytes = sum(part.bytes for part in taken.values())
    n_files = sum(part.files for part in taken.values())
    st.caption(f"{size(n_bytes)} in {n_files:,} files")
    rows = [(name, size(part.bytes), part.files) for name, part in taken.items()]
    st.dataframe(pd.DataFrame(rows, columns=["part", "size", "files"]), hide_index=True, height="content")


@kept_with_store(1)
def _room(data: StoreData) -> dict[str, Room]:
    return room(data.path)


def _layer_graph(data: StoreData) -> None:
    n_layers = len(data.layer_graph.layers)
    n_visible = len(data.layer_graph.visible)
    n_hops = len(data.layer_graph.hops)
    facts = [("Visible", str(n_visible)), ("Hidden", str(n_layers - n_visible)), ("Hops", str(n_hops))]
    components.facts("layer graph heading", "Layer graph", facts)
    st.altair_chart(figures.layer_graph(*_drawn(data)))


def _drawn(data: StoreData) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Layers by depth (the longest way from the input), visible ones in the middle, hidden ones beside; hops."""
    depth: dict[str, int] = {}
    for layer in data.layer_graph.layers:
        depth[layer.name] = 1 + max((depth[hop.source] for hop in data.layer_graph.incoming(layer.name)), default=-1)
    rows: list[dict[str, Any]] = []
    beside: dict[int, int] = {}
    for layer in data.layer_graph.layers:
        y = depth[layer.name]
        beside[y] = beside.get(y, 0) + (0 if layer.visible else 1)
        name = layer.name if layer.visible else _own_name(layer.name, data)
        rows.append(
            {
                "name": layer.name,
                "label": f"{name} ({layer.channels})",
                "channels": layer.channels,
                "kind": "visible layer" if layer.visible else "hidden layer",
                "x": 0 if layer.visible else beside[y],
                "y": y,
            }
        )
    layers = pd.DataFrame(rows).set_index("name", drop=False)
    return layers, _hops(data, layers)


def _hops(data: StoreData, layers: pd.DataFrame) -> pd.DataFrame:
    hops = data.layer_graph.hops
    source = layers.loc[[hop.source for hop in hops]]
    target = layers.loc[[hop.target for hop in hops]]
    return pd.DataFrame(
        {
            "x": source["x"].to_numpy(),
            "y": source["y"].to_numpy(),
            "x2": target["x"].to_numpy(),
            "y2": target["y"].to_numpy(),
            "name": [hop.name for hop in hops],
            "kind": ["convolution" if hop.convolution else "identity" for hop in hops],
        }
    )


def _own_name(hidden: str, data: StoreData) -> str:
    """A hidden layer's name without that of the visible layer it lies in: there is little room."""
    inside = [layer.name for layer in data.layers if hidden.startswith(layer.name)]
    return hidden.removeprefix(max(inside, key=len, default="")).lstrip("._") or hidden


def _unreadable(data: StoreData) -> None:
    st.subheader("Unreadable images", anchor=False)
    rows = np.flatnonzero(data.read("images/status") == schema.UNREADABLE)
    if not len(rows):
        st.caption("None.")
        return
    seen = [photographs.photograph(data, image) for image in rows[:MOST_TRIED].tolist()]
    tried = [photo.picture if photo.is_whole else None for photo in seen]
    st.dataframe(
        pd.DataFrame(
            {
                "picture": tried + [None] * (len(rows) - len(tried)),
                "file": [str(path) for path in data.read("images/path")[rows]],
                "reason": [str(reason) for reason in data.read("images/reason")[rows]],
            }
        ),
        hide_index=True,
        column_config={"picture": st.column_config.ImageColumn(width="small")},
    )
    st.caption(_readable_now(data, len(tried), sum(picture is not None for picture in tried)))


def _readable_now(data: StoreData, n_tried: int, n_readable: int) -> str:
    if not n_readable:
        return f"Tried again just now: none of {wording.images(n_tried)} can be opened here."
    return (
        f"{n_readable:,} of {wording.images(n_tried)} tried again just now can be opened here; "
        f"'summit-dask extract {data.path.name} --retry-unreadable' measures them."
    )
