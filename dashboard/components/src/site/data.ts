// What the site's files hold (dashboard/site writes them), and what follows from it.
import type { Marks } from "../model";
import type { Details, SourceRow } from "../card";
import type { Fires } from "../outline";
import { unpack, type Numbers, type Packed } from "../packed";
import { chunk, fileOf, inflated } from "./chunks";

export interface LayerFacts {
  name: string;
  channels: number; // 0: a row of the class itself
  shown: boolean; // visible, and with maps: a layer to choose
  of_class: boolean;
  hidden: boolean;
  pictures: number[]; // channels with a file of pictures
  notes: string;
}

export interface SiteData {
  title: string;
  credit: string;
  facts: [string, string][];
  folders: string[];
  names: string[];
  synsets: string[];
  accuracy: Packed; // NaN: not known
  images: Packed;
  bins: number;
  histograms: Packed | null;
  layers: LayerFacts[]; // all of the network, input side first
  pairs: { name: string; words: string; nodes: string; edges: string; largest: number }[];
  called: [layer: number, channel: number, name: string, note: string][]; // what people call channels
  nearest: number[]; // of each class, the one to compare it with first; -1: there is no other
  basis: string;
  partial: boolean; // whether only the channels of graphs have counts
  has: { counts: boolean; embedding: boolean; pictures: boolean; examples: boolean; predictions: boolean };
  untested: Record<string, string>; // pairs of measures without evidence, and why
  why: Record<"embedding" | "matrices" | "pictures" | "examples" | "graphs" | "activations", string>;
  used: { layer: string; kind: string; channels: number }[];
  quarters: { layer: string; classes: string; similarity: number }[];
}

export interface LayerData {
  counts: Deflated | null; // (class, channel)
  places: Packed | null;
  rows: number[]; // classes, like ones together
  columns: number[]; // channels that any class uses, like ones together
  users: { classes: string; channels: number }[];
  shared: [channel: number, classes: number][];
  specific: [channel: number, classes: number, most: number][];
}

type Integers = Uint8Array | Uint16Array | Int32Array;

export interface Deflated {
  dtype: "uint8" | "uint16" | "int32";
  deflate: string;
}

export type Place = [layer: number, channel: number];

type Source = [layer: number, channel: number, influence: number, through?: [number, number, number]];

export interface GraphPart {
  nodes: [layer: number, channel: number, count: number, score: number][];
  edges: [source: number, target: number, influence: number, identity: number][];
  marks: Marks | null;
  badge: { sentence: string; meaning: string } | null;
  sources: Source[][]; // of each node
  lowering: Source[][];
  note: string;
}

export interface ClassData {
  graphs: Record<string, GraphPart>;
  counts: Record<string, number[]>; // by what nodes are measured by: of all channels, layer after layer
  predictions: Predictions | null;
  evidence: Record<string, Evidence | null>; // by pair of measures
  by_measures: { columns: string[]; rows: (string | number)[][] } | null;
}

type End = number | null;

/** Shares with their intervals. */
export interface Evidence {
  choices: [kind: string, value: number, low: End, high: End][]; // the graph itself first
  by_layer: [layer: string, kind: string, value: number, low: End, high: End][];
  enough: [layer: string, kind: string, share: number, value: number, low: End, high: End][];
  truth: [layer: string, measure: string, capture: number, of_class: number | null][];
  said: Record<"necessity" | "elsewhere" | "by_layer" | "enough" | "truth" | "ranks", string>;
}

/** Of all classes that were tested. */
export interface AllEvidence {
  rows: [cls: number, necessity: End, random: End, specificity: End, p_value: End, stability: End, images: End][];
  said: [all: string, weakest: string];
}

export interface Predictions {
  taken_for: [name: string, index: number, images: number, probability: number][]; // index: of the class here, or -1
  names: string[]; // of what the network can answer, as far as it did
  images: [file: string, probability: number, correct: number, predicted: [name: number, probability: number][]][];
  total: number;
}

export interface PictureData {
  channel: string | null; // its node's picture
  is_example: boolean; // whether that is an example, for lack of a made one
  kinds: string[]; // what the further pictures are, the first tiles of the file
  examples: { title: string; text: string; fires: Fires | null }[]; // what the tiles behind them are
  tiles: string | null; // the file
}

type Neighbour = [layer: number, channel: number, influence: number, classes: number];

export interface ChannelData {
  n_classes: number;
  n_images: number;
  top: [cls: number, count: number][];
  alike: [channel: number, similarity: number][];
  neighbours: Record<string, { sources: Neighbour[]; targets: Neighbour[] }>; // by pair of measures
  values: { first: number; step: number; shares: number[] } | null;
  note: string;
}

export const CHANNELS_IN_FILE = 16;

/** A layer's counts, and how alike classes are by them. */
export class Counts {
  private readonly lengths: Float64Array;

  constructor(
    readonly values: ArrayLike<number>,
    readonly n_classes: number,
    readonly n_channels: number,
  ) {
    this.lengths = Float64Array.from({ length: n_classes }, (_, c) => Math.sqrt(this.product(c, c)));
  }

  of(c: number): number[] {
    return Array.prototype.slice.call(this.values, c * this.n_channels, (c + 1) * this.n_channels);
  }

  /** Cosine of each class's counts and those of one class; 0 for a class without counts. */
  similarityTo(c: number): Float32Array {
    const cosine = (other: number) => this.product(c, other) / (this.lengths[c] * this.lengths[other] || 1);
    return Float32Array.from({ length: this.n_classes }, (_, other) => Math.min(1, cosine(other)));
  }

