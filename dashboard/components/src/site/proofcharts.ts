// Charts of evidence: shares with their intervals, and all classes as points.
import { svg } from "../dom";
import { COLOURS, figure, inPercent, type Reach } from "./charts";

const [WIDTH, ROW, BESIDE, BELOW] = [Math.max(300, Math.min(620, innerWidth - 40)), 30, 12, 44];
const GREY = "#8A8F98";
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]; // between ticks
const MOST_TICKS = 6;

export interface Interval {
  name: string;
  value: number;
  low: number | null;
  high: number | null;
  own: boolean; // whether it stands out
}

/** From the least to the largest of some shares, 0 always among them, both at ticks. */
export function reachOf(values: (number | null)[]): Reach {
  const known = values.filter((value): value is number => value !== null);
  const [bottom, top] = [Math.min(0, ...known), Math.max(0.01, ...known)];
  const step = stepOf([bottom, top]);
  return [Math.floor(bottom / step) * step, Math.ceil(top / step) * step];
}

function stepOf([bottom, top]: Reach): number {
  return STEPS.find((step) => (top - bottom) / step < MOST_TICKS) ?? (top - bottom) / MOST_TICKS;
}

/** A point with its interval in a row for each. */
export function intervals(rows: Interval[], across: string, label: string): HTMLElement {
  const left = Math.min(WIDTH / 2, Math.max(...rows.map(({ name }) => name.length)) * 6.2 + 12);
  const height = ROW * rows.length;
  const x = scale(reachOf(rows.flatMap(({ value, low, high }) => [value, low, high])), left, WIDTH - BESIDE);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${height + BELOW}` }, ...axisBelow(x, height, across));
  const letters = Math.floor((left - 8) / 6);
  rows.forEach(({ name, value, low, high, own }, r) => {
    const [y, colour] = [ROW * (r + 0.5), own ? COLOURS[0] : GREY];
    const text = name.length > letters ? `${name.slice(0, letters - 1)}…` : name;
    drawing.append(svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, text, svg("title", {}, name)));
    if (low !== null && high !== null) drawing.append(svg("path", { class: "reach", d: `M${x.at(low)},${y}H${x.at(high)}`, stroke: colour }));
    const between = low === null || high === null ? "" : ` (${inPercent(low)} to ${inPercent(high)})`;
    drawing.append(svg("circle", { cx: x.at(value), cy: y, r: 5, fill: colour }, svg("title", {}, `${name}: ${inPercent(value)}${between}`)));
  });
  return figure(label, [], [], drawing);
}

export interface Point {
  cls: number;
  x: number;
  y: number;
  title: string;
}

/** A point a class, the chosen one in another colour; a click chooses. */
export function scatter(points: Point[], chosen: number, across: string, up: string, label: string, choose: (cls: number) => void): HTMLElement {
  const [left, above, height] = [48, 22, 300];
  const x = scale(reachOf(points.map((point) => point.x)), left + BESIDE, WIDTH - BESIDE);
  const y = scale(reachOf(points.map((point) => point.y)), above + height - BESIDE, above + BESIDE);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${above + height + BELOW}` }, ...axisBelow(x, above + height, across));
  for (const value of y.ticks) {
    drawing.append(svg("path", { class: "grid", d: `M${left},${y.at(value)}H${WIDTH}` }));
    drawing.append(svg("text", { x: left - 6, y: y.at(value) + 4, "text-anchor": "end" }, inPercent(value)));
  }
  drawing.append(svg("text", { class: "title", x: 0, y: 10 }, up));
  const last = (point: Point) => Number(point.cls === chosen);
  for (const point of [...points].sort((a, b) => last(a) - last(b))) {
    const colour = last(point) ? COLOURS[1] : COLOURS[0];
    const dot = svg("circle", { class: "class", cx: x.at(point.x), cy: y.at(point.y), r: last(point) ? 7 : 4, fill: colour });
    dot.append(svg("title", {}, point.title));
    dot.addEventListener("click", () => choose(point.cls));
    drawing.append(dot);
  }
  return figure(label, [], [], drawing);
}

interface Scale {
  at(value: number): number;
  ticks: number[];
}

function scale([bottom, top]: Reach, from: number, to: number): Scale {
  const at = (value: number) => from + ((to - from) * (value - bottom)) / (top - bottom);
  const step = stepOf([bottom, top]);
  return { at, ticks: Array.from({ length: Math.round((top - bottom) / step) + 1 }, (_, k) => bottom + k * step) };
}

function axisBelow(x: Scale, height: number, title: string): SVGElement[] {
  const middle = (x.at(x.ticks[0]) + x.at(x.ticks[x.ticks.length - 1])) / 2;
  return [
    ...x.ticks.flatMap((value) => [
      svg("path", { class: "grid", d: `M${x.at(value)},0V${height}` }),
      svg("text", { x: x.at(value), y: height + 16, "text-anchor": "middle" }, inPercent(value)),
    ]),
    svg("text", { class: "title", x: middle, y: height + 34, "text-anchor": "middle" }, title),
  ];
}
