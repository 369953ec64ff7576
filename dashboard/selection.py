"""What is shown, and its form in the address: the address alone brings a view back, but for rows chosen in tables.

Reading an address never fails: what can't be understood counts as not said.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, cast, get_args

from dashboard.data import STORED, Reselection, StoreData
from summit_dask.facts.layergraph import Channel

Sort = Literal["similarity", "best", "worst", "name", "images"]
Scale = Literal["class", "all"]

#: Smallest and largest p and mass to select with.
SHARES = (0.005, 0.5)


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
    sort, search
        Order and filter of the list of classes.
    least_count
        Nodes with smaller counts are hidden.
    width, height
        Distance of the graph's columns and rows, relative to the usual one.
    scale
        Whether node sizes are relative to this class's largest count, or to all classes'.
    how
        How the graph is selected, where that differs from the stored one.
    alone
        On the page of one channel: whether its sources and targets are those in the class's graph alone.
    misclassified
        On the page of one class: whether the graph beside the class's is that of its misclassified images.
    """

    store: str | None = None
    class_: str | None = None
    layer: str | None = None
    channel: int | None = None
    pinned: Channel | None = None
    sort: Sort = "similarity"
    search: str = ""
    least_count: int = 0
    width: float = 1.0
    height: float = 1.0
    scale: Scale = "class"
    how: Reselection = STORED
    alone: bool = False
    misclassified: bool = False

    @classmethod
    def from_query(cls, query: Mapping[str, Sequence[str]]) -> Self:
        """From the address's parameters, each with all its values."""
        first = {name: values[0] for name, values in query.items() if values}
        sort, scale = first.get("sort"), first.get("scale")
        return cls(
            store=first.get("store"),
            class_=first.get("class"),
            layer=first.get("layer"),
            channel=_whole(first.get("channel")),
            pinned=next(iter(_channels(query, "pin")), None),
            sort=cast(Sort, sort if sort in get_args(Sort) else "similarity"),
            search=first.get("search", ""),
            least_count=_whole(first.get("least_count")) or 0,
            width=_within(first.get("width"), 0.5, 3) or 1.0,
            height=_within(first.get("height"), 0.5, 3) or 1.0,
            scale=cast(Scale, scale if scale in get_args(Scale) else "class"),
            how=Reselection(
                p=_within(first.get("p"), *SHARES),
                mass=_within(first.get("mass"), *SHARES),
                left_out=tuple(_channels(query, "out")),
                keep_excluded=first.get("keep_excluded") == "1",
            ),
            alone=first.get("alone") == "1",
            misclassified=first.get("misclassified") == "1",
        )

    def to_query(self) -> dict[str, list[str]]:
        """As parameters of an address; what has its default is left away. `from_query` gives an equal selection."""
        plain: dict[str, Any] = {
            "store": self.store,
            "class": self.class_,
            "layer": self.layer,
            "channel": self.channel,
        }
        usual = Selection()
        names = ("sort", "search", "least_count", "width", "height", "scale")
        plain |= {n: getattr(self, n) for n in names if getattr(self, n) != getattr(usual, n)}
        flags = {"keep_excluded": self.how.keep_excluded, "alone": self.alone, "misclassified": self.misclassified}
        plain |= {"p": self.how.p, "mass": self.how.mass, **{name: 1 if on else None for name, on in flags.items()}}
        query = {name: [_number(value)] for name, value in plain.items() if value is not None}
        return {**query, **_pairs("pin", filter(None, [self.pinned])), **_pairs("out", self.how.left_out)}

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def within(self, data: StoreData) -> tuple[Self, list[str]]:
        """The selection as far as it exists in a store, the first class and top layer where none is said.

        Returns
        -------
        Selection
            `class_` and `layer` are set.
        list
            A sentence for each thing that the address names and the store lacks.
        """
        missing = []
        sizes = {layer.name: layer.channels for layer in data.layers}
        changes: dict[str, Any] = {}
        if self.class_ not in data.place_of:
            changes["class_"] = first = next(iter(data.place_of))
            shown = data.facts(data.place_of[first]).label
            missing += [f"There is no class {self.class_!r} in this store; this is {shown}."] if self.class_ else []
        if self.layer not in sizes:
            changes["layer"] = last = data.layers[-1].name
            missing += [f"There is no layer {self.layer!r} in this store; this is {last}."] if self.layer else []
        if self.pinned and not 0 <= self.pinned.index < sizes.get(self.pinned.layer, 0):
            changes["pinned"] = None
        known = tuple(c for c in self.how.left_out if c.index < sizes.get(c.layer, 0))
        changes["how"] = replace(self.how, left_out=known)
        if changes["how"] != STORED and not data.can_reselect:
            missing += [f"The address asks for another selection of the graph. {data.why_absent('matrices')}"]
            changes["how"] = STORED
        return replace(self, **changes), missing


def _channels(query: Mapping[str, Sequence[str]], prefix: str) -> Iterable[Channel]:
    layers, indices = query.get(f"{prefix}_layer", ()), map(_whole, query.get(f"{prefix}_channel", ()))
    return (Channel(layer, index) for layer, index in zip(layers, indices, strict=False) if index is not None)


def _pairs(prefix: str, channels: Iterable[Channel]) -> dict[str, list[str]]:
    found = list(channels)
    if not found:
        return {}
    return {f"{prefix}_layer": [c.layer for c in found], f"{prefix}_channel": [str(c.index) for c in found]}


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def _within(text: str | None, low: float, high: float) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if low <= value <= high else None
