"""What layers, channels and classes are called in the files of other programs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from summit_dask.facts.errors import ConfigError
from summit_dask.facts.layergraph import LayerGraph

_GOOGLENET_MODULE = re.compile(r"inception_?(\d[a-z])")
_NOT_FOR_FILES = re.compile(r"[^\w.-]+")
#: ASCII's marks, control characters and spaces; all letters of other scripts may stand in a selector.
_NOT_FOR_SELECTORS = re.compile(r"(?:[^0-9A-Za-z\u00a0-\U0010ffff]|\s)+")

#: Characters of a class's folder name that stay in a file name.
_FILE_NAME = 80


def original_names(layer_graph: LayerGraph, table: Mapping[str, str] | None = None) -> dict[str, str]:
    """The original's name of every visible layer with maps: GoogLeNet's inception modules become mixed3a to mixed5b.

    Parameters
    ----------
    layer_graph
        Of the store.
    table
        Other names, by the layers' own; a layer that is not in it gets its default.

    Raises
    ------
    LayerNotFoundError
        If the table names a layer that doesn't exist.
    ConfigError
        If two layers get the same name.
    """
    given = table or {}
    for name in given:
        layer_graph.layer(name)
    names = {layer.name: given.get(layer.name, _default_name(layer.name)) for layer in layer_graph.with_maps}
    if len(set(names.values())) < len(names):
        raise ConfigError(f"Two layers get the same name: {names}. Correct the table of layers.")
    return names


def _default_name(layer: str) -> str:
    module = _GOOGLENET_MODULE.fullmatch(layer)
    return f"mixed{module[1]}" if module else layer


def renamed(layer_graph: LayerGraph, names: Mapping[str, str]) -> LayerGraph:
    """The layer graph with other names for some layers; hops keep theirs."""

    def name_of(layer: str) -> str:
        return names.get(layer, layer)

    layers = [replace(layer, name=name_of(layer.name)) for layer in layer_graph.layers]
    hops = [replace(hop, source=name_of(hop.source), target=name_of(hop.target)) for hop in layer_graph.hops]
    return LayerGraph(tuple(layers), tuple(hops))


def file_name(index: int, label: str) -> str:
    """A class's index and folder name, safe on any file system.

    Examples
    --------
    >>> file_name(7, "crane/bird: *grus*")
    '0007-crane_bird_grus_'
    """
    return f"{index:04d}-{_NOT_FOR_FILES.sub('_', label)[:_FILE_NAME]}"


def selector_word(text: str) -> str:
    """A text without what can't stand in a selector of the DOM or in a list: one underscore for marks and spaces.

    The original's page makes ids of synsets ("#point-n02114548"), splits them at hyphens, and lists names with
    commas between them.

    Examples
    --------
    >>> selector_word("Jack-o'-lantern, St. Martin")
    'Jack_o_lantern_St_Martin'
    """
    return _NOT_FOR_SELECTORS.sub("_", text).strip("_")


def unique(words: Iterable[str]) -> list[str]:
    """The words in order, with a number behind those that came before.

    Examples
    --------
    >>> unique(["crane", "crane", "crane_2"])
    ['crane', 'crane_2', 'crane_2_2']
    """
    result: dict[str, None] = {}
    for word in words:
        candidate = word
        number = 2
        while candidate in result:
            candidate = f"{word}_{number}"
            number += 1
        result[candidate] = None
    return list(result)
