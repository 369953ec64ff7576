// Two classes' graphs as one drawing: what both hold, what one holds alone, and how the images of each use it.
import type { GraphData, Held, Two } from "../model";
import type { ClassData, Data, GraphPart } from "./data";
import { differs, type Side } from "./differs";
import { common, ends, graphNode, picturesOf, pinnedOf, pinnedPlace, sourcesOf, unheld, type Drawn } from "./drawing";
import { csv } from "./table";
import { united, type Union } from "./union";
import type { Wanted } from "./view";

/** Everything that is shown of the wanted class beside the one that it is held against. */
export async function drawnPair(data: Data, wanted: Wanted, against: number, own: ClassData, other: ClassData): Promise<Drawn> {
  const parts = [own, other].map((known) => known.graphs[wanted.pair]);
  const union = united(parts, pinnedPlace(data, wanted));
  const sides = await Promise.all([side(data, wanted, wanted.cls), side(data, wanted, against)]);
  const id = `${wanted.cls} ${wanted.pair} vs ${against} ${unheld(union)}`;
  const counts = union.nodes.map((_, n) => [0, 1].map((k) => countOf(data, union, sides[k], k, n)) as Two);
  const nodes = union.nodes.map(({ held }, n) => {
    const names = [...new Set(sides.filter((_, k) => held[k]).map(({ label }) => label))].join(" | ");
    return graphNode(data, union, n, Math.max(counts[n][0] ?? 0, counts[n][1] ?? 0), names);
  });
  const [a, b] = sides;
  const empty = sides.filter((_, k) => !parts[k].nodes.length).map(({ label }) => label);
  const graph: GraphData = {
    ...common(data, wanted, union, true),
    id,
    title: `Attribution graphs of ${a.label} and ${b.label}`,
    nodes,
    edges: union.edges.map(({ source, target, influence, identity }) => [source, target, Math.max(...influence), identity]),
    images: Math.max(a.images, b.images),
    marks: null,
    pair: pairOf(data, union, parts, sides, counts),
    note: empty.length ? `The graph of ${empty.join(" and that of ")} is empty.` : "",
  };
  const pinned = pinnedOf(data, wanted, union, (n) => {
    const [of_a, of_b] = parts.map((part, g) => sourcesOf(data, union, part, g, n));
    return { ...of_a, sources_b: of_b.sources, note_b: of_b.note };
  });
  const extras = { id, files: files(graph), ...(pinned && { pinned }) };
  return { data: graph, extras, pictures: picturesOf(data, union, id) };
}

async function side(data: Data, wanted: Wanted, cls: number): Promise<Side> {
  return { cls, label: data.site.names[cls], images: data.images[cls], used: await data.used(cls, wanted.pair) };
}

/** Images of a side that use a node; null where that isn't known. */
function countOf({ site }: Data, { nodes }: Union, { used }: Side, k: number, n: number): number | null {
  const { layer, channel, held, count } = nodes[n];
  if (held[k]) return count[k];
  return site.partial ? null : (used.of(layer)?.[channel] ?? null);
}

function pairOf(data: Data, union: Union, parts: GraphPart[], sides: Side[], counts: Two[]): NonNullable<GraphData["pair"]> {
  const [a, b] = sides;
  const place = new Map(union.nodes.map(({ layer, channel, held }) => [`${layer} ${channel}`, word(held)]));
  const stability = (n: number) => parts.map(({ marks }, g) => marks?.node_stability[union.nodes[n].at[g]] ?? null) as Two;
  const visible = [...data.site.layers.keys()].filter((layer) => !data.site.layers[layer].hidden).reverse();
  return {
    labels: [a.label, b.label],
    images: [a.images, b.images],
    held: union.nodes.map(({ held }) => word(held)),
    counts,
    stability: union.nodes.map((_, n) => stability(n)),
    edge_held: union.edges.map(({ influence }) => word(influence.map((value) => value > 0))),
    edge_counts: union.edges.map(({ influence }) => influence.map((value) => value || null) as Two),
    similarity: visible.map((layer) => cosine(a.used.of(layer), b.used.of(layer))),
    basis: data.site.partial ? "of the graphs' channels" : "",
    differs: differs(data, a, b, (layer, channel) => place.get(`${layer} ${channel}`) ?? "neither"),
  };
}

function word([a, b]: boolean[]): Held {
  return a && b ? "both" : a ? "a" : b ? "b" : "neither";
}

function cosine(a: ArrayLike<number> | null, b: ArrayLike<number> | null): number | null {
  if (!a || !b) return null;
  const product = (one: ArrayLike<number>, other: ArrayLike<number>) => {
    let sum = 0;
    for (let k = 0; k < one.length; k++) sum += one[k] * other[k];
    return sum;
  };
  return Math.min(1, product(a, b) / (Math.sqrt(product(a, a)) * Math.sqrt(product(b, b)) || 1));
}

/** Nodes and edges of a pair as two tables, with the images of each side and which graph holds them. */
function files(graph: GraphData) {
  const { nodes, edges, pair } = graph;
  const { held, counts, edge_held, edge_counts, images } = pair!;
  const columns = ["held_by", "images_a", "images_b", "of_a", "of_b"];
  const there = nodes.map(({ layer, channel }, n) => [layer, channel, held[n], ...counts[n], ...images]).filter((_, n) => !nodes[n].absent);
  const between = ends({ nodes, edges }).map(([s, t], e) => [s.layer, s.channel, t.layer, t.channel, edge_held[e], ...edge_counts[e], ...images]);
  const from = ["source_layer", "source_channel", "target_layer", "target_channel"];
  return [
    { name: "nodes.csv", type: "text/csv", text: csv(["layer", "channel", ...columns], there) },
    { name: "edges.csv", type: "text/csv", text: csv([...from, ...columns], between) },
  ];
}
