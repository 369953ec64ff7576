"""An attribution graph as GraphML, for Gephi, Cytoscape and other programs that draw networks."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from summit_dask.facts.layergraph import Channel

if TYPE_CHECKING:
    import networkx as nx

#: What XML 1.0 can't hold, written in whatever way: most control characters, halves of surrogate pairs.
_NOT_IN_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REPLACEMENT = "\ufffd"


def graphml_ready(network: "nx.DiGraph[Channel]", name: str = "") -> "nx.DiGraph[str]":
    """An attribution graph of which GraphML holds everything, for `networkx.write_graphml`.

    Parameters
    ----------
    network
        As `attribution_graph` or `to_networkx` gives it, or the union of two as `Comparison.to_networkx` does.
    name
        Of the graph; characters that XML can't hold become U+FFFD, here and in layers' names.

    Returns
    -------
    DiGraph
        Nodes ``layer/channel`` with the attributes label, layer, channel, count and score; edges from the input
        side to the output side with influence, the same number as weight, and identity; where the graph has
        evidence, stability of both and effect of edges, without those that aren't known; of a union the columns of
        `Comparison`. Gephi shows label and lays
        out by weight.

    Examples
    --------
    >>> import networkx as nx
    >>> network = nx.DiGraph([(Channel("low", 3), Channel("high", 0), {"influence": 7})])
    >>> ready = graphml_ready(network, "crane")
    >>> ready.nodes["low/3"]
    {'label': 'low 3', 'layer': 'low', 'channel': 3}
    >>> ready.edges["low/3", "high/0"]
    {'influence': 7, 'weight': 7.0}
    """
    import networkx as nx

    result: nx.DiGraph[str] = nx.DiGraph(name=_holdable(name))
    for node, values in network.nodes.data():
        layer = _holdable(node.layer)
        result.add_node(_id(node), label=f"{layer} {node.index}", layer=layer, channel=node.index, **_known(values))
    for source, target, values in network.edges.data():
        result.add_edge(_id(source), _id(target), **_known(values), weight=_weight(values))
    return result


def graphml(network: "nx.DiGraph[Channel]", name: str = "") -> str:
    """The text of a GraphML file, to be written as UTF-8; see `graphml_ready`."""
    import networkx as nx

    lines = nx.generate_graphml(graphml_ready(network, name))
    return "\n".join(["<?xml version='1.0' encoding='utf-8'?>", *lines, ""])


def _weight(values: Mapping[str, Any]) -> float:
    """Images in which it is a source; of two graphs' union, the larger of their shares of the images."""
    if "influence" in values:
        return float(values["influence"])
    return float(max(values[share] for share in ("share_a", "share_b") if share in _known(values)))


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without NaN, which programs read in different ways, if at all."""
    return {name: value for name, value in values.items() if value == value}


def _id(node: Channel) -> str:
    return f"{_holdable(node.layer)}/{node.index}"


def _holdable(text: str) -> str:
    return _NOT_IN_XML.sub(_REPLACEMENT, text)
