"""Channels that answer to the same images: of one layer, and of the networks of other stores beside this one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData, open_data
from dashboard.kept import kept_with_store
from dashboard.plain import notice
from dashboard.shown.graphs import node_picture
from summit_dask.facts import wording
from summit_dask.facts.errors import SummitError
from summit_dask.facts.layergraph import Channel
from summit_dask.store.places import stores_in

if TYPE_CHECKING:
    from summit_dask.questions.together import Communities

#: Communities that are shown, and channels of each; matches in another network.
MOST, N_CHANNELS, N_MATCHES = 12, 10, 6

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


def elsewhere(data: StoreData, channel: Channel) -> None:
    """The channels of other stores' networks that answer as this one does, once they are asked for."""
    others = [path.name for path in stores_in(session.folder()) if path.name != data.path.name]
    if not others or not data.has("activations", channel.layer):
        return
    st.subheader("In other networks", anchor=False)
    st.caption("Channels that rise and fall over the same images as this one does.")
    name = st.selectbox("Other network", others, index=None, placeholder="Choose a store", key="other network")
    if name is not None:
        _matches(data, channel, str(name))


def _matches(data: StoreData, channel: Channel, name: str) -> None:
    other = open_data(next(path for path in stores_in(session.folder()) if path.name == name))
    try:
        with st.spinner("Correlating with all channels of the other network"):
            found = _found(data, channel, other)
    except SummitError as error:
        notice(str(error))
        return
    items = [_item(other, match, f"{match.layer}\ncorrelation {value:.2f}") for match, value in found]

    def opened(k: int) -> None:
        match, _ = found[int(k)]
        session.change(store=name, layer=match.layer, channel=match.index, class_=None, pinned=None, vs=None)

    components.gallery("matches", f"Channels of {name}", items, 84, opened)


@kept_with_store(32)
def _found(data: StoreData, channel: Channel, other: StoreData) -> list[tuple[Channel, float]]:
    from summit_dask.questions.match import Network, matches_of

    own, theirs = (Network(known.store.read, known.layer_graph) for known in (data, other))
    return matches_of(channel, own, theirs, N_MATCHES)
