"""Ways in which a class is recognised: its images parted by the channels that they use, each part a possible B."""

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from dashboard import components, session
from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.plain import notice
from dashboard.shown import photographs
from dashboard.shown.graphs import node_picture
from dashboard.shown.images import file_name
from dashboard.versus import Versus
from summit_dask.facts import wording
from summit_dask.facts.errors import SummitError
from summit_dask.facts.layergraph import Channel

if TYPE_CHECKING:
    from summit_dask.questions.strategies import Strategies

#: Channels that are shown of each strategy.
N_CHANNELS = 8


@kept_with_store(16)
def found(data: StoreData, class_index: int) -> "Strategies":
    """A class's strategies.

    Raises
    ------
    SummitError
        If it has too few images, or the store holds no values of single images.
    """
    from summit_dask.questions.strategies import strategies_in

    label = data.facts(class_index).label
    return strategies_in(data.store.read, data.layer_graph, data.options, class_index, label)


def show(data: StoreData, class_index: int) -> None:
    """The strategies of a class, once they are asked for."""
    st.subheader("Its images parted by the channels that they use", anchor=False)
    if not data.has(f"{data.options.nodes}s"):
        st.caption(data.why_absent("activations"))
        return
    st.caption("Two to four groups, as many as part them best: ways in which the network recognises the class.")
    if not st.toggle("Part them", key="strategies"):
        return
    try:
        with st.spinner("Comparing the images by what they use"):
            own = found(data, class_index)
    except SummitError as error:
        notice(str(error))
        return
    if own.number == 1:
        st.caption("All of its images use the same channels.")
        return
    for number in range(own.number):
        _strategy(data, own, number)


def _strategy(data: StoreData, own: "Strategies", number: int) -> None:
    images = np.flatnonzero(own.images(number))
    n_wrong = int((~data.is_correct[images]).sum())
    n_odd = int(own.is_odd[images].sum())
    told = [wording.images(len(images)), f"{n_wrong:,} of them wrong" if n_wrong else "", _odd_ones(n_odd)]
    with st.container(border=True):
        components.facts(f"strategy {number}", f"Strategy {number + 1}", note=", ".join(filter(None, told)))
        against = Versus("strategy", str(number + 1))
        st.button(
            "Compare with its other images",
            key=f"vs {against}",
            on_click=lambda: session.go("explore", vs=against),
        )
        left, right = st.columns([1, 1], gap="large")
        with left:
            _images(data, own, number, images)
        with right:
            _channels(data, own, number)


def _odd_ones(n: int) -> str:
    return f"{n:,} of them nearer to another strategy" if n else ""


def _images(data: StoreData, own: "Strategies", number: int, images: Any) -> None:
    """The odd ones last, so that the first ones show what the strategy is."""
    order = images[np.argsort(own.is_odd[images], kind="stable")]
    n_odd = min(int(own.is_odd[images].sum()), photographs.MOST // 3)
    n_plain = min(len(order) - int(own.is_odd[images].sum()), photographs.MOST - n_odd)
    shown = [*order[:n_plain].tolist(), *order[len(order) - n_odd :].tolist()]
    titles = ["nearer to another" if own.is_odd[image] else "" for image in shown]
    texts = [file_name(data, image) for image in shown]
    photographs.gallery(data, f"images of strategy {number}", f"Images of strategy {number + 1}", shown, titles, texts)


def _channels(data: StoreData, own: "Strategies", number: int) -> None:
    st.caption("Channels that set it apart: of its images, and of the class's other ones, those that use each")
    rows = own.channels[(own.channels["strategy"] == number) & (own.channels["difference"] > 0)].head(N_CHANNELS)
    shown = [Channel(str(layer), int(index)) for layer, index in zip(rows["layer"], rows["channel"], strict=True)]
    items = [
        components.Item(
            node_picture(data, channel),
            f"channel {channel.index}",
            f"{channel.layer}\n{row.share:.0%}, others {row.elsewhere:.0%}{'' if row.is_clear else ' (may be chance)'}",
            f"Channel {channel.index} of {channel.layer}",
            True,
        )
        for channel, row in zip(shown, rows.itertuples(), strict=True)
    ]

    def opened(k: int) -> None:
        session.go("channel", layer=shown[int(k)].layer, channel=shown[int(k)].index)

    if items:
        components.gallery(f"channels of strategy {number}", f"Channels of strategy {number + 1}", items, 84, opened)
    else:
        st.caption("None.")
