// The attribution graph as Python sends it, and what follows from it alone.
export interface GraphNode {
  layer: string;
  channel: number;
  name: string; // of the class, in its own row; else empty
  called: string; // what people call the channel; mostly empty
  count: number;
  score: number;
  picture: string | null;
  absent?: boolean; // has a place, but the graph lacks it
}

export interface View {
  least_count: number;
  width: number;
  height: number;
  scale: "class" | "all";
  only_effective: boolean;
}

export interface Channel {
  layer: string;
  channel: number;
}

/** What evidence says, in the order of nodes and edges; null: unknown. */
export interface Marks {
  node_stability: (number | null)[];
  edge_stability: (number | null)[];
  edge_effect: (number | null)[];
}

/** Which of two graphs hold a channel or an edge. */
export type Held = "a" | "b" | "both" | "neither";

/** Two values, of A and of B; null: unknown. */
export type Two = [a: number | null, b: number | null];

/** What tells two graphs in one drawing apart, in the order of nodes, edges and rows. */
export interface Pair {
  labels: [a: string, b: string];
  images: [a: number, b: number]; // 0: not known
  held: Held[];
  counts: Two[];
  stability: Two[];
  edge_held: Held[];
  edge_counts: Two[];
  similarity: (number | null)[];
  basis: string; // what similarity is taken from, where that is not everything
  differs: Differing[];
}

/** A channel of the table of what differs. */
export interface Differing extends Channel {
  counts: Two;
  held: Held;
  clear: boolean | null; // whether it is more than chance; null: that can't be told
}

/** From how stable on a node's border is firm, and below what it is dashed. */
export const STABLE = 0.8;
export const UNSTABLE = 0.5;

/** A layer; its first nodes are in the middle, others to the right of them. */
export interface Row {
  layer: string;
  nodes: number[];
  centred?: number; // how many nodes are in the middle; else all
}

export interface GraphData {
  id: string;
  title: string;
  rows: Row[]; // top layer first
  nodes: GraphNode[];
  edges: [source: number, target: number, influence: number, identity: number][];
  images: number; // 0: not known
  largest: number; // largest count of any class's graph
  measure: string; // what the edges are measured by
  pair?: Pair | null;
  leaves_out?: boolean; // whether the graph can be made without a channel
  opens?: boolean; // whether channels have pages of their own; they have unless this is false
  marks: Marks | null; // without evidence for this very graph
  view: View;
  pins: boolean; // whether a click pins a node; else it opens the channel
  pinned: Channel | null;
  note: string;
}

export interface Edge {
  source: number; // the lower end
  target: number; // the upper end
  influence: number;
  identity: boolean; // a skip connection alone carries it
  stability: number | null; // share of resampled image sets whose graph holds it
  effect: number | null; // share of the upper end's maximum that is lost without the lower end
  held: Held;
  counts: Two;
  strength: number; // from 0 to 1: how wide it is drawn
}

export class Model {
  readonly edges: Edge[];
  readonly below: Edge[][]; // edges down from each node, strongest first
  readonly above: Edge[][];
  readonly row: number[];
  readonly largestCount: number;
  private readonly shown = new Set<number>(); // absent nodes that the visitor wants to see

  constructor(readonly data: GraphData) {
    const { pair, marks } = data;
    this.edges = data.edges.map(([source, target, influence, identity], e) => ({
      source,
      target,
      influence,
      identity: identity > 0,
      stability: marks?.edge_stability[e] ?? null,
      effect: marks?.edge_effect[e] ?? null,
      held: pair?.edge_held[e] ?? "a",
      counts: pair?.edge_counts[e] ?? [influence, null],
      strength: 0,
    }));
    const shares = this.edges.map((edge) => largest(this.shares(edge.counts)));
    const most = Math.max(Number.MIN_VALUE, ...shares);
    this.edges.forEach((edge, e) => (edge.strength = shares[e] / most));
    this.below = data.nodes.map(() => []);
    this.above = data.nodes.map(() => []);
    for (const edge of [...this.edges].sort((a, b) => b.strength - a.strength)) {
      this.below[edge.target].push(edge);
      this.above[edge.source].push(edge);
    }
    this.row = new Array(data.nodes.length).fill(-1);
    data.rows.forEach((row, r) => row.nodes.forEach((node) => (this.row[node] = r)));
    this.largestCount = Math.max(1, ...data.nodes.filter((node) => !node.absent).map((node) => node.count));
  }

  /** How many images use a node, in one graph or on both sides. */
  counts(node: number): Two {
    return this.data.pair?.counts[node] ?? [this.data.nodes[node].count, null];
  }

  /** Counts as shares of the images of each side; where these aren't known, of the largest count. */
  shares(counts: Two): Two {
    const { pair, images, largest } = this.data;
    const of = pair?.images ?? [images, images];
    return [0, 1].map((side) => (counts[side] === null ? null : counts[side] / (of[side] || largest))) as Two;
  }

  /** Which graphs hold a node; of one that none holds, where it has its place. */
  held(node: number): Held {
    return this.data.pair?.held[node] ?? "a";
  }

  /** From 0 to 1: how large each node is beside the largest of this drawing, or of all classes. */
  sizes(scale: View["scale"]): number[] {
    const shares = this.data.nodes.map((_, n) => largest(this.shares(this.counts(n))));
    const all = largest(this.shares([this.data.largest, null]));
    const drawn = shares.filter((_, n) => !this.data.nodes[n].absent);
    const top = scale === "all" ? all : Math.max(Number.MIN_VALUE, ...drawn);
    return shares.map((share) => Math.min(1, share / top));
  }

  /** Whether a node is to be drawn: the graph has it, or the visitor asked for it all the same. */
  isThere(node: number): boolean {
    return !this.data.nodes[node].absent || this.shown.has(node);
  }

  showAnyway(node: number): void {
    this.shown.add(node);
  }

  /** Share of resampled image sets whose graph holds the node; null where that is unknown. */
  stability(node: number): number | null {
    return this.data.marks?.node_stability[node] ?? null;
  }

  find(channel: Channel | null): number {
    if (!channel) return -1;
    return this.data.nodes.findIndex((n) => n.layer === channel.layer && n.channel === channel.channel);
  }

  /** Edges of the widest path from a node to the lowest and to the top row that it reaches. */
  strongestPath(node: number): Edge[] {
    return [...this.widest(node, this.below, "source"), ...this.widest(node, this.above, "target")];
  }

  private widest(start: number, edges: Edge[][], end: "source" | "target"): Edge[] {
    // Longest reach first, then the widest bottleneck; a graph has few nodes, so plain recursion with memory does.
    const known = new Map<number, { length: number; width: number; path: Edge[] }>();
    const from = (node: number): { length: number; width: number; path: Edge[] } => {
      const found = known.get(node);
      if (found) return found;
      let best = { length: 0, width: Infinity, path: [] as Edge[] };
      for (const edge of edges[node]) {
        const rest = from(edge[end]);
        const width = Math.min(edge.strength, rest.width);
        const longer = rest.length + 1 > best.length || (rest.length + 1 === best.length && width > best.width);
        if (longer) best = { length: rest.length + 1, width, path: [edge, ...rest.path] };
      }
      known.set(node, best);
      return best;
    };
    return from(start).path;
  }
}

const largest = (two: Two) => Math.max(two[0] ?? 0, two[1] ?? 0);

/** Whether it is known that the upper end loses nothing without the lower one. */
export function isIdle(edge: Edge): boolean {
  return edge.effect !== null && edge.effect <= 0;
}
