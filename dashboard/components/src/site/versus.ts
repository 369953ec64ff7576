// Choosing the class that the shown one is held against: the likely ones, any other, and the way out again.
import { el } from "../dom";
import { images } from "../words";
import { choice, largest, remark, type Context, type Wanted } from "./view";

const MOST = 4; // classes that have a button of their own, of each kind
const REST = "A class's right and wrong images, single images and the class in another store are compared in the dashboard.";

export function versus({ data, go }: Context): { element: HTMLDetailsElement; show(wanted: Wanted): void } {
  const { site } = data;
  const summary = el("summary", { title: "Compare with another class" });
  const body = el("div", { className: "popover" });
  const element = el("details", { className: "versus" }, summary, body);

  function show(wanted: Wanted): void {
    element.open = false;
    summary.textContent = wanted.against === null ? "vs +" : "vs ⋯";
    element.ontoggle = () => element.open && void fill(wanted);
  }
  element.onkeydown = (event) => {
    if (event.key !== "Escape" || !element.open) return;
    element.open = false;
    summary.focus();
  };

  async function fill(wanted: Wanted): Promise<void> {
    const likely = await reasons(wanted);
    const buttons = [...likely].map(([c, why]) => button([site.names[c], ...why].join(" · "), () => go({ vs: site.folders[c] })));
    const others = [...site.names.keys()].filter((c) => c !== wanted.cls);
    const any = choice("Another class", ["", ...others.map((c) => site.names[c])], 0, (k) => k && go({ vs: site.folders[others[k - 1]] }));
    body.replaceChildren(...ends(wanted), el("div", { className: "links" }, ...buttons), any, remark(REST));
  }

  function ends(wanted: Wanted): HTMLElement[] {
    if (wanted.against === null) return [];
    const swapped = { class: site.folders[wanted.against], vs: site.folders[wanted.cls] };
    return [el("div", { className: "links" }, button("Swap A and B", () => go(swapped)), button("End the comparison", () => go({ vs: null })))];
  }

  /** The classes one would compare with first, and why. */
  async function reasons(wanted: Wanted): Promise<Map<number, string[]>> {
    const [layer, own] = await Promise.all([data.layer(wanted.layer), data.cls(wanted.cls)]);
    const similarity = layer.counts?.similarityTo(wanted.cls) ?? [];
    const found = new Map<number, string[]>();
    const add = (c: number, why: string) => found.set(c, [...(found.get(c) ?? []), why]);
    largest(similarity, MOST, (c) => c !== wanted.cls).forEach((c) => add(c, `similarity ${similarity[c].toFixed(2)}`));
    const taken = (own.predictions?.taken_for ?? []).slice(0, MOST).filter(([, c]) => c >= 0);
    taken.forEach(([, c, n]) => add(c, `${images(n)} taken for it`));
    return found;
  }

  return { element, show };
}

function button(text: string, onclick: () => void): HTMLElement {
  return el("button", { type: "button", className: "plain", onclick }, text);
}
