// Small charts of horizontal bars, side by side; a bar is a button that opens what it stands for.
import "./bars.css";
import { component, type Component } from "./component";
import { el } from "./dom";

interface BarsData {
  full: number; // what a bar of full length stands for
  charts: { title: string; bars: { name: string; value: number; label: string }[] }[];
}

export default component<BarsData, { update(component: Component<BarsData>): void; remove(): void }>((root) => ({
  update: ({ data, setTriggerValue }) => {
    const charts = data.charts.map((chart, k) =>
      el(
        "section",
        {},
        el("h4", {}, chart.title),
        ...chart.bars.map((bar, b) => {
          const length = el("span", { className: "length" });
          length.style.width = `${(100 * bar.value) / Math.max(data.full, 1)}%`;
          const onclick = () => setTriggerValue("open", { chart: k, bar: b });
          return el(
            "button",
            { type: "button", title: bar.label, onclick, attributes: { "aria-label": bar.label } },
            el("span", { className: "name" }, bar.name),
            el("span", { className: "track" }, length),
            el("span", { className: "value" }, String(bar.value)),
          );
        }),
      ),
    );
    root.replaceChildren(el("div", { className: "charts" }, ...charts));
  },
  remove: () => {},
}));
