"""The original's table of classes, imagenet.json: one entry a class, in the order of the synset file.

    {"synset": "n02114548", "label": "205", "name": "white_wolf", "target_class": 270,
     "topChannels": {"mixed3a": [{"c": 181, "i": 812}, ...]}, "embed": {"mixed3a": {"x": -1.234, "y": 5.678}},
     "accs": ["98.7", ...], "topOneAccCount": 1000, "numOfInstances": 1300, "topOneAcc": 0.769}

The whole file is large, so entries are read and written one at a time.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts.layergraph import Layer, LayerGraph
from summit_dask.formats.checks import (
    NO_JSON,
    check_rows,
    check_unique,
    digits,
    fault,
    integers,
    no_json,
    numbers,
    read_text,
)

#: Characters that the original keeps of an embedding's coordinate and of a probability in percent.
EMBED_CHARACTERS = 6
PERCENT_CHARACTERS = 4

_ENTRY_KEYS = ("synset", "label", "name", "target_class")
_LARGEST = 2**31 - 1
_SPACE = re.compile(r"\s*")

#: Characters of a wrong place in the file that a message shows.
_SHOWN = 40


@dataclass(frozen=True)
class ClassEntry:
    """One class of imagenet.json.

    Parameters
    ----------
    synset, name
        As in the file, but spaces for underscores in the name.
    label
        Position in the synset file, from 1.
    target
        The network's output, the N of ag-N.json.
    counts
        A of the class: by layer, int32 (channel,). Empty if the file has no topChannels.
    embed
        By layer, x and y. Empty if the file has no embedding.
    probability
        Of each image's highest prediction, float32 (image,), 0 to 1.
    n_correct
        Images whose highest prediction is the class.
    """

    synset: str
    label: int
    name: str
    target: int
    counts: Mapping[str, NDArray[np.int32]]
    embed: Mapping[str, tuple[float, float]]
    probability: NDArray[np.float32]
    n_correct: int


def read_entries(path: Path) -> Iterator[Any]:
    """Entries of an imagenet.json, one at a time, not checked yet.

    Raises
    ------
    FormatError
        Where the file is cut off or no list; the entries before that have been given.
    """
    text = read_text(path)
    decoder = json.JSONDecoder()
    index = _after_space(text, 0)
    if text[index : index + 1] != "[":
        raise fault(path, "a list of classes", text[index : index + _SHOWN])
    index = _after_space(text, index + 1)
    while text[index : index + 1] != "]":
        try:
            entry, index = decoder.raw_decode(text, index)
        except NO_JSON as error:
            raise no_json(path, error) from error
        yield entry
        index = _after_space(text, index)
        mark = text[index : index + 1]
        if mark not in (",", "]"):
            raise fault(path, "a comma or ] after each class", text[index : index + _SHOWN] or "the end of the file")
        if mark == ",":
            index = _after_space(text, index + 1)


def _after_space(text: str, index: int) -> int:
    space = _SPACE.match(text, index)
    assert space
    return space.end()


def parse_entry(entry: Any, layer_graph: LayerGraph, where: object) -> ClassEntry:
    """One class from an entry of imagenet.json.

    Raises
    ------
    FormatError
        For another type or key, a layer or channel that doesn't exist, or numbers that contradict each other.
    """
    check_rows([entry], _ENTRY_KEYS, where)
    where = f"{where}, class {entry['synset']!r}"
    for key in ("synset", "name"):
        if not isinstance(entry[key], str):
            raise fault(where, f"{key} as text", entry[key])
    probability = _probabilities(entry.get("accs", []), where)
    n_images = len(probability)
    if entry.get("numOfInstances", n_images) != n_images:
        raise fault(where, f"numOfInstances as the {n_images} entries of accs", entry["numOfInstances"])
    return ClassEntry(
        synset=entry["synset"],
        label=_one(digits([entry["label"]]), _LARGEST, where, "label"),
        name=entry["name"].replace("_", " "),
        target=_one([entry["target_class"]], _LARGEST, where, "target_class"),
        counts=_counts(entry.get("topChannels", {}), layer_graph, where),
        embed=_embed(entry.get("embed", {}), layer_graph, where),
        probability=probability,
        n_correct=_one([entry.get("topOneAccCount", 0)], n_images + 1, where, "topOneAccCount"),
    )


def _one(values: list[Any], limit: int, where: str, what: str) -> int:
    return int(integers(values, limit, where, what)[0])


def _probabilities(texts: Any, where: str) -> NDArray[np.float32]:
    """From percent, each image's own text."""
    try:
        percent = np.array([float(text) for text in texts], np.float64)
    except (TypeError, ValueError) as error:
        raise fault(where, "accs as a list of percentages", str(error)) from error
    # Written so that NaN is outside.
    is_outside = ~((percent >= 0) & (percent <= 100))
    if is_outside.any():
        raise fault(where, "accs from 0 to 100", percent[is_outside].tolist()[0])
    return (percent / 100).astype(np.float32)


