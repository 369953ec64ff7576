// The list of classes; only the rows in view are in the document, so a thousand scroll as ten do.
import type { ClassTable, Sort } from "./classtable";
import { el, percent, svg } from "./dom";
import { counted } from "./words";

const ROW = 46;
const SPARE = 4;

const SORTS: [Sort, string][] = [
  ["similarity", "Most similar first"],
  ["best", "Highest accuracy first"],
  ["worst", "Lowest accuracy first"],
  ["name", "By name"],
  ["images", "Most images first"],
];

interface Actions {
  choose(c: number): void;
  versus?(c: number): void;
  seen(classes: Set<number>): void;
  changed(sort: Sort, search: string): void;
}

export class ClassList {
  readonly element: HTMLElement;
  private readonly search: HTMLInputElement;
  private readonly sort: HTMLSelectElement;
  private readonly pinned = el("div", { className: "pinned" });
  private readonly scroller = el("div", {
    className: "scroller",
    tabIndex: 0,
    attributes: { role: "listbox", "aria-label": "Classes" },
  });
  private readonly space = el("div", { className: "space" });
  private readonly found = el("div", { className: "found", attributes: { role: "status" } });
  private table!: ClassTable;
  private order: number[] = [];
  private active = -1;
  private given = { sort: "", search: "" };

  constructor(private readonly actions: Actions) {
    this.search = el("input", { type: "search", placeholder: "Search classes", attributes: { "aria-label": "Search classes" } });
    this.search.oninput = () => this.reorder(true);
    this.search.onchange = () => this.tell();
    this.sort = el(
      "select",
      { onchange: () => (this.reorder(true), this.tell()), attributes: { "aria-label": "Order of the classes" } },
    );
    this.scroller.append(this.space);
    this.scroller.onscroll = () => this.draw();
    this.scroller.onkeydown = (event) => this.key(event);
    this.scroller.onclick = (event) => this.click(event);
    this.pinned.onclick = (event) => this.click(event);
    this.element = el(
      "div",
      { className: "list" },
      el("div", { className: "find" }, this.search, this.sort),
      this.pinned,
      this.found,
      this.scroller,
    );
    new ResizeObserver(() => this.table && this.draw()).observe(this.scroller);
  }

  private tell(): void {
    this.given = { sort: this.sort.value, search: this.search.value };
    this.actions.changed(this.sort.value as Sort, this.search.value);
  }

  show(table: ClassTable): void {
    const before = this.table?.data;
    const { sort, search, selected, layer, store } = table.data;
    this.table = table;
    // What is being typed or chosen is not overwritten by the answer to an earlier word.
    this.sort.title = table.similarity ? "" : table.data.why.similarity;
    this.offer(this.given.sort !== sort ? (this.given.sort = sort) : this.sort.value);
    if (this.given.search !== search) this.search.value = this.given.search = search;
    const moved = !before || before.selected !== selected || before.layer !== layer || before.store !== store;
    this.pinned.replaceChildren(this.row(selected, "pinned-row"));
    this.reorder(moved);
  }

  /** The orders that the store has data for, one of them chosen. */
  private offer(sort: string): void {
    const known = SORTS.filter(([value]) => this.table.canSort(value));
    this.sort.replaceChildren(...known.map(([value, text]) => el("option", { value }, text)));
    this.sort.value = known.some(([value]) => value === sort) ? sort : "name";
  }

  private reorder(toTop: boolean): void {
    const all = this.table.ordered(this.sort.value as Sort, this.search.value);
    this.order = all.filter((c) => c !== this.table.data.selected);
    this.space.style.height = `${this.order.length * ROW}px`;
    const some = this.search.value ? `${all.length} of ` : "";
    this.found.textContent = [`${some}${counted(this.table.size, "class", "classes")}`, this.table.data.basis].filter(Boolean).join(" · ");
    if (toTop) this.scroller.scrollTop = 0;
    this.active = -1;
    this.scroller.removeAttribute("aria-activedescendant");
    this.draw();
  }

