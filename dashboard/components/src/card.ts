// What is known of one channel, beside its node.
import { el, percent, picture } from "./dom";
import type { Channel, GraphNode, Model } from "./model";
import { outlined, type Fires } from "./outline";
import { channels, images, inSamples } from "./words";

export interface Details {
  picture: string | null;
  diversity: string[];
  examples: { picture: string; label: string; fires?: Fires | null }[];
}

export interface SourceRow extends Channel {
  influence: number;
  hidden: boolean;
  picture?: string | null;
  through: (Channel & { influence: number }) | null;
}

export function card(model: Model, n: number, details: Details | undefined): HTMLElement {
  const node = model.data.nodes[n];
  if (node.members) return foldCard(model, n, node.members);
  const stability = model.stability(n);
  return el(
    "div",
    { className: "card" },
    el("div", { className: "name" }, node.layer, el("b", {}, ` · ${node.name || node.channel}`), node.called && ` ${node.called}`),
    model.data.pair
      ? el("div", { className: "sides" }, side(model, n, 0), side(model, n, 1))
      : el("div", { className: "facts" }, `${used(node.count, model.data.images)}${node.absent ? ", not selected" : ` · score ${node.score.toPrecision(3)}`}`),
    stability !== null && el("div", { className: "facts" }, inSamples(stability)),
    community(model, n),
    pictures(node, details),
    details && details.examples.length > 0 && el("div", { className: "caption" }, "Examples that excite it most"),
    details && examples(details),
  );
}

/** Of a folded node: the channels that it stands for. */
function foldCard(model: Model, n: number, members: number[]): HTMLElement {
  const nodes = members.map((k) => model.data.nodes[k]);
  const one = ({ channel, called, picture: src, count }: GraphNode) =>
    el(
      "figure",
      {},
      src ? picture(src, `channel ${channel}`) : null,
      el("figcaption", {}, el("b", {}, called || String(channel)), model.data.pair ? null : ` ${images(count)}`),
    );
  return el(
    "div",
    { className: "card" },
    el("div", { className: "name" }, model.data.nodes[n].layer, el("b", {}, ` · ${channels(members.length)} that fire together`)),
    community(model, n),
    el("div", { className: "facts" }, "A click shows them one by one."),
    el("div", { className: "members" }, ...nodes.map(one)),
  );
}

function community(model: Model, n: number): HTMLElement | null {
  const own = model.community(n);
  if (!own) return null;
  const chip = el("span", { className: "chip" });
  chip.style.background = own.colour;
  return el("div", { className: "facts" }, chip, `community ${own.number}${own.name ? `: ${own.name}` : ""}`);
}

export function used(count: number, all: number): string {
  return `used by ${all ? `${count} of ${images(all)} (${percent(count / all)})` : images(count)}`;
}

/** A side of a pair: its name, its share as a bar and in words, and whether its graph holds the channel. */
function side(model: Model, n: number, k: 0 | 1): HTMLElement {
  const pair = model.data.pair!;
  const counts = model.counts(n);
  const held = !model.data.nodes[n].absent && ["both", k ? "b" : "a"].includes(model.held(n));
  const count = counts[k];
  const share = model.shares(counts)[k];
  const length = el("span", { className: k ? "of-b" : "of-a" });
  length.style.width = `${100 * Math.min(1, share ?? 0)}%`;
  const stability = held ? pair.stability[n]?.[k] : null;
  const known = count === null ? "not in its graph, share not known" : `${used(count, pair.images[k])}${held ? "" : ", not selected"}`;
  return el(
    "div",
    { className: `side-of ${k ? "b" : "a"}` },
    el("b", {}, pair.labels[k]),
    el("span", { className: "track" }, length),
    el("span", { className: "said" }, stability == null ? known : `${known}, ${inSamples(stability)}`),
  );
}

function pictures(node: GraphNode, details: Details | undefined): HTMLElement {
  const name = node.name || `channel ${node.channel} of ${node.layer}`;
  const main = details?.picture ?? node.picture;
  return el(
    "div",
    { className: "pictures" },
    main
      ? el("img", { className: "main", src: main, alt: `What ${name} looks for` })
      : el("div", { className: "main none", title: "no picture" }, node.name || String(node.channel)),
    el(
      "div",
      { className: "diversity" },
      ...(details?.diversity ?? []).map((src, k) => picture(src, `Version ${k + 1} of ${name}`)),
    ),
  );
}

function examples(details: Details): HTMLElement {
  return el(
    "div",
    { className: "examples" },
    ...details.examples.map(({ picture: src, label, fires }) => Object.assign(outlined(picture(src, label), fires), { title: label })),
  );
}
