// What is known of one channel, beside its node.
import { el, percent } from "./dom";
import type { Channel, GraphNode } from "./model";
import { inSamples } from "./words";

export interface Details {
  picture: string | null;
  diversity: string[];
  examples: { picture: string; label: string }[];
}

export interface SourceRow extends Channel {
  influence: number;
  hidden: boolean;
  through: (Channel & { influence: number }) | null;
}

export function card(
  node: GraphNode,
  images: number,
  stability: number | null,
  details: Details | undefined,
): HTMLElement {
  return el(
    "div",
    { className: "card" },
    el("div", { className: "name" }, node.layer, el("b", {}, ` · ${node.name || node.channel}`)),
    el("div", { className: "facts" }, facts(node, images)),
    stability !== null && el("div", { className: "facts" }, inSamples(stability)),
    pictures(node, details),
    details && details.examples.length > 0 && el("div", { className: "caption" }, "Examples that excite it most"),
    details && examples(details),
  );
}

function facts(node: GraphNode, images: number): string {
  const used = images ? `${node.count} of ${images} images (${percent(node.count / images)})` : `${node.count} images`;
  return `used by ${used} · score ${node.score.toPrecision(3)}`;
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
      ...(details?.diversity ?? []).map((src, k) => el("img", { src, alt: `Version ${k + 1} of ${name}` })),
    ),
  );
}

function examples(details: Details): HTMLElement {
  return el(
    "div",
    { className: "examples" },
    ...details.examples.map((example) => el("img", { src: example.picture, alt: example.label, title: example.label })),
  );
}
