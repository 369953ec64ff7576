// Graphs of classes over one network as one: each channel and each edge once, and which graphs hold it; the channels
// in rows, in an order that crosses little. What the dashboard draws comes by the same steps (shown/union, shown/graphs).
import type { Row } from "../model";
import type { GraphPart, Place, SiteData } from "./data";

export interface UnionNode {
  layer: number;
  channel: number;
  held: boolean[]; // by each graph
  count: number[]; // of images that use it, 0 where a graph lacks it
  score: number; // in the last graph that holds it
  at: number[]; // its place in each graph, or -1
}

export interface UnionEdge {
  source: number;
  target: number;
  influence: number[]; // 0 where a graph lacks it
  identity: number;
}

export interface Union {
  nodes: UnionNode[];
  edges: UnionEdge[];
}

/** The union of graphs, those of the first one first, and of more channels that none of them need hold. */
export function united(graphs: GraphPart[], more: Place[]): Union {
  const nodes = new Distinct((layer: number, channel: number): UnionNode => {
    const none = <Value>(value: Value) => graphs.map(() => value);
    return { layer, channel, held: none(false), count: none(0), score: 0, at: none(-1) };
  });
  const edges = new Distinct((source: number, target: number): UnionEdge => ({ source, target, influence: graphs.map(() => 0), identity: 0 }));
  const places = graphs.map((graph, g) =>
    graph.nodes.map(([layer, channel, count, score], n) => {
      const place = nodes.place(layer, channel);
      const node = nodes.all[place];
      [node.held[g], node.count[g], node.score, node.at[g]] = [true, count, score, n];
      return place;
    }),
  );
  more.forEach((place) => nodes.place(...place));
  graphs.forEach((graph, g) =>
    graph.edges.forEach(([source, target, influence, identity]) => {
      const edge = edges.all[edges.place(places[g][source], places[g][target])];
      [edge.influence[g], edge.identity] = [influence, identity];
    }),
  );
  return { nodes: nodes.all, edges: edges.all };
}

/** Things that are told apart by two numbers, each made when it is first asked for. */
class Distinct<Thing> {
  readonly all: Thing[] = [];
  private readonly places = new Map<string, number>();

  constructor(private readonly make: (a: number, b: number) => Thing) {}

  place(a: number, b: number): number {
    const key = `${a} ${b}`;
    const found = this.places.get(key);
    if (found !== undefined) return found;
    this.places.set(key, this.all.length);
    return this.all.push(this.make(a, b)) - 1;
  }
}

/** The visible layers from the top down: channels that a graph holds, ordered, then the others. */
export function rows({ nodes, edges }: Union, site: SiteData): Row[] {
  const visible = [...site.layers.keys()].filter((layer) => !site.layers[layer].hidden);
  const own = visible.map((layer) => [...nodes.keys()].filter((n) => nodes[n].layer === layer));
  const isHeld = (n: number) => nodes[n].held.includes(true);
  const first = ordered(own.map((row) => row.filter(isHeld)), edges, nodes.length);
  const found = visible.map((layer, r) => ({
    layer: site.layers[layer].name,
    nodes: [...first[r], ...own[r].filter((n) => !isHeld(n))],
    centred: first[r].length,
  }));
  return found.reverse();
}

const SWEEPS = 4;

/** Rows of nodes by the barycentre method: each node towards the mean place of its neighbours, up and down again. */
function ordered(given: number[][], edges: UnionEdge[], n: number): number[][] {
  const x = new Float64Array(n);
  const rows = given.map((row) => [...row]);
  const weight = Float64Array.from(edges, ({ influence }) => influence.reduce((sum, value) => sum + value, 0));
  const spread = (row: number[]) => row.forEach((node, k) => (x[node] = (k + 1) * (1 / (row.length + 1))));
  const towards = (own: "source" | "target", other: "source" | "target") => {
    const total = new Float64Array(n);
    edges.forEach((edge, e) => (total[edge[own]] += weight[e]));
    return (row: number[]) => {
      const pull = new Float64Array(n);
      for (let e = 0; e < edges.length; e++) pull[edges[e][own]] += weight[e] * x[edges[e][other]];
      const centre = (node: number) => (total[node] > 0 ? pull[node] / total[node] : x[node]);
      row.sort((a, b) => centre(a) - centre(b));
      spread(row);
    };
  };
  const [down, up] = [towards("target", "source"), towards("source", "target")];
  rows.forEach(spread);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    rows.forEach(down);
    [...rows].reverse().forEach(up);
  }
  return rows;
}
