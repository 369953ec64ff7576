// Channels that fire together, in a drawing: each channel's community, and those of a row folded into one node.
//
//     o  o  o  o        (oo)  o       two channels of one community as one node; an edge of the folded drawing
//      \ | /    \         |    \      stands for all edges between its ends and is as strong as their strongest
//        o       o        o     o
import { el } from "./dom";
import type { GraphData, GraphNode, Marks, Model, Pair, Two } from "./model";
import { channels } from "./words";

const COLOURS = ["#009e73", "#cc79a7", "#e69f00", "#7b61c9", "#00a3ad", "#a3742c", "#8aa800", "#d64f8a"];
const GREY = "#8a8f99"; // of those that find no colour left

/** A community as a drawing shows it. */
export interface Shown {
  number: number;
  name: string;
  colour: string;
  nodes: number[]; // its channels in the drawing
}

/** The communities of a drawing's channels, those with most of them first; each has its own colour as long as there are some. */
export function shownCommunities({ nodes, together }: GraphData): Shown[] {
  if (!together) return [];
  const own = new Map<number, number[]>();
  together.of.forEach((number, n) => {
    if (number !== null && !nodes[n].absent && !nodes[n].members) own.set(number, [...(own.get(number) ?? []), n]);
  });
  const inOrder = [...own].sort(([a, some], [b, others]) => others.length - some.length || a - b);
  const free = new Set(COLOURS);
  return inOrder.map(([number, nodes]) => ({ number, name: together.names[number] ?? "", colour: take(free, number), nodes }));
}

/** A community's usual colour, so that it keeps it from class to class, or another that is free. */
function take(free: Set<string>, number: number): string {
  const usual = COLOURS[number % COLOURS.length];
  const colour = free.has(usual) ? usual : ([...free][0] ?? GREY);
  free.delete(colour);
  return colour;
}

/** What a folded node is called among those that are open. */
export function foldKey(data: GraphData, n: number): string {
  const number = data.together?.of[n] ?? null;
  return number === null || data.nodes[n].absent ? "" : `${data.nodes[n].layer}/${number}`;
}

/** The drawing with the channels of one community in one row, of one zone in a pair, as one node each, but for the open ones. */
export function folded(data: GraphData, open: Set<string>): GraphData {
  const standsFor = data.nodes.map((_, n) => n); // the node that is drawn for each
  const folds: number[][] = [];
  const rows = data.rows.map((row) => {
    const groups = grouped(data, row.nodes, row.centred ?? row.nodes.length, open);
    const nodes = groups.map((own) => {
      if (own.length === 1) return own[0];
      const fold = data.nodes.length + folds.push(own) - 1;
      for (const n of own) standsFor[n] = fold;
      return fold;
    });
    const centred = groups.filter((own) => row.nodes.indexOf(own[0]) < (row.centred ?? Infinity)).length;
    return { ...row, nodes, centred };
  });
  const stands = edgesBetween(data, standsFor);
  return {
    ...data,
    rows,
    nodes: [...data.nodes, ...folds.map((own, k) => foldNode(data, own, k))],
    edges: stands.map(([e]) => {
      const [source, target, influence, identity] = data.edges[e];
      return [standsFor[source], standsFor[target], influence, identity];
    }),
    together: data.together && { ...data.together, of: [...data.together.of, ...folds.map(([n]) => data.together!.of[n])] },
    marks: data.marks && foldedMarks(data.marks, folds, stands),
    pair: data.pair && foldedPair(data.pair, folds, stands),
    standsFor,
    stands,
    ends: stands.map(([e]) => [data.edges[e][0], data.edges[e][1]]),
  };
}

/** A row's nodes in groups that become one node, each at the mean of their places. */
function grouped(data: GraphData, row: number[], centred: number, open: Set<string>): number[][] {
  const groups = new Map<string, number[]>();
  row.forEach((n, place) => {
    const key = foldKey(data, n);
    const name = key && !open.has(key) ? `${key} ${data.pair?.held[n] ?? ""} ${place < centred}` : `alone ${n}`;
    groups.set(name, [...(groups.get(name) ?? []), n]);
  });
  const place = (own: number[]) => own.reduce((total, n) => total + row.indexOf(n), 0) / own.length;
  return [...groups.values()].sort((a, b) => place(a) - place(b));
}

function foldNode(data: GraphData, members: number[], k: number): GraphNode {
  const largest = (value: (node: GraphNode) => number) => Math.max(...members.map((n) => value(data.nodes[n])));
  const { layer } = data.nodes[members[0]];
  const [count, score] = [largest((node) => node.count), largest((node) => node.score)];
  return { layer, channel: -1 - k, name: "", called: "", count, score, picture: null, members };
}

