"""See what an image classifier has learned, class by class, at the scale of whole data sets.

    run                a configuration            -> a store of activations, influences and graphs
    open_store         a store's folder           -> xarray.DataTree
    attribution_graph  a tree and a class         -> networkx.DiGraph of `Channel`
    compare            two of these graphs        -> tables of what they share, and of what differs
    count              a tree and a column        -> what the images of each group use, as labelled arrays
    attribution_graphs a tree and a column        -> the attribution graph of each group of images
    across             several trees              -> how each class changes from one to the next
    match              two trees                  -> channels and layers of two networks that answer alike
    classes_with       a tree and a path          -> classes whose graphs hold an edge, or a path
    communities        a tree                     -> channels that fire together
    strategies         a tree and a class         -> its images, parted by the channels that they use
    show               a tree and a class         -> the graph, drawn in a notebook

`run` needs torch and a Dask cluster; the others need the store alone. Each name is imported when it is first used,
so that `summit-dask --help` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from summit_dask.facts.config import RunConfig
    from summit_dask.facts.errors import SummitError
    from summit_dask.facts.layergraph import Channel, LayerGraph
    from summit_dask.notebook import show
    from summit_dask.questions.across import across
    from summit_dask.questions.compare import compare
    from summit_dask.questions.groupgraphs import attribution_graphs
    from summit_dask.questions.groups import count
    from summit_dask.questions.holders import classes_with
    from summit_dask.questions.match import match
    from summit_dask.questions.query import attribution_graph
    from summit_dask.questions.strategies import strategies
    from summit_dask.questions.together import communities
    from summit_dask.stages.pipeline import run
    from summit_dask.store.tree import layer_graph_of, open_store

__all__ = [
    "Channel",
    "LayerGraph",
    "RunConfig",
    "SummitError",
    "across",
    "attribution_graph",
    "attribution_graphs",
    "classes_with",
    "communities",
    "compare",
    "count",
    "layer_graph_of",
    "match",
    "open_store",
    "run",
    "show",
    "strategies",
]

_HOME = {
    "Channel": "facts.layergraph",
    "LayerGraph": "facts.layergraph",
    "RunConfig": "facts.config",
    "SummitError": "facts.errors",
    "across": "questions.across",
    "attribution_graph": "questions.query",
    "attribution_graphs": "questions.groupgraphs",
    "classes_with": "questions.holders",
    "communities": "questions.together",
    "compare": "questions.compare",
    "count": "questions.groups",
    "layer_graph_of": "store.tree",
    "match": "questions.match",
    "open_store": "store.tree",
    "run": "stages.pipeline",
    "show": "notebook",
    "strategies": "questions.strategies",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `run` brings torch along, which reading a store doesn't need."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
