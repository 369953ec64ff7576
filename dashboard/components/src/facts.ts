// A heading with facts beside it; text alone, whatever a class is called.
import "./facts.css";
import { component, type Component } from "./component";
import { el, svg } from "./dom";
import { changePagesInOneStep } from "./history";

changePagesInOneStep(); // here, as every page has a header of facts

interface FactsData {
  title: string;
  level: 1 | 2;
  note: string;
  facts: [label: string, value: string][];
  histogram: { label: string; heights: number[] } | null; // heights from 0 to 1
}

function histogram({ label, heights }: { label: string; heights: number[] }): HTMLElement {
  const picture = svg("svg", { viewBox: `0 0 ${heights.length * 5} 30`, role: "img", "aria-label": label });
  const bars = heights.map((h, b) => `M${b * 5} 29v${-Math.max(0.8, 28 * h)}h4V29z`);
  picture.append(svg("path", { d: bars.join("") }));
  return el("div", { className: "fact" }, el("span", { className: "label" }, label), picture);
}

function fact([label, value]: [string, string]): HTMLElement {
  return el("div", { className: "fact" }, el("span", { className: "label" }, label), el("span", { className: "value" }, value));
}

export default component<FactsData, { update(component: Component<FactsData>): void; remove(): void }>((root) => ({
  update: ({ data }) =>
    root.replaceChildren(
      el(
        "div",
        { className: `facts level-${data.level}` },
        el(data.level === 1 ? "h1" : "h2", {}, data.title),
        ...data.facts.map(fact),
        data.histogram && histogram(data.histogram),
        data.note ? el("p", { className: "note" }, data.note) : null,
      ),
    ),
  remove: () => {},
}));
