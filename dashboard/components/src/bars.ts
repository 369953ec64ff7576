// Charts of horizontal bars; a bar is a button that opens what it stands for.
import "./bars.css";
import { component, type Component } from "./component";
import { el } from "./dom";

interface Bar {
  name: string;
  value: number;
  label: string;
}

interface BarsData {
  full: number; // what a bar of full length stands for
  wide: boolean; // one chart below the other, with room for long names
  charts: { title: string; bars: Bar[] }[];
}

function button({ name, value, label }: Bar, full: number, onclick: () => void): HTMLElement {
  const length = el("span", { className: "length" });
  length.style.width = `${(100 * value) / Math.max(full, 1)}%`;
  return el(
    "button",
    { type: "button", title: label, onclick, attributes: { "aria-label": label } },
    el("span", { className: "name" }, name),
    el("span", { className: "track" }, length),
    el("span", { className: "value" }, value.toLocaleString("en")),
  );
}

export default component<BarsData, { update(component: Component<BarsData>): void; remove(): void }>((root) => ({
  update: ({ data, setTriggerValue }) => {
    const charts = data.charts.map(({ title, bars }, chart) =>
      el(
        "section",
        {},
        title && el("h4", {}, title),
        ...bars.map((bar, b) => button(bar, data.full, () => setTriggerValue("open", { chart, bar: b }))),
      ),
    );
    root.replaceChildren(el("div", { className: data.wide ? "charts wide" : "charts" }, ...charts));
  },
  remove: () => {},
}));
