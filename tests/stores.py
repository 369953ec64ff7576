"""Small synthetic stores of our own runs that are complete, or lack what the caller leaves out.

`test_dashboard` compares what is written here with a real finished store, array by array.
"""

import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import sparse

from summit_dask.arrays.evidence import CHOICES, KEPT, LAYER_CHOICES, N_DRAWS, RIVALS, SHARES, p_value
from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.arrays.regions import GRID, TOP
from summit_dask.facts import encoded, schema
from summit_dask.facts.config import ResultOptions
from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph, Window
from summit_dask.facts.pairs import PAPERS, Pair, pair_of
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.facts.run import Imported, NetworkSpec, Run
from summit_dask.facts.stages import stage_of
from summit_dask.store.evidence import Settings, group_of
from summit_dask.store.graphs import write_graphs
from summit_dask.store.header import Header
from summit_dask.store.layout import partition_size
from summit_dask.store.pictures import add_pictures
from summit_dask.store.store import Store

#: What a store can hold beside its tables.
PARTS = ("values", "matrices", "graphs", "embedding", "pictures", "examples")

#: Two alike, HTML, and all that Markdown takes for something else.
AWKWARD_NAMES = (
    "<img src=x onerror=alert(1)>",
    "crane",
    "crane",
    "50 % & more",
    "naïve # _café_ **bold** $x$ :tada: -> `b`",
)
RANKS = 10

#: The map of an example: a hill off the middle.
_HILL = np.rint(TOP * np.exp(-((np.mgrid[:GRID, :GRID] - [[[6]], [[9]]]) ** 2).sum(axis=0) / 20)).astype(np.uint8)
FINGERPRINT = 7


@dataclass(frozen=True)
class Made:
    """What a synthetic store was made from, by name of the layer or hop."""

    layer_graph: LayerGraph
    activation: Mapping[str, NDArray[np.int32]]
    influence: Mapping[str, NDArray[np.int32]]


def layer_graph(sizes: Sequence[int] = (8, 12, 16, 10), hidden: int = 6) -> LayerGraph:
    """A chain of visible layers; the upper half of each one's channels is reached through a hidden layer."""
    window = Window((8, 8), (4, 4), (0, 0))
    layers = [Layer("stem", sizes[0], 8, 8, True, window)]
    hops = []
    for number, size in enumerate(sizes[1:], 1):
        below = layers[-1].name
        name = f"mixed{number}"
        layers += [Layer(f"{name}.reduce", hidden, 8, 8, False, window), Layer(name, size, 8, 8, True, window)]
        direct = size // 2
        hops += [
            Hop(f"{name}.1x1", below, name, range(direct), Convolution()),
            Hop(f"{name}.down", below, f"{name}.reduce", range(hidden), Convolution()),
            Hop(f"{name}.3x3", f"{name}.reduce", name, range(direct, size), Convolution((3, 3), padding=(1, 1))),
        ]
    return LayerGraph(tuple(layers), tuple(hops))


def skip_layer_graph(n_blocks: int = 4, channels: int = 12, hidden: int = 6) -> LayerGraph:
    """Blocks that add their input to what a hidden layer makes of it, and a top layer that draws from them all.

    The last block adds the stem as well, at a part of its channels and in another order.
    """
    window = Window((8, 8), (4, 4), (0, 0))
    layers = [Layer("stem", channels, 8, 8, True, window)]
    hops = []
    for number in range(1, n_blocks + 1):
        below, name = layers[-1].name, f"block{number}"
        inner = Layer(f"{name}.reduce", hidden, 8, 8, False, window)
        layers += [inner, Layer(name, channels, 8, 8, True, window)]
        hops += [
            Hop(f"{name}.down", below, inner.name, range(hidden), Convolution()),
            Hop(f"{name}.up", inner.name, name, range(channels), Convolution((3, 3), padding=(1, 1))),
            Hop(f"{name}.identity", below, name, range(channels), None),
        ]
    hops.append(Hop("long", "stem", layers[-1].name, (4, 0, 2), None, range(0, 6, 2)))
    blocks = [layer.name for layer in layers if layer.visible]
    layers.append(Layer("dense", channels, 8, 8, True, window))
    hops += [Hop(f"dense.{name}", name, "dense", range(channels), Convolution()) for name in blocks]
    return LayerGraph(tuple(layers), tuple(hops))


