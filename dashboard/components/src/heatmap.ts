// A matrix as a picture: one cell per row and column, both in the order given.
//
// It is zoomed by buttons, keys, pinching, and the wheel with Ctrl; without Ctrl the wheel scrolls the page. Names stand
// beside it, as many as there is room for.
import { select } from "d3-selection";
import { zoom, zoomIdentity, type ZoomTransform } from "d3-zoom";
import "./heatmap.css";
import { component, type Component } from "./component";
import { colour, el } from "./dom";
import { unpack, type Numbers } from "./packed";
import { counted } from "./words";

interface HeatmapData {
  label: string;
  rows: string[];
  columns: string[];
  column: string; // what stands before a column's name where a cell is told
  values: Numbers; // (row, column)
  largest: number; // what the full shade stands for
  gamma: number; // a shade is the share of the largest to this power
  unit: string; // of a value, in the singular; empty for a number between 0 and 1
}

const LINE = 13; // pixels of a name
const CELL = 30; // to which a cell can be zoomed
const ROW = 26; // of the whole picture, where it has few rows
const [LEAST, MOST] = [180, 520]; // height
const STEP = 1.6; // of a button or a key

type Cell = [row: number, column: number];

class Heatmap {
  private readonly canvas = el("canvas", { attributes: { role: "img" } });
  private readonly cursor = el("div", { className: "cursor", hidden: true });
  private readonly stage = el("div", { className: "stage", tabIndex: 0 }, this.canvas, this.cursor);
  private readonly rows = el("div", { className: "rows", attributes: { "aria-hidden": "true" } });
  private readonly columns = el("div", { className: "columns", attributes: { "aria-hidden": "true" } });
  private readonly frame = el("div", { className: "heatmap" }, this.rows, this.stage, this.columns);
  private readonly tip = el("div", { className: "tip", attributes: { role: "status" } });
  private readonly scale = el("div", { className: "scale" });
  private readonly cells = el("canvas");
  private readonly zoom = zoom<HTMLDivElement, unknown>();
  private readonly resized = new ResizeObserver(() => this.fit());
  private transform: ZoomTransform = zoomIdentity;
  private data!: HeatmapData;
  private values!: ArrayLike<number>;
  private at: Cell | null = null;
  private send: Component<HeatmapData>["setTriggerValue"] = () => {};

  constructor(root: HTMLElement) {
    root.append(this.frame, el("div", { className: "below" }, this.tip, this.buttons(), this.scale));
    this.zoom.filter((event) => this.zooms(event)).on("zoom", ({ transform }: { transform: ZoomTransform }) => {
      this.transform = transform;
      this.stage.classList.toggle("zoomed", transform.k > 1);
      this.draw();
    });
    select(this.stage).call(this.zoom).on("dblclick.zoom", null);
    this.stage.onpointermove = (event) => this.point(this.under(event));
    this.stage.onpointerleave = () => this.point(null);
    this.stage.onblur = () => this.point(null);
    this.stage.onclick = (event) => this.open(this.under(event));
    this.stage.onkeydown = (event) => this.key(event);
    this.resized.observe(this.stage);
  }

  remove(): void {
    this.resized.disconnect();
  }

  update({ data, setTriggerValue }: Component<HeatmapData>): void {
    const isOther = this.data?.label !== data.label || this.data.rows.length !== data.rows.length;
    this.send = setTriggerValue;
    this.data = data;
    this.values = unpack(data.values)!;
    this.canvas.setAttribute("aria-label", data.label);
    this.stage.setAttribute("aria-label", `${data.label}. Arrows go from cell to cell, plus and minus zoom, 0 shows all, Enter opens.`);
    this.stage.style.height = `${Math.min(MOST, Math.max(LEAST, ROW * data.rows.length))}px`;
    this.columns.style.height = `${Math.min(96, 7 * Math.max(...data.columns.map((name) => name.length)) + 10)}px`;
    this.scale.replaceChildren("0", el("span", { className: "ramp" }), this.told(data.largest));
    this.paint();
    this.point(null);
    if (isOther) select(this.stage).call(this.zoom.transform, zoomIdentity);
    this.fit();
  }

  private buttons(): HTMLElement {
    const button = (text: string, title: string, onclick: () => void) =>
      el("button", { type: "button", title, onclick, attributes: { "aria-label": title } }, text);
    return el(
      "span",
      { className: "buttons" },
      button("−", "Zoom out", () => this.zoomBy(1 / STEP)),
      button("+", "Zoom in", () => this.zoomBy(STEP)),
      button("All", "Show all cells", () => this.zoomBy(0)),
    );
  }

  /** By a factor, around the cell that is pointed at by the keyboard, or else the middle; 0 shows all. */
  private zoomBy(factor: number): void {
    const stage = select(this.stage);
    if (!factor) stage.call(this.zoom.transform, zoomIdentity);
    else stage.call(this.zoom.scaleBy, factor, this.at ? this.middle(this.at) : undefined);
  }

  /** What of the visitor's moves zooms or pans, and isn't left to the page. */
  private zooms(event: MouseEvent & Partial<TouchEvent>): boolean {
    if (event.type === "wheel") return event.ctrlKey;
    const pans = this.transform.k > 1 || (event.touches?.length ?? 1) > 1;
    return pans && !event.ctrlKey && !event.button;
  }

  private get size(): [width: number, height: number] {
    return [this.stage.clientWidth, this.stage.clientHeight];
  }

  /** Of a cell as it is drawn. */
  private get cell(): [width: number, height: number] {
    const [width, height] = this.size;
    const { k } = this.transform;
    return [(width * k) / this.data.columns.length, (height * k) / this.data.rows.length];
  }

