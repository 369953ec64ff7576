// A matrix as a picture: one cell per class and channel, both in the order given.
import "./heatmap.css";
import { component, type Component } from "./component";
import { el } from "./dom";
import { unpack, type Packed } from "./packed";

interface HeatmapData {
  label: string;
  rows: string[];
  columns: number[];
  values: Packed; // uint8 (row, column), 255 the largest
  largest: number; // what 255 stands for
  unit: string;
}

class Heatmap {
  private readonly canvas = el("canvas", { attributes: { role: "img" } });
  private readonly tip = el("div", { className: "tip", attributes: { role: "status" } });
  private data!: HeatmapData;
  private values!: ArrayLike<number>;
  private send: Component<HeatmapData>["setTriggerValue"] = () => {};

  constructor(root: HTMLElement) {
    root.append(el("div", { className: "heatmap" }, this.canvas), this.tip);
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
    this.tip.textContent = data.label;
    this.paint();
  }

  private paint(): void {
    const [width, height] = [this.data.columns.length, this.data.rows.length];
    Object.assign(this.canvas, { width, height });
    const context = this.canvas.getContext("2d")!;
    const image = context.createImageData(width, height);
    for (let k = 0; k < width * height; k++) image.data.set([11, 79, 138, this.values[k]], 4 * k);
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
    const value = Math.round((this.values[row * this.data.columns.length + column] / 255) * this.data.largest);
    this.tip.textContent = `${this.data.rows[row]} · channel ${this.data.columns[column]} · about ${value} ${this.data.unit}`;
  }
}

export default component<HeatmapData, Heatmap>((root) => new Heatmap(root));
