"""Layers by name: those that a user asks for, and what hidden ones are called."""

from collections.abc import Collection, Sequence
from itertools import count

from torch import fx

from summit_dask.facts.errors import ConfigError, LayerNotFoundError, TraceError, suggestion
from summit_dask.network.export import NetworkGraph
from summit_dask.network.layers import step_path
from summit_dask.network.operations import operation
from summit_dask.network.steps import linear_step
from summit_dask.network.walk import Walk, value_of

#: What a store's groups inherit; a group of theirs can't have such a name.
COORDINATES = ("image", "class")


def visible_layers(graph: NetworkGraph, entries: Sequence[str]) -> dict[fx.Node, str]:
    """Value nodes of the visible layers and their names, in order of computation."""
    named: dict[fx.Node, str] = {}
    for entry in entries:
        name, _, path = entry.rpartition("=")
        node = layer_value(graph, path)
        _check_name(name := name or path, named.values())
        if node in named:
            raise ConfigError(f"The layers {named[node]!r} and {name!r} are the same activation; name one of them.")
        named[node] = name
    return {node: named[node] for node in graph.in_order(named)}


def layer_value(graph: NetworkGraph, path: str) -> fx.Node:
    """The activation of the module at a path.

    Raises
    ------
    LayerNotFoundError
        If no such module is on the way to the network's output; names near ones.
    TraceError
        If the module is called more than once.
    """
    nodes = graph.returned.get(path)
    if not nodes:
        raise LayerNotFoundError(
            f"No module {path!r} returns a tensor of its own on the way to the network's output. "
            f"{suggestion(path, graph.returned)}"
        )
    if len(nodes) > 1:
        raise TraceError(f"The module {path!r} is called {len(nodes)} times, so its output is no single layer.")
    return value_of(graph, nodes[0])


def _check_name(name: str, others: Collection[str]) -> None:
    if "/" in name or name.startswith("__") or not name.strip(".") or name in COORDINATES:
        raise ConfigError(
            f"A layer can't be called {name!r}: the store has a group of that name, so no '/', '__' or '.', and none "
            f"of {', '.join(COORDINATES)}, which are coordinates there. Give it another one, as in --layers NAME=PATH."
        )
    if name in others:
        raise ConfigError(f"Two layers are called {name!r}; names must be unique.")


def layer_names(graph: NetworkGraph, walk: Walk) -> dict[fx.Node, str]:
    """Names of all layers, input side first."""
    used = {*walk.visible.values(), *COORDINATES}
    names = {}
    for value in walk.layers():
        if value in walk.visible:
            names[value] = walk.visible[value]
        else:
            names[value] = unique(_hidden_name(graph, value, walk.channels.bases[walk.hidden[value]].node), used)
    return names


def _hidden_name(graph: NetworkGraph, value: fx.Node, base: fx.Node) -> str:
    if linear_step(graph, base) is not None:
        return step_path(graph, base)
    paths = [path for path, nodes in graph.returned.items() if nodes == (value,)]
    return min(paths, key=len, default=f"{graph.owner(base)}.{operation(base)}".strip("."))


def unique(name: str, used: set[str]) -> str:
    """The name, or with a number behind it where it is used already."""
    free = name if name not in used else next(n for i in count(2) if (n := f"{name}_{i}") not in used)
    used.add(free)
    return free
