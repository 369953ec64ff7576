// The channels that the two sides of a pair use most differently.
import { el, percent } from "./dom";
import type { Channel, Differing, Model, Two } from "./model";

export function differs(model: Model, pin: (channel: Channel) => void): HTMLElement {
  const pair = model.data.pair!;
  const known = pair.images.every((n) => n > 0);
  const rows = pair.differs.map((row) => line(model, row, known, pin));
  const heads = ["", pair.labels[0], pair.labels[1]].map((text, k) =>
    el("th", { title: text, className: ["", "a", "b"][k], attributes: { scope: "col" } }, text),
  );
  const chance = pair.differs.some((row) => row.clear === false);
  return el(
    "section",
    { className: "differs" },
    el("h4", {}, "What differs"),
    rows.length
      ? el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows))
      : el("p", { className: "facts" }, "Both sides use the same channels equally often."),
    chance && el("p", { className: "facts" }, "Grey: the difference may be chance (the middle 90 % of resampled images hold 0)."),
    !known && el("p", { className: "facts" }, "Counts; how many images there are isn't known. –: not in the graph, count not known."),
  );
}

function line(model: Model, row: Differing, known: boolean, pin: (channel: Channel) => void): HTMLElement {
  const name = `${row.layer} · ${row.channel}`;
  const shares = model.shares(row.counts);
  const picture = model.data.nodes[model.find(row)]?.picture;
  const cell = (k: 0 | 1) => el("td", {}, value(row.counts, shares, k, known));
  const button = el(
    "button",
    { type: "button", className: "link", title: `Pin ${name}`, onclick: () => pin({ layer: row.layer, channel: row.channel }) },
    picture ? el("img", { src: picture, alt: "" }) : null,
    name,
  );
  return el("tr", { className: row.clear === false ? "unclear" : "" }, el("td", {}, button), cell(0), cell(1));
}

function value(counts: Two, shares: Two, k: 0 | 1, known: boolean): string {
  if (counts[k] === null) return "–";
  return known ? percent(shares[k]) : counts[k].toLocaleString("en");
}
