// The graph as SVG: rows of picture nodes, curves between them; which of them stand out.
import { svg } from "./dom";
import { isIdle, STABLE, UNSTABLE, type Edge, type Model, type View } from "./model";
import { inSamples } from "./words";

const COLUMN = 96;
const ROW = 140;
const SMALLEST = 28;
const LARGEST = 88;
const MOST_SPREAD = 1.8;
const CAPTION = 14; // room for the channel's number above its node
const NUMBER_WIDTH = 25; // of four digits on the screen
const THINNEST = 0.75;
const THICKEST = 9;
const IDENTITY = 1.5; // an identity is a straight thin line, whatever its influence
const LANE = 8; // room for each of the edges that lead past a row between two of its nodes

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

interface Point {
  x: number;
  y: number;
}

interface Gap {
  left: number;
  right: number;
  top: number;
  bottom: number;
  edges: number[];
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
  private onlyEffective = false;

  constructor(readonly model: Model) {
    const hits = svg("g", { class: "hits" });
    const edges = svg("g", { class: "edges" });
    const nodes = svg("g", { class: "nodes" });
    model.edges.forEach((edge, e) => {
      const share = edge.influence / model.largestInfluence;
      const width = edge.identity ? IDENTITY : THINNEST + (THICKEST - THINNEST) * share;
      const kind = `edge${edge.identity ? " identity" : ""}${isIdle(edge) ? " idle" : ""}`;
      this.curves.push(svg("path", { class: kind, "stroke-width": width.toFixed(2), ...dots(edge, width) }));
      this.hits.push(svg("path", { class: "hit", "data-edge": e, "stroke-width": Math.max(10, width + 4) }));
    });
    edges.append(...this.curves);
    hits.append(...this.hits);
    model.data.nodes.forEach((_, n) => this.nodes.push(this.node(n)));
    for (const row of model.data.rows) nodes.append(...row.nodes.map((n) => this.nodes[n]));
    this.group.append(edges, hits, nodes);
  }

  private node(n: number): SVGGElement {
    const { layer, channel, name, count, picture } = this.model.data.nodes[n];
    const stability = this.model.stability(n);
    const label = `${name || `channel ${channel} of ${layer}`}, used by ${count} images${stability === null ? "" : `, ${inSamples(stability)}`}`;
    const kind = `node${firmness(stability)}`;
    const element = svg("g", { class: kind, "data-node": n, role: "button", tabindex: -1, "aria-label": label });
    element.append(svg("rect", { class: "frame", rx: 4 }));
    if (picture) {
      element.append(svg("image", { href: picture, preserveAspectRatio: "xMidYMid slice" }));
    }
    element.append(svg("text", { class: "number", "text-anchor": "middle" }, name || String(channel)));
    return element;
  }

