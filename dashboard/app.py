"""The dashboard: navigation, the choice of a store, and what to say when there is none.

Started by ``summit-dask dashboard STORE``, which is ``streamlit run app.py -- STORE``.
"""

import streamlit as st

from dashboard import session
from summit_dask.errors import SummitError

PAGES = (("explore", "Explore"),)


def main() -> None:
    """Show the chosen page."""
    st.set_page_config(page_title="summit-dask", layout="wide", initial_sidebar_state="collapsed")
    pages = [
        st.Page(session.page(name), title=title, default=name == "explore", url_path=name)
        for name, title in PAGES
    ]
    chosen = st.navigation(pages, position="hidden")
    try:
        chosen.run()
    except SummitError as error:
        st.error(str(error))


main()
