// The pinned channel: its card, where its activation comes from, the strongest path through it.
import { el } from "./dom";
import type { SourceRow } from "./card";
import type { Channel, Edge, Model } from "./model";
import type { Extras } from "./shelf";

interface Actions {
  close(): void;
  open(channel: Channel): void;
}

export function pinnedPanel(
  card: HTMLElement,
  found: Extras["pinned"],
  path: Edge[],
  model: Model,
  actions: Actions,
): HTMLElement {
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
    card,
    el("h4", {}, "Strongest sources"),
    found ? sources(found.sources, found.note, actions) : el("p", { className: "facts" }, "…"),
    found?.lowering.length ? el("h4", { title: "The most negative contributions where the channel fires" }, "Lowered most by") : null,
    found?.lowering.length ? sources(found.lowering, "", actions) : null,
    el("h4", {}, "Strongest path"),
    pathList(path, model, actions),
  );
}

function link(channel: Channel, actions: Actions): HTMLElement {
  const text = `${channel.layer} · ${channel.channel}`;
  return el("button", { type: "button", className: "link", title: `Open ${text}`, onclick: () => actions.open(channel) }, text);
}

function sources(rows: SourceRow[], note: string, actions: Actions): HTMLElement {
  const items = rows.map((row) =>
    el(
      "li",
      {},
      row.hidden ? el("span", {}, `${row.layer} · ${row.channel}`) : link(row, actions),
      el("span", { className: "count" }, `${row.influence} images`),
      row.through && el("div", { className: "through" }, "from ", link(row.through, actions), ` (${row.through.influence})`),
    ),
  );
  return el("div", {}, el("ol", {}, ...items), note ? el("p", { className: "facts" }, note) : null);
}

function pathList(path: Edge[], model: Model, actions: Actions): HTMLElement {
  if (!path.length) return el("p", { className: "facts" }, "No edge of the graph leads to this channel.");
  const nodes = [...new Set(path.flatMap((e) => [e.source, e.target]))].sort((a, b) => model.row[a] - model.row[b]);
  return el("ol", { className: "path" }, ...nodes.map((n) => el("li", {}, link(model.data.nodes[n], actions))));
}
