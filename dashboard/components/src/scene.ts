// The graph as SVG: rows of picture nodes, curves between them; which of them stand out.
import { svg } from "./dom";
import { layout, type Layout, type Zone } from "./layout";
import { STABLE, UNSTABLE, type Edge, type GraphNode, type Model, type View } from "./model";
import { channels, images, inSamples, shortened } from "./words";

const SMALLEST = 28;
const LARGEST = 88;
const CAPTION = 14; // room for the channel's number above its node
const NUMBER_WIDTH = 25; // of four digits on the screen
const THINNEST = 0.75;
const THICKEST = 9;
const IDENTITY = 1.5; // an identity is a straight thin line, whatever its influence
const LANE = 8; // room for each of the edges that lead past a row between two of its nodes
const SECOND = 4; // from a frame to the second one of what both graphs hold
const PILE = 4; // from a folded node's frame to the one behind it
const STRIPE = 6; // of a community's colour, at the left of its channels
const BAR = { width: 30, height: 8, gap: 6 }; // of one side, under a node of a pair

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
  private drawn: Layout = { width: 0, height: 0, column: 0, rowY: [], at: [], zones: [] };
  private readonly curves: SVGPathElement[] = [];
  private readonly cores: (SVGPathElement | null)[] = []; // what makes the line of an edge of both graphs a double one
  private readonly hits: SVGPathElement[] = [];
  private shown: boolean[] = [];
  private onlyEffective = false;
  alone = -1; // the row that is looked at alone

  constructor(readonly model: Model) {
    const hits = svg("g", { class: "hits" });
    const edges = svg("g", { class: "edges" });
    const nodes = svg("g", { class: "nodes" });
    if (model.data.pair) this.group.classList.add("pair");
    model.edges.forEach((edge, e) => {
      const width = edge.identity ? IDENTITY : THINNEST + (THICKEST - THINNEST) * edge.strength;
      const kind = `edge${edge.identity ? " identity" : ""}${edge.idle ? " idle" : ""}${this.side(edge.held)}`;
      const double = !!model.data.pair && edge.held === "both";
      const outer = double ? Math.max(4, width) : width;
      this.curves.push(svg("path", { class: kind, "stroke-width": outer.toFixed(2), ...dots(edge, width) }));
      this.cores.push(double ? svg("path", { class: "core", "stroke-width": (outer / 3).toFixed(2) }) : null);
      this.hits.push(svg("path", { class: "hit", "data-edge": e, "stroke-width": Math.max(10, width + 4) }));
    });
    this.curves.forEach((curve, e) => edges.append(curve, ...[this.cores[e]].filter((core) => core !== null)));
    hits.append(...this.hits);
    model.data.nodes.forEach((_, n) => this.nodes.push(this.node(n)));
    for (const row of model.data.rows) nodes.append(...row.nodes.map((n) => this.nodes[n]));
    this.group.append(edges, hits, nodes);
  }

  get width(): number {
    return this.drawn.width;
  }

  get height(): number {
    return this.drawn.height;
  }

  get rowY(): number[] {
    return this.drawn.rowY;
  }

  get zones(): Zone[] {
    return this.drawn.zones;
  }

  /** Room below a node, for its bars. */
  private get below(): number {
    return this.model.data.pair ? BAR.gap + BAR.height + 1 : 0;
  }

  /** The class of what one graph of a pair holds, or both. */
  private side(held: string): string {
    return this.model.data.pair ? ` ${held}` : "";
  }

  private node(n: number): SVGGElement {
    const node = this.model.data.nodes[n];
    const { name, called, channel, absent, members } = node;
    const stability = this.model.stability(n);
    const held = absent ? " unselected" : this.side(this.model.held(n));
    const kind = `node${members ? " fold" : ""}${firmness(stability)}${held}`;
    const label = this.label(n);
    const element = svg("g", { class: kind, "data-node": n, role: "button", tabindex: -1, "aria-label": label });
    if (held === " both") element.append(svg("rect", { class: "second", rx: 6 }));
    if (members) element.append(svg("rect", { class: "frame behind", rx: 4 }));
    element.append(svg("rect", { class: "frame", rx: 4 }), ...this.pictures(node), ...this.community(n));
    const caption = members ? `×${members.length}` : name || shortened(called) || String(channel);
    element.append(svg("text", { class: "number", "text-anchor": "middle" }, caption));
    if (this.model.data.pair) element.append(this.bars(n));
    return element;
  }

  private label(n: number): string {
    const { layer, channel, name, called, members } = this.model.data.nodes[n];
    const stability = this.model.stability(n);
    const community = this.model.community(n);
    const what = members ? `${channels(members.length)} of ${layer} that fire together` : `channel ${channel} of ${layer}${called && `, ${called}`}`;
    const parts = [name || what, this.used(n), stability !== null && inSamples(stability), community && `community ${community.number}`];
    return parts.filter(Boolean).join(", ");
  }

  /** Show the pictures that have come since the nodes were drawn. */
  showPictures(): void {
    this.nodes.forEach((element, n) => {
      if (element.querySelector("image")) return;
      const pictures = this.pictures(this.model.data.nodes[n]);
      element.querySelector(".frame:not(.behind)")!.after(...pictures);
      if (this.places.length) tile(pictures, this.places[n].side); // else once all is arranged
    });
  }

  /** Its picture, or those of up to four of the channels that it stands for. */
  private pictures({ picture, members }: GraphNode): SVGImageElement[] {
    const all = members ? members.slice(0, 4).map((n) => this.model.data.nodes[n].picture) : [picture];
    const image = (href: string) => svg("image", { href, preserveAspectRatio: "xMidYMid slice" });
    return all.filter((href) => href !== null).map(image);
  }

  /** The stripe and number of its community; nothing where it has none. */
  private community(n: number): SVGElement[] {
    const own = this.model.community(n);
    if (!own) return [];
    const number = svg("text", { class: "community", "text-anchor": "end" }, String(own.number));
    return [svg("rect", { class: "stripe", fill: own.colour }), number];
  }

  /** "used by 12 images"; in a pair of each side's images. */
  private used(n: number): string {
    const { pair, nodes } = this.model.data;
    const most = nodes[n].members ? "each by up to" : "by";
    if (!pair) return `used ${most} ${images(nodes[n].count)}`;
    const side = (k: 0 | 1) => {
      const count = this.model.counts(n)[k];
      return `${count === null ? "an unknown number of images" : images(count)} of ${pair.labels[k]}`;
    };
    return `used ${most} ${side(0)}, ${side(1)}`;
  }

  /** Shares of the images of A, to the left, and of B, to the right; a dashed end where one isn't known. */
  private bars(n: number): SVGGElement {
    const group = svg("g", { class: "bars" });
    this.model.shares(this.model.counts(n)).forEach((share, side) => {
      const long = BAR.width * Math.min(1, share ?? 1);
      const bar = { width: long, height: BAR.height, x: side ? 0 : -long };
      const kind = side ? "of-b" : "of-a";
      if (share !== null) {
        group.append(svg("rect", { ...bar, class: "track", width: BAR.width, x: side ? 0 : -BAR.width }));
      }
      group.append(svg("rect", { ...bar, class: share === null ? "unknown" : kind }));
    });
    group.append(svg("path", { class: "middle", d: `M0,-1v${BAR.height + 2}` }));
    return group;
  }

  /** Put everything in its place; `aspect` and `alone` as `layout` takes them. */
  arrange(view: View, aspect: number, alone = -1): void {
    const { nodes, rows } = this.model.data;
    const seen = new Set(rows.flatMap((row, r) => (alone < 0 || alone === r ? row.nodes : [])));
    this.shown = nodes.map((node, n) => this.model.isThere(n) && seen.has(n) && (node.count >= view.least_count || !!node.absent));
    this.onlyEffective = view.only_effective;
    this.alone = alone;
    this.drawn = layout(this.model, view, aspect, alone);
    const sizes = this.model.sizes(view.scale);
    this.places = this.drawn.at.map((at, n) => ({ ...at, side: SMALLEST + (LARGEST - SMALLEST) * sizes[n] }));
    this.nodes.forEach((element, n) => this.placeNode(element, n));
    this.placeEdges();
  }

  private placeNode(element: SVGGElement, n: number): void {
    const { x, y, side } = this.places[n];
    element.setAttribute("transform", `translate(${x},${y})`);
    element.toggleAttribute("hidden", !this.shown[n]);
    for (const part of element.querySelectorAll(".frame, .second")) {
      const own = part.matches(".second") ? side + 2 * SECOND : side;
      const shift = part.matches(".behind") ? PILE : 0;
      place(part, shift - own / 2, -shift - own / 2, own, own);
    }
    tile([...element.querySelectorAll("image")], side);
    for (const stripe of element.querySelectorAll(".stripe")) place(stripe, -side / 2 - STRIPE, -side / 2, STRIPE, side);
    element.querySelector(".community")?.setAttribute("x", String(-side / 2 - STRIPE - 2));
    const above = this.model.data.nodes[n].members ? 4 + PILE : 4;
    element.querySelector(".number")!.setAttribute("y", String(-side / 2 - above));
    element.querySelector(".bars")?.setAttribute("transform", `translate(0,${side / 2 + BAR.gap})`);
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
    const from = { x: upper.x, y: upper.y + upper.side / 2 + this.below };
    const to = { x: lower.x, y: lower.y - lower.side / 2 - CAPTION };
    const points = [from, ...route.flatMap((gap) => passage(gap, e)), to];
    const d = edge.identity ? straight(points) : curved(points);
    for (const path of [this.curves[e], this.cores[e], this.hits[e]]) {
      if (!path) continue;
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
    const bottom = Math.max(...places.map((place) => place.y + place.side / 2)) + this.below;
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
    return this.shown[edge.source] && this.shown[edge.target] && !(this.onlyEffective && edge.idle);
  }

  isShown(n: number): boolean {
    return this.shown[n];
  }

  // Keyboard

  /** Tab always finds one node, the last one that the keyboard was at if it is shown. */
  roveAmongShown(): void {
    const at = this.nodes.findIndex((element, n) => element.getAttribute("tabindex") === "0" && this.shown[n]);
    if (at >= 0) return;
    const inOrder = this.model.data.rows.flatMap((row) => row.nodes);
    this.rove(inOrder.find((n) => this.shown[n]) ?? -1);
  }

  rove(n: number): void {
    this.nodes.forEach((element, k) => element.setAttribute("tabindex", k === n ? "0" : "-1"));
  }

  /** Where an arrow leads: up and down along the strongest edge, left and right within the row. */
  beyond(n: number, key: string): number | undefined {
    const { above, below, data, row } = this.model;
    if (key === "ArrowUp") return above[n].map((edge) => edge.target).find((end) => this.shown[end]);
    if (key === "ArrowDown") return below[n].map((edge) => edge.source).find((end) => this.shown[end]);
    const beside = { ArrowLeft: -1, ArrowRight: 1 }[key];
    const inRow = data.rows[row[n]].nodes.filter((k) => this.shown[k]);
    return beside === undefined ? undefined : inRow[inRow.indexOf(n) + beside];
  }

  /** Numbers keep their size on the screen whatever the zoom; without room, those pointed at remain. */
  keepNumbers(zoom: number): void {
    this.group.style.setProperty("--number", `${11 / zoom}px`);
    this.group.classList.toggle("crowded", this.drawn.column * zoom < NUMBER_WIDTH);
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
      this.cores[e]?.classList.toggle("near", incoming.has(edge) || outgoing.has(edge) || path.has(edge));
    });
  }
}

/** Pictures side by side in a node; more than two of them in two lines. */
function tile(pictures: Element[], side: number): void {
  const width = side / Math.min(2, pictures.length);
  const height = side / Math.ceil(pictures.length / 2);
  pictures.forEach((picture, k) => place(picture, -side / 2 + width * (k % 2), -side / 2 + height * (k >> 1), width, height));
}

function place(part: Element, x: number, y: number, width: number, height: number): void {
  for (const [name, value] of Object.entries({ x, y, width, height })) part.setAttribute(name, String(value));
}

const middle = (gap: Gap) => (gap.left + gap.right) / 2;

/** Attributes, not style, so that they stay in a file; an edge without effect is a row of dots as wide as it. */
function dots(edge: Edge, width: number): Record<string, string> {
  return edge.idle ? { "stroke-linecap": "round", "stroke-dasharray": `0 ${(2 * width + 2).toFixed(1)}` } : {};
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
