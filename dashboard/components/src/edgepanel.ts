// An edge: how many images carry it, what evidence says of it, and which other classes' graphs hold it.
import { el } from "./dom";
import { holdersOf, type Actions as ClassActions, type Holders } from "./holders";
import type { Channel, Edge, Model } from "./model";
import { edgeInWords, images, named } from "./words";

export interface Actions extends ClassActions {
  close(): void;
  pin(channel: Channel): void;
}

/** What is known of an edge, in sentences. */
export function edgeFacts(model: Model, edge: Edge): HTMLElement[] {
  const { measure, images: all, pair } = model.data;
  const end = edge.identity ? ": the channel itself, by a skip connection" : "";
  const head = `${pair ? "Images" : all ? `${edge.influence} of ${images(all)}` : images(edge.influence)} carry this ${measure}${end}`;
  const said = [...combined(model, edge), ...(pair ? [...side(model, edge, 0), ...side(model, edge, 1)] : inWords(model, edge, 0))];
  return [el("div", { className: "head" }, head), ...said.map((text) => el("div", { className: "facts wide" }, text))];
}

/** Of a folded drawing, how many edges it stands for. */
function combined(model: Model, edge: Edge): string[] {
  const [source, target] = edge.ends.map((n) => named(model.data.nodes[n]));
  return edge.stands.length > 1 ? [`The strongest of ${edge.stands.length} edges, from ${source} to ${target}`] : [];
}

function inWords(model: Model, edge: Edge, k: 0 | 1): string[] {
  const [source, target] = edge.ends.map((n) => model.data.nodes[n]);
  return edgeInWords(edge, k, source, target);
}

/** "tabby: 12 of 50 images", and what evidence says. */
function side(model: Model, edge: Edge, k: 0 | 1): string[] {
  const { labels, images: totals } = model.data.pair!;
  const count = edge.counts[k];
  const known = count === null ? "not in its graph" : totals[k] ? `${count} of ${images(totals[k])}` : images(count);
  return [[`${labels[k]}: ${known}`, ...inWords(model, edge, k)].join("; ")];
}

export function edgePanel(model: Model, edge: Edge, holders: Holders | undefined, actions: Actions): HTMLElement {
  const ends = edge.ends.map((n) => model.data.nodes[n]).reverse();
  const unchoose = el("button", { type: "button", title: "Let go of the edge", onclick: actions.close, attributes: { "aria-label": "Let go of the edge" } }, "×");
  const link = (channel: Channel & { picture: string | null }) =>
    el(
      "button",
      { type: "button", className: "link", title: `Pin ${named(channel)}`, onclick: () => actions.pin(channel) },
      channel.picture ? el("img", { src: channel.picture, alt: "" }) : null,
      `${channel.layer} · ${channel.channel}`,
    );
  return el(
    "div",
    {},
    el("div", { className: "panel-head" }, el("span", {}, "Chosen edge"), unchoose),
    ...edgeFacts(model, edge),
    el("h4", {}, "Leads to, and comes from"),
    el("ol", {}, ...ends.map((node) => el("li", {}, link(node)))),
    holdersOf("this edge", [edge], holders, model.data, actions),
  );
}