def _by_layer(value: Any, layer_graph: LayerGraph, where: str) -> Iterator[tuple[Layer, Any]]:
    """The value of each visible layer; nothing if there is none at all."""
    names = {layer.name for layer in layer_graph.visible}
    if not isinstance(value, dict) or set(value) not in (names, set()):
        raise fault(where, f"an object with the layers {', '.join(sorted(names))}", value)
    return ((layer, value[layer.name]) for layer in layer_graph.visible if value)


def _counts(value: Any, layer_graph: LayerGraph, where: str) -> dict[str, NDArray[np.int32]]:
    counts = {}
    for layer, rows in _by_layer(value, layer_graph, f"{where}, topChannels"):
        inside = f"{where}, topChannels, {layer.name}"
        check_rows(rows, ("c", "i"), inside)
        channel = integers([row["c"] for row in rows], layer.channels, inside, "c")
        check_unique(channel, inside)
        counts[layer.name] = np.zeros(layer.channels, np.int32)
        counts[layer.name][channel] = integers([row["i"] for row in rows], _LARGEST, inside, "i")
    return counts


def _embed(value: Any, layer_graph: LayerGraph, where: str) -> dict[str, tuple[float, float]]:
    embed = {}
    for layer, point in _by_layer(value, layer_graph, f"{where}, embed"):
        inside = f"{where}, embed, {layer.name}"
        check_rows([point], ("x", "y"), inside)
        x, y = numbers([point["x"], point["y"]], inside, "x and y").tolist()
        embed[layer.name] = (x, y)
    return embed


def entry_json(entry: ClassEntry) -> dict[str, Any]:
    """An entry of imagenet.json, every key in the original's order and form."""
    n_images = len(entry.probability)
    percent = 100 * entry.probability.astype(np.float64)
    return {
        "synset": entry.synset,
        "label": str(entry.label),
        "name": name_text(entry.name),
        "topChannels": {layer: _top_channels(counts) for layer, counts in entry.counts.items()},
        "embed": {layer: {"x": embed_number(x), "y": embed_number(y)} for layer, (x, y) in entry.embed.items()},
        "accs": [percent_text(value) for value in percent.tolist()],
        "topOneAccCount": entry.n_correct,
        "target_class": entry.target,
        "numOfInstances": n_images,
        "topOneAcc": entry.n_correct / n_images if n_images else 0.0,
    }


def _top_channels(counts: NDArray[np.int32]) -> list[dict[str, int]]:
    """Used channels by falling count, ties to the lower channel."""
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return [{"c": c, "i": i} for c, i in zip(order.tolist(), counts[order].tolist(), strict=True)]


def name_text(name: str) -> str:
    """A class's name as the original writes it.

    Examples
    --------
    >>> name_text("White wolf")
    'white_wolf'
    """
    return name.lower().replace(" ", "_")


def embed_number(value: float) -> float:
    """A coordinate as the original keeps it: the text of a single, cut after six characters and not rounded.

    Examples
    --------
    >>> embed_number(-1.23789), embed_number(12.34567)
    (-1.237, 12.345)
    """
    return float(np.format_float_positional(np.float32(value))[:EMBED_CHARACTERS])


def percent_text(value: float) -> str:
    """A percentage as the original keeps it: four characters of its text, not rounded.

    Singles carry seven digits, so the value is rounded to those first: 98.69999885559082, which was read from
    "98.7", is 98.7 again.

    Examples
    --------
    >>> percent_text(98.69999885559082), percent_text(100.0), percent_text(3.14159)
    ('98.7', '100.', '3.14')
    """
    return f"{value:.4f}"[:PERCENT_CHARACTERS]
