// One point per class; the points glide when the layer changes.
import { select } from "d3-selection";
import "d3-transition";
import { zoom, zoomIdentity, type ZoomTransform } from "d3-zoom";
import type { ClassTable } from "./classtable";
import { el, svg } from "./dom";

const GLIDE = 1000;
const MARGIN = 18;
const FEW = 40; // so many points in view, or fewer, all have their name

export class Embedding {
  readonly element = el("div", { className: "embedding" });
  private readonly picture = svg("svg", { role: "img" });
  private readonly world = svg("g");
  private readonly labels = svg("g", { class: "labels", "aria-hidden": "true" });
  private readonly tip = el("div", { className: "tip", hidden: true });
  private readonly why = el("p", { className: "why", hidden: true });
  private readonly zoom = zoom<SVGSVGElement, unknown>().scaleExtent([0.8, 60]);
  private readonly resized: ResizeObserver;
  private table!: ClassTable;
  private points: SVGCircleElement[] = [];
  private at: [number, number][] = [];
  private transform: ZoomTransform = zoomIdentity;
  private layer = "";
  private store = "";
  private size = [0, 0];

  constructor(
    private readonly choose: (c: number) => void,
    private readonly versus: (c: number) => void = choose,
  ) {
    this.picture.append(this.world, this.labels);
    const reset = el("button", { type: "button", className: "reset", title: "Show all classes" }, "Reset");
    reset.onclick = () => this.zoom.transform(select(this.picture), zoomIdentity);
    this.element.append(this.picture, this.tip, this.why, reset);
    this.zoom.on("zoom", ({ transform }: { transform: ZoomTransform }) => {
      this.transform = transform;
      this.follow();
    });
    select(this.picture).call(this.zoom).on("dblclick.zoom", null);
    this.listen();
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(this.element);
  }

  remove(): void {
    this.resized.disconnect();
  }

  private listen(): void {
    const place = (event: Event) => Number((event.target as SVGElement).dataset?.class ?? -1);
    this.world.addEventListener("pointerover", (event) => this.name(place(event)));
    this.world.addEventListener("pointerout", () => (this.tip.hidden = true));
    this.world.addEventListener("click", (event) => {
      if (place(event) >= 0) (event.shiftKey ? this.versus : this.choose)(place(event));
    });
  }

  show(table: ClassTable): void {
    const known = this.store === table.data.store && this.points.length === table.size;
    const glide = known && this.layer !== table.data.layer && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.table = table;
    this.layer = table.data.layer;
    this.element.classList.toggle("absent", table.places === null);
    this.why.hidden = table.places !== null;
    this.why.textContent = table.data.why.places;
    this.picture.setAttribute("aria-label", `Classes placed by similarity in ${this.layer}`);
    if (!known) this.makePoints();
    this.store = table.data.store;
    this.world.toggleAttribute("hidden", table.places === null);
    this.labels.toggleAttribute("hidden", table.places === null);
    this.place(glide);
    this.points.forEach((point, c) => {
      point.classList.toggle("selected", c === table.data.selected);
      point.classList.toggle("against", c === table.data.against);
    });
    this.world.append(this.points[table.data.selected]);
  }

  private makePoints(): void {
    this.points = this.table.data.names.map((_, c) => svg("circle", { "data-class": c, r: 3.2 }));
    this.world.replaceChildren(...this.points);
    this.zoom.transform(select(this.picture), zoomIdentity);
  }

  private resize(): void {
    const size = [this.element.clientWidth, this.element.clientHeight];
    if (!this.table || (size[0] === this.size[0] && size[1] === this.size[1])) return;
    this.place(false);
  }

  /** Fit the layer's places into the frame, both axes on one scale. */
  private fitted(): [number, number][] {
    const places = this.table.places!;
    const xs = Array.from({ length: this.table.size }, (_, c) => places[2 * c]);
    const ys = Array.from({ length: this.table.size }, (_, c) => places[2 * c + 1]);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const [width, height] = [this.element.clientWidth, this.element.clientHeight];
    const scale = Math.min(
      (width - 2 * MARGIN) / Math.max(right - left, 1e-9),
      (height - 2 * MARGIN) / Math.max(high - low, 1e-9),
    );
    const middle = [(left + right) / 2, (low + high) / 2];
    return xs.map((x, c) => [width / 2 + (x - middle[0]) * scale, height / 2 - (ys[c] - middle[1]) * scale]);
  }

