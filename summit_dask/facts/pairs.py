"""Pairs of measures that attribution graphs are made of: one tells the channels that matter, one what feeds them.

    nodes  activation or relevance     personalise PageRank; a node's count       activation_count, relevance_count
    edges  influence or contribution   join a channel to those below it           influence_count, contribution_count

A store holds the graphs of several pairs side by side: /graphs/activation-influence is the paper's.
"""

from itertools import product
from typing import Literal, NamedTuple, get_args

Nodes = Literal["activation", "relevance"]
Edges = Literal["influence", "contribution"]


class Pair(NamedTuple):
    """What a graph's nodes and edges are measured by; the paper's by default."""

    nodes: Nodes = "activation"
    edges: Edges = "influence"

    @property
    def name(self) -> str:
        """As in addresses: activation-influence."""
        return "-".join(self)

    @property
    def group(self) -> str:
        """The store's group of its graphs."""
        return f"graphs/{self.name}"

    @property
    def flags(self) -> str:
        """What asks for it on the command line."""
        return f"--nodes {self.nodes} --edges {self.edges}"

    @property
    def words(self) -> str:
        """For people."""
        return f"nodes by {self.nodes}, edges by {self.edges}"

    def fits(self, nodes: Nodes | None, edges: Edges | None) -> bool:
        """Whether it is what was asked for; None: either will do."""
        return nodes in (None, self.nodes) and edges in (None, self.edges)


#: All pairs, the paper's first.
PAIRS = tuple(Pair(nodes, edges) for nodes, edges in product(get_args(Nodes), get_args(Edges)))

#: What the paper's graphs are made of.
PAPERS = PAIRS[0]


def pair_of(group: str) -> Pair | None:
    """The pair whose graphs a group of the store holds; None for any other group."""
    return next((pair for pair in PAIRS if pair.group == group), None)
