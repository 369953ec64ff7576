// Where the extras of the graph on the page lie. The bundles of two components share no module, hence the document.
import type { Details, SourceRow } from "./card";
import type { Holders } from "./holders";
import type { Channel, Communities } from "./model";

export interface Extras {
  id: string; // the graph's
  pictures?: (string | null)[]; // of its nodes, which were drawn without
  details?: (Details & Channel)[];
  files?: { name: string; type: string; text: string }[];
  pinned?: Details & Channel & Found;
  holders?: Holders;
  together?: Communities;
}

interface Found {
  sources: SourceRow[];
  note: string;
  sources_b?: SourceRow[]; // of B, in a pair
  note_b?: string;
  lowering: SourceRow[];
  lowering_b?: SourceRow[];
}

const KEPT = 4; // a graph on the page holds its own extras
const EVENT = "summit-dask-extras";
const holder = globalThis as { summitDaskExtras?: Map<string, Extras> };

function shelf(): Map<string, Extras> {
  holder.summitDaskExtras ??= new Map();
  return holder.summitDaskExtras;
}

export function publish(extras: Extras): void {
  const kept = shelf().get(extras.id) ?? {};
  shelf().delete(extras.id);
  shelf().set(extras.id, { ...kept, ...extras });
  for (const old of [...shelf().keys()].slice(0, -KEPT)) shelf().delete(old);
  document.dispatchEvent(new CustomEvent(EVENT));
}

export function extrasOf(id: string): Extras | undefined {
  return shelf().get(id);
}

export function onExtras(listener: () => void): () => void {
  document.addEventListener(EVENT, listener);
  return () => document.removeEventListener(EVENT, listener);
}
