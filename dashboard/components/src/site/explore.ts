// Explore: which classes are alike, what the network uses to recognise one, and how it connects.
import { el } from "../dom";
import { images } from "../words";
import { isSingle } from "./chunks";
import type { Used } from "./data";
import { drawn, showDrawn } from "./drawing";
import { drawnPair } from "./pair";
import { barsSlot, classesSlot, factsSlot, graphSlot } from "./parts";
import { versus } from "./versus";
import { choice, classFacts, heading, largest, remark, type Context, type Page, type Wanted } from "./view";

const TOP = 5;

interface Top {
  layer: string;
  channels: number[];
  counts: number[];
}

export function explore(context: Context): Page {
  const { data, go, wanted: now } = context;
  const { site } = data;
  let top: Top[] = [];
  const facts = factsSlot();
  const graph = graphSlot({
    pin: (pinned) => go({ pinned }),
    view: (view) => go({ view }),
    open: (channel) => {
      const layer = site.layers[data.indexOf(channel.layer)];
      go(layer.of_class ? { page: "classes" } : { page: "channel", layer: channel.layer, channel: channel.channel });
    },
  });
  const classes = classesSlot({
    select: (c) => go({ class: site.folders[c], vs: now().against === c ? null : now().vs }),
    versus: (c) => go({ vs: site.folders[c] }),
    layer: (layer) => go({ layer }),
    list: ({ sort, search }) => go({ sort, search }),
  });
  const bars = barsSlot(({ chart, bar }) => {
    go({ page: "channel", layer: top[chart].layer, channel: top[chart].channels[bar] });
  });
  const pairs = el("div");
  const badge = el("div");
  const against = isSingle() || site.names.length < 2 ? null : versus(context);
  const head = el("div", { className: "head" }, facts.element, against && against.element, pairs);
  const absent = el("div", { className: "notice", hidden: true }, site.why.graphs);
  const used = el("div", {}, heading("Channels that most images of this class use"), bars.element);
  const left = isSingle() ? null : el("div", { className: "left" }, classes.element);
  const right = el("div", { className: "right" }, head, badge, absent, graph.element, isSingle() ? null : used);
  const element = el("div", { className: left ? "explore" : "single" }, left, right);

  async function show(wanted: Wanted, isStale: () => boolean): Promise<void> {
    const own = await data.cls(wanted.cls);
    const part = own.graphs[wanted.pair];
    const found = part && (await (wanted.against === null ? drawn(data, wanted, part, true) : pairOf(wanted, wanted.against)));
    if (isStale()) return;
    facts.show(classFacts(data, wanted.cls, sides(wanted)));
    against?.show(wanted);
    pairs.replaceChildren(...choosePair(data.site.pairs, wanted, go));
    absent.hidden = !!found;
    graph.element.hidden = !found;
    badge.replaceChildren(...(part?.badge && wanted.against === null ? [sentence(part.badge)] : []));
    if (found) showDrawn(found, graph);
    if (isSingle()) return;
    showTop(wanted, await data.used(wanted.cls, site.pairs[0]?.name));
    await showClasses(wanted, isStale);
  }

  async function pairOf(wanted: Wanted, other: number) {
    return drawnPair(data, wanted, other, await data.cls(wanted.cls), await data.cls(other));
  }

  /** What is A and what is B. */
  function sides(wanted: Wanted): [string, string][] {
    if (wanted.against === null) return [];
    const said = (c: number) => (data.images[c] ? `${site.names[c]} (${images(data.images[c])})` : site.names[c]);
    return [
      ["A", said(wanted.cls)],
      ["B", said(wanted.against)],
    ];
  }

  function showTop(wanted: Wanted, of: Used): void {
    top = [...site.layers.keys()].reverse().flatMap((layer) => {
      const counts = of.of(layer);
      const channels = largest(counts ?? [], TOP);
      return counts ? [{ layer: site.layers[layer].name, channels, counts: channels.map((k) => counts[k]) }] : [];
    });
    used.hidden = !top.length;
    const full = Math.max(data.images[wanted.cls], ...top.map(({ counts }) => counts[0] ?? 1));
    bars.show({ charts: top.map(chart), full, wide: false });
  }

  async function showClasses(wanted: Wanted, isStale: () => boolean): Promise<void> {
    const layer = await data.layer(wanted.layer);
    if (isStale()) return;
    const similarity = layer.counts?.similarityTo(wanted.cls) ?? null;
    classes.show({
      store: "site",
      names: site.names,
      accuracy: site.accuracy,
      images: site.images,
      bins: site.bins,
      histograms: site.histograms,
      layers: data.layers.map((known) => known.name),
      layer: wanted.layer,
      places: layer.places,
      similarity,
      selected: wanted.cls,
      against: wanted.against,
      sort: similarity || wanted.sort !== "similarity" ? wanted.sort : "name",
      search: wanted.search,
      basis: site.basis,
      why: { places: site.why.embedding, similarity: site.why.matrices },
    });
  }

  const remove = () => [graph, classes, bars, facts].forEach((slot) => slot.remove());
  return { element, show, remove };
}

/** Which pair of measures the graphs are of, where there are several. */
export function choosePair(pairs: { name: string; words: string }[], wanted: Wanted, go: Context["go"]): HTMLElement[] {
  if (pairs.length < 2) return [];
  const at = pairs.findIndex((pair) => pair.name === wanted.pair);
  const names = pairs.map((pair) => pair.words);
  return [choice("Measured by", names, at, (k) => go({ pair: k ? pairs[k].name : null }))];
}

/** What evidence says of the graph; its meaning opens with a click. */
export function sentence(badge: { sentence: string; meaning: string }): HTMLElement {
  const meaning = badge.meaning.split("\n\n").map(remark);
  return el("details", { className: "badge" }, el("summary", {}, badge.sentence), ...meaning);
}

function chart({ layer, channels, counts }: Top) {
  const bars = channels.map((channel, k) => ({
    name: String(channel),
    value: counts[k],
    label: `channel ${channel}, used by ${images(counts[k])}`,
  }));
  return { title: layer, bars };
}
