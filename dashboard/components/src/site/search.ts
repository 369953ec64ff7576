// Finds classes by their names, and channels by layer and number: "mixed4d 12".
import { el } from "../dom";
import type { Selection } from "./address";
import type { Data } from "./data";

const MOST = 12;

interface Hit {
  text: string;
  changes: Partial<Selection>;
  versus?: Partial<Selection>; // what compares with it
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
    list.replaceChildren(...found.map((hit, k) => option(hit, k === at, take)));
  };
  const close = () => ((found = []), draw());
  const take = (changes: Partial<Selection>) => {
    input.value = "";
    close();
    go(changes);
  };
  input.oninput = () => ((found = hits(data, input.value)), (at = 0), draw());
  input.onblur = () => setTimeout(close, 200); // a click on a hit comes first
  input.onkeydown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) at = (at + step + found.length) % found.length;
    else if (event.key === "Enter" && found[at]) return take((event.shiftKey && found[at].versus) || found[at].changes);
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

function option({ text, changes, versus }: Hit, active: boolean, take: (changes: Partial<Selection>) => void): HTMLElement {
  const compare = versus && el("button", { type: "button", className: "plain", tabIndex: -1, title: `Compare with ${text} (Shift and Enter)` }, "vs");
  const attributes = { role: "option", "aria-selected": String(active) };
  const element = el("div", { className: active ? "hit active" : "hit", attributes }, el("span", {}, text), compare);
  element.onclick = ({ target }) => take(compare && target === compare ? versus : changes);
  return element;
}

function hits(data: Data, given: string): Hit[] {
  const words = given.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  return [...channels(data, words), ...classes(data, words)].slice(0, MOST);
}

function classes({ site }: Data, words: string[]): Hit[] {
  const fits = (c: number) => words.every((word) => [site.names[c], site.folders[c]].some((text) => text.toLocaleLowerCase().includes(word)));
  const found = [...site.names.keys()].filter(fits).slice(0, MOST);
  return found.map((c) => {
    const folder = site.folders[c];
    return { text: site.names[c], changes: { class: folder }, ...(site.names.length > 1 && { versus: { page: "explore", vs: folder } }) };
  });
}

/** By layer and number, or by what people call them. */
function channels(data: Data, words: string[]): Hit[] {
  const { site } = data;
  const hit = (layer: string, channel: number, name: string): Hit => ({
    text: `${layer} · channel ${channel}${name && ` · ${name}`}`,
    changes: { page: "channel", layer, channel },
  });
  const isIn = (text: string) => (word: string) => text.toLocaleLowerCase().includes(word);
  const called = site.called.filter(([, , name]) => words.every(isIn(name))).map(([layer, channel, name]) => hit(site.layers[layer].name, channel, name));
  const number = words.find((word) => /^\d{1,6}$/.test(word));
  const rest = words.filter((word) => word !== number);
  if (!rest.length || number === undefined) return called;
  const layers = data.layers.filter((layer) => Number(number) < layer.channels && rest.every(isIn(layer.name)));
  return [...called, ...layers.map(({ name }) => hit(name, Number(number), data.called(data.indexOf(name), Number(number))[0]))];
}
