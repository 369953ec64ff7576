// The graph as SVG: rows of picture nodes, curves between them; which of them stand out.
import { svg } from "./dom";
import type { Edge, Model, View } from "./model";

const COLUMN = 96;
const ROW = 140;
const SMALLEST = 28;
const LARGEST = 88;
const MOST_SPREAD = 1.8;
const CAPTION = 14; // room for the channel's number above its node
const NUMBER_WIDTH = 25; // of four digits on the screen
const THINNEST = 0.75;
const THICKEST = 9;

/** A row of many nodes has several lines, each node a line below the one before:  o  o  o
 *                                                                                o  o  o   */
const MOST_IN_LINE = 16;
const LINE = 0.72;
const rowHeight = (lines: number) => 1 + LINE * (lines - 1);

export interface Place {
  x: number;
  y: number;
  side: number;
}

export class Scene {
  readonly group = svg("g", { class: "scene" });
  readonly nodes: SVGGElement[] = [];
  places: Place[] = [];
  rowY: number[] = [];
  width = 0;
  height = 0;
  private column = COLUMN;
  private readonly curves: SVGPathElement[] = [];
  private readonly hits: SVGPathElement[] = [];
  private shown: boolean[] = [];

  constructor(readonly model: Model) {
    const hits = svg("g", { class: "hits" });
    const edges = svg("g", { class: "edges" });
    const nodes = svg("g", { class: "nodes" });
    model.edges.forEach((edge, e) => {
      const share = edge.influence / model.largestInfluence;
      const width = THINNEST + (THICKEST - THINNEST) * share;
      this.curves.push(svg("path", { class: "edge", "stroke-width": width.toFixed(2) }));
      this.hits.push(svg("path", { class: "hit", "data-edge": e, "stroke-width": Math.max(10, width + 4) }));
    });
    edges.append(...this.curves);
    hits.append(...this.hits);
    model.data.nodes.forEach((_, n) => this.nodes.push(this.node(n)));
    for (const row of model.data.rows) nodes.append(...row.nodes.map((n) => this.nodes[n]));
    this.group.append(edges, hits, nodes);
  }

  private node(n: number): SVGGElement {
    const { layer, channel, count, picture } = this.model.data.nodes[n];
    const label = `channel ${channel} of ${layer}, used by ${count} images`;
    const element = svg("g", { class: "node", "data-node": n, role: "button", tabindex: -1, "aria-label": label });
    element.append(svg("rect", { class: "frame", rx: 4 }));
    if (picture) {
      element.append(svg("image", { href: picture, preserveAspectRatio: "xMidYMid slice" }));
    }
    element.append(svg("text", { class: "number", "text-anchor": "middle" }, String(channel)));
    return element;
  }

  /** Put everything in its place; `aspect` is the frame's, which columns or rows spread to fill as far as is seemly. */
  arrange(view: View, aspect: number): void {
    const { rows, nodes, largest } = this.model.data;
    const top = view.scale === "all" ? largest : this.model.largestCount;
    this.shown = nodes.map((node) => node.count >= view.least_count);
    const lines = rows.map((row) => Math.max(1, Math.ceil(row.nodes.length / MOST_IN_LINE)));
    const widest = Math.max(1, ...rows.map((row, r) => Math.ceil(row.nodes.length / lines[r])));
    const usual = (widest * COLUMN) / lines.reduce((sum, l) => sum + ROW * rowHeight(l), 0);
    const spread = (wanted: number) => Math.min(MOST_SPREAD, Math.max(1, wanted));
    const column = COLUMN * view.width * spread(aspect / usual);
    const height = ROW * view.height * spread(usual / aspect);
    const tops = lines.map((_, r) => lines.slice(0, r).reduce((sum, l) => sum + height * rowHeight(l), 0));
    this.height = lines.reduce((sum, l) => sum + height * rowHeight(l), 0);
    this.column = column;
    this.width = widest * column;
    this.rowY = tops.map((y, r) => y + (height * rowHeight(lines[r])) / 2);
    rows.forEach((row, r) =>
      row.nodes.forEach((n, k) => {
        const x = ((k - (row.nodes.length - 1) / 2) * column) / lines[r] + this.width / 2;
        const y = tops[r] + height * (0.5 + LINE * (k % lines[r]));
        const share = Math.min(1, nodes[n].count / top);
        this.places[n] = { x, y, side: SMALLEST + (LARGEST - SMALLEST) * share };
      }),
    );
    this.nodes.forEach((element, n) => this.placeNode(element, n));
    this.model.edges.forEach((edge, e) => this.placeEdge(edge, e));
  }

  private placeNode(element: SVGGElement, n: number): void {
    const { x, y, side } = this.places[n];
    element.setAttribute("transform", `translate(${x},${y})`);
    element.toggleAttribute("hidden", !this.shown[n]);
    for (const part of element.querySelectorAll("rect, image")) {
      for (const name of ["x", "y"]) part.setAttribute(name, String(-side / 2));
      for (const name of ["width", "height"]) part.setAttribute(name, String(side));
    }
    element.querySelector("text")!.setAttribute("y", String(-side / 2 - 4));
  }

  private placeEdge(edge: Edge, e: number): void {
    const [upper, lower] = [this.places[edge.target], this.places[edge.source]];
    const from = upper.y + upper.side / 2;
    const to = lower.y - lower.side / 2 - CAPTION;
    const bend = (to - from) * 0.55;
    const d = `M${upper.x},${from}C${upper.x},${from + bend} ${lower.x},${to - bend} ${lower.x},${to}`;
    for (const path of [this.curves[e], this.hits[e]]) {
      path.setAttribute("d", d);
      path.toggleAttribute("hidden", !(this.shown[edge.source] && this.shown[edge.target]));
    }
  }

  isShown(n: number): boolean {
    return this.shown[n];
  }

  /** Numbers keep their size on the screen whatever the zoom; without room, those pointed at remain. */
  keepNumbers(zoom: number): void {
    this.group.style.setProperty("--number", `${11 / zoom}px`);
    this.group.classList.toggle("crowded", this.column * zoom < NUMBER_WIDTH);
  }

  /** Let some nodes and edges stand out; sources below and targets above are told apart. */
  mark(nodes: Set<number>, incoming: Set<Edge>, outgoing: Set<Edge>, path: Set<Edge>): void {
    const any = nodes.size > 0;
    this.group.classList.toggle("marked", any);
    this.nodes.forEach((element, n) => element.classList.toggle("near", nodes.has(n)));
    this.model.edges.forEach((edge, e) => {
      const { classList } = this.curves[e];
      classList.toggle("in", incoming.has(edge));
      classList.toggle("out", outgoing.has(edge));
      classList.toggle("path", path.has(edge));
    });
  }
}