  private draw(): void {
    const { scrollTop, clientHeight } = this.scroller;
    const first = Math.max(0, Math.floor(scrollTop / ROW));
    const last = Math.min(this.order.length, Math.ceil((scrollTop + clientHeight) / ROW));
    const [from, to] = [Math.max(0, first - SPARE), Math.min(this.order.length, last + SPARE)];
    this.space.replaceChildren(
      ...this.order.slice(from, to).map((c, i) => {
        const row = this.row(c, from + i === this.active ? "active" : "");
        row.style.top = `${(from + i) * ROW}px`;
        return row;
      }),
    );
    this.actions.seen(new Set(this.order.slice(first, last)));
  }

  private row(c: number, kind: string): HTMLElement {
    const { table } = this;
    const similarity = table.similarity ? Math.max(0, table.similarity[c]) : null;
    const name = table.data.names[c];
    const bar = el("span", { className: "bar-of" });
    bar.style.width = `${100 * (similarity ?? 0)}%`;
    const label = [
      name,
      `accuracy ${percent(table.accuracyOf(c))}`,
      similarity === null ? "" : `similarity ${similarity.toFixed(2)}`,
    ];
    return el(
      "div",
      {
        className: `row ${kind}${c === table.data.against ? " against" : ""}`,
        id: `class-${c}`,
        title: name,
        attributes: {
          role: "option",
          "data-class": String(c),
          "aria-selected": String(c === table.data.selected),
          "aria-label": label.filter(Boolean).join(", "),
        },
      },
      el("span", { className: "name" }, name),
      el("span", { className: "accuracy" }, table.accuracyOf(c) === null ? "" : percent(table.accuracyOf(c))),
      table.histograms && this.histogram(c),
      similarity !== null && this.similarity(similarity, bar),
      this.versus(c, name),
    );
  }

  /** Compares the class with the selected one; the keyboard takes the key v in the list. */
  private versus(c: number, name: string): HTMLElement | null {
    if (!this.actions.versus || this.table.data.against === undefined || c === this.table.data.selected) return null;
    const pressed = String(c === this.table.data.against);
    const title = `Compare with ${name}`;
    return el(
      "button",
      { type: "button", className: "vs", tabIndex: -1, title, attributes: { "aria-label": title, "aria-pressed": pressed } },
      "vs",
    );
  }

  private similarity(value: number, bar: HTMLElement): HTMLElement {
    const { names, selected, layer } = this.table.data;
    return el("span", { className: "similarity", title: `Similarity to ${names[selected]} in ${layer}: ${value.toFixed(2)}` }, bar);
  }

  private histogram(c: number): SVGSVGElement {
    const { data } = this.table;
    const histograms = this.table.histograms!;
    const picture = svg("svg", { class: "histogram", viewBox: `0 0 ${data.bins * 3} 18`, "aria-hidden": "true" });
    const height = (b: number) => (16 * histograms[c * data.bins + b]) / 255;
    const bars = Array.from({ length: data.bins }, (_, b) => `M${b * 3} 17v${-Math.max(0.6, height(b))}h2.4V17z`);
    picture.append(svg("title", {}, "Its images by the probability of the class, from 0 to 1"), svg("path", { d: bars.join("") }));
    return picture;
  }

  private click(event: Event): void {
    const row = (event.target as Element).closest<HTMLElement>("[data-class]");
    if (!row) return;
    const compares = (event.target as Element).closest(".vs") !== null;
    (compares ? this.actions.versus! : this.actions.choose)(Number(row.dataset.class));
  }

  private key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 1);
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    if (event.key === "Enter" && this.active >= 0) this.actions.choose(this.order[this.active]);
    else if (event.key === "v" && this.active >= 0) this.actions.versus?.(this.order[this.active]);
    else if (event.key in steps) this.step(steps[event.key]);
    else return;
    event.preventDefault();
  }

  private step(by: number): void {
    if (!this.order.length) return;
    this.active = Math.min(this.order.length - 1, Math.max(0, this.active + by));
    const top = this.active * ROW;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) this.scroller.scrollTop = top + ROW - clientHeight;
    this.draw();
    this.scroller.setAttribute("aria-activedescendant", `class-${this.order[this.active]}`);
  }
}
