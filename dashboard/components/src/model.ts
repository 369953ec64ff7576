// The attribution graph as Python sends it, and what follows from it alone.
export interface GraphNode {
  layer: string;
  channel: number;
  name: string; // of the class, in its own row; else empty
  count: number;
  score: number;
  picture: string | null;
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

/** From how stable on a node's border is firm, and below what it is dashed. */
export const STABLE = 0.8;
export const UNSTABLE = 0.5;

export interface GraphData {
  id: string;
  title: string;
  rows: { layer: string; nodes: number[] }[]; // top layer first
  nodes: GraphNode[];
  edges: [source: number, target: number, influence: number, identity: number][];
  images: number; // 0: not known
  largest: number; // largest count of any class's graph
  measure: string; // what the edges are measured by
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
}

export class Model {
  readonly edges: Edge[];
  readonly below: Edge[][]; // edges down from each node, strongest first
  readonly above: Edge[][];
  readonly row: number[];
  readonly largestCount: number;
  readonly largestInfluence: number;

  constructor(readonly data: GraphData) {
    this.edges = data.edges.map(([source, target, influence, identity], e) => ({
      source,
      target,
      influence,
      identity: identity > 0,
      stability: data.marks?.edge_stability[e] ?? null,
      effect: data.marks?.edge_effect[e] ?? null,
    }));
    this.below = data.nodes.map(() => []);
    this.above = data.nodes.map(() => []);
    for (const edge of [...this.edges].sort((a, b) => b.influence - a.influence)) {
      this.below[edge.target].push(edge);
      this.above[edge.source].push(edge);
    }
    this.row = new Array(data.nodes.length).fill(-1);
    data.rows.forEach((row, r) => row.nodes.forEach((node) => (this.row[node] = r)));
    this.largestCount = Math.max(1, ...data.nodes.map((node) => node.count));
    this.largestInfluence = Math.max(1, ...this.edges.map((edge) => edge.influence));
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
        const width = Math.min(edge.influence, rest.width);
        const longer = rest.length + 1 > best.length || (rest.length + 1 === best.length && width > best.width);
        if (longer) best = { length: rest.length + 1, width, path: [edge, ...rest.path] };
      }
      known.set(node, best);
      return best;
    };
    return from(start).path;
  }
}

/** Whether it is known that the upper end loses nothing without the lower one. */
export function isIdle(edge: Edge): boolean {
  return edge.effect !== null && edge.effect <= 0;
}