  private middle([row, column]: Cell): [x: number, y: number] {
    const [width, height] = this.cell;
    return [(column + 0.5) * width + this.transform.x, (row + 0.5) * height + this.transform.y];
  }

  /** The whole matrix, a pixel a cell. */
  private paint(): void {
    const [width, height] = [this.data.columns.length, this.data.rows.length];
    Object.assign(this.cells, { width, height });
    const context = this.cells.getContext("2d")!;
    const image = context.createImageData(width, height);
    const [red, green, blue] = colour(this.frame, "--accent");
    for (let k = 0; k < width * height; k++) {
      const shade = Math.ceil(255 * (this.values[k] / this.data.largest) ** this.data.gamma);
      image.data.set([red, green, blue, shade], 4 * k);
    }
    context.putImageData(image, 0, 0);
  }

  /** The stage has another size, or shows other cells. */
  private fit(): void {
    const [width, height] = this.size;
    if (!this.data || !width) return;
    const most = Math.max(1, (CELL * this.data.columns.length) / width, (CELL * this.data.rows.length) / height);
    this.zoom.scaleExtent([1, most]).translateExtent([[0, 0], [width, height]]);
    select(this.stage).call(this.zoom.translateBy, 0, 0); // back inside
    this.draw();
  }

  private draw(): void {
    const [width, height] = this.size;
    if (!this.data || !width) return;
    const { k, x, y } = this.transform;
    Object.assign(this.canvas, { width: width * devicePixelRatio, height: height * devicePixelRatio });
    const context = this.canvas.getContext("2d")!;
    context.scale(devicePixelRatio, devicePixelRatio);
    context.imageSmoothingEnabled = Math.min(...this.cell) < 1;
    context.drawImage(this.cells, x, y, width * k, height * k);
    this.rows.replaceChildren(...this.named(this.data.rows, this.cell[1], y, height, "top"));
    this.columns.replaceChildren(...this.named(this.data.columns, this.cell[0], x, width, "left"));
    this.mark();
  }

  /** Names along a side, as many as fit; thinned out evenly, so that they stay where they are while one pans. */
  private named(names: string[], cell: number, start: number, length: number, side: "top" | "left"): HTMLElement[] {
    const step = Math.ceil(LINE / cell);
    const here = this.at?.[side === "top" ? 0 : 1] ?? NaN;
    const place = (k: number) => start + (k + 0.5) * cell;
    const inside = (at: number) => Math.min(Math.max(at, LINE / 2), length - LINE / 2);
    const isFree = (k: number) => k % step === step >> 1 && place(k) === inside(place(k)) && !(Math.abs(k - here) * cell < LINE);
    const shown = [...names.keys()].filter((k) => k === here || isFree(k));
    return shown.map((k) => {
      const name = el("span", { title: names[k], className: k === here ? "here" : "" }, names[k]);
      name.style[side] = `${inside(place(k))}px`;
      return name;
    });
  }

  private mark(): void {
    this.cursor.hidden = this.at === null;
    if (!this.at) return;
    const [width, height] = this.cell.map((side) => Math.max(side, 5));
    const [x, y] = this.middle(this.at);
    Object.assign(this.cursor.style, { left: `${x - width / 2}px`, top: `${y - height / 2}px`, width: `${width}px`, height: `${height}px` });
  }

  private under(event: MouseEvent): Cell {
    const box = this.stage.getBoundingClientRect();
    const [width, height] = this.cell;
    const row = Math.floor((event.clientY - box.top - this.transform.y) / height);
    const column = Math.floor((event.clientX - box.left - this.transform.x) / width);
    return this.within([row, column]);
  }

  private within([row, column]: Cell): Cell {
    const inside = (k: number, n: number) => Math.min(Math.max(k, 0), n - 1);
    return [inside(row, this.data.rows.length), inside(column, this.data.columns.length)];
  }

  private told(value: number): string {
    return this.data.unit ? counted(value, this.data.unit) : value.toFixed(2);
  }

  private point(cell: Cell | null): void {
    if (cell && this.at && cell[0] === this.at[0] && cell[1] === this.at[1]) return;
    this.at = cell;
    this.tip.textContent = this.data.label;
    if (cell) {
      const [row, column] = cell;
      const value = this.told(this.values[row * this.data.columns.length + column]);
      this.tip.textContent = `${this.data.rows[row]} · ${this.data.column}${this.data.columns[column]} · ${value}`;
    }
    this.draw();
  }

  private open([row, column]: Cell): void {
    this.send("open", { row, column });
  }

  private key(event: KeyboardEvent): void {
    const steps: Record<string, Cell> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const factors: Record<string, number> = { "+": STEP, "=": STEP, "-": 1 / STEP, "0": 0 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) this.step(steps[event.key]);
    else if (event.key in factors) this.zoomBy(factors[event.key]);
    else if (event.key === "Enter" && this.at) this.open(this.at);
    else return;
    event.preventDefault();
  }

  /** To a neighbouring cell, which is brought into sight. */
  private step([down, right]: Cell): void {
    this.point(this.at ? this.within([this.at[0] + down, this.at[1] + right]) : this.under(this.centre()));
    const [x, y] = this.middle(this.at!);
    const [width, height] = this.size;
    if (x < 0 || x > width || y < 0 || y > height) {
      select(this.stage).call(this.zoom.translateTo, ...this.transform.invert([x, y]));
    }
  }

  private centre(): MouseEvent {
    const box = this.stage.getBoundingClientRect();
    return new MouseEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 });
  }
}

export default component<HeatmapData, Heatmap>((root) => new Heatmap(root));
