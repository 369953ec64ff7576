// The channels that two classes use most differently, and whether that may be chance.
import type { Differing, Held, Two } from "../model";
import type { Data, Used } from "./data";

export interface Side {
  cls: number;
  label: string;
  images: number; // 0: not known
  used: Used;
}

const MOST = 40;
const LEFT_OUT = 0.1; // of what resampling gives, a half at each end

interface Row {
  layer: number;
  channel: number;
  counts: [a: number, b: number];
  difference: number;
}

/** Those first whose difference is clear; `held` says which of the graphs hold a channel. */
export function differs({ site }: Data, a: Side, b: Side, held: (layer: number, channel: number) => Held): Differing[] {
  const scales = [a, b].map((side) => Math.max(1, side.images || side.used.largest()));
  const all = [...site.layers.keys()].flatMap((layer) => ofLayer(layer, a, b, scales));
  const most = all.sort((one, other) => Math.abs(other.difference) - Math.abs(one.difference)).slice(0, MOST);
  const known = a.images > 0 && b.images > 0;
  const rows = most
    .filter((row) => row.difference !== 0)
    .map(({ layer, channel, counts }): Differing => {
      const where = held(layer, channel);
      const of = (k: 0 | 1, word: Held) => (site.partial && where !== word && where !== "both" ? null : counts[k]);
      const shown: Two = [of(0, "a"), of(1, "b")];
      const clear = known ? isClear(counts[0], a.images, counts[1], b.images) : null;
      return { layer: site.layers[layer].name, channel, counts: shown, held: where, clear };
    });
  return rows.sort((one, other) => Number(other.clear) - Number(one.clear));
}

/** Channels of a layer that either side uses. */
function ofLayer(layer: number, a: Side, b: Side, scales: number[]): Row[] {
  const [in_a, in_b] = [a.used.of(layer), b.used.of(layer)];
  if (!in_a || !in_b) return [];
  const some = [...in_a.keys()].filter((channel) => in_a[channel] || in_b[channel]);
  return some.map((channel) => {
    const counts: [number, number] = [in_a[channel], in_b[channel]];
    return { layer, channel, counts, difference: counts[0] / scales[0] - counts[1] / scales[1] };
  });
}

/**
 * Whether the middle 90 % of resampled images leave out that both sides use a channel equally often. A resampled set of
 * n images, of which a share s use it, holds Binomial(n, s) that do, so the chances are summed and nothing is drawn.
 */
export function isClear(used_a: number, n_a: number, used_b: number, n_b: number): boolean {
  const upTo: number[] = []; // chance of so many images of B, or fewer
  for (const chance of chances(used_b, n_b)) upTo.push((upTo[upTo.length - 1] ?? 0) + chance);
  let [atMost, atLeast] = [0, 0]; // chance that A's share is at most B's, at least B's
  chances(used_a, n_a).forEach((chance, x) => {
    const same = (x * n_b) / n_a; // images of B that are as large a share
    atMost += chance * (1 - (upTo[Math.ceil(same) - 1] ?? 0));
    atLeast += chance * upTo[Math.floor(same)];
  });
  return Math.min(atMost, atLeast) < LEFT_OUT / 2;
}

/** Chances of 0 to n images in a resampled set. */
function chances(used: number, n: number): number[] {
  const share = Math.min(1, used / n);
  if (share === 0 || share === 1) return Array.from({ length: n + 1 }, (_, k) => Number(k === share * n));
  let log = n * Math.log1p(-share);
  return Array.from({ length: n + 1 }, (_, k) => {
    if (k > 0) log += Math.log(((n - k + 1) * share) / (k * (1 - share)));
    return Math.exp(log);
  });
}