def make_store(
    path: Path,
    n_classes: int = 5,
    images_per_class: int = 6,
    parts: Collection[str] = PARTS,
    names: Sequence[str] = AWKWARD_NAMES,
    graph: LayerGraph | None = None,
    seed: int = 0,
    columns: Mapping[str, NDArray[Any]] = MappingProxyType({}),
) -> Made:
    """Write a store; the first image of every class but the first is misclassified, the last one unreadable.

    Without images it is an imported one.

    Parameters
    ----------
    path
        Folder to make.
    parts
        Which of `PARTS` it holds; classes are counted with the matrices.
    names
        Names of the first classes; the others are called "class 5", "class 6" …
    columns
        Further columns of the manifest.
    """
    rng = np.random.default_rng(seed)
    graph = graph or layer_graph()
    n_images = n_classes * images_per_class
    run = run_of_images() if n_images else run_of_import()
    header = Header(graph, run, n_images, n_classes, n_classes, partition_size(n_images))
    given = tables(rng, n_classes, images_per_class, names)
    given["images"] |= columns
    if "matrices" not in parts:
        given["classes"] = {name: given["classes"][name] for name in ("name", "synset", "output_index")}
    store = Store.create(path, header, given)
    made = Made(graph, *_counts(rng, graph, n_classes, images_per_class))
    for part in PARTS:
        if part in parts:
            write_part(part, store, made, rng)
    store.consolidate()
    return made


def write_part(part: str, store: Store, made: Made, rng: np.random.Generator) -> None:
    """Write one of `PARTS`."""
    writers = {
        "values": _write_values,
        "matrices": _write_matrices,
        "graphs": _write_graphs,
        "embedding": _write_embedding,
        "pictures": _write_pictures,
        "examples": _write_examples,
    }
    writers[part](store, made, rng)


def finish(store: Store, group: str) -> None:
    """Say that a stage's group is complete, as the stage would."""
    run, pair = store.header.run, pair_of(group) or PAPERS
    run = run.model_copy(update={"config": run.config.replaced(**pair._asdict())})
    stage = stage_of(group)
    store.finish(group, (run.stage_fingerprints() or {}).get(stage.name if stage else "", FINGERPRINT))


def options() -> ResultOptions:
    """Options of the run that is made up."""
    excluded = [{"layer": "stem", "channels": [7], "reason": "fires for every image"}]
    given = {"model": "torchvision:synthetic", "images": "images", "mass": 0.03, "k": 3, "p": 0.3}
    return ResultOptions.of({**given, "excluded": excluded})


def run_of_images() -> Run:
    """A run of our own, as `init` notes it."""
    network = NetworkSpec(
        model="torchvision:synthetic", weights="x.pt", layers=(), preprocessing=Preprocessing(), digest="0123abcd" * 8
    )
    own = {"images": "30 images", "classes": "5 classes", "layers": ["stem"]}
    measured = {
        "k": 3,
        "identity": True,
        "influence_values": True,
        "influences": True,
        "contributions": True,
        "relevance": False,
        "batch_size": 8,
        "compiled": False,
    }
    facts = json.loads(json.dumps({**network.facts(), **own, **measured}))  # as they come back from the store
    return Run(
        config=options(),
        facts=facts,
        fingerprint=FINGERPRINT,
        network=network,
        images_root=Path("images"),
        versions={"summit-dask": "0.1.0", "numpy": np.__version__},
    )


def run_of_import() -> Run:
    """An import, as `import_summit` notes it."""
    return Run(config=options(), imported=Imported())


