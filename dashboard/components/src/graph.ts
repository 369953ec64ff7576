// The attribution graph: hover, click, keyboard, zoom.
import { select } from "d3-selection";
import { zoom, zoomIdentity, zoomTransform, type ZoomTransform } from "d3-zoom";
import "./graph.css";
import { card, type Details } from "./card";
import { component, type Component } from "./component";
import { el, svg } from "./dom";
import { asPng, asSvg, download, svgText } from "./export";
import { Inspector } from "./inspector";
import { Margins } from "./margins";
import { isIdle, Model, STABLE, UNSTABLE, type Channel, type Edge, type GraphData, type View } from "./model";
import { pinnedPanel } from "./panel";
import { Scene } from "./scene";
import { extrasOf, onExtras, type Extras } from "./shelf";
import { Toolbar } from "./toolbar";
import { edgeInWords, images } from "./words";

const MARGIN = 16;
const BELOW_LEGEND = 8;
const usual = (event: MouseEvent) => (!event.ctrlKey || event.type === "wheel") && !event.button; // as d3 has it

class GraphView {
  private readonly work = el("div", { className: "work" });
  private readonly stage = el("div", { className: "stage" });
  private readonly picture = svg("svg", { role: "group" });
  private readonly world = svg("g");
  private readonly inspector = new Inspector();
  private readonly legend = el("div", { className: "legend" });
  private readonly whole = el("button", { type: "button", className: "whole", hidden: true }, "All layers");
  private readonly unchanged = el("span", { className: "unchanged" }, "the channel itself, by a skip connection");
  private readonly evidence = el(
    "span",
    { className: "evidence" },
    el("span", { className: "firm" }, `in ${100 * STABLE} % or more of resampled image sets`),
    el("span", { className: "loose" }, `in less than ${100 * UNSTABLE} %`),
    el("span", { className: "idle" }, "without effect"),
  );
  private readonly note = el("p", { className: "note", hidden: true });
  private readonly toolbar: Toolbar;
  private readonly zoom = zoom<SVGSVGElement, unknown>().scaleExtent([0.15, 5]);
  private readonly forget: () => void;
  private readonly resized: ResizeObserver;
  private send: Component<GraphData>["setTriggerValue"] = () => {};
  private model!: Model;
  private scene!: Scene;
  private margins!: Margins;
  private alone = -1; // the row that is looked at alone
  private view!: View;
  private pinned = -1;
  private id = "";
  private extras: Extras | undefined;
  private aspect = 1; // of the frame, when the graph was fitted
  private untouched = true; // by the visitor's own zooming, since the graph was fitted

  constructor(root: HTMLElement) {
    this.toolbar = new Toolbar({
      view: (change, final) => this.changeView(change, final),
      zoom: (factor) => {
        this.untouched = false;
        this.zoom.scaleBy(select(this.picture), factor);
      },
      fit: () => this.fit(),
      files: () => this.files(),
    });
    this.whole.onclick = () => this.look(this.alone);
    this.stage.append(this.picture, this.legend, this.note, this.whole);
    this.work.append(this.stage, this.inspector.element);
    root.append(this.toolbar.element, this.work);
    // Where a click leads to another page, the wheel scrolls this one.
    const scrolls = (event: MouseEvent) => event.type === "wheel" && !event.ctrlKey && !this.model.data.pins;
    this.zoom.filter((event: MouseEvent) => usual(event) && !scrolls(event));
    this.zoom.on("zoom", ({ transform, sourceEvent }: { transform: ZoomTransform; sourceEvent: Event | null }) => {
      if (sourceEvent) this.untouched = false;
      this.moved(transform);
    });
    select(this.picture).call(this.zoom).on("dblclick.zoom", null);
    this.listen();
    this.forget = onExtras(() => {
      this.extras = extrasOf(this.id) ?? this.extras;
      this.drawPinned();
    });
    this.resized = new ResizeObserver(() => {
      if (this.untouched) this.fit();
    });
    this.resized.observe(this.stage);
  }

  remove(): void {
    this.forget();
    this.resized.disconnect();
  }

