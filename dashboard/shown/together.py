"""Channels of a layer that fire together."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.shown.graphs import node_picture
from summit_dask.facts import wording
from summit_dask.facts.layergraph import Channel

if TYPE_CHECKING:
    from summit_dask.questions.together import Communities

#: Communities that are shown, and channels of each.
MOST, N_CHANNELS = 12, 10

#: Communities of a few dozen channels rather than of a hundred.
RESOLUTION = 2.0


def fires_together(data: StoreData, layer: str) -> None:
    """The communities of a layer, once they are asked for."""
    st.subheader("Channels that fire together", anchor=False)
    if not data.has("activations", layer):
        st.caption(data.why_absent("activations"))
        return
    st.caption(
        "Groups of channels whose maxima rise and fall together over the images, named by the classes that use them."
    )
    if not st.toggle("Find them", key="communities"):
        return
    with st.spinner("Correlating the channels over all images"):
        found = _communities(data, layer)
    if found.communities.empty:
        st.caption("None: no two channels of this layer answer to the same images.")
    for number, row in found.communities.head(MOST).iterrows():
        own = found.channels.loc[found.channels["community"] == number, "channel"].tolist()
        shown = own[:N_CHANNELS]
        more = f", {len(shown)} of them shown" if len(shown) < len(own) else ""
        st.text(f"{', '.join(row.classes) or 'No class uses them'}: {wording.counted(len(own), 'channel')}{more}")
        items = [_item(data, Channel(layer, index), "") for index in shown]
        components.gallery(f"community {number}", f"Community {number}", items, 84, _opener(layer, shown))


@kept_with_store(8)
def _communities(data: StoreData, layer: str) -> "Communities":
    from summit_dask.questions.together import communities_in

    return communities_in(data.store.read, data.layer_graph, data.has("matrices"), [layer], RESOLUTION)


def _opener(layer: str, shown: list[int]) -> Callable[[int], None]:
    return lambda k: session.go("channel", layer=layer, channel=shown[int(k)])


def _item(data: StoreData, channel: Channel, text: str) -> components.Item:
    name = f"Channel {channel.index} of {channel.layer}"
    return components.Item(node_picture(data, channel), f"channel {channel.index}", text, name, True)
