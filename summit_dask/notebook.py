"""A class's graph within a notebook."""

import html
from importlib import import_module

import xarray as xr

from summit_dask.facts.errors import StoreError
from summit_dask.facts.location import location
from summit_dask.questions.query import find_class
from summit_dask.serve import load_dashboard


class GraphPage:
    """A page that a notebook shows in a frame of its own, which has no hold on the notebook.

    Parameters
    ----------
    page
        HTML that needs no other file.
    height
        Of the frame, in pixels.
    """

    def __init__(self, page: str, height: int) -> None:
        self.page = page
        self.height = height

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {self.height}px; border: 0"
        page = html.escape(self.page)
        return f'<iframe sandbox="allow-scripts allow-downloads" style="{style}" srcdoc="{page}"></iframe>'


def show(tree: xr.DataTree, class_name: str, examples: bool = True, height: int = 900) -> GraphPage:
    """The attribution graph of a class as the dashboard draws it, for the end of a notebook's cell.

    Parameters
    ----------
    tree
        As `open_store` opens it.
    class_name
        The class, by its folder name, or by its name or synset where that is unique.
    examples
        Whether cards show images of the data set, which a notebook that is published then holds.
    height
        Of the frame, in pixels.

    Returns
    -------
    GraphPage
        What Jupyter shows; `page` is a whole HTML page.

    Raises
    ------
    ClassNotFoundError
        If there is no such class.
    StoreError
        If the tree was made in memory, or its store is gone.
    StoreIncompleteError
        If the store has no graphs.
    """
    place = find_class(tree, class_name)
    source = tree.encoding.get("source")
    if source is None:
        raise StoreError("This tree was made in memory; give one that open_store opened.")
    load_dashboard()
    site = import_module("dashboard.site.write")
    own = site.open_source(location(source), [place], examples)
    return GraphPage(site.class_page(own, "Summit"), height)