  update({ data, setTriggerValue }: Component<GraphData>): void {
    this.send = setTriggerValue;
    const fresh = data.id !== this.id;
    if (fresh) this.draw(data);
    // Kept from another class, a count that none of this one's channels reaches would leave nothing to see.
    this.view = { ...data.view, least_count: Math.min(data.view.least_count, this.model.largestCount) };
    this.pinned = this.model.find(data.pinned);
    this.drawPinned();
    if (fresh) this.fit();
    else this.arrange();
    this.showControls();
    this.rest();
  }

  private showControls(): void {
    this.toolbar.show(this.view, this.model.largestCount, this.model.edges.some(isIdle));
  }

  private draw(data: GraphData): void {
    this.id = data.id;
    this.extras = extrasOf(data.id);
    this.model = new Model(data);
    this.scene = new Scene(this.model);
    this.alone = Math.min(this.alone, data.rows.length - 1);
    this.margins = new Margins(this.model, (row) => this.look(row));
    this.picture.replaceChildren(this.world, this.margins.group);
    this.world.replaceChildren(this.scene.group);
    this.picture.setAttribute("aria-label", data.title);
    this.inspector.draw(this.model, (channel) => this.pinChannel(channel));
    this.showLegend(data);
    this.say(data.note);
    this.stage.classList.toggle("tested", !!data.marks);
    this.work.classList.toggle("still", !data.pins);
    this.stage.dataset.drawn = data.id;
  }

  private showLegend({ pair, marks }: GraphData): void {
    const sign = (kind: string, text: string) => el("span", { className: kind }, text);
    this.unchanged.hidden = !this.model.edges.some((edge) => edge.identity);
    this.evidence.hidden = !marks;
    const ways = pair
      ? [sign("a", `only ${pair.labels[0]}`), sign("both", "both"), sign("b", `only ${pair.labels[1]}`)]
      : [sign("in", "from its sources below"), sign("out", "to what it feeds above")];
    this.legend.replaceChildren(...ways, this.unchanged, this.evidence);
  }

  private say(note: string): void {
    this.note.textContent = note;
    this.note.hidden = !note;
  }

  // Moving about

  /** Look at one layer alone, or again at all. */
  private look(row: number): void {
    this.alone = this.alone === row ? -1 : row;
    this.whole.hidden = this.alone < 0;
    this.fit();
    this.rest();
  }

  /** Beside the names of the layers. */
  private freeWidth(): number {
    return Math.max(1, this.stage.clientWidth - this.margins.width - MARGIN);
  }

  /** Between the names of the zones and the legend. */
  private freeHeight(): number {
    return Math.max(1, this.stage.clientHeight - this.margins.height - this.legend.offsetHeight - BELOW_LEGEND);
  }

  /** Put nodes, edges and names in their places for the view and the frame that the graph was fitted to. */
  private arrange(): void {
    this.scene.arrange(this.view, this.aspect, this.alone);
    this.moved(zoomTransform(this.picture));
    this.roveAmongShown();
  }

  private fit(): void {
    if (!this.scene || this.stage.clientWidth === 0) return;
    this.aspect = this.freeWidth() / this.freeHeight();
    this.arrange();
    const free = this.freeWidth();
    const height = this.freeHeight();
    const scale = Math.min(free / this.scene.width, height / this.scene.height, 1.4);
    const x = this.margins.width + Math.max(0, free - this.scene.width * scale) / 2;
    const y = this.margins.height + Math.max(0, height - this.scene.height * scale) / 2;
    this.zoom.transform(select(this.picture), zoomIdentity.translate(x, y).scale(scale));
    this.untouched = true;
  }

  private moved(transform: ZoomTransform): void {
    this.world.setAttribute("transform", transform.toString());
    this.scene.keepNumbers(transform.k);
    this.margins.moved(transform, this.scene, this.alone);
  }

  private changeView(change: Partial<View>, final: boolean): void {
    this.view = { ...this.view, ...change };
    this.arrange();
    this.showControls();
    if ("width" in change || "height" in change) this.fit();
    this.rest();
    if (final) this.send("view", this.view);
  }

  // Pointing