  total(): number[] {
    const sum = new Array<number>(this.n_channels).fill(0);
    for (let k = 0; k < this.values.length; k++) sum[k % this.n_channels] += this.values[k];
    return sum;
  }

  private product(a: number, b: number): number {
    let sum = 0;
    const [from, other] = [a * this.n_channels, b * this.n_channels];
    for (let k = 0; k < this.n_channels; k++) sum += this.values[from + k] * this.values[other + k];
    return sum;
  }
}

/** How many images of a class use each channel. */
export class Used {
  private readonly parts = new Map<number, Integers>();

  constructor(values: Integers | null, layers: LayerFacts[]) {
    let at = 0;
    layers.forEach((layer, k) => {
      if (values && layer.shown) this.parts.set(k, values.subarray(at, (at += layer.channels)));
    });
  }

  /** Of a layer, by its place; null where that isn't known. */
  of(layer: number): Integers | null {
    return this.parts.get(layer) ?? null;
  }

  /** The largest of any layer. */
  largest(): number {
    let most = 1;
    for (const part of this.parts.values()) for (const n of part) most = Math.max(most, n);
    return most;
  }
}

export interface LoadedLayer extends Omit<LayerData, "counts" | "places"> {
  counts: Counts | null;
  places: Numbers | null;
}

/** The whole of a site's data, each part loaded when it is asked for. */
export class Data {
  readonly images: ArrayLike<number>;
  readonly accuracy: ArrayLike<number>;
  readonly layers: LayerFacts[]; // those to choose from
  private readonly loaded = new Map<string, Promise<LoadedLayer>>();

  constructor(readonly site: SiteData) {
    this.images = unpack(site.images)!;
    this.accuracy = unpack(site.accuracy)!;
    this.layers = site.layers.filter((layer) => layer.shown);
  }

  indexOf(layer: string): number {
    return this.site.layers.findIndex((known) => known.name === layer);
  }

  cls(c: number): Promise<ClassData> {
    return chunk(`class/${c}`);
  }

  /** How many images of a class use each channel, by what a pair of measures counts. */
  async used(c: number, pair: string): Promise<Used> {
    const { counts } = await this.cls(c);
    const nodes = this.site.pairs.find((known) => known.name === pair)?.nodes ?? "activation";
    return new Used(counts[nodes] ? Int32Array.from(counts[nodes]) : null, this.site.layers);
  }

  evidence(pair: string): Promise<AllEvidence> {
    return chunk(`evidence/${pair}`);
  }

  /** What people call a channel, and what is noted of it; mostly empty. */
  called(layer: number, channel: number): [name: string, note: string] {
    const [, , name, note] = this.site.called.find(([l, k]) => l === layer && k === channel) ?? [0, 0, "", ""];
    return [name, note];
  }

  layer(name: string): Promise<LoadedLayer> {
    const found = this.loaded.get(name) ?? this.loadLayer(name);
    this.loaded.set(name, found);
    found.catch(() => this.loaded.delete(name));
    return found;
  }

  private async loadLayer(name: string): Promise<LoadedLayer> {
    const k = this.indexOf(name);
    const data = await chunk<LayerData>(`layer/${k}`);
    const values = data.counts && (await integers(data.counts));
    return { ...data, counts: values && new Counts(values, this.site.names.length, this.site.layers[k].channels) };
  }

  async channel(layer: number, channel: number): Promise<ChannelData> {
    const block = Math.floor(channel / CHANNELS_IN_FILE);
    return (await chunk<ChannelData[]>(`channel/${layer}/${block}`))[channel % CHANNELS_IN_FILE];
  }

  /** What is to be seen of a channel; null where nothing is. */
  async pictures(layer: number, channel: number): Promise<PictureData | null> {
    return this.site.layers[layer].pictures.includes(channel) ? chunk(`picture/${layer}/${channel}`) : null;
  }

  /** The pictures of several channels; what can't be loaded counts as not there. */
  async manyPictures(channels: [layer: number, channel: number][]): Promise<(PictureData | null)[]> {
    const found = await Promise.allSettled(channels.map(([layer, channel]) => this.pictures(layer, channel)));
    return found.map((one) => (one.status === "fulfilled" ? one.value : null));
  }
}

/** The k-th of the small pictures of a channel. */
export function tile(data: PictureData, k: number): string {
  const address = data.tiles!.startsWith("data:") ? data.tiles! : fileOf(data.tiles!);
  return `${address}#${k}/${data.kinds.length + data.examples.length}`;
}

/** What a node's card shows beside its facts. */
export function details(data: PictureData | null): Details {
  if (!data) return { picture: null, diversity: [], examples: [] };
  const versions = [...data.kinds.keys()].filter((k) => data.kinds[k].startsWith("version"));
  return {
    picture: null,
    diversity: versions.map((k) => tile(data, k)),
    examples: data.examples.map(({ title, text, fires }, k) => ({
      picture: tile(data, data.kinds.length + k),
      label: [title, ...text.split("\n")].filter(Boolean).join(", "),
      fires,
    })),
  };
}

export function sourceRow(site: SiteData, [layer, channel, influence, through]: Source): SourceRow {
  const { name, hidden } = site.layers[layer];
  const by = through && { layer: site.layers[through[0]].name, channel: through[1], influence: through[2] };
  return { layer: name, channel, influence, hidden, through: by ?? null };
}

async function integers({ dtype, deflate }: Deflated): Promise<Integers> {
  const buffer = await inflated(deflate);
  return { uint8: () => new Uint8Array(buffer), uint16: () => new Uint16Array(buffer), int32: () => new Int32Array(buffer) }[dtype]();
}
