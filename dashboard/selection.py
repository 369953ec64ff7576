"""What is shown: the address alone brings a view back, but for rows chosen in tables.

A field here is all that a new choice of the visitor's needs: it stands in the address by itself.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self, get_args

from dashboard import address
from dashboard.versus import Versus
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import PAIRS, Pair

Sort = Literal["similarity", "best", "worst", "name", "images"]
Scale = Literal["class", "all"]
Communities = Literal["off", "colour", "fold"]

#: The controls of the graph's drawing.
VIEW = ("least_count", "width", "height", "scale", "only_effective", "communities")

#: Smallest and largest p and mass to select with.
SHARES = (0.005, 0.5)

#: Smallest and largest distance of the graph's columns and rows.
STRETCH = (0.5, 3.0)


@dataclass(frozen=True)
class Reselection:
    """What differs from the graphs as they were stored; None leaves an option as the run had it.

    Parameters
    ----------
    p
        Share of a layer's scores that is selected at first.
    mass
        Share of an image's activation that makes a channel used; counted again from the class's stored maxima.
    left_out
        Channels left out besides the run's own.
    keep_excluded
        Whether the run's own excluded channels take part after all.
    """

    p: Annotated[float | None, address.between("p", *SHARES)] = None
    mass: Annotated[float | None, address.between("mass", *SHARES)] = None
    left_out: Annotated[tuple[Channel, ...], address.channels("out")] = ()
    keep_excluded: Annotated[bool, address.flag("keep_excluded")] = False


#: The graphs as they were stored.
STORED = Reselection()


@dataclass(frozen=True)
class Selection:
    """Everything that the address can say; None or the default where it doesn't.

    Parameters
    ----------
    store
        Name of the store among those to choose from.
    class_
        Folder name of the class.
    layer
        Layer of the embedding, and of the pages about one layer.
    channel
        Channel of the layer, on the page of one channel.
    pinned
        Node that is pinned in the attribution graph.
    edge
        Source and target of the edge that is chosen there.
    sort, search
        Order and filter of the list of classes.
    least_count
        Nodes with smaller counts are hidden.
    width, height
        Distance of the graph's columns and rows, relative to the usual one.
    scale
        Whether node sizes are relative to this class's largest count, or to all classes'.
    only_effective
        Whether edges are hidden of which evidence says that they have no effect.
    communities
        Whether channels that fire together have one colour, or are folded into one node.
    how
        How the graph is selected, where that differs from the stored one.
    alone
        On the page of one channel: whether its sources and targets are those in the class's graph alone.
    misclassified
        On the page of one class: whether the graph beside the class's is that of its misclassified images.
    pair
        What the graphs are measured by, where that is not the first pair that the store has graphs of.
    vs
        What the class's graph is held against; None shows it alone.
    other
        Name of another store, whose network's channels and layers are held against this one's.
    across
        Names of the stores that classes are followed through after this one; none stands for all that can be.
    """

    store: Annotated[str | None, address.text("store")] = None
    class_: Annotated[str | None, address.text("class")] = None
    layer: Annotated[str | None, address.text("layer")] = None
    channel: Annotated[int | None, address.whole("channel")] = None
    pinned: Annotated[Channel | None, address.channel("pin")] = None
    edge: Annotated[tuple[Channel, ...], address.channels("edge")] = ()
    sort: Annotated[Sort, address.choice("sort", get_args(Sort))] = "similarity"
    search: Annotated[str, address.text("search")] = ""
    least_count: Annotated[int, address.whole("least_count")] = 0
    width: Annotated[float, address.between("width", *STRETCH)] = 1.0
    height: Annotated[float, address.between("height", *STRETCH)] = 1.0
    scale: Annotated[Scale, address.choice("scale", get_args(Scale))] = "class"
    only_effective: Annotated[bool, address.flag("only_effective")] = False
    communities: Annotated[Communities, address.choice("communities", get_args(Communities))] = "off"
    how: Annotated[Reselection, address.record(Reselection)] = STORED
    alone: Annotated[bool, address.flag("alone")] = False
    misclassified: Annotated[bool, address.flag("misclassified")] = False
    pair: Annotated[Pair | None, address.named("graphs", {pair.name: pair for pair in PAIRS})] = None
    vs: Annotated[Versus | None, address.spelled("vs", Versus.read)] = None
    other: Annotated[str | None, address.text("other")] = None
    across: Annotated[tuple[str, ...], address.texts("across")] = ()

    @classmethod
    def from_query(cls, query: address.Query) -> Self:
        """From the address's parameters, each with all its values."""
        return address.read(cls, query)

    def to_query(self) -> dict[str, list[str]]:
        """As parameters of an address; what has its default is left away. `from_query` gives an equal selection."""
        return address.write(self)

    @property
    def view(self) -> dict[str, Any]:
        """How the graph is drawn."""
        return {name: getattr(self, name) for name in VIEW}

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return replace(self, **changes)