  private listen(): void {
    const node = (event: Event) => Number((event.target as Element).closest<SVGElement>("[data-node]")?.dataset.node ?? -1);
    const edge = (event: Event) => Number((event.target as Element).closest<SVGElement>("[data-edge]")?.dataset.edge ?? -1);
    this.world.addEventListener("pointerover", (event) => {
      if (node(event) >= 0) this.pointNode(node(event));
      else if (edge(event) >= 0) this.pointEdge(this.model.edges[edge(event)]);
    });
    this.world.addEventListener("pointerout", () => this.rest());
    this.world.addEventListener("click", (event) => node(event) >= 0 && this.pin(node(event)));
    this.world.addEventListener("focusin", (event) => {
      if (node(event) >= 0 && (event.target as Element).matches(":focus-visible")) this.pointNode(node(event));
    });
    this.world.addEventListener("focusout", () => this.rest());
    this.world.addEventListener("keydown", (event) => this.key(event, node(event)));
  }

  private details(n: number): Details | undefined {
    const { layer, channel } = this.model.data.nodes[n];
    const known = [...(this.extras?.details ?? []), ...(this.extras?.pinned ? [this.extras.pinned] : [])];
    return known.find((d) => d.layer === layer && d.channel === channel);
  }

  private cardOf(n: number): HTMLElement {
    return card(this.model, n, this.details(n));
  }

  private pointNode(n: number): void {
    const [below, above] = [this.model.below[n], this.model.above[n]];
    const near = new Set([n, ...below.map((e) => e.source), ...above.map((e) => e.target)]);
    this.scene.mark(near, new Set(below), new Set(above), new Set());
    if (n === this.pinned) this.inspector.rest();
    else this.inspector.point([this.cardOf(n)]);
  }

  private pointEdge(edge: Edge): void {
    this.scene.mark(new Set([edge.source, edge.target]), new Set([edge]), new Set(), new Set());
    const cards = [edge.target, edge.source].map((n) => this.cardOf(n));
    const { nodes } = this.model.data;
    const found = edgeInWords(edge, nodes[edge.source], nodes[edge.target]);
    const said = [...this.carried(edge), ...found].map((text) => el("div", { className: "facts wide" }, text));
    const end = edge.identity ? ": the channel itself, by a skip connection" : "";
    const { measure, images: all, pair } = this.model.data;
    const head = `${pair ? "Images" : all ? `${edge.influence} of ${images(all)}` : images(edge.influence)} carry this ${measure}${end}`;
    this.inspector.point([el("div", { className: "head" }, head), ...said, ...cards]);
  }

  /** Of a pair, how many images of each side carry an edge. */
  private carried(edge: Edge): string[] {
    const { pair } = this.model.data;
    const side = (k: 0 | 1) => {
      const count = edge.counts[k];
      const all = pair!.images[k];
      return `${pair!.labels[k]}: ${count === null ? "not in its graph" : all ? `${count} of ${images(all)}` : images(count)}`;
    };
    return pair ? [side(0), side(1)] : [];
  }

  /** Nothing pointed at: the pinned node's path stands out, or nothing. */
  private rest(): void {
    this.inspector.rest();
    if (this.pinned < 0 || !this.scene.isShown(this.pinned)) {
      return this.scene.mark(new Set(), new Set(), new Set(), new Set());
    }
    const path = this.model.strongestPath(this.pinned);
    const [below, above] = [this.model.below[this.pinned], this.model.above[this.pinned]];
    const near = new Set([this.pinned, ...[...path, ...below, ...above].flatMap((e) => [e.source, e.target])]);
    this.scene.mark(near, new Set(below), new Set(above), new Set(path));
  }

  // Pinning

  private pin(n: number): void {
    if (!this.model.data.pins) {
      const { layer, channel } = this.model.data.nodes[n];
      return this.send("open", { layer, channel });
    }
    const next = n === this.pinned ? -1 : n;
    this.pinned = next;
    if (n >= 0) this.rove(n);
    this.drawPinned();
    this.rest();
    const node = next < 0 ? null : this.model.data.nodes[next];
    this.send("pin", node && { layer: node.layer, channel: node.channel });
  }

