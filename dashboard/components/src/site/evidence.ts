// Evidence: what the network loses without a class's graph, and how all classes compare. Whatever was tested lies in files.
import { el } from "../dom";
import { counted, images } from "../words";
import { inPercent, lines, type Line, type Size } from "./charts";
import type { AllEvidence, ClassData, Evidence, GraphPart, Place } from "./data";
import { choosePair, sentence } from "./explore";
import { gallerySlot, type Item } from "./parts";
import { intervals, reachOf, scatter } from "./proofcharts";
import { table } from "./table";
import { choice, heading, remark, type Context, type Page, type Wanted } from "./view";

const WEAKEST = 6;
const MOST_CHANNELS = 24;
const SMALL: Size = [300, 170];

type Row = AllEvidence["rows"][number];

export function evidencePage({ data, go }: Context): Page {
  const { site } = data;
  const element = el("div", { className: "page" });
  let slots: { remove(): void }[] = [];

  async function show(wanted: Wanted, isStale: () => boolean): Promise<void> {
    const why = site.untested[wanted.pair] ?? (wanted.pair ? "" : site.why.graphs);
    const [own, all] = await Promise.all([data.cls(wanted.cls), why ? null : data.evidence(wanted.pair)]);
    const measures = await byMeasures(wanted, own);
    if (isStale()) return;
    remove();
    element.replaceChildren(
      el("h2", {}, "Evidence: do the graphs hold when the network is touched?"),
      el(
        "div",
        { className: "choices" },
        choice("Class", site.names, wanted.cls, (c) => go({ class: site.folders[c] })),
        ...choosePair(site.pairs, wanted, go),
      ),
      ...(why ? [el("p", { className: "notice" }, why)] : [...oneClass(wanted, own), ...allClasses(wanted, all!)]),
      ...measures.map((part) => part()),
    );
  }

  const remove = () => slots.splice(0).forEach((slot) => slot.remove());
  const two = (left: Node[], right: Node[]) => el("div", { className: "two" }, el("div", {}, ...left), el("div", {}, ...right));

  // One class

  function oneClass(wanted: Wanted, own: ClassData): HTMLElement[] {
    const title = heading(`Without the channels of ${site.names[wanted.cls]}`);
    const found = own.evidence[wanted.pair];
    if (!found) return [title, remark("This class was not tested: it has fewer than two images, or nothing that it could lose.")];
    const badge = own.graphs[wanted.pair].badge;
    return [title, ...(badge ? [sentence(badge)] : []), two(necessity(found), byLayer(found)), ...enough(found), ...truth(found)];
  }

  function necessity({ choices, said }: Evidence): HTMLElement[] {
    const rows = choices.map(([name, value, low, high], k) => ({ name, value, low, high, own: k === 0 }));
    const chart = intervals(rows, "share of the margin that is lost without them", "Necessity of the graph and of others");
    return [heading("Is it these channels that matter?"), chart, ...[said.necessity, said.elsewhere].filter(Boolean).map(remark)];
  }

  function byLayer({ by_layer: rows, said }: Evidence): HTMLElement[] {
    const layers = [...new Set(rows.map(([layer]) => layer))];
    const reach = reachOf(rows.flatMap(([, , ...values]) => values));
    const chart = lines(layers, series(rows, layers), "share that is lost", "Necessity layer by layer", reach, inPercent);
    return [heading("In which layer?"), chart, remark(said.by_layer)];
  }

  function enough({ enough: rows, said }: Evidence): HTMLElement[] {
    const shares = [...new Set(rows.map(([, , share]) => inPercent(share)))];
    const reach = reachOf(rows.flatMap(([, , , ...values]) => values));
    const charts = [...new Set(rows.map(([layer]) => layer))].map((layer) => {
      const own = rows.filter((row) => row[0] === layer).map(([, kind, share, ...values]): SharedRow => [inPercent(share), kind, ...values]);
      const label = `Share of the margin that a part of the channels of ${layer} brings back`;
      return el("div", {}, el("h4", {}, layer), lines(shares, series(own, shares), "brought back", label, reach, inPercent, SMALL));
    });
    return [heading("How few channels of a layer are enough?"), remark(said.enough), el("div", { className: "many" }, ...charts)];
  }

  function truth({ truth: rows, said }: Evidence): HTMLElement[] {
    if (!rows.length) return [];
    const layers = [...new Set(rows.map(([layer]) => layer))];
    const chart = (k: 2 | 3, title: string) => {
      const own = rows.map((row): SharedRow => [row[0], row[1], row[k], null, null]);
      return [lines(layers, series(own, layers), title, `Truth of sources: ${title}`, [0, 1], inPercent)];
    };
    return [
      heading("Are a channel's strongest sources its true ones?"),
      remark(said.truth),
      two(chart(2, "capture, single images"), chart(3, "capture, class")),
      remark(said.ranks),
    ];
  }

  // All classes

  function allClasses(wanted: Wanted, { rows, said }: AllEvidence): HTMLElement[] {
    if (!rows.length) return [];
    const points = rows.flatMap(([cls, x, , y, p]) => {
      if (x === null || y === null) return [];
      return [{ cls, x, y, title: `${site.names[cls]}: necessity ${inPercent(x)}, specificity ${inPercent(y)}, p-value ${p?.toFixed(3) ?? "–"}` }];
    });
    const choose = (c: number) => go({ class: site.folders[c] });
    const label = "Necessity of each class's graph, and how much more than another's";
    const weak: [string, keyof typeof COLUMN, boolean][] = [
      ["Lowest necessity", "necessity", true],
      ["Largest p-value", "p_value", false],
      ["Lowest stability", "stability", true],
    ];
    return [
      heading("All classes: how necessary, how specific"),
      scatter(points, wanted.cls, "necessity of the class's graph", "more than the nearest class's graph", label, choose),
      remark(said[0]),
      heading("The weakest classes"),
      remark(said[1]),
      el("div", { className: "three" }, ...weak.map(([title, name, rising]) => weakest(title, name, rising, rows, choose))),
      table(["class", ...Object.keys(COLUMN)], rows.map(([c, ...values]) => [site.names[c], ...values]), "evidence.csv"),
    ];
  }

  function weakest(title: string, name: keyof typeof COLUMN, rising: boolean, rows: Row[], choose: (c: number) => void): HTMLElement {
    const value = (row: Row) => row[COLUMN[name]];
    const known = rows.filter((row) => value(row) !== null);
    const worst = known.sort((a, b) => (rising ? 1 : -1) * (value(a)! - value(b)!)).slice(0, WEAKEST);
    const items = worst.map((row) => {
      const said = name === "p_value" ? value(row)!.toFixed(3) : inPercent(value(row)!);
      const button = el("button", { type: "button", className: "link", onclick: () => choose(row[0]) }, site.names[row[0]]);
      return el("li", {}, button, ` ${said} · ${images(row[COLUMN.images] ?? 0)} tested`);
    });
    return el("div", {}, el("h4", {}, title), el("ol", {}, ...items));
  }

  // Several pairs of measures

  /** The graphs of all pairs, and what each holds alone; nothing where there is but one pair. */
  async function byMeasures(wanted: Wanted, own: ClassData): Promise<(() => HTMLElement)[]> {
    if (!own.by_measures) return [];
    const { columns, rows } = own.by_measures;
    const others = site.pairs.filter((pair) => pair.name !== wanted.pair);
    const compared = await Promise.all(others.map((other) => onlyIn(wanted, own, other.name)));
    return [
      () => heading(`${site.names[wanted.cls]} by each pair of measures`),
      () => table(columns, rows, "measures.csv"),
      ...compared.flat(),
    ];
  }

  async function onlyIn(wanted: Wanted, own: ClassData, other: string): Promise<(() => HTMLElement)[]> {
    const [mine, theirs] = [wanted.pair, other].map((pair) => ranked(own.graphs[pair]));
    const without = (one: Place[], two: Place[]) => one.filter(([l, k]) => !two.some(([m, n]) => l === m && k === n));
    const parts = await Promise.all([gallery(wanted.pair, without(mine, theirs)), gallery(other, without(theirs, mine))]);
    const n = mine.length - without(mine, theirs).length;
    const words = [wanted.pair, other].map(wordsOf);
    return [
      () => remark(`${counted(n, "channel is", "channels are")} in both graphs: that with ${words[0]}, and that with ${words[1]}.`),
      () => two(parts[0](), parts[1]()),
    ];
  }

  const wordsOf = (name: string) => site.pairs.find((pair) => pair.name === name)!.words;

  /** The channels of a graph, highest score first; the class itself is none. */
  function ranked(part: GraphPart): Place[] {
    const channels = part.nodes.filter(([layer]) => !site.layers[layer].of_class);
    return channels.sort((a, b) => b[3] - a[3]).map(([layer, channel]) => [layer, channel]);
  }

  async function gallery(pair: string, places: Place[]): Promise<() => HTMLElement[]> {
    const shown = places.slice(0, MOST_CHANNELS);
    const pictures = await data.manyPictures(shown);
    const items = shown.map(([layer, channel], k): Item => {
      const { name } = site.layers[layer];
      const alt = `Channel ${channel} of ${name}`;
      return { picture: pictures[k]?.channel ?? null, title: `channel ${channel}`, text: name, alt, open: true };
    });
    const said = `${places.length} only with ${wordsOf(pair)}${places.length > MOST_CHANNELS ? `, the ${MOST_CHANNELS} of highest score` : ""}`;
    return () => {
      if (!items.length) return [remark(said)];
      const slot = gallerySlot((k) => go({ page: "channel", layer: site.layers[shown[k][0]].name, channel: shown[k][1], pair }));
      slots.push(slot);
      slot.show({ label: `Only with ${wordsOf(pair)}`, size: 84, items });
      return [remark(said), slot.element];
    };
  }

  return { element, show, remove };
}

const COLUMN = { necessity: 1, random: 2, specificity: 3, p_value: 4, stability: 5, images: 6 } as const;

type SharedRow = [place: string, kind: string, value: number | null, low: number | null, high: number | null];

/** A line for each kind over the places. */
function series(rows: SharedRow[], places: string[]): Line[] {
  return [...new Set(rows.map(([, kind]) => kind))].map((name) => {
    const own = places.map((place) => rows.find((row) => row[0] === place && row[1] === name));
    return { name, values: own.map((row) => row?.[2] ?? null), ends: own.map((row) => [row?.[3] ?? null, row?.[4] ?? null]) };
  });
}
