// Layers: how the classes share a layer's channels, and what changes from layer to layer.
import { el } from "../dom";
import { images } from "../words";
import { columns, lines, stacked, type Line } from "./charts";
import type { Counts, LoadedLayer, PictureData } from "./data";
import { barsSlot, gallerySlot, heatmapSlot, type Item } from "./parts";
import { choice, countedClasses, heading, largest, remark, type Context, type Page, type Wanted } from "./view";

const TOP = 10;
const ALIKE = 5;

export function layersPage({ data, go }: Context): Page {
  const { site } = data;
  const element = el("div", { className: "page" });
  let slots: { remove(): void }[] = [];

  async function show(wanted: Wanted, isStale: () => boolean): Promise<void> {
    const layer = await data.layer(wanted.layer);
    const k = data.indexOf(wanted.layer);
    const shared = [...layer.shared, ...layer.specific].map(([channel]): [number, number] => [k, channel]);
    const pictures = await data.manyPictures(shared);
    if (isStale()) return;
    remove();
    const counts = layer.counts;
    if (!counts) return element.replaceChildren(title(), choose(wanted), el("p", { className: "notice" }, site.why.matrices));
    const partial = "Of the counts, this store holds those of the classes' graphs alone; other channels count as unused.";
    const alike = el("div");
    const heat = heatmap(wanted.layer, layer, counts);
    element.replaceChildren(
      title(),
      choose(wanted),
      site.partial ? remark(partial) : "",
      two(top(`Most used for ${site.names[wanted.cls]}`, counts.of(wanted.cls)), top("Most used over all classes", counts.total())),
      two(used(), users(layer)),
      two(most(layer, pictures), specific(layer, pictures.slice(layer.shared.length))),
      heading(`All classes and channels of ${wanted.layer}`),
      remark("Like classes and like channels stand together; a click opens the channel."),
      heat.element,
      two([alike], nearest()),
    );
    heat.draw(); // in its place, where it knows the page's colours
    const found = await similarities(wanted);
    if (!isStale()) alike.replaceChildren(...mostAlike(wanted, found));
  }

  const remove = () => slots.splice(0).forEach((slot) => slot.remove());
  const kept = <Kind extends { remove(): void }>(slot: Kind): Kind => (slots.push(slot), slot);
  const title = () => el("h2", {}, "Layers: how classes share channels");
  const two = (left: Node[], right: Node[]) => el("div", { className: "two" }, el("div", {}, ...left), el("div", {}, ...right));
  const open = (channel: number) => go({ page: "channel", channel });

  function choose(wanted: Wanted): HTMLElement {
    const names = data.layers.map((known) => known.name);
    return el(
      "div",
      { className: "choices" },
      choice("Layer", names, names.indexOf(wanted.layer), (k) => go({ layer: names[k], channel: null })),
      choice("Class", site.names, wanted.cls, (c) => go({ class: site.folders[c] })),
    );
  }

  function top(text: string, values: number[]): HTMLElement[] {
    const best = largest(values, TOP);
    if (!best.length) return [heading(text), remark("None.")];
    const slot = kept(barsSlot(({ bar }) => open(best[bar])));
    const bars = best.map((k) => ({ name: String(k), value: values[k], label: `channel ${k}, used by ${images(values[k])}` }));
    slot.show({ charts: [{ title: "", bars }], full: values[best[0]], wide: true });
    return [heading(text), slot.element];
  }

  function used(): HTMLElement[] {
    return [heading("How many channels are used at all"), stacked(site.used, "Channels of each layer that classes use")];
  }

  function users(layer: LoadedLayer): HTMLElement[] {
    const rows = layer.users.map(({ classes, channels }) => ({ name: classes, value: channels }));
    const label = "Number of channels by how many classes use them";
    return [heading("How many classes share a channel"), columns(rows, "classes that use a channel", "channels", label)];
  }

  function most({ shared }: LoadedLayer, pictures: (PictureData | null)[]): HTMLElement[] {
    const texts = shared.map(([, n]) => countedClasses(n));
    return [heading("Shared by most classes"), channels("shared", shared.map(([k]) => k), texts, pictures)];
  }

  function specific({ specific: few }: LoadedLayer, pictures: (PictureData | null)[]): HTMLElement[] {
    const texts = few.map(([, n, c]) => `${site.names[c]}\n${countedClasses(n)}`);
    return [heading("Most specific to few classes"), channels("specific", few.map(([k]) => k), texts, pictures)];
  }

  function channels(label: string, shown: number[], texts: string[], pictures: (PictureData | null)[]): HTMLElement {
    const items = shown.map((k, i): Item => ({ picture: pictures[i]?.channel ?? null, title: `channel ${k}`, text: texts[i], alt: `Channel ${k}`, open: true }));
    const slot = kept(gallerySlot((i) => open(shown[i])));
    slot.show({ label, size: 84, items });
    return slot.element;
  }

  function heatmap(name: string, { rows, columns: order }: LoadedLayer, counts: Counts): { element: HTMLElement; draw(): void } {
    const values = Int32Array.from({ length: rows.length * order.length }, (_, cell) => {
      const [r, k] = [Math.floor(cell / order.length), cell % order.length];
      return counts.values[rows[r] * counts.n_channels + order[k]];
    });
    const slot = kept(heatmapSlot(({ column }) => open(order[column])));
    const shown = {
      label: `Images of each class (rows) that use each channel of ${name} (columns)`,
      rows: rows.map((c) => site.names[c]),
      columns: order.map(String),
      column: "channel ",
      values,
      largest: values.reduce((most, n) => Math.max(most, n), 1),
      gamma: 0.5,
      unit: "image",
    };
    return { element: slot.element, draw: () => slot.show(shown) };
  }

  /** Of one class to all, in every layer. */
  async function similarities(wanted: Wanted): Promise<(Float32Array | null)[]> {
    const layers = await Promise.all(data.layers.map((layer) => data.layer(layer.name)));
    return layers.map((layer) => layer.counts?.similarityTo(wanted.cls) ?? null);
  }

  function mostAlike(wanted: Wanted, found: (Float32Array | null)[]): HTMLElement[] {
    const name = site.names[wanted.cls];
    const names = data.layers.map((layer) => layer.name);
    const best = largest(found[names.indexOf(wanted.layer)] ?? [], ALIKE, (c) => c !== wanted.cls);
    const text = heading(`The classes most like ${name} in ${wanted.layer}, in every layer`);
    if (!best.length) return [text, remark("No other class uses any of its channels.")];
    const series = best.map((c): Line => ({ name: site.names[c], values: found.map((values) => values && values[c]) }));
    return [text, lines(names, series, "similarity", `Similarity to ${name}`)];
  }

  function nearest(): HTMLElement[] {
    const text = heading("Similarity to the nearest class, by accuracy");
    if (!site.quarters.length) return [text, remark("The accuracy of these classes isn't known.")];
    const places = [...new Set(site.quarters.map((row) => row.layer))];
    const kinds = [...new Set(site.quarters.map((row) => row.classes))];
    const value = (layer: string, kind: string) => site.quarters.find((row) => row.layer === layer && row.classes === kind)!.similarity;
    const series = kinds.map((kind): Line => ({ name: kind, values: places.map((layer) => value(layer, kind)) }));
    return [text, lines(places, series, "mean similarity", "Nearest class by accuracy")];
  }

  return { element, show, remove };
}