  /** Put everything in its place; `aspect` is the frame's, which columns or rows spread to fill as far as is seemly. */
  arrange(view: View, aspect: number): void {
    const { rows, nodes, largest } = this.model.data;
    const top = view.scale === "all" ? largest : this.model.largestCount;
    this.shown = nodes.map((node) => node.count >= view.least_count);
    this.onlyEffective = view.only_effective;
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
    this.placeEdges();
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

  /** From left to right, so that those that share a gap lie in it in this order. */
  private placeEdges(): void {
    const gaps = this.model.data.rows.map((row) => this.gaps(row.nodes));
    const edges = [...this.model.edges.entries()];
    const x = (edge: Edge) => this.places[edge.source].x + this.places[edge.target].x;
    edges.sort(([, a], [, b]) => x(a) - x(b));
    const routes = edges.map(([e, edge]) => this.route(edge, e, gaps));
    edges.forEach(([e, edge], k) => this.placeEdge(edge, e, routes[k]));
  }

  private placeEdge(edge: Edge, e: number, route: Gap[]): void {
    const [upper, lower] = [this.places[edge.target], this.places[edge.source]];
    const from = { x: upper.x, y: upper.y + upper.side / 2 };
    const to = { x: lower.x, y: lower.y - lower.side / 2 - CAPTION };
    const points = [from, ...route.flatMap((gap) => passage(gap, e)), to];
    const d = edge.identity ? straight(points) : curved(points);
    for (const path of [this.curves[e], this.hits[e]]) {
      path.setAttribute("d", d);
      path.toggleAttribute("hidden", !this.isDrawn(edge));
    }
  }

  /** Where edges can lead past a row: between two of its nodes, or beside them. */
  private gaps(row: number[]): Gap[] {
    const places = row.filter((n) => this.shown[n]).map((n) => this.places[n]);
    if (!places.length) return [];
    places.sort((a, b) => a.x - b.x);
    const top = Math.min(...places.map((place) => place.y - place.side / 2)) - CAPTION;
    const bottom = Math.max(...places.map((place) => place.y + place.side / 2));
    const lefts = places.map((place) => place.x - place.side / 2);
    const rights = places.map((place) => place.x + place.side / 2);
    const sides = [[lefts[0] - 3 * LANE, lefts[0]]];
    rights.forEach((right, k) => sides.push([right, lefts[k + 1] ?? right + 3 * LANE]));
    return sides
      .filter(([left, right]) => right - left >= LANE)
      .map(([left, right]) => ({ left, right, top, bottom, edges: [] }));
  }

  /** The gaps that an edge takes through the rows between its ends, each where it strays least from its way. */
  private route(edge: Edge, e: number, gaps: Gap[][]): Gap[] {
    const end = this.places[edge.source];
    let at: Point = this.places[edge.target];
    const route: Gap[] = [];
    for (const row of gaps.slice(this.model.row[edge.target] + 1, this.model.row[edge.source])) {
      if (!row.length) continue;
      const y = (row[0].top + row[0].bottom) / 2;
      const wanted = at.x + ((end.x - at.x) * (y - at.y)) / (end.y - at.y);
      const strays = (gap: Gap) => Math.max(gap.left - wanted, wanted - gap.right, 0);
      const gap = row.reduce((best, other) => (strays(other) < strays(best) ? other : best));
      if (this.isDrawn(edge)) gap.edges.push(e);
      at = { x: middle(gap), y };
      route.push(gap);
    }
    return route;
  }

  private isDrawn(edge: Edge): boolean {
    return this.shown[edge.source] && this.shown[edge.target] && !(this.onlyEffective && isIdle(edge));
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

const middle = (gap: Gap) => (gap.left + gap.right) / 2;

/** Attributes, not style, so that they stay in a file; an edge without effect is a row of dots as wide as it. */
function dots(edge: Edge, width: number): Record<string, string> {
  return isIdle(edge) ? { "stroke-linecap": "round", "stroke-dasharray": `0 ${(2 * width + 2).toFixed(1)}` } : {};
}

function firmness(stability: number | null): string {
  if (stability === null) return "";
  return stability >= STABLE ? " stable" : stability < UNSTABLE ? " unstable" : "";
}

/** An edge's way down through a gap, in its own lane:
 *
 *      [ ]  | | |  [ ]
 */
function passage(gap: Gap, e: number): Point[] {
  const count = gap.edges.length;
  const lane = Math.min(LANE, (gap.right - gap.left) / (count + 1));
  const x = middle(gap) + (gap.edges.indexOf(e) - (count - 1) / 2) * lane;
  return [gap.top, gap.bottom].map((y) => ({ x, y }));
}

function straight(points: Point[]): string {
  return `M${points.map(({ x, y }) => `${x},${y}`).join("L")}`;
}

/** Smooth: upright at every point. */
function curved(points: Point[]): string {
  return points.slice(1).reduce((d, { x, y }, k) => {
    const before = points[k];
    const bend = (y - before.y) * 0.55;
    return `${d}C${before.x},${before.y + bend} ${x},${y - bend} ${x},${y}`;
  }, `M${points[0].x},${points[0].y}`);
}
