// What evidence says of nodes and edges, in words.
import { percent } from "./dom";
import type { Channel, Edge, GraphNode } from "./model";

const SHORT = 9; // letters of a name above a node
const LEAST = 0.0005; // what a smaller share is rounded to is 0.0 %

export function inSamples(stability: number): string {
  return `in ${percent(stability)} of resampled image sets`;
}

/** Of an edge, on one side of a pair: how stable it is, and what its upper end loses without the lower one; nothing where
 *  that is unknown.
 *
 *  in 93 % of resampled image sets
 *  without mixed4c 3, the maximum of mixed4d 12 falls by 8 %
 */
export function edgeInWords(edge: Edge, side: 0 | 1, source: GraphNode, target: GraphNode): string[] {
  const [stability, effect] = [edge.stability[side], edge.effect[side]];
  const stable = stability === null ? [] : [inSamples(stability)];
  const lost = effect === null ? [] : [`without ${named(source)}, ${most(target)} ${change(effect)}`];
  return [...stable, ...lost];
}

export const named = ({ layer, channel }: Channel) => `${layer} ${channel}`;

/** What an edge to a node is measured by: the largest value of its map, or the logit of the class, which has none. */
function most(target: GraphNode): string {
  return target.name ? `the logit of ${target.name}` : `the maximum of ${named(target)}`;
}

/** "falls by 8 %" */
export function change(lost: number): string {
  if (Math.abs(lost) < LEAST) return "stays as it is";
  return `${lost > 0 ? "falls" : "grows"} by ${percent(Math.abs(lost))}`;
}

/** "1 channel", "12 channels". */
export const channels = (n: number) => counted(n, "channel");

/** The beginning of a name, where there is no room for more. */
export function shortened(name: string, letters = SHORT): string {
  return name.length > letters ? `${name.slice(0, letters - 1).trimEnd()}…` : name;
}

/** "1 image", "1,300 images". */
export const images = (n: number) => counted(n, "image");

/** "1 class", "12 classes". */
export function counted(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

/** "1 image uses it", "3 of 1,300 images use it"; without the number of all where that isn't known, 0. */
export function usedBy(count: number, all: number): string {
  if (!all) return `${images(count)} ${count === 1 ? "uses" : "use"} it`;
  return `${count.toLocaleString("en")} of ${images(all)} ${count === 1 ? "uses" : "use"} it`;
}
