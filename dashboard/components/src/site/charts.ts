// Charts of a few numbers, as drawings with a sentence for whoever can't see them.
import { el, svg } from "../dom";
import { counted } from "../words";

// Okabe and Ito's colours, which the colour-blind can tell apart; as many as a chart has lines.
export const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"];
const KINDS = [COLOURS[0], COLOURS[4], "#C9CED6"];
const WIDTH = Math.max(300, Math.min(560, innerWidth - 40));
const [HEIGHT, LEFT, ABOVE, BELOW] = [240, 46, 26, 40];

export interface Line {
  name: string;
  values: (number | null)[];
  ends?: [low: number | null, high: number | null][]; // of the interval of each value
}

/** What a chart reaches from and to. */
export type Reach = [bottom: number, top: number];

export type Size = [width: number, height: number];

export const inPercent = (value: number) => `${Math.round(100 * value)} %`;

export function figure(label: string, names: string[], colours: string[], drawing: SVGSVGElement): HTMLElement {
  const legend = names.map((name, k) => {
    const mark = el("span", { className: "mark" });
    mark.style.background = colours[k];
    return el("span", {}, mark, name);
  });
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", label);
  return el("figure", { className: "chart" }, names.length > 1 && el("figcaption", {}, ...legend), drawing);
}

/** Bars that are parted by kind, one a row. */
export function stacked(rows: { layer: string; kind: string; channels: number }[], label: string): HTMLElement {
  const layers = [...new Set(rows.map((row) => row.layer))];
  const kinds = [...new Set(rows.map((row) => row.kind))];
  const sums = layers.map((layer) => rows.filter((row) => row.layer === layer).reduce((sum, row) => sum + row.channels, 0));
  const names = Math.min(190, Math.max(...layers.map((layer) => layer.length)) * 7 + 12);
  const scale = (WIDTH - names - 44) / Math.max(1, ...sums);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${22 * layers.length + 6}` });
  layers.forEach((layer, r) => {
    const y = 22 * r + 4;
    let x = names;
    drawing.append(svg("text", { x: names - 8, y: y + 12, "text-anchor": "end" }, layer));
    kinds.forEach((kind, k) => {
      const n = rows.find((row) => row.layer === layer && row.kind === kind)?.channels ?? 0;
      const bar = svg("rect", { x, y, width: n * scale, height: 16, fill: KINDS[k % KINDS.length] });
      bar.append(svg("title", {}, `${layer}: ${counted(n, "channel")} ${kind}`));
      drawing.append(bar);
      x += n * scale;
    });
    drawing.append(svg("text", { x: x + 6, y: y + 12 }, String(sums[r])));
  });
  return figure(label, kinds, KINDS, drawing);
}

/** Upright bars of a count each. */
export function columns(rows: { name: string; value: number }[], across: string, up: string, label: string): HTMLElement {
  const top = Math.max(1, ...rows.map((row) => row.value));
  const { drawing, x, y } = axes(rows.map((row) => row.name), [0, top], (value) => (Number.isInteger(value) ? String(value) : ""), across, up);
  const width = Math.max(1, ((WIDTH - LEFT) / rows.length) * 0.8);
  rows.forEach(({ name, value }, k) => {
    const bar = svg("rect", { x: x(k) - width / 2, y: y(value), width, height: y(0) - y(value), fill: COLOURS[0] });
    bar.append(svg("title", {}, `${name}: ${value}`));
    drawing.append(bar);
  });
  return figure(label, [], [], drawing);
}

/** A line each over the same places, with a band of intervals where they are known. */
export function lines(places: string[], series: Line[], up: string, label: string, reach: Reach = [0, 1], say = (value: number) => value.toFixed(1), size: Size = [WIDTH, HEIGHT]): HTMLElement {
  const { drawing, x, y } = axes(places, reach, say, "", up, size);
  series.forEach(({ name, values, ends }, s) => {
    const colour = COLOURS[s % COLOURS.length];
    const known = [...values.entries()].filter((entry): entry is [number, number] => entry[1] !== null);
    const band = [...(ends ?? []).entries()].filter((entry): entry is [number, [number, number]] => entry[1].every((end) => end !== null));
    const [low, high] = [0, 1].map((end) => band.map(([k, values]): [number, number] => [x(k), y(values[end])]));
    if (band.length > 1) drawing.append(svg("path", { class: "band", d: `${path([...low, ...high.reverse()])}Z`, fill: colour }));
    drawing.append(svg("path", { class: "line", d: path(known.map(([k, value]) => [x(k), y(value)])), stroke: colour }));
    for (const [k, value] of known) {
      const point = svg("circle", { cx: x(k), cy: y(value), r: 3.5, fill: colour });
      point.append(svg("title", {}, `${name}, ${places[k]}: ${value.toFixed(2)}`));
      drawing.append(point);
    }
  });
  return figure(label, series.map((line) => line.name), COLOURS, drawing);
}

/** The share of images in each of many equal ranges of a value. */
export function distribution(first: number, step: number, shares: number[], across: string, label: string): HTMLElement {
  const ends = [...shares.keys()].map((k) => (k % 8 ? "" : (first + k * step).toPrecision(2)));
  const top = Math.max(0.01, ...shares);
  const { drawing, x, y } = axes(ends, [0, top], inPercent, across, "share of images");
  const half = (x(1) - x(0)) / 2 || 0;
  const steps = shares.flatMap((share, k): [number, number][] => [[x(k) - half, y(share)], [x(k) + half, y(share)]]);
  drawing.append(svg("path", { class: "line", d: path(steps), stroke: COLOURS[0] }));
  return figure(label, [], [], drawing);
}

function path(points: [number, number][]): string {
  return points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
}

/** Two axes; places that have no room for their name lose it. */
function axes(places: string[], [bottom, top]: Reach, say: (value: number) => string, across: string, up: string, [width, height]: Size = [WIDTH, HEIGHT]) {
  const step = (width - LEFT) / Math.max(1, places.length);
  const x = (k: number) => LEFT + (k + 0.5) * step;
  const y = (value: number) => ABOVE + (height - BELOW - ABOVE) * ((top - value) / (top - bottom));
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}` });
  for (const share of [0, 0.5, 1]) {
    const value = bottom + share * (top - bottom);
    drawing.append(svg("path", { class: "grid", d: `M${LEFT},${y(value)}H${width}` }));
    drawing.append(svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, say(value)));
  }
  let free = 0;
  places.forEach((place, k) => {
    const half = place.length * 3.5 + 4;
    if (!place || x(k) - half < free) return;
    free = x(k) + half;
    drawing.append(svg("text", { x: x(k), y: height - BELOW + 16, "text-anchor": "middle" }, place));
  });
  drawing.append(svg("text", { class: "title", x: (LEFT + width) / 2, y: height - 4, "text-anchor": "middle" }, across));
  drawing.append(svg("text", { class: "title", x: 0, y: 10 }, up));
  return { drawing, x, y };
}
