// A matrix as a picture: one cell per class and channel, both in the order given.
import "./heatmap.css";
import { component, type Component } from "./component";
import { colour, el } from "./dom";
import { unpack, type Numbers } from "./packed";

interface HeatmapData {
  label: string;
  rows: string[];
  columns: number[];
  values: Numbers; // uint8 (row, column), the square root of the share of the largest; 255 the largest
  largest: number; // what 255 stands for
  unit: string;
}

const NAMED = 40; // so many rows, or fewer, have their names beside them
const ROW = 26;
const [LEAST, MOST] = [180, 520]; // height

class Heatmap {
  private readonly canvas = el("canvas", { attributes: { role: "img" } });
  private readonly names = el("div", { className: "names", attributes: { "aria-hidden": "true" } });
  private readonly frame = el("div", { className: "heatmap" }, this.names, this.canvas);
  private readonly tip = el("div", { className: "tip", attributes: { role: "status" } });
  private readonly scale = el("div", { className: "scale" });
  private data!: HeatmapData;
  private values!: ArrayLike<number>;
  private send: Component<HeatmapData>["setTriggerValue"] = () => {};

  constructor(root: HTMLElement) {
    root.append(this.frame, el("div", { className: "below" }, this.tip, this.scale));
    this.canvas.onpointermove = (event) => this.point(event);
    this.canvas.onpointerleave = () => (this.tip.textContent = this.data.label);
    this.canvas.onclick = (event) => {
      const [row, column] = this.cell(event);
      this.send("open", { row, column });
    };
  }

  remove(): void {}

  update({ data, setTriggerValue }: Component<HeatmapData>): void {
    this.send = setTriggerValue;
    this.data = data;
    this.values = unpack(data.values)!;
    this.canvas.setAttribute("aria-label", data.label);
    this.frame.style.height = `${Math.min(MOST, Math.max(LEAST, ROW * data.rows.length))}px`;
    this.tip.textContent = data.label;
    this.scale.replaceChildren("0", el("span", { className: "ramp" }), `${data.largest} ${data.unit}`);
    const named = data.rows.length <= NAMED ? data.rows : [];
    this.names.replaceChildren(...named.map((name) => el("span", { title: name }, name)));
    this.paint();
  }

  private paint(): void {
    const [width, height] = [this.data.columns.length, this.data.rows.length];
    Object.assign(this.canvas, { width, height });
    const context = this.canvas.getContext("2d")!;
    const image = context.createImageData(width, height);
    const [red, green, blue] = colour(this.frame, "--accent");
    for (let k = 0; k < width * height; k++) {
      image.data[4 * k] = red;
      image.data[4 * k + 1] = green;
      image.data[4 * k + 2] = blue;
      image.data[4 * k + 3] = this.values[k];
    }
    context.putImageData(image, 0, 0);
  }

  private cell(event: MouseEvent): [number, number] {
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.data.rows.length);
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.data.columns.length);
    return [Math.min(row, this.data.rows.length - 1), Math.min(column, this.data.columns.length - 1)];
  }

  private point(event: MouseEvent): void {
    const [row, column] = this.cell(event);
    const share = this.values[row * this.data.columns.length + column] / 255;
    const value = Math.round(share * share * this.data.largest);
    this.tip.textContent = `${this.data.rows[row]} · channel ${this.data.columns[column]} · about ${value} ${this.data.unit}`;
  }
}

export default component<HeatmapData, Heatmap>((root) => new Heatmap(root));
