"""Attribution graphs: against the original's, against networkx, against a slow second implementation, by hand."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from summit_dask.arrays.graph.attribution import ClassGraph, class_graph, to_networkx
from summit_dask.arrays.graph.checks import verify_graph
from summit_dask.arrays.graph.edges import ClassCounts, edges_between, strongest_sources
from summit_dask.arrays.graph.pagerank import class_scores, pagerank
from summit_dask.facts.config import GraphOptions
from summit_dask.facts.errors import ConfigError, LayerNotFoundError, StoreError, StoreIncompleteError
from summit_dask.facts.layergraph import Channel, Channels, Convolution, Hop, Layer, LayerGraph, Window
from tests import oracles_graph as oracle

WINDOW = Window((1, 1), (1, 1), (0, 0))
CONVOLUTION = Convolution()

Excluded = Mapping[str, Sequence[int]]


def layer(name: str, channels: int, visible: bool = True) -> Layer:
    return Layer(name, channels, 1, 1, visible, WINDOW)


def hop(name: str, source: str, target: str, start: int, channels: int, identity: bool = False) -> Hop:
    return Hop(name, source, target, range(start, start + channels), None if identity else CONVOLUTION)


def class_counts(activation: Mapping[str, Sequence[int]], influence: Mapping[str, Any]) -> ClassCounts:
    """`influence` by hop: a list of rows."""
    return ClassCounts(
        {name: np.array(a, np.int32) for name, a in activation.items()},
        {name: sparse.csr_array(np.array(rows, np.int32)) for name, rows in influence.items()},
    )


# ---------------------------------------------------------------- random networks


def random_channels(rng: np.random.Generator, among: int, n: int) -> Channels:
    """A range, a strided range, or any order."""
    step = int(rng.integers(1, 1 + max(1, (among - 1) // max(n - 1, 1))))
    start = int(rng.integers(among - (n - 1) * step))
    even = range(start, start + n * step, step)
    return even if rng.random() < 0.6 else tuple(rng.permutation(among)[:n].tolist())


def random_hops(rng: np.random.Generator, target: Layer, sources: Sequence[Layer], n: int) -> list[Hop]:
    hops = []
    for k in range(n):
        source = sources[rng.integers(len(sources))]
        identity = rng.random() < 0.35
        channels = int(rng.integers(1, (min(source.channels, target.channels) if identity else target.channels) + 1))
        targets = random_channels(rng, target.channels, channels)
        drawn = random_channels(rng, source.channels, channels) if identity else None
        name = f"{target.name}<{k}"
        hops.append(Hop(name, source.name, target.name, targets, None if identity else CONVOLUTION, drawn))
    return hops


def random_layer_graph(rng: np.random.Generator) -> LayerGraph:
    """Hidden layers in chains and concatenations, additive hops, hops that skip visible layers, several lowest ones."""
    layers = [layer("v0", int(rng.integers(1, 7)))]
    hops: list[Hop] = []
    skips = rng.choice([0.0, 0.2, 0.6])
    for k in range(1, int(rng.integers(2, 6))):
        hidden = [layer(f"h{k}.{n}", int(rng.integers(1, 5)), False) for n in range(rng.integers(0, 4))]
        for new in [*hidden, layer(f"v{k}", int(rng.integers(1, 7)))]:
            near = [known for known in layers if not known.visible or known.name == f"v{k - 1}"]
            sources = layers if rng.random() < skips else near
            n_hops = 0 if rng.random() < 0.05 else int(rng.integers(1, 4))
            hops += random_hops(rng, new, sources, n_hops)
            layers.append(new)
    return LayerGraph(tuple(layers), tuple(hops))


def random_counts(rng: np.random.Generator, layer_graph: LayerGraph) -> ClassCounts:
    """Small counts, so that there are many ties; sometimes all 0 or no layer of A."""
    density, most = rng.choice([0.1, 0.4, 0.9]), int(rng.choice([1, 3, 50]))

    def draw(*shape: int) -> Any:
        return rng.integers(1, most + 1, shape) * (rng.random(shape) < density)

    def of_hop(h: Hop) -> Any:
        counts = draw(h.channels, layer_graph.layer(h.source).channels)
        if h.convolution is None:  # a target has one source
            counts *= np.arange(counts.shape[1]) == np.array(layer_graph.sources_of(h))[:, None]
        return counts

    covered = [known for known in layer_graph.visible if rng.random() < 0.9]
    influence = {h.name: of_hop(h) for h in layer_graph.hops}
    counts = class_counts({known.name: draw(known.channels) for known in covered}, influence)
    for matrix in counts.influence.values():
        matrix.data[rng.random(matrix.nnz) < 0.1] = 0  # a stored zero is no source
    return counts


def random_case(seed: int) -> tuple[LayerGraph, ClassCounts, Excluded, GraphOptions]:
    rng = np.random.default_rng(seed)
    layer_graph = random_layer_graph(rng)
    excluded = {known.name: [int(rng.integers(known.channels))] for known in layer_graph.visible if rng.random() < 0.3}
    p = float(rng.choice([0.075, 0.3, 1.0]))
    options = GraphOptions(p=p, unified=bool(rng.random() < 0.3), directed=bool(rng.random() < 0.3))
    return layer_graph, random_counts(rng, layer_graph), excluded, options


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=150, deadline=None)
@given(seeds)
def test_edges_are_the_widest_paths(seed: int) -> None:
    layer_graph, counts, _, _ = random_case(seed)
    for source, target in combinations(layer_graph.visible, 2):
        found, is_identity = edges_between(layer_graph, counts, target.name, source.name)
        assert found.shape == (target.channels, source.channels)
        assert found.has_sorted_indices
        assert found.dtype == np.int32
        expected = oracle.edges_between(layer_graph, counts, target.name, source.name)
        edges = [(Channel(target.name, t), Channel(source.name, s)) for t, s in np.argwhere(found.toarray()).tolist()]
        assert {t: dict(sources) for t, sources in expected.items() if sources} == nested(edges, found.data.tolist())
        assert is_identity.tolist() == [oracle.is_identity(layer_graph, counts, s, t) for t, s in edges]
    for target in layer_graph.visible:
        assert [low.name for low in layer_graph.below(target.name)] == oracle.drawn_from(layer_graph, target.name)


def nested(edges: Sequence[tuple[Channel, Channel]], weights: Sequence[int]) -> oracle.Weights:
    result: oracle.Weights = {}
    for (target, source), weight in zip(edges, weights, strict=True):
        result.setdefault(target, {})[source] = weight
    return result


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_scores_and_selection_equal_the_slow_ones(seed: int) -> None:
    layer_graph, counts, excluded, options = random_case(seed)
    by_layer = class_scores(layer_graph, counts, excluded, options.directed)
    expected = oracle.scores(layer_graph, counts, excluded, options.directed)
    found = {Channel(name, c): s for name, values in by_layer.items() for c, s in enumerate(values.tolist())}
    found = {channel: score for channel, score in found.items() if not np.isnan(score)}
    graph = class_graph(layer_graph, counts, excluded, options)
    assert verify_graph(layer_graph, graph, excluded) == []
    assert graph.empty == (not expected)
    if not expected:
        assert not any(found.values())
        assert graph.node_layer.size == graph.edge_influence.size == 0
        return
    assert found == pytest.approx(expected, abs=1e-12)
    chosen = oracle.selected_graph(layer_graph, counts, excluded, options, found)
    network = to_networkx(layer_graph, graph)
    assert list(network) == chosen.nodes
    assert {(s, t): w for s, t, w in network.edges(data="influence")} == chosen.edges
    assert {(s, t) for s, t, identity in network.edges(data="identity") if identity} == chosen.identities
    assert network.graph["reached_p"] == pytest.approx(chosen.p, abs=1e-12)
    assert network.graph["valid"] == chosen.valid
    for node, data in network.nodes(data=True):
        assert data["score"] == found[node]
        assert data["count"] == (counts.activation[node.layer][node.index] if node.layer in counts.activation else 0)
    for row, node in enumerate(network):
        sources = zip(graph.node_source_layer[row].tolist(), graph.node_source_channel[row].tolist(), strict=True)
        stored = [Channel(layer_graph.layers[k].name, c) for k, c in sources if k >= 0]
        expected_sources = oracle.strongest_sources(layer_graph, counts, node, 3)
        influence = [count for _, count in expected_sources]
        assert list(zip(stored, influence, strict=True)) == expected_sources
        assert graph.node_source_influence[row].tolist() == influence + [0] * (3 - len(influence))


@settings(max_examples=60, deadline=None)
@given(seeds, st.booleans())
def test_pagerank_equals_networkx(seed: int, directed: bool) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    weights = np.tril(rng.integers(1, 1000, (n, n)) * (rng.random((n, n)) < rng.choice([0.05, 0.5])), -1)
    weights[1, 0] = 1
    is_node = (weights.sum(0) + weights.sum(1) > 0) | (rng.random(n) < 0.5)
    chance = rng.random(n) * (rng.random(n) < 0.5) * is_node
    chance[0] = 1
    graph = nx.from_numpy_array(weights if directed else weights + weights.T, create_using=nx.DiGraph)
    graph = graph.subgraph(np.flatnonzero(is_node).tolist())
    expected = nx.pagerank(graph, personalization=dict(enumerate(chance.tolist())))
    found = pagerank(sparse.csr_array(weights), is_node, chance, directed)
    np.testing.assert_allclose(found[is_node], [expected[k] for k in np.flatnonzero(is_node)], rtol=0, atol=1e-12)
    assert not found[~is_node].any()


# ---------------------------------------------------------------- the original's own graphs


def inception_layer_graph(data: dict[str, Any]) -> LayerGraph:
    """1x1 and pool branch straight from the layer below, 3x3 and 5x5 through a bottleneck each."""
    names = data["layers"]
    layers, hops = [layer(names[0], sum(data["branch_sizes"][names[0]]))], []
    for below, name in pairwise(names):
        branches = data["branch_sizes"][name]
        starts = np.cumsum([0, *branches]).tolist()
        for k, size in enumerate(data["bottlenecks"][name], start=1):
            layers.append(layer(f"{name}_{k}", size, False))
            hops.append(hop(f"{name}_{k}.in", below, f"{name}_{k}", 0, size))
        sources = (below, f"{name}_1", f"{name}_2", below)
        hops += [hop(f"{name}.{k}", s, name, starts[k], branches[k]) for k, s in enumerate(sources)]
        layers.append(layer(name, sum(branches)))
    return LayerGraph(tuple(layers), tuple(hops))


def inception_counts(data: dict[str, Any], layer_graph: LayerGraph, label: int) -> ClassCounts:
    influence = {}
    for h in layer_graph.hops:
        rows = np.zeros((h.channels, layer_graph.layer(h.source).channels), np.int32)
        for row, sources in zip(rows, data["I"][h.target][label][h.rows], strict=True):
            for source, count in sources.items():
                row[int(source)] = count
        influence[h.name] = rows
    return class_counts({name: classes[label] for name, classes in data["A"].items()}, influence)


@pytest.mark.parametrize("rule", ["per_layer", "unified"])
@pytest.mark.parametrize("name", ["graph_cases.json", "graph_cases_sparse.json"])
def test_equals_the_graphs_of_the_original(shared_data: Path, name: str, rule: str) -> None:
    data = json.loads((shared_data / name).read_text())
    layer_graph = inception_layer_graph(data)
    excluded: dict[str, list[int]] = {}
    for text in data["excluded"]:
        excluded.setdefault(text.split("-")[0], []).append(int(text.split("-")[1]))
    for label in map(int, data["expected"][rule]["graphs"]):
        counts = inception_counts(data, layer_graph, label)
        expected = {key: values[str(label)] for key, values in data["expected"][rule].items()}
        scores = {
            f"{name}-{c}": score
            for name, values in class_scores(layer_graph, counts, excluded).items()
            for c, score in enumerate(values.tolist())
            if not np.isnan(score)
        }
        assert scores == pytest.approx(expected["scores"], abs=1e-9)
        graph = class_graph(layer_graph, counts, excluded, GraphOptions(unified=rule == "unified"))
        assert verify_graph(layer_graph, graph, excluded) == []
        network = to_networkx(layer_graph, graph)
        assert network.graph["reached_p"] == pytest.approx(expected["masses"], abs=1e-12)
        assert network.graph["valid"] == dict.fromkeys(data["layers"], True)
        nodes = {Channel(n["layer"], n["channel"]): n for rows in expected["graphs"].values() for n in rows}
        assert dict(network.nodes(data="count")) == {c: n["count"] for c, n in nodes.items()}
        assert dict(network.nodes(data="score")) == pytest.approx(
            {c: n["pagerank"] for c, n in nodes.items()}, abs=1e-9
        )
        below = dict(zip(data["layers"][1:], data["layers"], strict=False))
        assert {(s, t): w for s, t, w in network.edges(data="influence")} == {
            (Channel(below[c.layer], s["prev_channel"]), c): s["inf"]
            for c, n in nodes.items()
            for s in n["prev_channels"]
        }
        strongest = zip(graph.node_source_channel.tolist(), graph.node_source_influence.tolist(), strict=True)
        assert {c: [p for p in zip(*s, strict=True) if p[0] >= 0] for c, s in zip(network, strongest, strict=True)} == {
            c: [(int(s["prev_channel"]), s["inf"]) for s in n["attr_channels"]] for c, n in nodes.items()
        }


# ---------------------------------------------------------------- by hand


def bottleneck(*hops: Hop) -> LayerGraph:
    """low (4) and high (3), with the hidden layer mid (2) between."""
    return LayerGraph((layer("low", 4), layer("mid", 2, False), layer("high", 3)), hops)


LOW_MID = hop("low-mid", "low", "mid", 0, 2)
MID_HIGH = hop("mid-high", "mid", "high", 0, 2)
STRAIGHT = hop("straight", "low", "high", 2, 1)
#: Widest paths of high 0 and 1: [3, 5, 5, 1] and [3, 7, 6, 1].
THROUGH = {"low-mid": [[3, 7, 6, 1], [0, 5, 9, 0]], "mid-high": [[4, 5], [8, 0]]}


def test_as_many_sources_through_hidden_layers_as_direct_ones_on_average() -> None:
    edges = edges_between(
        bottleneck(LOW_MID, MID_HIGH, STRAIGHT), class_counts({}, THROUGH | {"straight": [[9, 0, 9, 0]]}), "high", "low"
    ).weight
    assert edges.toarray().tolist() == [[0, 5, 5, 0], [0, 7, 6, 0], [9, 0, 9, 0]]


def test_ties_in_the_cut_go_to_the_lower_source() -> None:
    edges = edges_between(
        bottleneck(LOW_MID, MID_HIGH, STRAIGHT), class_counts({}, THROUGH | {"straight": [[0, 0, 0, 9]]}), "high", "low"
    ).weight
    assert edges.toarray().tolist() == [[0, 5, 0, 0], [0, 7, 0, 0], [0, 0, 0, 9]]


def test_the_mean_counts_channels_without_sources_and_is_rounded_down() -> None:
    wide = hop("straight", "low", "high", 1, 2)
    counts = class_counts({}, THROUGH | {"straight": [[0, 0, 0, 0], [1, 1, 1, 0]]})
    assert edges_between(bottleneck(LOW_MID, MID_HIGH, wide), counts, "high", "low").weight.toarray()[0].tolist() == [
        0,
        5,
        0,
        0,
    ]


def test_sources_that_also_come_directly_are_not_cut() -> None:
    skip = hop("skip", "low", "high", 0, 1)
    counts = class_counts({}, THROUGH | {"skip": [[2, 0, 0, 0]]})
    assert edges_between(bottleneck(LOW_MID, MID_HIGH, skip), counts, "high", "low").weight.toarray()[0].tolist() == [
        3,
        5,
        0,
        0,
    ]


def test_without_direct_convolutions_the_last_hops_set_the_mean() -> None:
    """Three sources over two channels; the identity does not count."""
    layer_graph = LayerGraph(
        (layer("low", 4), layer("mid", 2, False), layer("high", 4)),
        (LOW_MID, MID_HIGH, hop("id", "low", "high", 0, 4, True)),
    )
    counts = class_counts({}, THROUGH | {"id": (np.eye(4) * 6).tolist()})
    assert edges_between(layer_graph, counts, "high", "low").weight.toarray().tolist() == [
        [6, 5, 0, 0],
        [0, 7, 0, 0],
        [0, 0, 6, 0],
        [0, 0, 0, 6],
    ]


def two_layers(*influence: Sequence[int]) -> tuple[LayerGraph, dict[str, Any]]:
    layers = layer("low", len(influence[0])), layer("high", len(influence))
    return LayerGraph(layers, (hop("up", "low", "high", 0, len(influence)),)), {"up": influence}


def test_the_cut_comes_before_the_exclusion() -> None:
    layer_graph = bottleneck(LOW_MID, MID_HIGH, STRAIGHT)
    counts = class_counts({}, THROUGH | {"straight": [[0, 0, 0, 9]]})
    scores = class_scores(layer_graph, counts, {"low": [1]})
    assert np.isnan(scores["low"]).tolist() == [True, True, True, False]
    assert np.isnan(scores["high"]).tolist() == [False, False, False]


@pytest.mark.parametrize(
    ("influence", "activation", "excluded"),
    [
        ([[0, 0]], {}, {}),
        ([[3, 0]], {"low": [0, 5], "high": [0]}, {}),
        ([[3, 0]], {"low": [1, 1], "high": [1]}, {"low": [0]}),
    ],
    ids=["no edges", "no personalisation", "edges to excluded channels alone"],
)
def test_empty_graphs(influence: Any, activation: Any, excluded: Any) -> None:
    layer_graph, counts = two_layers(*influence)
    graph = class_graph(layer_graph, class_counts(activation, counts), excluded)
    assert graph.empty
    assert graph.node_channel.size == graph.edge_influence.size == 0
    assert graph.node_source_channel.shape == (0, 3)
    assert np.isnan(graph.reached_p).all()
    assert graph.valid.tolist() == [1, 0]
    assert verify_graph(layer_graph, graph, excluded) == []
    assert len(to_networkx(layer_graph, graph)) == 0


@pytest.mark.parametrize("unified", [False, True])
def test_equal_scores_are_selected_from_the_lower_channel_up(unified: bool) -> None:
    layer_graph, counts = two_layers([1] * 200)
    graph = class_graph(layer_graph, class_counts({}, counts), {}, GraphOptions(p=0.75, unified=unified))
    low = graph.node_channel[graph.node_layer == 0]
    assert 10 < low.size < 190
    assert low.tolist() == list(range(low.size))


def test_p_stops_at_one() -> None:
    """The only way from b to c starts at a channel that hardly scores: nothing the class uses is tied to it."""
    layer_graph = LayerGraph(
        (layer("c", 1), layer("b", 2), layer("a", 1)), (hop("cb", "c", "b", 0, 2), hop("ba", "b", "a", 0, 1))
    )
    counts = class_counts({"c": [0], "b": [9, 0], "a": [9]}, {"cb": [[0], [1]], "ba": [[9, 0]]})
    graph = class_graph(layer_graph, counts, {}, GraphOptions(p=0.999))
    assert graph.reached_p.tolist() == [1.0, 1.0, 0.999]
    assert graph.valid.tolist() == [1, 1, 1]
    assert list(to_networkx(layer_graph, graph).edges) == [(Channel("c", 0), Channel("b", 1))]
    together = class_graph(layer_graph, counts, {}, GraphOptions(p=0.9999, unified=True))
    assert together.reached_p.tolist() == [1.0] * 3


def test_a_layer_that_can_never_be_joined_is_reported() -> None:
    layer_graph = LayerGraph(
        (layer("c", 2), layer("b", 2), layer("a", 2)), (hop("cb", "c", "b", 0, 2), hop("ba", "b", "a", 0, 2))
    )
    counts = class_counts({}, {"cb": [[0, 0], [0, 0]], "ba": [[5, 4], [3, 2]]})
    graph = class_graph(layer_graph, counts, {})
    assert graph.valid.tolist() == [1, 0, 1]
    assert graph.reached_p.tolist() == [0.075] * 3
    assert list(to_networkx(layer_graph, graph)) == [Channel("a", 0)]


def test_strongest_sources_compete_over_all_hops() -> None:
    layer_graph = bottleneck(LOW_MID, MID_HIGH, hop("skip", "low", "high", 0, 1), hop("skip2", "low", "high", 0, 1))
    counts = class_counts({}, THROUGH | {"skip": [[2, 7, 5, 0]], "skip2": [[4, 2, 0, 0]]})
    found = strongest_sources(layer_graph, counts, "high", [0, 1, 2])
    assert found.layer.tolist() == [[0, 1, 0], [1, -1, -1], [-1, -1, -1]]
    assert found.channel.tolist() == [[1, 1, 2], [0, -1, -1], [-1, -1, -1]]
    assert found.influence.tolist() == [[7, 5, 5], [8, 0, 0], [0, 0, 0]]
    assert strongest_sources(layer_graph, counts, "mid", [1], 1).channel.tolist() == [[2]]


@pytest.fixture
def graph() -> tuple[LayerGraph, ClassGraph]:
    layer_graph, counts = two_layers([5, 4], [3, 9])
    return layer_graph, class_graph(layer_graph, class_counts({}, counts), {}, GraphOptions(p=1.0))


def changed(values: np.ndarray, value: float) -> np.ndarray:
    copy = values.copy()
    copy.flat[0] = value
    return copy


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("node_channel", 1, "twice"),
        ("node_channel", 7, "beyond"),
        ("node_score", np.nan, "Scores"),
        ("node_score", 2.0, "Scores"),
        ("node_count", -1, "Counts"),
        ("node_source_influence", -1, "descending"),
        ("edge_source_channel", 1, "twice"),
        ("edge_source_channel", 5, "outside the graph"),
        ("edge_source_layer", 1, "draws from"),
        ("edge_identity", 1, "no identity"),
        ("edge_influence", 6, "first source"),
        ("edge_influence", 0, "has 0"),
        ("reached_p", 1.2, "reached p"),
        ("reached_p", 0.0, "reached p"),
    ],
)
def test_verify_finds(graph: tuple[LayerGraph, ClassGraph], column: str, value: float, said: str) -> None:
    layer_graph, good = graph
    assert verify_graph(layer_graph, good, {}) == []
    bad = replace(good, **{column: changed(getattr(good, column), value)})
    assert any(said in sentence for sentence in verify_graph(layer_graph, bad, {}))


def test_verify_finds_excluded_and_hidden_channels(graph: tuple[LayerGraph, ClassGraph]) -> None:
    layer_graph, good = graph
    assert any("excluded" in sentence for sentence in verify_graph(layer_graph, good, {"low": [1]}))
    hidden = LayerGraph((replace(layer_graph.layers[0], visible=False), layer_graph.layers[1]), layer_graph.hops)
    assert any("hidden" in sentence for sentence in verify_graph(hidden, good, {}))


def test_bad_input() -> None:
    layer_graph, counts = two_layers([5, 4], [3, 9])
    with pytest.raises(ConfigError, match=r"\[2\] of low: expected 0 to 1"):
        class_graph(layer_graph, class_counts({}, counts), {"low": [2]})
    with pytest.raises(LayerNotFoundError, match="'low'"):
        class_graph(layer_graph, class_counts({}, counts), {"lo": [0]})
    with pytest.raises(ConfigError, match="'p' in the configuration is 0"):
        GraphOptions.of({"p": 0.0})
    with pytest.raises(StoreError, match=r"counts of low: expected the shape \(2,\)"):
        class_graph(layer_graph, class_counts({"low": [1]}, counts), {})
    with pytest.raises(StoreError, match=r"expected the shape \(2, 2\)"):
        class_graph(layer_graph, class_counts({}, {"up": [[1, 2]]}), {})
    with pytest.raises(StoreIncompleteError, match="hop up"):
        class_graph(layer_graph, class_counts({}, {}), {})


def test_import_is_cheap() -> None:
    """The dashboard imports it, and must not wait for libraries that only computing needs."""
    code = "import sys, summit_dask.arrays.graph.attribution; print({'torch', 'numba', 'networkx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
