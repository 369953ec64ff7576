// Below the drawing: what its lines and marks stand for.
import { el } from "./dom";
import { STABLE, UNSTABLE, type Model } from "./model";

export function legend(model: Model): HTMLElement[] {
  const { pair, marks } = model.data;
  const ways = pair
    ? [sign("a", `only ${pair.labels[0]}`), sign("both", "both"), sign("b", `only ${pair.labels[1]}`)]
    : [sign("in", "from its sources below"), sign("out", "to what it feeds above")];
  const together = model.communities.length ? [sign("together", "and number: channels that fire together")] : [];
  const unchanged = model.edges.some((edge) => edge.identity) ? [sign("unchanged", "the channel itself, by a skip connection")] : [];
  return [...ways, ...together, ...unchanged, ...(marks ? [evidence()] : [])];
}

function evidence(): HTMLElement {
  return el(
    "span",
    { className: "evidence" },
    sign("firm", `in ${100 * STABLE} % or more of resampled image sets`),
    sign("loose", `in less than ${100 * UNSTABLE} %`),
    sign("idle", "without effect"),
  );
}

const sign = (kind: string, text: string) => el("span", { className: kind }, text);
