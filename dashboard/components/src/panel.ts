// The pinned channel: its card, where its activation comes from and where it leads, the strongest path through it.
import { card, used, type Details, type SourceRow } from "./card";
import { el } from "./dom";
import type { Channel, Edge, Model } from "./model";
import type { Extras } from "./shelf";
import { images } from "./words";

export interface Actions {
  close(): void;
  open(channel: Channel): void;
  pin(channel: Channel): void;
  leave(channel: Channel): void;
  showAnyway(): void;
}

export function pinnedPanel(model: Model, n: number, details: Details | undefined, found: Extras["pinned"], actions: Actions): HTMLElement {
  const node = model.data.nodes[n];
  const head = el(
    "div",
    { className: "panel-head" },
    el("span", {}, "Pinned channel"),
    el("button", { type: "button", title: "Unpin", onclick: actions.close, attributes: { "aria-label": "Unpin" } }, "×"),
  );
  return el(
    "div",
    {},
    head,
    node.absent ? unselected(model, n, actions) : null,
    card(model, n, details),
    buttons(model, n, actions),
    ...sourceLists(model, n, found, actions),
    el("h4", {}, "Leads to"),
    targets(model, n, actions),
    el("h4", {}, "Strongest path"),
    pathList(model.strongestPath(n), model, actions),
  );
}

/** "714: used by 4 of 8 images, not selected" and a way to see it among the others. */
function unselected(model: Model, n: number, actions: Actions): HTMLElement {
  const { channel, count } = model.data.nodes[n];
  const known = model.data.images > 0 || count > 0;
  const said = model.data.pair ? "neither graph holds it" : `${known ? `${used(count, model.data.images)}, ` : ""}not selected`;
  return el(
    "p",
    { className: "unheld" },
    `${channel}: ${said}. `,
    model.isThere(n) ? null : el("button", { type: "button", className: "link", onclick: actions.showAnyway }, "Show anyway"),
  );
}

function buttons(model: Model, n: number, actions: Actions): HTMLElement {
  const node = model.data.nodes[n];
  const button = (text: string, title: string, onclick: () => void) => el("button", { type: "button", title, onclick }, text);
  return el(
    "div",
    { className: "actions" },
    model.data.opens === false ? null : button(node.name ? "Class page" : "Channel page", "All that is known of it", () => actions.open(node)),
    model.data.leaves_out && !node.name && !node.absent && button("Leave out", "Make the graph without this channel", () => actions.leave(node)),
  );
}

function sourceLists(model: Model, n: number, found: Extras["pinned"], actions: Actions): (HTMLElement | null)[] {
  const { pair } = model.data;
  if (!found) return [el("h4", {}, "Strongest sources"), el("p", { className: "facts" }, "…")];
  const lowering = found.lowering.length ? found.lowering : null;
  const why = "The most negative contributions where the channel fires";
  return [
    el("h4", {}, pair ? `Strongest sources for ${pair.labels[0]}` : "Strongest sources"),
    sources(model, n, found.sources, found.note, actions),
    pair && found.sources_b ? el("h4", {}, `Strongest sources for ${pair.labels[1]}`) : null,
    pair && found.sources_b ? sources(model, n, found.sources_b, found.note_b ?? "", actions) : null,
    lowering && el("h4", { title: why }, "Lowered most by"),
    lowering && sources(model, n, lowering, "", actions, false),
  ];
}

function link(channel: Channel, actions: Actions, picture?: string | null): HTMLElement {
  const text = `${channel.layer} · ${channel.channel}`;
  return el(
    "button",
    { type: "button", className: "link", title: `Pin ${text}`, onclick: () => actions.pin(channel) },
    picture ? el("img", { src: picture, alt: "" }) : null,
    text,
  );
}

function sources(model: Model, n: number, rows: SourceRow[], note: string, actions: Actions, drawn = true): HTMLElement {
  const items = rows.map((row) =>
    el(
      "li",
      {},
      row.hidden ? el("span", {}, `${row.layer} · ${row.channel}`) : link(row, actions, row.picture),
      el("span", { className: "count" }, images(row.influence)),
      drawn && !row.hidden ? el("span", { className: "count" }, whyUndrawn(model, n, row)) : null,
      row.through && el("div", { className: "through" }, "from ", link(row.through, actions), ` (${row.through.influence})`),
    ),
  );
  return el("div", {}, el("ol", {}, ...items), note ? el("p", { className: "facts" }, note) : null);
}

/** Why no edge leads to a source that the counts name; empty where one does. */
function whyUndrawn(model: Model, n: number, source: Channel): string {
  const k = model.find(source);
  if (model.data.nodes[n].absent) return "";
  if (k < 0 || model.data.nodes[k].absent) return "not selected";
  return model.below[n].some((edge) => edge.source === k) ? "" : "not drawn: it leads no further down";
}

function targets(model: Model, n: number, actions: Actions): HTMLElement {
  const edges = model.above[n];
  if (!edges.length) return el("p", { className: "facts" }, "No edge of the graph leads up from here.");
  const rows = edges.map((edge) => {
    const target = model.data.nodes[edge.target];
    return el("li", {}, link(target, actions, target.picture), el("span", { className: "count" }, images(edge.influence)));
  });
  return el("ol", {}, ...rows);
}

function pathList(path: Edge[], model: Model, actions: Actions): HTMLElement {
  if (!path.length) return el("p", { className: "facts" }, "No edge of the graph leads to this channel.");
  const nodes = [...new Set(path.flatMap((e) => [e.source, e.target]))].sort((a, b) => model.row[a] - model.row[b]);
  const items = nodes.map((n) => el("li", {}, link(model.data.nodes[n], actions, model.data.nodes[n].picture)));
  return el("ol", { className: "path" }, ...items);
}
