"""What people call channels: given on a channel's page, and a way to those that have a name."""

import streamlit as st

from dashboard import session
from dashboard.data import StoreData
from dashboard.plain import notice
from summit_dask.facts.errors import StoreError
from summit_dask.facts.layergraph import Channel
from summit_dask.store.channelnames import Called

#: Letters of a name and of a note.
NAME, NOTE = 60, 500


def controls(data: StoreData, channel: Channel) -> None:
    """Name the channel, or go to one that is named."""
    with st.popover("Name it", help="A name and a note, kept in a file beside the store"):
        _form(data, channel)
    if data.named:
        _search(data)
    if why := st.session_state.pop("not named", None):
        notice(why)


def _form(data: StoreData, channel: Channel) -> None:
    called = data.called(channel)
    key = f"{channel.layer} {channel.index}"
    with st.form(f"name {key}", border=False):
        st.text_input("Name", called.name, NAME, key=f"name of {key}")
        st.text_area("Note", called.note, max_chars=NOTE, key=f"note of {key}")
        st.form_submit_button("Keep", on_click=_keep, args=(data, channel, key))


def _keep(data: StoreData, channel: Channel, key: str) -> None:
    name, note = (st.session_state[f"{what} of {key}"].strip() for what in ("name", "note"))
    try:
        data.call(channel, Called(name, note))
    except StoreError as error:
        st.session_state["not named"] = str(error)


def _search(data: StoreData) -> None:
    """All named channels; typing finds them by their names."""
    st.session_state["named channel"] = None

    def chosen() -> None:
        channel = st.session_state["named channel"]
        if channel is not None:
            session.change(layer=channel.layer, channel=channel.index)

    st.selectbox(
        "Named channels",
        data.named,
        key="named channel",
        format_func=lambda channel: f"{data.called(channel).name} ({channel.layer} {channel.index})",
        placeholder="Find by name",
        width=260,
        on_change=chosen,
    )
