// Controls above the graph.
import { el } from "./dom";
import type { View } from "./model";
import { images } from "./words";

export interface Actions {
  view(change: Partial<View>, final: boolean): void;
  zoom(factor: number): void;
  fit(): void;
  files(): { name: string; save(): void }[];
}

export class Toolbar {
  readonly element: HTMLElement;
  private readonly least: HTMLInputElement;
  private readonly leastText = el("output", {});
  private readonly width: HTMLInputElement;
  private readonly height: HTMLInputElement;
  private readonly scale: HTMLSelectElement;
  private readonly communities: HTMLSelectElement;
  private readonly grouping: HTMLElement;
  private readonly onlyEffective: HTMLInputElement;
  private readonly effective: HTMLElement;

  constructor(private readonly actions: Actions) {
    this.least = this.range("least_count", 0, 1, 1);
    this.width = this.range("width", 0.5, 3, 0.05);
    this.height = this.range("height", 0.5, 3, 0.05);
    this.scale = el(
      "select",
      { onchange: () => actions.view({ scale: this.scale.value as View["scale"] }, true) },
      el("option", { value: "class" }, "this class"),
      el("option", { value: "all" }, "all classes"),
    );
    this.communities = el(
      "select",
      { onchange: () => actions.view({ communities: this.communities.value as View["communities"] }, true) },
      el("option", { value: "off" }, "not shown"),
      el("option", { value: "colour" }, "by colour"),
      el("option", { value: "fold" }, "as one node"),
    );
    this.grouping = el("label", { hidden: true }, "Firing together", this.communities);
    this.onlyEffective = el("input", {
      type: "checkbox",
      onchange: () => actions.view({ only_effective: this.onlyEffective.checked }, true),
    });
    this.effective = el(
      "label",
      { title: "Leave away the dotted edges: the upper channel fires no less without the lower one" },
      this.onlyEffective,
      "Hide dotted",
    );
    this.element = el(
      "div",
      { className: "bar", attributes: { role: "toolbar", "aria-label": "Drawing of the graph" } },
      el("label", {}, "At least", this.least, this.leastText),
      el("label", {}, "Width", this.width),
      el("label", {}, "Height", this.height),
      el("label", {}, "Size by", this.scale),
      this.grouping,
      this.effective,
      el(
        "span",
        { className: "buttons" },
        this.button("−", "Zoom out", () => actions.zoom(1 / 1.4)),
        this.button("+", "Zoom in", () => actions.zoom(1.4)),
        this.button("Fit", "Show the whole graph", () => actions.fit()),
        this.downloads(),
      ),
    );
  }

  private range(name: "least_count" | "width" | "height", min: number, max: number, step: number): HTMLInputElement {
    const input = el("input", { type: "range", min: String(min), max: String(max), step: String(step) });
    input.oninput = () => this.actions.view({ [name]: Number(input.value) }, false);
    input.onchange = () => this.actions.view({ [name]: Number(input.value) }, true);
    return input;
  }

  private button(text: string, title: string, onclick: () => void): HTMLButtonElement {
    return el("button", { type: "button", title, onclick, attributes: { "aria-label": title } }, text);
  }

  private downloads(): HTMLElement {
    const list = el("div", { className: "menu" });
    const menu = el("details", {}, el("summary", {}, "Download"), list);
    menu.ontoggle = () => {
      if (!menu.open) return;
      const save = (file: { save(): void }) => () => {
        file.save();
        menu.open = false;
      };
      list.replaceChildren(
        ...this.actions.files().map((file) => el("button", { type: "button", onclick: save(file) }, file.name)),
      );
    };
    menu.onkeydown = (event) => {
      if (event.key === "Escape") menu.open = false;
    };
    return menu;
  }

  /** `idle`: whether there are edges without effect, that could be hidden; `ungrouped` as `GraphData.communities`. */
  show(view: View, largest: number, idle: boolean, ungrouped: string | undefined): void {
    this.grouping.hidden = ungrouped === undefined;
    this.grouping.title = ungrouped || "Channels whose maxima rise and fall together over all images";
    this.communities.disabled = !!ungrouped;
    this.communities.value = ungrouped ? "off" : (view.communities ?? "off");
    this.least.max = String(largest);
    this.least.value = String(view.least_count);
    this.leastText.textContent = images(view.least_count);
    this.width.value = String(view.width);
    this.height.value = String(view.height);
    this.scale.value = view.scale;
    this.onlyEffective.checked = view.only_effective;
    this.effective.hidden = !idle;
  }
}
