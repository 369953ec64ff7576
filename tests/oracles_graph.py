"""The attribution graph once more, slowly: dictionaries and loops, straight from DESIGN 3.4 to 3.6."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.facts.config import GraphOptions
from summit_dask.facts.layergraph import Channel, Hop, LayerGraph

Weights = dict[Channel, dict[Channel, int]]  # target -> source -> weight


@dataclass
class OracleGraph:
    nodes: list[Channel]
    edges: dict[tuple[Channel, Channel], int]  # (source, target)
    identities: set[tuple[Channel, Channel]]
    p: dict[str, float]
    valid: dict[str, bool]


def hop_counts(counts: ClassCounts, hop: Hop, channel: int) -> dict[int, int]:
    """Sources of one channel of the hop's target with a positive count."""
    if channel not in hop.targets:
        return {}
    row = counts.influence[hop.name].toarray()[hop.targets.index(channel)]
    return {source: int(count) for source, count in enumerate(row) if count > 0}


def strongest_sources(layer_graph: LayerGraph, counts: ClassCounts, node: Channel, n: int) -> list[tuple[Channel, int]]:
    """The n sources of largest count on any one hop; ties: the lower channel, then the lower layer."""
    best: dict[Channel, int] = {}
    for hop in layer_graph.incoming(node.layer):
        for source, count in hop_counts(counts, hop, node.index).items():
            channel = Channel(hop.source, source)
            best[channel] = max(count, best.get(channel, 0))
    place = {layer.name: k for k, layer in enumerate(layer_graph.layers)}
    return sorted(best.items(), key=lambda item: (-item[1], item[0].index, place[item[0].layer]))[:n]


def leads_to(layer_graph: LayerGraph, hop: Hop, below: str) -> bool:
    """Whether the hop starts at `below`, or at a hidden layer that comes from there through hidden layers."""
    if hop.source == below or layer_graph.layer(hop.source).visible:
        return hop.source == below
    return any(leads_to(layer_graph, h, below) for h in layer_graph.incoming(hop.source))


def drawn_from(layer_graph: LayerGraph, layer: str) -> list[str]:
    """The visible layers below a visible one."""
    hops = layer_graph.incoming(layer)
    return [low.name for low in layer_graph.visible if any(leads_to(layer_graph, h, low.name) for h in hops)]


def is_identity(layer_graph: LayerGraph, counts: ClassCounts, source: Channel, target: Channel) -> bool:
    """Whether an identity brings the source straight, in more images than the smallest count of any other path."""
    hops = [h for h in layer_graph.incoming(target.layer) if h.source == source.layer]
    straight = {h.name: hop_counts(counts, h, target.index).get(source.index, 0) for h in hops}
    identity = max((straight[h.name] for h in hops if h.convolution is None), default=0)
    convolved = max((straight[h.name] for h in hops if h.convolution), default=0)
    paths = chains(layer_graph, counts, target.layer, target.index, source.layer)
    through = max((min(rest) for s, *rest in paths if s == source.index and len(rest) > 1), default=0)
    return identity > max(convolved, through)


def chains(layer_graph: LayerGraph, counts: ClassCounts, layer: str, channel: int, below: str) -> list[tuple[int, ...]]:
    """Every chain of hops down to `below`: (source there, count of the first hop, count of the second, ...)."""
    found = []
    for hop in layer_graph.incoming(layer):
        for source, count in hop_counts(counts, hop, channel).items():
            if hop.source == below:
                found.append((source, count))
            elif not layer_graph.layer(hop.source).visible:
                found += [(s, count, *rest) for s, *rest in chains(layer_graph, counts, hop.source, source, below)]
    return found


def kept_sources(layer_graph: LayerGraph, counts: ClassCounts, layer: str, below: str) -> int | None:
    """Mean number of sources that the cut goes by; None where there is nothing to measure."""
    hops = [h for h in layer_graph.incoming(layer) if h.convolution and leads_to(layer_graph, h, below)]
    hops = [h for h in hops if h.source == below] or hops
    channels = {c for h in hops for c in h.targets}
    sources = {(c, h.source, s) for h in hops for c in channels for s in hop_counts(counts, h, c)}
    return len(sources) // len(channels) if channels else None


def edges_between(layer_graph: LayerGraph, counts: ClassCounts, layer: str, below: str) -> Weights:
    keep = kept_sources(layer_graph, counts, layer, below)
    result = {}
    for channel in range(layer_graph.layer(layer).channels):
        paths = chains(layer_graph, counts, layer, channel, below)
        direct = {source for source, *rest in paths if len(rest) == 1}
        through: dict[int, int] = {}
        for source, *rest in paths:
            if len(rest) > 1:
                through[source] = max(through.get(source, 0), min(rest))
        strongest = sorted(through, key=lambda s: (-through[s], s))[:keep]
        result[Channel(layer, channel)] = {
            Channel(below, s): max(min(rest) for source, *rest in paths if source == s)
            for s in sorted(direct | set(strongest))
        }
    return result


