// Where a channel fires in an example: the outline of its map at half of its maximum, over the thumbnail.
import { el, svg } from "./dom";

/** A map over a thumbnail, 0 to 15 its maximum, two values a byte; the thumbnail's width over its height. */
export interface Fires {
  map: string;
  shape: number;
}

/** Between 7, which is less than half of the maximum, and 8, which isn't. */
const HALF = 7.5;

/** The drawing's height. */
const HEIGHT = 100;

/** How far from the border a line is drawn that would lie on it. */
const INSET = 1;

type Point = [x: number, y: number];

/** The picture with the outline over it; by itself where nothing is known. */
export function outlined(picture: HTMLElement, fires: Fires | null | undefined): HTMLElement {
  if (!fires) return picture;
  const drawing = svg("svg", {
    viewBox: `0 0 ${HEIGHT * fires.shape} ${HEIGHT}`,
    preserveAspectRatio: "xMidYMid slice",
    "aria-hidden": "true",
  });
  const d = path(values(fires.map), HEIGHT * fires.shape);
  drawing.append(svg("path", { d, class: "casing" }), svg("path", { d, class: "line" }));
  return el("span", { className: "outlined" }, picture, drawing);
}

/** The map with a border of zeros, row by row, so that every outline is closed. */
function values(packed: string): number[][] {
  const flat = [...atob(packed)].flatMap((c) => [c.charCodeAt(0) >> 4, c.charCodeAt(0) & 15]);
  const side = Math.sqrt(flat.length);
  const nothing = new Array<number>(side + 2).fill(0);
  const rows = Array.from({ length: side }, (_, y) => [0, ...flat.slice(y * side, (y + 1) * side), 0]);
  return [nothing, ...rows, nothing];
}

/** Marching squares: the pieces of the outline, cell by cell. */
function path(rows: number[][], width: number): string {
  const side = rows.length - 2;
  const place = ([x, y]: Point) => `${inside((x - 0.5) / side, width)} ${inside((y - 0.5) / side, HEIGHT)}`;
  const pieces: string[] = [];
  for (let y = 0; y <= side; y++)
    for (let x = 0; x <= side; x++)
      for (const [from, to] of cell(rows, x, y)) pieces.push(`M${place(from)}L${place(to)}`);
  return pieces.join("");
}

const inside = (share: number, length: number) =>
  Math.min(Math.max(share * length, INSET), length - INSET).toFixed(1);

/** The pieces between four neighbouring points, of which the first is at (x, y). */
function cell(rows: number[][], x: number, y: number): [Point, Point][] {
  const [a, b, c, d] = [rows[y][x], rows[y][x + 1], rows[y + 1][x + 1], rows[y + 1][x]]; // clockwise
  const [top, right, bottom, left]: (Point | null)[] = [
    (a < HALF) !== (b < HALF) ? [x + (HALF - a) / (b - a), y] : null,
    (b < HALF) !== (c < HALF) ? [x + 1, y + (HALF - b) / (c - b)] : null,
    (c < HALF) !== (d < HALF) ? [x + (HALF - d) / (c - d), y + 1] : null,
    (d < HALF) !== (a < HALF) ? [x, y + (HALF - a) / (d - a)] : null,
  ];
  if (top && right && bottom && left) {
    const isJoined = (a + b + c + d) / 4 < HALF === a < HALF; // a and c, through the middle
    return isJoined ? [[top, right], [bottom, left]] : [[top, left], [right, bottom]];
  }
  const ends = [top, right, bottom, left].filter((point) => point !== null);
  return ends.length ? [[ends[0], ends[1]]] : [];
}