  private place(glide: boolean): void {
    this.size = [this.element.clientWidth, this.element.clientHeight];
    if (!this.table.places || !this.size[0]) return;
    const from = this.at;
    const to = this.fitted();
    select(this.picture).interrupt("glide");
    if (!glide) {
      this.at = to;
      this.follow();
      return;
    }
    select(this.picture)
      .transition("glide")
      .duration(GLIDE)
      .tween("places", () => (t) => {
        this.at = to.map(([x, y], c) => [from[c][0] + (x - from[c][0]) * t, from[c][1] + (y - from[c][1]) * t]);
        this.follow();
      });
  }

  /** Points and names follow the zoom at a constant size. */
  private follow(): void {
    if (!this.at.length || !this.table) return;
    const { x, y, k } = this.transform;
    this.points.forEach((point, c) => {
      point.setAttribute("cx", (this.at[c][0] * k + x).toFixed(1));
      point.setAttribute("cy", (this.at[c][1] * k + y).toFixed(1));
    });
    this.tip.hidden = true;
    this.write();
  }

  private onScreen(c: number): [number, number] {
    return this.transform.apply(this.at[c]);
  }

  private write(): void {
    const [width, height] = this.size;
    const inside = (c: number) => {
      const [x, y] = this.onScreen(c);
      return x >= 0 && x <= width && y >= 0 && y <= height;
    };
    const seen = this.at.map((_, c) => c).filter(inside);
    const selected = this.table.data.selected;
    const named = [selected, ...this.other(), ...(seen.length <= FEW ? seen.filter((c) => c !== selected) : [])].filter(inside);
    this.labels.replaceChildren(...this.apart(named).map((c) => this.label(c)));
  }

  /** The class it is compared with. */
  private other(): number[] {
    const { against } = this.table.data;
    return against == null ? [] : [against];
  }

  /** The classes whose names don't overlap the name of one before. */
  private apart(classes: number[]): number[] {
    const taken: [number, number, number][] = [];
    return classes.filter((c) => {
      const [x, y] = this.onScreen(c);
      const length = 6 * this.table.data.names[c].length + 8;
      const left = this.isLeft(x) ? x - length : x;
      const free = taken.every(([l, r, at]) => Math.abs(at - y) > 11 || left > r || left + length < l);
      if (free) taken.push([left, left + length, y]);
      return free;
    });
  }

  private isLeft(x: number): boolean {
    return x > this.size[0] * 0.6;
  }

  private label(c: number): SVGTextElement {
    const [x, y] = this.onScreen(c);
    const left = this.isLeft(x);
    const attributes = {
      x: x + (left ? -7 : 7),
      y: y + 4,
      "text-anchor": left ? "end" : "start",
      class: c === this.table.data.selected ? "selected" : "",
    };
    return svg("text", attributes, this.table.data.names[c]);
  }

  /** Mark the classes that the list shows. */
  mark(listed: Set<number>): void {
    this.points.forEach((point, c) => point.classList.toggle("listed", listed.has(c)));
  }

  private name(c: number): void {
    this.tip.hidden = c < 0;
    if (c < 0) return;
    const { against, selected } = this.table.data;
    const compares = against === undefined || c === selected ? "" : " (with Shift: compare)";
    this.tip.textContent = `${this.table.data.names[c]}${compares}`;
    const [x, y] = this.onScreen(c);
    const left = Math.min(Math.max(4, x - this.tip.offsetWidth / 2), this.size[0] - this.tip.offsetWidth - 4);
    this.tip.style.transform = `translate(${left}px,${Math.max(4, y - this.tip.offsetHeight - 10)}px)`;
  }
}
