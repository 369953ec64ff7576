"""Small folders in the original's layout, made in code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from summit_dask.facts.layergraph import LayerGraph
from summit_dask.formats.original_network import layer_graph

LAYERS = tuple(layer.name for layer in layer_graph().visible)
SIZES = {layer.name: layer.channels for layer in layer_graph().visible}


def ag(rng: np.random.Generator, layers: Sequence[str] = LAYERS) -> dict[str, list[dict[str, Any]]]:
    """A graph of three nodes a layer, each joined to two of the layer below; layers from the top down."""
    channels = {name: rng.choice(SIZES[name], 3, replace=False).tolist() for name in layers}
    below = dict(zip(layers[1:], layers, strict=False))
    return {
        name: [_node(rng, name, c, channels[below[name]][:2] if name in below else []) for c in channels[name]]
        for name in reversed(layers)
    }


def _node(rng: np.random.Generator, layer: str, channel: int, below: Sequence[int]) -> dict[str, Any]:
    strongest = sorted(rng.integers(50, 90, 3).tolist(), reverse=True)
    return {
        "channel": channel,
        "count": int(rng.integers(100)),
        "layer": layer,
        "pagerank": float(rng.random()),
        "prev_channels": [{"prev_channel": c, "inf": int(rng.integers(1, 50))} for c in below],
        "attr_channels": [{"prev_channel": str(rng.integers(16)), "inf": i} for i in strongest] if below else [],
    }


def entry(
    rng: np.random.Generator, target: int, label: int, layers: Sequence[str] = LAYERS, n_images: int = 4
) -> dict[str, Any]:
    """One class of imagenet.json, every number in the original's form."""
    n_correct = int(rng.integers(n_images + 1))
    return {
        "synset": f"n{target:08d}",
        "label": str(label),
        "name": f"some_class_{target}",
        "topChannels": {name: _top(rng, SIZES[name]) for name in layers},
        "embed": {name: {axis: float(str(rng.normal(scale=5))[:6]) for axis in "xy"} for name in layers},
        "accs": ["100.", *(str(100 * p)[:4] for p in rng.uniform(0.02, 1, n_images - 1).tolist())],
        "topOneAccCount": n_correct,
        "target_class": target,
        "numOfInstances": n_images,
        "topOneAcc": n_correct / n_images,
    }


def _top(rng: np.random.Generator, size: int) -> list[dict[str, int]]:
    pairs = zip(rng.choice(size, 6, replace=False).tolist(), rng.integers(1, 5, 6).tolist(), strict=True)
    return [{"c": c, "i": i} for c, i in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))]


def write(path: Path, data: Any) -> None:
    """Write JSON, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def make(folder: Path, n_classes: int = 3, imagenet: bool = True, n_layers: int = len(LAYERS)) -> Path:
    """A folder of that many classes; their order in imagenet.json is the reverse of the outputs'.

    With fewer layers than the original's nine, the lowest ones; then the layer graph stands in layers.json.
    """
    rng, layers = np.random.default_rng(0), LAYERS[:n_layers]
    for target in range(n_classes):
        write(folder / f"data/ag/ag-{target}.json", ag(rng, layers))
    if imagenet:
        targets = range(n_classes - 1, -1, -1)
        entries = [entry(rng, target, place + 1, layers) for place, target in enumerate(targets)]
        write(folder / "data/imagenet.json", entries)
    if n_layers < len(LAYERS):
        graph = json.loads(part_of_layer_graph(layers).to_json())
        write(folder / "data/layers.json", {"layer_graph": graph, "sources_in_layer_below": False})
    return folder


def part_of_layer_graph(layers: Sequence[str]) -> LayerGraph:
    """InceptionV1's lowest layers alone."""
    full = layer_graph()
    last = full.layers.index(full.layer(layers[-1]))
    kept = {layer.name for layer in full.layers[: last + 1]}
    return LayerGraph(full.layers[: last + 1], tuple(hop for hop in full.hops if hop.target in kept))
