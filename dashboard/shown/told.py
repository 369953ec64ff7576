"""What is told of a drawing once it is on the page: channels that fire together, classes that hold its edges."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from dashboard.shown.together import RESOLUTION
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import Pair

if TYPE_CHECKING:
    from summit_dask.questions.holders import EdgesOfClasses
    from summit_dask.questions.together import Communities


def communities(data: StoreData, drawn: dict[str, Any]) -> dict[str, Any]:
    """The number of the community of each node of a drawing, from 1 on, and the classes that use each most."""
    found = _communities(data)
    columns = (found.channels[name].tolist() for name in ("community", "layer", "channel"))
    number = {Channel(layer, channel): community + 1 for community, layer, channel in zip(*columns, strict=True)}
    own = [number.get(Channel(node["layer"], node["channel"])) for node in drawn["nodes"]]
    classes = found.communities["classes"]
    return {"of": own, "names": {str(k): ", ".join(classes[k - 1]) for k in own if k is not None}}


@kept_with_store(1)
def _communities(data: StoreData) -> "Communities":
    """Of all layers with maps together, once for all graphs of the store."""
    from summit_dask.questions.together import communities_in

    layers = [layer.name for layer in data.layers]
    return communities_in(data.store.read, data.layer_graph, data.has("matrices"), layers, RESOLUTION)


def holders(data: StoreData, drawn: dict[str, Any], pair: Pair, own: Collection[int]) -> dict[str, Any] | None:
    """Of each edge of a drawing, the other classes whose graphs hold it, and their names; `own` are those shown."""
    if pair not in data.pairs:
        return None
    channels = [Channel(node["layer"], node["channel"]) for node in drawn["nodes"]]
    source, target = ([channels[edge[end]] for edge in drawn["edges"]] for end in (0, 1))
    found = [[k for k in classes.tolist() if k not in own] for classes in _edges(data, pair).with_edges(source, target)]
    place = {k: number for number, k in enumerate(dict.fromkeys(k for classes in found for k in classes))}
    named = data.classes[["folder", "label"]]
    return {
        "classes": named.iloc[list(place)].to_numpy().tolist(),
        "edges": [[place[k] for k in classes] for classes in found],
    }


@kept_with_store(4)
def _edges(data: StoreData, pair: Pair) -> "EdgesOfClasses":
    from summit_dask.questions.holders import EdgesOfClasses

    return EdgesOfClasses.read(data.read, data.layer_graph, pair)
