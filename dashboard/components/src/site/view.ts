// What all pages of the site share: the data, what the address says of them, and how to go elsewhere.
import { el } from "../dom";
import { percent } from "../dom";
import { unpack } from "../packed";
import { counted } from "../words";
import type { Selection } from "./address";
import type { Data } from "./data";

/** A selection as far as it exists in the site. */
export interface Wanted extends Selection {
  cls: number;
  layer: string;
  pair: string;
  against: number | null; // the class that this one is held against
}

export interface Context {
  data: Data;
  wanted(): Wanted;
  /** Another page, or another view of this one. */
  go(changes: Partial<Selection>): void;
}

export interface Page {
  element: HTMLElement;
  /** Resolves when all is drawn; `isStale` says whether something else is wanted meanwhile. */
  show(wanted: Wanted, isStale: () => boolean): Promise<void>;
  remove(): void;
}

export function heading(text: string): HTMLElement {
  return el("h3", {}, text);
}

export function remark(text: string): HTMLElement {
  return el("p", { className: "remark" }, text);
}

/** A choice among some things, for the address. */
export function choice(label: string, names: string[], chosen: number, choose: (k: number) => void): HTMLElement {
  const options = names.map((name, k) => el("option", { value: String(k) }, name));
  const select = el("select", { onchange: () => choose(Number(select.value)) }, ...options);
  select.value = String(chosen);
  return el("label", { className: "choice" }, label, select);
}

/** What stands at the head of a class's page. */
export function classFacts(data: Data, c: number, more: [string, string][] = []) {
  const { names, histograms, bins } = data.site;
  const accuracy = Number.isNaN(data.accuracy[c]) ? null : data.accuracy[c];
  const heights = unpack(histograms)?.slice(c * bins, (c + 1) * bins);
  const facts: [string, string][] = [
    ["Accuracy", accuracy === null ? percent(null) : `${(100 * accuracy).toFixed(1)}%`],
    ["Images", data.images[c] ? data.images[c].toLocaleString("en") : "–"],
    ...more,
  ];
  const histogram = heights ? { label: "Probability, 0 to 1", heights: Array.from(heights, (height) => height / 255) } : null;
  return { title: names[c], level: 2 as const, note: "", facts, histogram };
}

export function countedClasses(n: number): string {
  return counted(n, "class", "classes");
}

/** Indices of the n largest values above 0, descending, ties to the lower index. */
export function largest(values: ArrayLike<number>, n: number, keep: (k: number) => boolean = () => true): number[] {
  const indices = Array.from(values, (_, k) => k).filter((k) => values[k] > 0 && keep(k));
  return indices.sort((a, b) => values[b] - values[a] || a - b).slice(0, n);
}
