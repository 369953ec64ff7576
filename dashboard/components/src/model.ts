// The attribution graph as Python sends it, and what follows from it alone.
import { shownCommunities, type Shown } from "./communities";

export interface GraphNode {
  layer: string;
  channel: number;
  name: string; // of the class, in its own row; else empty
  called: string; // what people call the channel; mostly empty
  count: number;
  score: number;
  picture: string | null;
  absent?: boolean; // has a place, but the graph lacks it
  members?: number[]; // of a folded node: the channels that it stands for
}

export interface View {
  least_count: number;
  width: number;
  height: number;
  scale: "class" | "all";
  only_effective: boolean;
  communities?: "off" | "colour" | "fold"; // off where it isn't said
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
  edge_stability?: Two[]; // where there may be evidence
  edge_effect?: Two[];
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

/** Channels that fire together: the number of each node's community (null: in none), and the classes that use each most. */
export interface Communities {
  of: (number | null)[];
  names: Record<string, string>;
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
  edge?: Channel[] | null; // source and target of the chosen edge
  communities?: string; // why channels that fire together can't be found, empty if they can; not offered without it
  note: string;
  together?: Communities | null; // where they are shown
  standsFor?: number[]; // of a folded drawing: the node that is drawn for each of the whole one
  stands?: number[][]; // and the edges of the whole one that each stands for, the strongest first
  ends?: [source: number, target: number][]; // of these strongest
}

export interface Edge {
  source: number; // the lower end
  target: number; // the upper end
  influence: number;
  identity: boolean; // a skip connection alone carries it
  stability: Two; // share of resampled image sets whose graph holds it
  effect: Two; // share of the upper end's maximum that is lost without the lower end
  stands: number[]; // the edges of the whole drawing that it stands for, the strongest first
  ends: [source: number, target: number]; // of the strongest
  idle: boolean; // known to be without effect; of a pair that is said in words alone
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
  readonly communities: Shown[];

  /** `shown`: absent nodes that the visitor wants to see. */
  constructor(
    readonly data: GraphData,
    readonly shown = new Set<number>(),
  ) {
    const { pair, marks } = data;
    this.edges = data.edges.map(([source, target, influence, identity], e) => ({
      source,
      target,
      influence,
      identity: identity > 0,
      stability: pair?.edge_stability?.[e] ?? [marks?.edge_stability[e] ?? null, null],
      effect: pair?.edge_effect?.[e] ?? [marks?.edge_effect[e] ?? null, null],
      stands: data.stands?.[e] ?? [e],
      ends: data.ends?.[e] ?? [source, target],
      idle: !pair && (marks?.edge_effect[e] ?? 1) <= 0,
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
    this.communities = shownCommunities(data);
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
    return this.data.nodes.findIndex((node) => isChannel(node, channel));
  }

  /** The edge that stands for that between two channels; undefined where there is none. */
  edgeBetween([source, target]: Channel[]): Edge | undefined {
    const ends = [this.find(source ?? null), this.find(target ?? null)].map((n) => this.drawnFor(n));
    return this.edges.find((edge) => edge.source === ends[0] && edge.target === ends[1]);
  }

  /** The node that is drawn for one of the whole drawing: itself, or what it is folded into. */
  drawnFor(node: number): number {
    return this.data.standsFor?.[node] ?? node;
  }

  /** A node's community; undefined where it has none, or none are shown. */
  community(node: number): Shown | undefined {
    const number = this.data.nodes[node].absent ? null : (this.data.together?.of[node] ?? null);
    return number === null ? undefined : this.communities.find((own) => own.number === number);
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

/** Whether a node is that of a channel. */
export function isChannel(node: Channel, channel: Channel | null): boolean {
  return channel !== null && node.layer === channel.layer && node.channel === channel.channel;
}

const largest = (two: Two) => Math.max(two[0] ?? 0, two[1] ?? 0);
