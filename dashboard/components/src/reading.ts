// What a drawing's signs mean, for whoever sees one for the first time.
import { el } from "./dom";
import type { Model } from "./model";

export function reading(model: Model): HTMLElement {
  const { data } = model;
  const { pair, measure } = data;
  const terms: [string, string][] = [
    ["Row", "A layer; the input is at the bottom. A click on its name looks at it alone."],
    ["Picture", "A channel: what it looks for, or the image part that excites it most. The number above it is its name, not a count."],
    ["Size", pair ? "Share of the images that use the channel, of the side where it is larger." : "Images of the class that use the channel."],
    ...(pair ? PAIR : []),
    ["Edge", "From a source below to what it feeds above."],
    ...(data.communities ? [["Firing together", `Not shown. ${data.communities}`] as [string, string]] : []),
    ...(data.together ? TOGETHER : []),
    ["Width", `Images in which the source is among the strongest by ${measure}.`],
    ["Used", "An image uses the strongest channels of a layer that together make up a share of all its activation: the mass."],
    ["k", "How many strongest sources are counted for each channel and image."],
    ["Score", "How central a channel is to the class's graph (personalised PageRank)."],
  ];
  const list = terms.flatMap(([term, meaning]) => [el("dt", {}, term), el("dd", {}, meaning)]);
  return el("details", { className: "reading", open: !pair }, el("summary", {}, "How to read it"), el("dl", {}, ...list));
}

const TOGETHER: [string, string][] = [
  ["Stripe", "Colour and number of the community of a channel: channels whose maxima rise and fall together over all images."],
  ["Pile", "Channels of one community in one layer, folded into one node as large as its largest. A click opens it. An edge between piles is as wide as the strongest that it stands for."],
];

const PAIR: [string, string][] = [
  ["Bar", "Under a node: share of A's images that use it to the left, of B's to the right; dashed where it isn't known."],
  ["Line", "Frames and edges that A alone holds are solid, B's dashed, those of both double."],
  ["Similarity", "Of a layer: cosine of how many images of each side use its channels; 1 is alike."],
];
