// The classes as Python sends them, and their order in the list.
import { unpack, type Numbers, type Packed } from "./packed";

export type Sort = "similarity" | "best" | "worst" | "name" | "images";

export interface ClassesData {
  store: string;
  names: string[];
  accuracy: Packed; // NaN: not known
  images: Packed;
  bins: number;
  histograms: Packed | null; // (class, bin), relative to the class's fullest bin
  layers: string[];
  layer: string;
  places: Numbers | null; // (class, 2)
  similarity: Numbers | null; // to the selected class, in the layer
  selected: number;
  against?: number | null; // the class it is compared with; undefined where nothing is compared
  sort: Sort;
  search: string;
  basis: string; // what similarity is taken from, where that is not everything
  why: { places: string; similarity: string };
}

export class ClassTable {
  readonly accuracy: ArrayLike<number>;
  readonly images: ArrayLike<number>;
  readonly histograms: ArrayLike<number> | null;
  readonly similarity: ArrayLike<number> | null;
  readonly places: ArrayLike<number> | null;
  private readonly lower: string[];

  constructor(readonly data: ClassesData) {
    this.accuracy = unpack(data.accuracy)!;
    this.images = unpack(data.images)!;
    this.histograms = unpack(data.histograms);
    this.similarity = unpack(data.similarity);
    this.places = unpack(data.places);
    this.lower = data.names.map((name) => name.toLocaleLowerCase());
  }

  get size(): number {
    return this.data.names.length;
  }

  accuracyOf(c: number): number | null {
    return Number.isNaN(this.accuracy[c]) ? null : this.accuracy[c];
  }

  /** Whether the store has what an order is by. */
  canSort(sort: Sort): boolean {
    if (sort === "similarity") return this.similarity !== null;
    if (sort === "images") return Array.from(this.images).some((n) => n > 0);
    return sort === "name" || Array.from(this.accuracy).some((share) => !Number.isNaN(share));
  }

  /** Classes whose name holds every word that is searched for, in the order asked for; ties by place. */
  ordered(sort: Sort, search: string): number[] {
    const words = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const found = [...this.lower.keys()].filter((c) => words.every((word) => this.lower[c].includes(word)));
    return found.sort((a, b) => this.compare(sort, a, b) || a - b);
  }

  private compare(sort: Sort, a: number, b: number): number {
    const falling = (values: ArrayLike<number> | null) => (values ? (values[b] || 0) - (values[a] || 0) : 0);
    if (sort === "similarity") return falling(this.similarity);
    if (sort === "images") return falling(this.images);
    if (sort === "name") return this.data.names[a].localeCompare(this.data.names[b], undefined, { numeric: true });
    const known = Number(this.accuracyOf(a) === null) - Number(this.accuracyOf(b) === null);
    return known || (sort === "best" ? 1 : -1) * falling(this.accuracy);
  }
}
