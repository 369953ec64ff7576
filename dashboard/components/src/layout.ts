// Where nodes stand: rows from the top layer down, in a pair each row in three zones.
//
//     only A      both      only B
//      o  o      o  o  o      o        row
//       o          o        o  o  o    row
import type { Held, Model, View } from "./model";

const COLUMN = 96;
const ROW = 140;
const MOST_SPREAD = 1.8;
const MOST_SPREAD_ROWS = 3; // of a pair, which is wide
const GAP = 0.6; // columns between two zones

/** A row of many nodes has several lines, each node a line below the one before:  o  o  o
 *                                                                                o  o  o   */
const MOST_IN_LINE = 16;
const MOST_IN_ZONE = 7;
const LINE = 0.72;
const rowHeight = (lines: number) => (lines ? 1 + LINE * (lines - 1) : 0);

export interface Zone {
  held: Held;
  left: number;
  right: number;
  nodes: number;
}

export interface Layout {
  width: number;
  height: number;
  column: number;
  rowY: number[];
  at: { x: number; y: number }[]; // of each node
  zones: Zone[]; // of a pair
}

/** `aspect` is the frame's, which columns or rows spread to fill as far as is seemly; `alone` the only row, or -1. */
export function layout(model: Model, view: View, aspect: number, alone: number): Layout {
  const rows = model.data.rows.map((row, r) => (alone < 0 || alone === r ? parted(model, row.nodes) : []));
  const middle = (r: number, part: number[]) => (model.data.pair ? part.length : (model.data.rows[r].centred ?? part.length));
  const most = model.data.pair ? MOST_IN_ZONE : MOST_IN_LINE;
  const lines = rows.map((parts, r) =>
    alone < 0 || alone === r ? Math.max(1, ...parts.map((part) => Math.ceil(part.length / most))) : 0,
  );
  const widths = (model.data.pair ? [0, 1, 2] : [0]).map((z) =>
    Math.max(0, ...rows.map((parts, r) => Math.ceil(middle(r, parts[z] ?? []) / Math.max(1, lines[r])))),
  );
  const used = widths.filter((width) => width > 0).length;
  const widest = Math.max(1, sum(widths) + GAP * Math.max(0, used - 1));
  const usual = (widest * COLUMN) / sum(lines.map((l) => ROW * rowHeight(l)));
  const spread = (wanted: number, most = MOST_SPREAD) => Math.min(most, Math.max(1, wanted));
  const column = COLUMN * view.width * spread(aspect / usual);
  const height = ROW * view.height * spread(usual / aspect, model.data.pair ? MOST_SPREAD_ROWS : MOST_SPREAD);
  const tops = lines.map((_, r) => sum(lines.slice(0, r).map((l) => height * rowHeight(l))));
  const lefts = widths.map((_, z) => {
    const before = widths.slice(0, z);
    return column * (sum(before) + GAP * before.filter((width) => width > 0).length);
  });
  const at: Layout["at"] = model.data.nodes.map(() => ({ x: 0, y: 0 }));
  rows.forEach((parts, r) =>
    parts.forEach((part, z) =>
      part.forEach((n, k) => {
        const x = lefts[z] + (column * widths[z]) / 2 + ((k - (middle(r, part) - 1) / 2) * column) / lines[r];
        at[n] = { x, y: tops[r] + height * (0.5 + LINE * (k % lines[r])) };
      }),
    ),
  );
  const there = (z: number) => sum(rows.flatMap((parts) => (parts[z] ?? []).filter((n) => model.isThere(n)).map((n) => model.data.nodes[n].members?.length ?? 1)));
  const zones = HELD.map((held, z) => ({ held, left: lefts[z], right: lefts[z] + column * widths[z], nodes: there(z) }));
  return {
    width: Math.max(widest * column, ...at.map(({ x }) => x + column / 2)),
    height: sum(lines.map((l) => height * rowHeight(l))),
    column,
    rowY: tops.map((y, r) => y + (height * rowHeight(lines[r])) / 2),
    at,
    zones: model.data.pair ? zones.filter((_, z) => widths[z] > 0) : [],
  };
}

const HELD: Held[] = ["a", "both", "b"];

/** A row's nodes; in a pair those of each zone, a channel that neither graph holds among those of both. */
function parted(model: Model, nodes: number[]): number[][] {
  if (!model.data.pair) return [nodes];
  const zone = (n: number) => ({ a: 0, both: 1, neither: 1, b: 2 })[model.held(n)];
  return HELD.map((_, z) => nodes.filter((n) => zone(n) === z));
}

const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
