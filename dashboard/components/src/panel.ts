// The pinned channel: its card, where its activation comes from and where it leads, the strongest path through it.
import { card, used, type Details, type SourceRow } from "./card";
import { el } from "./dom";
import { holdersOf, type Actions as ClassActions } from "./holders";
import type { Channel, Edge, Model } from "./model";
import type { Extras } from "./shelf";
import { change, channels, images } from "./words";

export interface Actions extends ClassActions {
  close(): void;
  open(channel: Channel): void;
  pin(channel: Channel): void;
  choose(edge: Edge): void;
  leave(channel: Channel): void;
  showAnyway(): void;
}

export function pinnedPanel(model: Model, n: number, details: Details | undefined, extras: Extras | undefined, actions: Actions): HTMLElement {
  const node = model.data.nodes[n];
  const known = extras?.pinned;
  const found = known && known.layer === node.layer && known.channel === node.channel ? known : undefined;
  const path = model.strongestPath(n);
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
    pathList(path, model, actions),
    holdersOf("all of this path", path, extras?.holders, model.data, actions),
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
  const of = (k: 0 | 1) => (pair ? ` for ${pair.labels[k]}` : "");
  const why = "The most negative contributions where the channel fires";
  const lowered = (k: 0 | 1, rows: SourceRow[] | undefined) =>
    rows?.length ? [el("h4", { title: why }, `Lowered most${of(k)} by`), sources(model, n, k, rows, "", actions, false)] : [];
  return [
    el("h4", {}, `Strongest sources${of(0)}`),
    sources(model, n, 0, found.sources, found.note, actions),
    ...lowered(0, found.lowering),
    found.sources_b ? el("h4", {}, `Strongest sources${of(1)}`) : null,
    found.sources_b ? sources(model, n, 1, found.sources_b, found.note_b ?? "", actions) : null,
    ...lowered(1, found.lowering_b),
  ];
}

function link(channel: Channel, actions: Actions, picture?: string | null): HTMLElement {
  const members = "members" in channel ? (channel.members as number[] | undefined) : undefined;
  const text = `${channel.layer} · ${members ? channels(members.length) : channel.channel}`;
  return el(
    "button",
    { type: "button", className: "link", title: members ? `Show the ${text} one by one` : `Pin ${text}`, onclick: () => actions.pin(channel) },
    picture ? el("img", { src: picture, alt: "" }) : null,
    text,
  );
}

/** Sources on one side of a pair; `drawn`: whether they are joined to the channel by edges. */
function sources(model: Model, n: number, side: 0 | 1, rows: SourceRow[], note: string, actions: Actions, drawn = true): HTMLElement {
  const items = rows.map((row) =>
    el(
      "li",
      {},
      row.hidden ? el("span", {}, `${row.layer} · ${row.channel}`) : link(row, actions, row.picture),
      drawn ? count(row.influence, edgeFrom(model, n, row), actions) : el("span", { className: "count" }, images(row.influence)),
      drawn && !row.hidden ? el("span", { className: "count" }, whyUndrawn(model, n, row) || lost(edgeFrom(model, n, row), side)) : null,
      row.through && el("div", { className: "through" }, "from ", link(row.through, actions), ` (${row.through.influence})`),
    ),
  );
  return el("div", {}, el("ol", {}, ...items), note ? el("p", { className: "facts" }, note) : null);
}

/** How many images carry an edge, and a way to look at it, where there is one. */
function count(influence: number, edge: Edge | undefined, actions: Actions): HTMLElement {
  if (!edge) return el("span", { className: "count" }, images(influence));
  const title = "Look at this edge, and at the classes that hold it";
  return el("button", { type: "button", className: "link count", title, onclick: () => actions.choose(edge) }, images(influence));
}

/** What the channel loses without the lower end of an edge that stands for itself alone; empty where that is unknown. */
function lost(edge: Edge | undefined, side: 0 | 1): string {
  const effect = edge?.stands.length === 1 ? edge.effect[side] : null;
  return effect === null ? "" : `${change(effect)} without it`;
}

function edgeFrom(model: Model, n: number, source: Channel): Edge | undefined {
  const k = model.find(source);
  return k < 0 ? undefined : model.below[n].find((edge) => edge.source === model.drawnFor(k));
}

/** Why no edge leads to a source that the counts name; empty where one does. */
function whyUndrawn(model: Model, n: number, source: Channel): string {
  const k = model.find(source);
  if (model.data.nodes[n].absent) return "";
  if (k < 0 || model.data.nodes[k].absent) return "not selected";
  return edgeFrom(model, n, source) ? "" : "not drawn: it leads no further down";
}

function targets(model: Model, n: number, actions: Actions): HTMLElement {
  const edges = model.above[n];
  if (!edges.length) return el("p", { className: "facts" }, "No edge of the graph leads up from here.");
  const rows = edges.map((edge) => {
    const target = model.data.nodes[edge.target];
    return el("li", {}, link(target, actions, target.picture), count(edge.influence, edge, actions));
  });
  return el("ol", {}, ...rows);
}

function pathList(path: Edge[], model: Model, actions: Actions): HTMLElement {
  if (!path.length) return el("p", { className: "facts" }, "No edge of the graph leads to this channel.");
  const nodes = [...new Set(path.flatMap((e) => [e.source, e.target]))].sort((a, b) => model.row[a] - model.row[b]);
  const items = nodes.map((n) => el("li", {}, link(model.data.nodes[n], actions, model.data.nodes[n].picture)));
  return el("ol", { className: "path" }, ...items);
}