def weighted_graph(
    layer_graph: LayerGraph, counts: ClassCounts, excluded: Mapping[str, Sequence[int]]
) -> tuple[set[Channel], Weights]:
    """Nodes and edges of the class's whole graph."""
    weights: Weights = {}
    for layer in layer_graph.visible:
        for below in drawn_from(layer_graph, layer.name):
            for target, found in edges_between(layer_graph, counts, layer.name, below).items():
                weights[target] = weights.get(target, {}) | found
    nodes = {c for target, sources in weights.items() if sources for c in (target, *sources)}
    out = {Channel(name, c) for name, channels in excluded.items() for c in channels}
    kept = {t: {s: w for s, w in sources.items() if s not in out} for t, sources in weights.items() if t not in out}
    return nodes - out, kept


def network(nodes: set[Channel], weights: Weights, directed: bool) -> nx.Graph:
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(sorted(nodes))
    graph.add_weighted_edges_from((t, s, float(w)) for t, sources in weights.items() for s, w in sources.items())
    return graph


def node_weights(
    layer_graph: LayerGraph, counts: ClassCounts, excluded: Mapping[str, Sequence[int]], nodes: set[Channel]
) -> dict[Channel, float]:
    result = {}
    for node in nodes:
        if node.layer not in counts.activation:
            result[node] = 1.0
            continue
        used = counts.activation[node.layer].tolist()
        largest = max(a for c, a in enumerate(used) if c not in excluded.get(node.layer, ()))
        result[node] = used[node.index] / largest if largest else 0.0
    return result


def scores(
    layer_graph: LayerGraph, counts: ClassCounts, excluded: Mapping[str, Sequence[int]], directed: bool
) -> dict[Channel, float]:
    """Empty without edges or with every personalisation 0."""
    nodes, weights = weighted_graph(layer_graph, counts, excluded)
    personalisation = node_weights(layer_graph, counts, excluded, nodes)
    if not any(weights.values()) or not any(personalisation.values()):
        return {}
    return nx.pagerank(network(nodes, weights, directed), personalization=personalisation)


def fewest(ranked: Sequence[Channel], score: Mapping[Channel, float], p: float) -> set[Channel]:
    """The first of the ranked nodes whose sum reaches p of the whole sum."""
    total = sum(score[node] for node in ranked)
    taken, running = set(), 0.0
    for node in ranked:
        if running >= p * total:
            break
        taken.add(node)
        running += score[node]
    return taken


def selected_graph(
    layer_graph: LayerGraph,
    counts: ClassCounts,
    excluded: Mapping[str, Sequence[int]],
    options: GraphOptions,
    score: Mapping[Channel, float],
) -> OracleGraph:
    """The result for given scores, so that rounding in the last place decides nothing."""
    names = [layer.name for layer in layer_graph.visible]
    _, weights = weighted_graph(layer_graph, counts, excluded)
    place = {name: k for k, name in enumerate(names)}
    below = {name: drawn_from(layer_graph, name) for name in names}
    ranked = sorted(score, key=lambda c: (-score[c], place[c.layer], c.index))

    def select(rises: Mapping[str, int]) -> tuple[dict[str, float], set[Channel]]:
        p = {name: min(options.p + 0.005 * rises[name], 1.0) for name in names}
        if options.unified:
            return p, fewest(ranked, score, p[names[0]])
        return p, {c for name in names for c in fewest([c for c in ranked if c.layer == name], score, p[name])}

    def joined(name: str, chosen: set[Channel]) -> bool:
        return any(source in chosen for t in chosen if t.layer == name for source in weights.get(t, {}))

    everything = select(dict.fromkeys(names, 1000))[1]
    valid = {name: not below[name] or joined(name, everything) for name in names}
    rises = dict.fromkeys(names, 0)
    while True:
        p, chosen = select(rises)
        apart = [name for name in names if below[name] and valid[name] and not joined(name, chosen)]
        if not apart:
            break
        for name in names if options.unified else [n for a in apart for n in (a, *below[a])]:
            rises[name] += 1
    between = {(s, t): w for t in chosen for s, w in weights.get(t, {}).items() if s in chosen}
    edges = {
        (s, t): w for (s, t), w in between.items() if not below[s.layer] or any(target == s for _, target in between)
    }
    nodes = [c for c in chosen if not below[c.layer] or weights.get(c)]
    identities = {(s, t) for s, t in edges if is_identity(layer_graph, counts, s, t)}
    return OracleGraph(sorted(nodes, key=lambda c: (place[c.layer], c.index)), edges, identities, p, valid)
