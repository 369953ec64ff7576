"""The networks of other stores beside this one: channels that answer as one does, and layers that are alike."""

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData, open_data
from dashboard.kept import kept_with_store
from dashboard.plain import heading, notice
from dashboard.selection import Selection
from dashboard.shown import beside
from dashboard.shown.classtable import packed
from dashboard.shown.graphs import node_picture
from summit_dask.facts import wording
from summit_dask.facts.errors import SummitError
from summit_dask.facts.layergraph import Channel

if TYPE_CHECKING:
    from summit_dask.questions.match import AlikeLayers, Network

#: Channels of another network that are shown.
N_MATCHES = 6


def matches(data: StoreData, wanted: Selection, channel: Channel) -> None:
    """The channels of another network that answer as this one does."""
    if not beside.others(data) or not data.has("activations", channel.layer):
        return
    st.subheader("In other networks", anchor=False)
    st.caption("Channels that rise and fall over the same images as this one does.")
    if other := _choose(data, wanted):
        _matches(data, channel, other)


def alike_layers(data: StoreData, wanted: Selection) -> None:
    """Every layer against every layer of another network."""
    if not beside.others(data) or not data.has("activations"):
        return
    st.subheader("Against another network", anchor=False)
    st.caption(
        "How alike layers are by what their channels answer to: linear CKA over the images that both stores hold."
    )
    if other := _choose(data, wanted):
        _heatmap(data, other)


def _choose(data: StoreData, wanted: Selection) -> StoreData | None:
    """The other store, which the address says."""
    others = beside.others(data)
    st.session_state["other network"] = wanted.other if wanted.other in others else None
    st.selectbox(
        "Other network",
        list(others),
        key="other network",
        placeholder="Choose a store",
        width=400,
        on_change=lambda: session.change(other=st.session_state["other network"]),
    )
    name = st.session_state["other network"]
    return open_data(others[name]) if name else None


def _matches(data: StoreData, channel: Channel, other: StoreData) -> None:
    try:
        with st.spinner("Correlating with all channels of the other network"):
            found = _found(data, channel, other)
    except SummitError as error:
        notice(str(error))
        return
    items = [_item(other, match, f"{match.layer}\ncorrelation {value:.2f}") for match, value in found]

    def opened(k: int) -> None:
        match, _ = found[int(k)]
        there = {"store": other.path.name, "layer": match.layer, "channel": match.index, "other": data.path.name}
        session.change(**there, class_=None, pinned=None, vs=None)

    components.gallery("matches", f"Channels of {other.path.name}", items, 84, opened)


def _item(data: StoreData, channel: Channel, text: str) -> components.Item:
    name = f"Channel {channel.index} of {channel.layer}"
    return components.Item(node_picture(data, channel), f"channel {channel.index}", text, name, True)


@kept_with_store(32)
def _found(data: StoreData, channel: Channel, other: StoreData) -> list[tuple[Channel, float]]:
    from summit_dask.questions.match import matches_of

    return matches_of(channel, _network(data), _network(other), N_MATCHES)


def _heatmap(data: StoreData, other: StoreData) -> None:
    try:
        with st.spinner("Correlating all channels of both networks"):
            found = _alike(data, other)
    except SummitError as error:
        notice(str(error))
        return
    table = found.layers.iloc[::-1, ::-1]  # the output side first, as graphs have it
    rows, columns = [str(layer) for layer in table.index], [str(layer) for layer in table.columns]
    heading(f"Layers of {data.path.name} (rows) and of {other.path.name} (columns)")
    st.caption(
        f"Over {wording.images(found.n_images)}. 1: one layer is the other, turned or scaled. A click chooses the "
        "row's layer."
    )

    def opened(cell: Any) -> None:
        layer = rows[int(cell["row"])]
        if layer in {known.name for known in data.layers}:
            session.change(layer=layer)

    shown = {
        "label": f"Linear CKA of each layer of {data.path.name} (rows) with each layer of {other.path.name} (columns)",
        "rows": rows,
        "columns": columns,
        "column": "",
        "values": packed(table.to_numpy(np.float32)),
        "largest": 1,
        "gamma": 1,
        "unit": "",
    }
    components.heatmap("alike layers", shown, opened)


@kept_with_store(4)
def _alike(data: StoreData, other: StoreData) -> "AlikeLayers":
    from summit_dask.questions.match import alike_layers

    return alike_layers(_network(data), _network(other))


def _network(data: StoreData) -> "Network":
    from summit_dask.questions.match import Network

    return Network(data.store.read, data.layer_graph)
