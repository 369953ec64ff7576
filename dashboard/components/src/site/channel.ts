// One channel: what it looks for, which classes use it, what it is made of and what it feeds.
import { el } from "../dom";
import { images, usedBy } from "../words";
import { distribution } from "./charts";
import { sourceRow, tile, type ChannelData, type Data, type GraphPart, type PictureData, type Place } from "./data";
import { choosePair } from "./explore";
import { barsSlot, factsSlot, gallerySlot, type Item } from "./parts";
import { table } from "./table";
import { choice, countedClasses, heading, largest, remark, type Context, type Page, type Wanted } from "./view";

const OUTLINED =
  "The line runs where the channel is at half of its maximum: inside it fires. Below: how strongly, where in the whole picture, and in how much of it. Point at a picture to see it without the line.";

export function channelPage({ data, go }: Context): Page {
  const { site } = data;
  const element = el("div", { className: "page" });
  let slots: { remove(): void }[] = [];

  async function show(wanted: Wanted, isStale: () => boolean): Promise<void> {
    const layer = data.indexOf(wanted.layer);
    const channel = await chosen(data, wanted);
    const [facts, seen, own] = await Promise.all([data.channel(layer, channel), data.pictures(layer, channel), data.cls(wanted.cls)]);
    const neighbours = wanted.alone ? inGraph(own.graphs[wanted.pair], layer, channel) : facts.neighbours[wanted.pair];
    const shown: Place[] = [
      ...facts.alike.map(([k]): Place => [layer, k]),
      ...[...(neighbours?.sources ?? []), ...(neighbours?.targets ?? [])].map(([l, k]): Place => [l, k]),
    ];
    const pictures = await data.manyPictures(shown);
    if (isStale()) return;
    remove();
    element.replaceChildren(
      choose(wanted, layer, channel),
      ...top(layer, channel, facts),
      el(
        "div",
        { className: "two" },
        el("div", {}, ...looks(layer, channel, seen), ...alike(layer, facts, pictures)),
        el("div", {}, ...users(layer, channel, facts), ...around(wanted, own.graphs[wanted.pair], layer, channel, neighbours, pictures.slice(facts.alike.length)), ...values(facts)),
      ),
    );
  }

  const remove = () => slots.splice(0).forEach((slot) => slot.remove());
  const kept = <Kind extends { remove(): void }>(slot: Kind): Kind => (slots.push(slot), slot);

  function choose(wanted: Wanted, layer: number, channel: number): HTMLElement {
    const names = data.layers.map((known) => known.name);
    const number = el("input", { type: "number", min: "0", max: String(site.layers[layer].channels - 1), value: String(channel) });
    number.onchange = () => go({ layer: wanted.layer, channel: Number(number.value) });
    const layers = choice("Layer", names, names.indexOf(wanted.layer), (k) => go({ layer: names[k], channel: null }));
    return el("div", { className: "choices" }, layers, el("label", { className: "choice" }, "Channel", number));
  }

  function top(layer: number, channel: number, facts: ChannelData): HTMLElement[] {
    const slot = kept(factsSlot());
    const used: [string, string][] = [
      ["Used by", `${facts.n_classes.toLocaleString("en")} of ${countedClasses(site.names.length)}`],
      ["Images", facts.n_images.toLocaleString("en")],
    ];
    const [name, remarks] = data.called(layer, channel);
    const title = `${site.layers[layer].name} · channel ${channel}${name && ` · ${name}`}`;
    const note = [remarks, facts.note].filter(Boolean).join("\n");
    slot.show({ title, level: 2, note, facts: used, histogram: null });
    const notes = site.layers[layer].notes;
    const said = notes && `Influences into ${site.layers[layer].name} are measured behind what each image makes of the maps on the way: ${notes}.`;
    const partial = site.partial && "Of the counts, this store holds those of the classes' graphs alone.";
    return [slot.element, ...[said, partial].filter((text): text is string => !!text).map(remark)];
  }

  function looks(layer: number, channel: number, seen: PictureData | null): HTMLElement[] {
    const name = `channel ${channel} of ${site.layers[layer].name}`;
    const item = (picture: string, title: string): Item => ({ picture, title, text: "", alt: `Picture of ${name}: ${title}`, open: false });
    const made = seen?.channel && !seen.is_example ? [item(seen.channel, "the channel")] : [];
    made.push(...(seen?.kinds ?? []).map((kind, k) => item(tile(seen!, k), kind)));
    const why = site.has.pictures ? "No picture was made of this channel." : site.why.pictures;
    return [heading("What it looks for"), gallery(made, "Pictures of the channel", 150) ?? remark(why), ...examples(seen)];
  }

  function examples(seen: PictureData | null): HTMLElement[] {
    if (!site.has.examples) return [];
    const items = (seen?.examples ?? []).map(({ title, text, fires }, k): Item => {
      return { picture: tile(seen!, seen!.kinds.length + k), title, text, alt: `Example: ${title}`, open: false, fires };
    });
    const said = items.some((item) => item.fires) ? [remark(OUTLINED)] : [];
    return [heading("Images that excite it most"), ...said, gallery(items, "Examples", 112) ?? remark("This site holds examples of the channels in graphs alone."), ...(site.credit && items.length ? [remark(site.credit)] : [])];
  }

  function alike(layer: number, facts: ChannelData, pictures: (PictureData | null)[]): HTMLElement[] {
    if (!site.has.counts) return [];
    const places = facts.alike.map(([k]): Place => [layer, k]);
    const texts = facts.alike.map(([, similarity]) => `similarity ${similarity.toFixed(2)}`);
    return [heading("Channels used by the same classes"), channels("alike", places, texts, pictures)];
  }

  function channels(label: string, places: Place[], texts: string[], pictures: (PictureData | null)[]): HTMLElement {
    const items = places.map(([layer, channel], k): Item => ({
      picture: pictures[k]?.channel ?? null,
      title: `channel ${channel}`,
      text: texts[k],
      alt: `Channel ${channel} of ${site.layers[layer].name}`,
      open: true,
    }));
    const open = (k: number) => go({ page: "channel", layer: site.layers[places[k][0]].name, channel: places[k][1] });
    return gallery(items, label, 84, open) ?? remark("None.");
  }

  function gallery(items: Item[], label: string, size: number, open?: (k: number) => void): HTMLElement | null {
    if (!items.length) return null;
    const slot = kept(gallerySlot(open));
    slot.show({ label, size, items });
    return slot.element;
  }

  function users(layer: number, channel: number, facts: ChannelData): HTMLElement[] {
    const title = heading("Classes that use it most");
    if (!facts.top.length) return [title, remark("No class uses this channel.")];
    const pinned = { layer: site.layers[layer].name, channel };
    const slot = kept(barsSlot(({ bar }) => go({ page: "explore", class: site.folders[facts.top[bar][0]], pinned })));
    const bars = facts.top.map(([c, count]) => {
      return { name: site.names[c], value: count, label: `${site.names[c]}: ${usedBy(count, data.images[c])}` };
    });
    slot.show({ charts: [{ title: "", bars }], full: facts.top[0][1], wide: true });
    return [title, remark("A click opens the graph of the class."), slot.element];
  }

  function around(
    wanted: Wanted,
    part: GraphPart | undefined,
    layer: number,
    channel: number,
    found: ChannelData["neighbours"][string] | undefined,
    pictures: (PictureData | null)[],
  ): HTMLElement[] {
    if (!found) return [];
    const alone = el("input", { type: "checkbox", checked: wanted.alone, onchange: () => go({ alone: alone.checked }) });
    const row = (rows: ChannelData["neighbours"][string]["sources"], seen: (PictureData | null)[], label: string) => {
      const texts = rows.map(([l, , n, classes]) => [site.layers[l].name, images(n), ...(wanted.alone ? [] : [countedClasses(classes)])].join("\n"));
      return [remark(label), channels(label, rows.map(([l, k]): Place => [l, k]), texts, seen)];
    };
    return [
      heading("What it is made of, and what it feeds"),
      ...choosePair(site.pairs, wanted, go),
      el("label", { className: "choice" }, alone, "In the graph of the selected class alone"),
      ...(wanted.alone ? [remark(`Class: ${site.names[wanted.cls]}`)] : []),
      ...row(found.sources, pictures, "Strongest sources"),
      ...row(found.targets, pictures.slice(found.sources.length), "Strongest targets"),
      ...(wanted.alone && part ? strongest(part, layer, channel) : []),
    ];
  }

  /** The sources of a node, whether or not they are in the graph. */
  function strongest(part: GraphPart, layer: number, channel: number): HTMLElement[] {
    const n = part.nodes.findIndex(([l, k]) => l === layer && k === channel);
    if (n < 0 || !part.sources[n].length) return [];
    const rows = part.sources[n].map((source) => sourceRow(site, source));
    const cells = rows.map((row) => [row.layer, row.channel, row.influence, row.through && `${row.through.layer} ${row.through.channel}`]);
    return [
      remark(`Strongest sources, whether or not they are in the graph. ${part.note}`),
      table(["layer", "channel", "influence", "through"], cells, "sources.csv"),
    ];
  }

  function values(facts: ChannelData): HTMLElement[] {
    if (!facts.values) return [];
    const { first, step, shares } = facts.values;
    const label = "Share of images per range of the channel's activation";
    return [heading("How strongly images excite it"), distribution(first, step, shares, "strongest activation in an image", label)];
  }

  return { element, show, remove };
}

/** The channel of the address; where it says none, the one that most images of the class use. */
async function chosen(data: Data, wanted: Wanted): Promise<number> {
  const layer = data.indexOf(wanted.layer);
  if (wanted.channel !== null) return Math.min(wanted.channel, data.site.layers[layer].channels - 1);
  const used = await data.used(wanted.cls, data.site.pairs[0]?.name);
  return largest(used.of(layer) ?? [], 1)[0] ?? 0;
}

/** Neighbours of a channel in the graph of one class, strongest first. */
function inGraph(part: GraphPart | undefined, layer: number, channel: number): ChannelData["neighbours"][string] | undefined {
  if (!part) return undefined;
  const n = part.nodes.findIndex(([l, k]) => l === layer && k === channel);
  const ends = (own: 0 | 1) =>
    part.edges
      .filter((edge) => edge[own] === n)
      .map((edge): [number, number, number, number] => [part.nodes[edge[1 - own]][0], part.nodes[edge[1 - own]][1], edge[2], 1])
      .sort((a, b) => b[2] - a[2] || a[1] - b[1])
      .slice(0, 8);
  return { sources: ends(1), targets: ends(0) };
}