def tables(
    rng: np.random.Generator, n_classes: int, per_class: int, names: Sequence[str]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Tables of images, classes and outputs, as `Store.create` takes them."""
    folders = np.array([f"n{i:08d}" for i in range(n_classes)], schema.STRING)
    shown = np.array([*names[:n_classes], *(f"class {i}" for i in range(len(names), n_classes))], schema.STRING)
    index = np.repeat(np.arange(n_classes, dtype=np.int32), per_class)
    number = np.arange(len(index)) % per_class
    wrong = (number == 0) & (index > 0)
    unreadable = (number == per_class - 1) & (index > 0)
    ranks = min(schema.N_PREDICTIONS, n_classes)
    predicted = (index[:, None] + np.arange(ranks) + wrong[:, None]) % n_classes
    probability = np.sort(rng.dirichlet(np.ones(ranks), len(index)), axis=1)[:, ::-1]
    true = np.where(wrong, probability[:, -1], probability[:, 0])
    read = np.where(unreadable, schema.UNREADABLE, schema.READ)
    reason = np.where(read == schema.UNREADABLE, "cannot identify image file", "")
    images = {
        "path": np.array([f"{folders[c]}/{i:04d}.jpg" for i, c in enumerate(index)], schema.STRING),
        "class_index": index,
        "status": read.astype(np.uint8),
        "reason": reason.astype(schema.STRING),
        "predicted": predicted.astype(np.int32),
        "probability": probability.astype(np.float32),
        "true_probability": true.astype(np.float32),
        "file_size": np.full(len(index), 1000, np.int64),
        "checksum": np.ones(len(index), np.uint32),
    }
    is_read = read == schema.READ
    classes = {
        "name": shown,
        "synset": folders,
        "output_index": np.arange(n_classes, dtype=np.int32),
        "n_images": np.bincount(index[is_read], minlength=n_classes).astype(np.int32),
        "n_correct": np.bincount(index[is_read & ~wrong], minlength=n_classes).astype(np.int32),
    }
    root = {"image": np.arange(len(index)), "class": folders}
    return {"": root, "outputs": {"name": shown, "synset": folders}, "images": images, "classes": classes}


def _counts(
    rng: np.random.Generator, graph: LayerGraph, n_classes: int, n_images: int
) -> tuple[dict[str, NDArray[np.int32]], dict[str, NDArray[np.int32]]]:
    """Few channels much used, most hardly, neighbouring classes alike."""
    activation = {}
    for layer in graph.visible:
        share = rng.beta(0.3, 2, (n_classes, layer.channels))
        activation[layer.name] = rng.binomial(n_images, (share + np.roll(share, 1, axis=0)) / 2).astype(np.int32)
    influence = {}
    for hop in graph.hops:
        share = rng.beta(0.3, 2, (n_classes, hop.channels, graph.layer(hop.source).channels))
        if hop.convolution is None:  # a target has one source, its strongest more often than not
            own = np.arange(share.shape[2]) == np.array(graph.sources_of(hop))[:, None]
            share = own * np.sqrt(share.max(axis=2, keepdims=True))
        influence[hop.name] = rng.binomial(n_images, share).astype(np.int32)
    return activation, influence


def _write_values(store: Store, made: Made, rng: np.random.Generator) -> None:
    n = store.header.n_images
    for layer in made.layer_graph.visible:
        value = rng.gamma(0.5, 2, (n, layer.channels)).astype(np.float32)
        store.write(f"activations/{layer.name}/value", value)
        store.write(f"activations/{layer.name}/position", rng.integers(0, 64, value.shape, dtype=np.int32))
    for layer in made.layer_graph.influenced:
        hops = made.layer_graph.incoming(layer.name)
        sources = min(made.layer_graph.layer(hop.source).channels for hop in hops)
        source = rng.integers(0, sources, (n, layer.channels, 3), dtype=np.int16)
        hop = np.array([next(i for i, h in enumerate(hops) if c in h.targets) for c in range(layer.channels)])
        by_hop = np.broadcast_to(hop[:, None], source.shape).astype(np.int8)
        for ranking in ("influences/{}/", "contributions/{}/", "contributions/{}/inhibitor_"):
            address = ranking.format(layer.name)
            store.write(f"{address}source", source)
            store.write(f"{address}hop", by_hop)
            store.write(f"{address}value", np.ones(source.shape, np.float16))
            source = np.ascontiguousarray(sources - 1 - source)  # other ones in each
    for partition in range(store.header.n_partitions):
        store.mark_done(partition, FINGERPRINT)


def _write_matrices(store: Store, made: Made, rng: np.random.Generator) -> None:
    for layer in made.layer_graph.visible:
        store.add(f"matrices/{layer.name}/activation_count", made.activation[layer.name])
    for hop in made.layer_graph.hops:
        counts = made.influence[hop.name]
        store.add(f"matrices/{hop.name}/influence_count", counts)
        store.add(f"matrices/{hop.name}/contribution_count", np.ascontiguousarray(counts[::-1]))
        store.add(f"matrices/{hop.name}/inhibition_count", np.ascontiguousarray(counts[:, ::-1]))
    finish(store, "matrices")


def plant_communities(path: Path) -> None:
    """Let every other channel of each layer rise and fall with the same hidden quantity of the images."""
    rng = np.random.default_rng(0)
    store = Store.open(path, writable=True)
    common = rng.random((store.header.n_images, 1))
    for layer in store.layer_graph.with_maps:
        values = store.read(f"activations/{layer.name}/value")
        values[:, ::2] = values[:, ::2].mean() * common + 0.05 * values[:, ::2]
        store.write_whole(f"activations/{layer.name}/value", values)


def graph_of(made: Made, index: int) -> ClassGraph:
    """The class's graph as the store holds it."""
    counts = ClassCounts(
        {name: matrix[index] for name, matrix in made.activation.items()},
        {name: sparse.csr_array(matrix[index]) for name, matrix in made.influence.items()},
    )
    return class_graph(made.layer_graph, counts, options().excluded_by_layer(), options())


def _write_graphs(store: Store, made: Made, rng: np.random.Generator) -> None:
    write_graphs(store, [graph_of(made, index) for index in range(store.header.n_classes)])
    finish(store, PAPERS.group)


def _write_embedding(store: Store, made: Made, rng: np.random.Generator) -> None:
    points = rng.normal(size=(store.header.n_classes, 2)).cumsum(axis=0)
    for layer in made.layer_graph.visible:
        points = points + rng.normal(scale=0.5, size=points.shape)
        for axis, column in enumerate("xy"):
            store.add(f"embedding/{layer.name}/{column}", points[:, axis].astype(np.float32))
    finish(store, "embedding")


def picture(rng: np.random.Generator, size: int = 32) -> bytes:
    """A small encoded picture of coloured waves."""
    y, x = np.mgrid[:size, :size] / size * 2 * np.pi
    a, b, c = rng.uniform(0, 4, (3, 3))
    waves = 0.5 + 0.5 * np.sin(a * x[..., None] + b * y[..., None] + c)
    file = io.BytesIO()
    Image.fromarray((waves * 255).astype(np.uint8)).save(file, "JPEG", quality=80)
    return file.getvalue()


def _write_pictures(store: Store, made: Made, rng: np.random.Generator) -> None:
    """Seven kinds for every channel but the first."""
    for layer in made.layer_graph.visible:
        kinds = schema.PICTURE_KINDS[:7]
        pictures = {(channel, kind): picture(rng) for channel in range(1, layer.channels) for kind in kinds}
        add_pictures(store, layer.name, pictures, FINGERPRINT)
    finish(store, "pictures")


def _write_examples(store: Store, made: Made, rng: np.random.Generator) -> None:
    for layer in made.layer_graph.visible:
        shape = (layer.channels, RANKS)
        data, offsets = encoded.pack([picture(rng, 16) for _ in range(layer.channels * RANKS)])
        values = {
            "image_index": rng.integers(0, store.header.n_images, shape, dtype=np.int32),
            "value": np.sort(rng.gamma(2, 2, shape).astype(np.float32), axis=1)[:, ::-1],
            "box": np.broadcast_to(np.array([2, 3, 18, 19], np.int32), (*shape, 4)),
            "centre": rng.random((*shape, 2), dtype=np.float32),
            "share": rng.uniform(0.01, 0.5, shape).astype(np.float32),
            "map": np.broadcast_to(_HILL, (*shape, GRID, GRID)),
            "thumbnail_bytes": data,
            "thumbnail_offset": offsets,
        }
        for name, array in values.items():
            store.add(f"examples/{layer.name}/{name}", array)
    finish(store, "examples")


def add_evidence(path: Path, pair: Pair = PAPERS, seed: int = 0) -> None:
    """All variables of the evidence for the graphs of a pair, made up; the last class is one that wasn't tested."""
    rng = np.random.default_rng(seed)
    store = Store.open(path, writable=True)
    lengths, labels = _evidence_labels(store, pair)
    with store.changing(), store.renewing(group_of(pair)) as draft:
        values = {**_invented(rng, lengths), **labels}
        for variable in schema.variables("evidence"):
            draft.add(variable.address(pair.name), values[variable.name].astype(variable.numpy_dtype))
        draft.finish(group_of(pair), store.finished(pair.group) or 0)


def _evidence_labels(store: Store, pair: Pair) -> tuple[dict[str, int], dict[str, NDArray[Any]]]:
    """Lengths of all dims of evidence, and the names along them."""
    graph, settings = store.layer_graph, Settings()
    names: dict[str, Sequence[Any]] = {
        "choice": CHOICES,
        "layer_choice": LAYER_CHOICES,
        "rival": RIVALS,
        "map_layer": [layer.name for layer in graph.with_maps],
        "kept": KEPT,
        "ranked_layer": [layer.name for layer in graph.influenced],
        "measure": ["influence", "contribution"],
        "share": SHARES,
        "ablation": [settings.ablation],
    }
    numbers = {name: np.array([getattr(settings, name)]) for name in ("images", "samples", "seed")}
    others = {kind: len(store.read(f"{pair.group}/{kind}_class")) for kind in ("node", "edge")}
    others |= {
        "class": store.header.n_classes,
        "draw": N_DRAWS,
        "map_channel": sum(x.channels for x in graph.with_maps),
    }
    labels = {name: np.array(values, None if name == "share" else schema.STRING) for name, values in names.items()}
    return {name: len(values) for name, values in names.items()} | others, {**labels, **numbers}


def _invented(rng: np.random.Generator, lengths: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Shares that fit together, each between its ends; without the last class's."""
    n = lengths["class"]
    values = {v.name: rng.random(schema.sizes(v, lengths)) for v in schema.variables("evidence")}
    values["n_tested"], values["n_tested_by_layer"] = np.full(n, 12), np.full(n, 8)
    values["n_elsewhere"] = np.full(n, 30)
    values["n_targets"] = np.full_like(values["n_targets"], 40)
    values["random_necessity"] *= 0.3
    values["necessity"][:, CHOICES.index("random")] = values["random_necessity"].mean(axis=1)
    necessity = dict(zip(CHOICES, values["necessity"].T, strict=True))
    values["rival_class"] = (np.arange(n)[:, None] + [1, 2]) % n
    values["specificity"] = np.stack([necessity["graph"] - necessity[rival] for rival in RIVALS], axis=1)
    pairs = zip(necessity["graph"], values["random_necessity"], strict=True)
    values["p_value"] = np.array([p_value(own, draws) for own, draws in pairs])
    values["edge_effect"] = rng.normal(0.1, 0.15, lengths["edge"])
    values["edge_effect"][::7] = np.nan
    for name in [name for name in values if name.endswith("_low")]:
        whole = name.removesuffix("_low")
        values[name], values[f"{whole}_high"] = values[whole] - 0.1, values[whole] + 0.1
    for variable in schema.variables("evidence"):
        if variable.dims[0] == "class" and not variable.name.endswith("jaccard"):
            values[variable.name][-1] = variable.fill
    return values