/** Edges that get the same ends, together, the strongest first. */
function edgesBetween(data: GraphData, standsFor: number[]): number[][] {
  const groups = new Map<string, number[]>();
  data.edges.forEach(([source, target], e) => {
    const ends = `${standsFor[source]} ${standsFor[target]}`;
    groups.set(ends, [...(groups.get(ends) ?? []), e]);
  });
  return [...groups.values()].map((own) => own.sort((a, b) => data.edges[b][2] - data.edges[a][2]));
}

function foldedMarks(marks: Marks, folds: number[][], stands: number[][]): Marks {
  const ofFirst = (values: (number | null)[]) => stands.map(([e]) => values[e]);
  return {
    node_stability: [...marks.node_stability, ...folds.map(() => null)],
    edge_stability: ofFirst(marks.edge_stability),
    edge_effect: ofFirst(marks.edge_effect),
  };
}

function foldedPair(pair: Pair, folds: number[][], stands: number[][]): Pair {
  const counts = stands.map((own) => largestOf(own.map((e) => pair.edge_counts[e])));
  return {
    ...pair,
    held: [...pair.held, ...folds.map(([n]) => pair.held[n])],
    counts: [...pair.counts, ...folds.map((own) => largestOf(own.map((n) => pair.counts[n])))],
    stability: [...pair.stability, ...folds.map((): Two => [null, null])],
    edge_counts: counts,
    edge_held: counts.map(([a, b]) => (a === null ? "b" : b === null ? "a" : "both")),
    edge_stability: stands.map(([e]) => pair.edge_stability?.[e] ?? [null, null]),
    edge_effect: stands.map(([e]) => pair.edge_effect?.[e] ?? [null, null]),
  };
}

/** The largest of each side; null where none is known. */
function largestOf(counts: Two[]): Two {
  return [0, 1].map((side) => {
    const known = counts.map((two) => two[side]).filter((count) => count !== null);
    return known.length ? Math.max(...known) : null;
  }) as Two;
}

export interface Actions {
  mark(nodes: number[] | null): void; // let a community stand out; null: none
  open(nodes: number[], open: boolean): void; // show them one by one, or folded
}

/** The list of communities beside the drawing: colour, number, the classes that use it most. */
export function communityList(model: Model, said: string, folds: boolean, actions: Actions): HTMLElement | null {
  const title = el("h4", {}, "Channels that fire together");
  if (said) return el("section", { className: "communities" }, title, el("p", { className: "facts", attributes: { role: "status" } }, said));
  const rows = model.communities.map((own) => line(own, folds && canFold(model, own) ? isOpen(model, own) : null, actions));
  return rows.length ? el("section", { className: "communities" }, title, el("ol", {}, ...rows)) : null;
}

/** Whether some of its channels share a row, and in a pair a zone. */
function canFold(model: Model, { nodes }: Shown): boolean {
  return new Set(nodes.map((n) => `${model.data.nodes[n].layer} ${model.held(n)}`)).size < nodes.length;
}

const isOpen = (model: Model, { nodes }: Shown) => nodes.every((n) => model.drawnFor(n) === n);

/** `open` is null where nothing can be folded. */
function line({ number, name, colour, nodes }: Shown, open: boolean | null, actions: Actions): HTMLElement {
  const chip = el("span", { className: "chip" });
  chip.style.background = colour;
  const label = [`Community ${number}`, name, `${channels(nodes.length)} here`].filter(Boolean).join(", ");
  const row = el(
    "li",
    { tabIndex: 0, title: label, attributes: { "aria-label": label } },
    chip,
    el("b", {}, String(number)),
    el("span", { className: "users" }, name),
    el("span", { className: "count" }, `×${nodes.length}`),
  );
  row.onpointerenter = row.onfocus = () => actions.mark(nodes);
  row.onpointerleave = row.onblur = () => actions.mark(null);
  if (open !== null) row.append(toggle(number, nodes, open, actions));
  return row;
}

function toggle(number: number, nodes: number[], open: boolean, actions: Actions): HTMLElement {
  const title = open ? `Fold community ${number} again` : `Show the channels of community ${number}`;
  const attributes = { "aria-label": title, "aria-expanded": String(open) };
  return el("button", { type: "button", title, attributes, onclick: () => actions.open(nodes, !open) }, open ? "Fold" : "Open");
}
