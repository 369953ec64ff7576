// Finds classes by their names, and channels by layer and number: "mixed4d 12".
import { el } from "../dom";
import type { Selection } from "./address";
import type { Data } from "./data";

const MOST = 12;

interface Hit {
  text: string;
  changes: Partial<Selection>;
}

export function search(data: Data, go: (changes: Partial<Selection>) => void): HTMLElement {
  const input = el("input", {
    type: "search",
    placeholder: "Find a class or a channel",
    attributes: { "aria-label": "Find a class or a channel", role: "combobox", "aria-expanded": "false", "aria-controls": "hits" },
  });
  const list = el("div", { id: "hits", className: "hits", hidden: true, attributes: { role: "listbox" } });
  let found: Hit[] = [];
  let at = 0;

  const draw = () => {
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(found.length > 0));
    list.replaceChildren(...found.map((hit, k) => option(hit.text, k === at, () => take(hit))));
  };
  const close = () => ((found = []), draw());
  const take = (hit: Hit) => {
    input.value = "";
    close();
    go(hit.changes);
  };
  input.oninput = () => ((found = hits(data, input.value)), (at = 0), draw());
  input.onblur = () => setTimeout(close, 200); // a click on a hit comes first
  input.onkeydown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) at = (at + step + found.length) % found.length;
    else if (event.key === "Enter" && found[at]) return take(found[at]);
    else if (event.key === "Escape") return close();
    else return;
    event.preventDefault();
    draw();
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.composedPath().some((target) => target instanceof Element && target.matches("input, select, textarea"));
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    input.focus();
  });
  return el("div", { className: "search", title: "The key / leads here" }, input, list);
}

function option(text: string, active: boolean, onclick: () => void): HTMLElement {
  return el("div", { className: active ? "hit active" : "hit", onclick, attributes: { role: "option", "aria-selected": String(active) } }, text);
}

function hits(data: Data, given: string): Hit[] {
  const words = given.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  return [...channels(data, words), ...classes(data, words)].slice(0, MOST);
}

function classes({ site }: Data, words: string[]): Hit[] {
  const fits = (c: number) => words.every((word) => [site.names[c], site.folders[c]].some((text) => text.toLocaleLowerCase().includes(word)));
  const found = [...site.names.keys()].filter(fits).slice(0, MOST);
  return found.map((c) => ({ text: site.names[c], changes: { class: site.folders[c], pinned: null } }));
}

function channels(data: Data, words: string[]): Hit[] {
  const number = words.find((word) => /^\d{1,6}$/.test(word));
  const rest = words.filter((word) => word !== number);
  if (!rest.length || number === undefined) return [];
  const layers = data.layers.filter((layer) => Number(number) < layer.channels && rest.every((word) => layer.name.toLocaleLowerCase().includes(word)));
  return layers.map(({ name }) => ({ text: `${name} · channel ${Number(number)}`, changes: { page: "channel", layer: name, channel: Number(number) } }));
}
