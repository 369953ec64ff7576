// Explore: which classes are alike, what the network uses to recognise one, and how it connects.
import { el } from "../dom";
import { publish } from "../shelf";
import { images } from "../words";
import { isSingle } from "./chunks";
import type { ClassData } from "./data";
import { drawn } from "./drawing";
import { barsSlot, classesSlot, factsSlot, graphSlot } from "./parts";
import { choice, classFacts, heading, remark, type Context, type Page, type Wanted } from "./view";

export function explore({ data, go }: Context): Page {
  const { site } = data;
  let top: ClassData["top"] = [];
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
    select: (c) => go({ class: site.folders[c], pinned: null }),
    layer: (layer) => go({ layer }),
    list: ({ sort, search }) => go({ sort, search }),
  });
  const bars = barsSlot(({ chart, bar }) => {
    const [layer, counts] = top[chart];
    go({ page: "channel", layer: site.layers[layer].name, channel: counts[bar][0] });
  });
  const pairs = el("div");
  const badge = el("div");
  const head = el("div", { className: "head" }, facts.element, pairs);
  const absent = el("div", { className: "notice", hidden: true }, site.why.graphs);
  const used = el("div", {}, heading("Channels that most images of this class use"), bars.element);
  const left = isSingle() ? null : el("div", { className: "left" }, classes.element);
  const right = el("div", { className: "right" }, head, badge, absent, graph.element, isSingle() ? null : used);
  const element = el("div", { className: left ? "explore" : "single" }, left, right);

  async function show(wanted: Wanted, isStale: () => boolean): Promise<void> {
    const own = await data.cls(wanted.cls);
    const part = own.graphs[wanted.pair];
    const found = part && (await drawn(data, wanted, part, true));
    if (isStale()) return;
    facts.show(classFacts(data, wanted.cls));
    pairs.replaceChildren(...choosePair(data.site.pairs, wanted, go));
    absent.hidden = !!found;
    graph.element.hidden = !found;
    badge.replaceChildren(...(part?.badge ? [sentence(part.badge)] : []));
    if (found) {
      publish(found.extras);
      graph.show(found.data);
    }
    if (isSingle()) return;
    top = own.top;
    used.hidden = !top.length;
    bars.show({ charts: top.map(([layer, counts]) => chart(site.layers[layer].name, counts)), full: fullest(wanted, top), wide: false });
    await showClasses(wanted, isStale);
  }

  function fullest(wanted: Wanted, shown: ClassData["top"]): number {
    return Math.max(data.images[wanted.cls], ...shown.map(([, counts]) => counts[0]?.[1] ?? 1));
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

function chart(title: string, counts: [number, number][]) {
  const bars = counts.map(([channel, count]) => ({
    name: String(channel),
    value: count,
    label: `channel ${channel}, used by ${images(count)}`,
  }));
  return { title, bars };
}
