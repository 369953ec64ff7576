// What stands beside and above the rows whatever the zoom: names of layers, similarity by layer, names of the zones.
//
//   similarity      only A        both       only B
//   0       1
//   |    .  |  4e   o  o          o  o       o
//   |   /   |
//   | .     |  4d   o             o          o  o
import type { ZoomTransform } from "d3-zoom";
import { svg } from "./dom";
import type { Held, Model } from "./model";
import type { Scene } from "./scene";
import { shortened } from "./words";

const MARGIN = 16;
const CHART = 52; // width of the similarity from 0 to 1
const LETTER = 7.5;
const LONG = 4000; // longer than any frame, which costs less than asking for its height
const ABOVE = 30; // room for the names of the zones

export class Margins {
  readonly group = svg("g", { class: "margins" });
  private readonly names = svg("g", { class: "names" });
  private readonly line = svg("path", { class: "way" });
  private readonly points = svg("g");
  private readonly zones = svg("g", { class: "zones", "aria-hidden": "true" });

  constructor(
    private readonly model: Model,
    look: (row: number) => void,
  ) {
    this.names.append(...model.data.rows.map(({ layer }, r) => name(layer, () => look(r))));
    this.group.append(this.zones, this.names);
    if (!model.data.pair) return;
    const chart = svg("g", { class: "likeness" }, svg("path", { class: "axis" }), this.line, this.points);
    this.points.append(...model.data.pair.similarity.map((similarity, r) => point(model, similarity, () => look(r))));
    this.group.append(chart);
  }

  /** Room at the left. */
  get width(): number {
    const longest = Math.max(...this.model.data.rows.map((row) => row.layer.length), 4);
    return longest * LETTER + 2 * MARGIN + (this.model.data.pair ? CHART + 2 * MARGIN : 0);
  }

  /** Room above. */
  get height(): number {
    return this.model.data.pair ? ABOVE : 0;
  }

  /** Follow the drawing; `alone` is the only row, or -1; borders of zones are `height` long. */
  moved(transform: ZoomTransform, scene: Scene, alone: number, height = LONG): void {
    const y = scene.rowY.map((row) => transform.applyY(row));
    const hidden = (r: number) => alone >= 0 && alone !== r;
    [...this.names.children].forEach((text, r) => {
      text.setAttribute("y", String(y[r] + 4));
      text.toggleAttribute("hidden", hidden(r));
    });
    if (!this.model.data.pair) return;
    this.drawLikeness(y, hidden);
    this.drawZones(transform, scene, height);
  }

  private drawLikeness(y: number[], hidden: (r: number) => boolean): void {
    const left = this.width - CHART - 2 * MARGIN;
    const known = this.model.data.pair!.similarity.map((value, r) => ({ value, r })).filter(({ r }) => !hidden(r));
    const at = known.flatMap(({ value, r }) => (value === null ? [] : [`${left + CHART * Math.max(0, value)},${y[r]}`]));
    this.line.setAttribute("d", at.length > 1 ? `M${at.join("L")}` : "");
    const seen = known.map(({ r }) => y[r]);
    const ends = [Math.min(...seen) - 16, Math.max(...seen) + 16];
    const axis = this.group.querySelector(".axis")!;
    axis.setAttribute("d", `M${left},${ends[0]}V${ends[1]}M${left + CHART},${ends[0]}V${ends[1]}`);
    [...this.points.children].forEach((group, r) => {
      const value = this.model.data.pair!.similarity[r];
      group.toggleAttribute("hidden", value === null || hidden(r));
      group.setAttribute("transform", `translate(${left + CHART * Math.max(0, value ?? 0)},${y[r]})`);
    });
  }

  private drawZones(transform: ZoomTransform, scene: Scene, height: number): void {
    const left = this.width - CHART - 2 * MARGIN;
    const title = svg("text", { x: left + CHART / 2, y: 18, "text-anchor": "middle", class: "what" }, "similarity");
    const shown = scene.zones.map((zone) => ({ ...zone, left: transform.applyX(zone.left), right: transform.applyX(zone.right) }));
    const texts = shown.map(({ held, left, right, nodes }) => {
      const words = `${this.zone(held)} · ${nodes}`;
      const letters = Math.max(4, Math.floor((right - left) / 6.6));
      const text = words.length > letters ? shortened(this.zone(held), letters) : words;
      const attributes = { x: (left + right) / 2, y: 18, "text-anchor": "middle", class: `zone ${held}` };
      return svg("text", attributes, text, svg("title", {}, words));
    });
    const borders = shown.slice(1).map(({ left }, z) => {
      const x = (left + shown[z].right) / 2;
      return svg("path", { class: "border", d: `M${x},0V${height}` });
    });
    this.zones.replaceChildren(...borders, title, ...texts);
  }

  private zone(held: Held): string {
    const [a, b] = this.model.data.pair!.labels;
    return held === "both" ? "both" : `only ${held === "a" ? a : b}`;
  }
}

function name(layer: string, look: () => void): SVGTextElement {
  const label = `Look at ${layer} alone`;
  return button(svg("text", { x: MARGIN, "aria-label": label }, layer), look);
}

function point(model: Model, similarity: number | null, look: () => void): SVGGElement {
  const value = (similarity ?? 0).toFixed(2);
  const layer = model.data.rows[model.data.pair!.similarity.indexOf(similarity)]?.layer ?? "";
  const dot = svg("circle", { r: 4 }, svg("title", {}, `${layer}: similarity ${value} ${model.data.pair!.basis}`.trim()));
  const text = svg("text", { y: -8, "text-anchor": "middle" }, value);
  const group = svg("g", {}, dot, text);
  group.addEventListener("click", look);
  return group;
}

function button<E extends SVGElement>(element: E, press: () => void): E {
  element.setAttribute("role", "button");
  element.setAttribute("tabindex", "0");
  element.addEventListener("click", press);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    press();
  });
  return element;
}