  /** Pin a channel by its name; one that the drawing lacks comes with the next one. */
  private pinChannel(channel: Channel): void {
    const n = this.model.find(channel);
    if (n < 0) this.send("pin", { layer: channel.layer, channel: channel.channel });
    else if (n !== this.pinned) this.pin(n);
  }

  private showAnyway(): void {
    this.model.showAnyway(this.pinned);
    this.arrange();
    this.drawPinned();
    this.rest();
  }

  private drawPinned(): void {
    this.scene.nodes.forEach((element, n) => {
      element.classList.toggle("pinned", n === this.pinned);
      element.setAttribute("aria-pressed", String(n === this.pinned));
    });
    this.inspector.pin(this.pinned < 0 ? null : this.panel());
  }

  private panel(): HTMLElement {
    const found = this.extras?.pinned;
    const node = this.model.data.nodes[this.pinned];
    const same = found && found.layer === node.layer && found.channel === node.channel ? found : undefined;
    return pinnedPanel(this.model, this.pinned, this.details(this.pinned), same, {
      close: () => this.pin(this.pinned),
      open: (channel) => this.send("open", { layer: channel.layer, channel: channel.channel }),
      pin: (channel) => this.pinChannel(channel),
      leave: (channel) => this.send("leave", { layer: channel.layer, channel: channel.channel }),
      showAnyway: () => this.showAnyway(),
    });
  }

  // Keyboard

  /** Tab always finds one node, the last one that the keyboard was at if it is shown. */
  private roveAmongShown(): void {
    const at = this.scene.nodes.findIndex((element, n) => element.getAttribute("tabindex") === "0" && this.scene.isShown(n));
    if (at >= 0) return;
    const inOrder = this.model.data.rows.flatMap((row) => row.nodes);
    this.rove(inOrder.find((n) => this.scene.isShown(n)) ?? -1);
  }

  private rove(n: number): void {
    this.scene.nodes.forEach((element, k) => element.setAttribute("tabindex", k === n ? "0" : "-1"));
  }

  private key(event: KeyboardEvent, n: number): void {
    if (n < 0) return;
    if (event.key === "Enter" || event.key === " ") this.pin(n);
    else if (event.key === "Escape") this.leave();
    else if (event.key.startsWith("Arrow")) this.walk(n, event.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private leave(): void {
    if (this.pinned >= 0) return this.pin(this.pinned);
    (this.scene.nodes.find((element) => element.matches(":focus")) as SVGElement | undefined)?.blur();
    this.rest();
  }

  /** Up and down along the strongest edge, left and right within the row. */
  private walk(n: number, key: string): void {
    const next = key === "ArrowUp" || key === "ArrowDown" ? this.along(n, key === "ArrowUp") : this.beside(n, key);
    if (next === undefined) return;
    this.rove(next);
    this.scene.nodes[next].focus();
    this.pointNode(next);
  }

  private along(n: number, up: boolean): number | undefined {
    const ends = up ? this.model.above[n].map((e) => e.target) : this.model.below[n].map((e) => e.source);
    return ends.find((end) => this.scene.isShown(end));
  }

  private beside(n: number, key: string): number | undefined {
    const row = this.model.data.rows[this.model.row[n]].nodes.filter((k) => this.scene.isShown(k));
    return row[row.indexOf(n) + (key === "ArrowLeft" ? -1 : 1)];
  }

  // Files

  private files(): { name: string; save(): void }[] {
    const stem = this.model.data.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "graph";
    const drawn = () => asSvg(this.scene);
    const others = (this.extras?.files ?? []).map((file) => ({
      name: file.name,
      save: () => download(`${stem}-${file.name}`, file.type, file.text),
    }));
    return [
      { name: "SVG", save: () => download(`${stem}.svg`, "image/svg+xml", svgText(drawn())) },
      {
        name: "PNG",
        save: () =>
          void asPng(drawn())
            .then((blob) => download(`${stem}.png`, "image/png", blob))
            .catch((error) => this.say(`No PNG could be made: ${error instanceof Error ? error.message : error} Take the SVG.`)),
      },
      ...others,
    ];
  }
}

export default component<GraphData, GraphView>((root) => new GraphView(root));
