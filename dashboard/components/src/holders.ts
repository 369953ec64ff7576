// The other classes whose graphs hold an edge, or all edges of a path.
import { el } from "./dom";
import type { Edge, GraphData } from "./model";

/** Classes that are named at once. */
const MOST = 12;

/** Of each edge of the drawing, the other classes that hold it, the strongest first, as places among the classes named. */
export interface Holders {
  classes: [folder: string, label: string][];
  edges: number[][];
}

export interface Actions {
  showClass(folder: string): void;
  compare(folder: string): void;
}

/** Null where the graphs of the classes aren't known. */
export function holdersOf(what: string, path: Edge[], holders: Holders | undefined, data: GraphData, actions: Actions): HTMLElement | null {
  if (!holders || !path.length) return null;
  const first = holders.edges[path[0].stands[0]];
  const rest = path.slice(1).map((edge) => new Set(holders.edges[edge.stands[0]]));
  const found = first.filter((place) => rest.every((own) => own.has(place))).map((place) => holders.classes[place]);
  const rows = found.map(([folder, label]) => row(folder, label, data, actions));
  const more = el("details", {}, el("summary", {}, `${found.length - MOST} more`), el("ol", {}, ...rows.slice(MOST)));
  return el(
    "section",
    { className: "holders" },
    el("h4", {}, `Other classes whose graphs hold ${what}`),
    rows.length ? el("ol", {}, ...rows.slice(0, MOST)) : el("p", { className: "facts" }, "None."),
    rows.length > MOST && more,
  );
}

function row(folder: string, label: string, data: GraphData, actions: Actions): HTMLElement {
  const button = (text: string, title: string, className: string, onclick: () => void) =>
    el("button", { type: "button", title, className, onclick, attributes: { "aria-label": title } }, text);
  const own = data.pair?.labels.includes(label);
  return el(
    "li",
    {},
    button(label, `Show ${label}`, "link", () => actions.showClass(folder)),
    own ? null : button("vs", `Compare with ${label}`, "vs", () => actions.compare(folder)),
  );
}
