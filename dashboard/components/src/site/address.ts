// What is shown, as the address says it behind "#": the words are those of the dashboard's address (selection.py).
//
//   #/channel?class=n02077923&layer=mixed4d&channel=3
import type { Channel, View } from "../model";
import type { Sort } from "../classtable";

export type PageName = "explore" | "channel" | "layers" | "classes" | "evidence";

export const PAGES: [PageName, string][] = [
  ["explore", "Explore"],
  ["channel", "Channel"],
  ["layers", "Layers"],
  ["classes", "Class"],
  ["evidence", "Evidence"],
];

export interface Selection {
  page: PageName;
  class: string | null;
  layer: string | null;
  channel: number | null;
  pinned: Channel | null;
  sort: Sort;
  search: string;
  view: View;
  alone: boolean; // on the page of a channel: the neighbours in the class's graph alone
  pair: string | null; // what the graphs are measured by
  vs: string | null; // the class that this one is held against
  computed: boolean; // whether it asks for what only the dashboard can work out
}

const SORTS = ["similarity", "best", "worst", "name", "images"];
const COMPUTED = ["p", "mass", "out_layer", "keep_excluded", "misclassified"];
const CLASS = "class:"; // of all that "vs" can say, what a site has
const USUAL: View = { least_count: 0, width: 1, height: 1, scale: "class", only_effective: false };

/** Reading never fails: what can't be understood counts as not said. */
export function read(hash: string): Selection {
  const [path, query] = hash.replace(/^#?\/?/, "").split("?", 2);
  const said = new URLSearchParams(query ?? "");
  const pinned = whole(said.get("pin_channel"));
  const layer = said.get("pin_layer");
  const sort = said.get("sort") ?? "";
  const vs = said.get("vs");
  const isClass = vs !== null && vs.startsWith(CLASS) && vs !== CLASS;
  return {
    page: PAGES.find(([name]) => name === path)?.[0] ?? "explore",
    class: said.get("class"),
    layer: said.get("layer"),
    channel: whole(said.get("channel")),
    pinned: layer !== null && pinned !== null ? { layer, channel: pinned } : null,
    sort: (SORTS.includes(sort) ? sort : "similarity") as Sort,
    search: said.get("search") ?? "",
    view: {
      least_count: whole(said.get("least_count")) ?? 0,
      width: between(said.get("width")),
      height: between(said.get("height")),
      scale: said.get("scale") === "all" ? "all" : "class",
      only_effective: said.get("only_effective") === "1",
    },
    alone: said.get("alone") === "1",
    pair: said.get("graphs"),
    vs: isClass ? vs.slice(CLASS.length) : null,
    computed: COMPUTED.some((name) => said.has(name)) || (vs !== null && !isClass),
  };
}

/** Silent about what has its default; `read` gives an equal selection. */
export function write(wanted: Selection): string {
  const said = new URLSearchParams();
  const say = (name: string, value: string | number | null | false, usual: unknown = null) => {
    if (value !== null && value !== false && value !== usual) said.set(name, String(value));
  };
  say("class", wanted.class);
  say("layer", wanted.layer);
  say("channel", wanted.channel);
  say("pin_layer", wanted.pinned && wanted.pinned.layer);
  say("pin_channel", wanted.pinned && wanted.pinned.channel);
  say("sort", wanted.sort, "similarity");
  say("search", wanted.search, "");
  say("least_count", wanted.view.least_count, USUAL.least_count);
  say("width", wanted.view.width, USUAL.width);
  say("height", wanted.view.height, USUAL.height);
  say("scale", wanted.view.scale, USUAL.scale);
  say("only_effective", wanted.view.only_effective && 1);
  say("alone", wanted.alone && 1);
  say("graphs", wanted.pair);
  say("vs", wanted.vs !== null && `${CLASS}${wanted.vs}`);
  const query = said.toString();
  return `#/${wanted.page === "explore" ? "" : wanted.page}${query && `?${query}`}`;
}

function whole(given: string | null): number | null {
  return given !== null && /^\d{1,9}$/.test(given) ? Number(given) : null;
}

function between(given: string | null): number {
  const value = Number(given ?? "");
  return given && value >= 0.5 && value <= 3 ? value : 1;
}
