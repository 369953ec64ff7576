// The attribution graph: hover, click, keyboard, zoom.
import { select } from "d3-selection";
import { zoom, zoomIdentity, zoomTransform, type ZoomTransform } from "d3-zoom";
import "./graph.css";
import { card, type Details } from "./card";
import { communityList, folded, foldKey } from "./communities";
import { component, type Component } from "./component";
import { el, svg } from "./dom";
import { edgeFacts, edgePanel } from "./edgepanel";
import { filesOf } from "./export";
import { Inspector } from "./inspector";
import { legend } from "./legend";
import { Margins } from "./margins";
import { isChannel, Model, type Channel, type Edge, type GraphData, type View } from "./model";
import { pinnedPanel } from "./panel";
import { Scene } from "./scene";
import { extrasOf, onExtras, type Extras } from "./shelf";
import { Toolbar } from "./toolbar";

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
  private sent!: GraphData; // as Python knows it
  private shape = ""; // of the drawing: what was sent, and what is folded
  private drawn = ""; // whose drawing it is
  private open = new Set<string>(); // folds that the visitor opened
  private pinned = -1;
  private chosen: Edge | undefined;
  private extras: Extras | undefined;
  private aspect = 1; // of the frame, when the graph was fitted
  private clicked = ""; // where the last click was
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
      if (!this.sent) return;
      this.take(extrasOf(this.sent.id) ?? this.extras);
      if (this.reshape()) return this.settle(this.untouched);
      this.scene.showPictures();
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
    const fresh = data.id !== this.sent?.id;
    if (fresh) this.open.clear();
    this.sent = data;
    this.take(fresh ? extrasOf(data.id) : this.extras);
    this.view = data.view;
    const anew = this.reshape();
    this.settle(fresh || (anew && this.untouched), !anew);
  }

  private take(extras: Extras | undefined): void {
    this.extras = extras;
    extras?.pictures?.forEach((picture, n) => (this.sent.nodes[n].picture ??= picture));
  }

  /** Draw anew what was sent if it, or the shape that it is drawn in, is another; whether it was. */
  private reshape(): boolean {
    const wanted = this.view.communities ?? "off";
    const together = wanted === "off" ? undefined : this.extras?.together;
    const known = { ...this.sent, together };
    const pinned = this.sent.nodes.findIndex((node) => isChannel(node, this.sent.pinned));
    const open = new Set([...this.open, ...(pinned < 0 ? [] : [foldKey(known, pinned)])]);
    const shape = [this.sent.id, wanted, together ? "known" : "", ...open].join("\n");
    if (shape === this.shape) return false;
    const shown = this.drawn === this.sent.id ? this.model.shown : undefined;
    [this.shape, this.drawn] = [shape, this.sent.id];
    this.draw(new Model(wanted === "fold" && together ? folded(known, open) : known, shown));
    return true;
  }

  /** What follows from what was sent, and from what the visitor did since; `still`: what is pointed at is as it was. */
  private settle(fit = false, still = false): void {
    // Kept from another class, a count that none of this one's channels reaches would leave nothing to see.
    this.view = { ...this.view, least_count: Math.min(this.view.least_count, this.model.largestCount) };
    this.pinned = this.model.find(this.sent.pinned);
    this.chosen = this.model.edgeBetween(this.sent.edge ?? []);
    this.drawPinned();
    if (fit) this.fit();
    else this.arrange();
    this.showControls();
    if (!still || !this.inspector.isPointing) this.rest();
  }

  private showControls(): void {
    const idle = this.model.edges.some((edge) => edge.idle);
    this.toolbar.show(this.view, this.model.largestCount, idle, this.sent.communities);
  }

  private draw(model: Model): void {
    const { data } = model;
    this.model = model;
    this.scene = new Scene(model);
    this.alone = Math.min(this.alone, data.rows.length - 1);
    this.margins = new Margins(model, (row) => this.look(row));
    this.picture.replaceChildren(this.world, this.margins.group);
    this.world.replaceChildren(this.scene.group);
    this.picture.setAttribute("aria-label", data.title);
    this.inspector.draw(model, (channel) => this.pinChannel(channel));
    this.inspector.group(this.communityList());
    this.legend.replaceChildren(...legend(model));
    this.say(data.note);
    this.stage.classList.toggle("tested", !!data.marks);
    this.work.classList.toggle("still", !data.pins);
    this.stage.dataset.drawn = data.id;
  }

  private communityList(): HTMLElement | null {
    const wanted = this.view.communities ?? "off";
    if (wanted === "off" || this.sent.communities !== "") return null;
    const { together } = this.model.data;
    const none = together && !this.model.communities.length ? "None of these channels fires together with others." : "";
    const said = together ? none : "Correlating the channels over all images …";
    return communityList(this.model, said, wanted === "fold", {
      mark: (nodes) => (nodes ? this.scene.mark(new Set(nodes.map((n) => this.model.drawnFor(n))), new Set(), new Set(), new Set()) : this.rest()),
      open: (nodes, open) => this.openFolds(nodes, open),
    });
  }

  /** Show the channels that some are folded with one by one, or fold them again. */
  private openFolds(nodes: number[], open: boolean): void {
    const keys = nodes.map((n) => foldKey(this.model.data, n));
    keys.forEach((key) => (open ? this.open.add(key) : this.open.delete(key)));
    if (this.reshape()) this.settle(this.untouched);
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
    this.scene.roveAmongShown();
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
    const anew = this.reshape();
    this.settle(anew || "width" in change || "height" in change);
    if (final) this.send("view", this.view);
  }

  // Pointing

  private listen(): void {
    const node = (event: Event) => Number((event.target as Element).closest<SVGElement>("[data-node]")?.dataset.node ?? -1);
    const edge = (event: Event) => Number((event.target as Element).closest<SVGElement>("[data-edge]")?.dataset.edge ?? -1);
    const place = (event: MouseEvent) => `${Math.floor(event.clientX)} ${Math.floor(event.clientY)}`; // as clicks have it
    this.world.addEventListener("pointerover", (event) => {
      if (place(event) === this.clicked) return; // the drawing moved, and not the pointer
      if (node(event) >= 0) this.pointNode(node(event));
      else if (edge(event) >= 0) this.pointEdge(this.model.edges[edge(event)]);
    });
    this.world.addEventListener("pointerout", () => this.rest());
    this.world.addEventListener("click", (event) => {
      this.clicked = place(event);
      if (node(event) >= 0) this.pin(node(event));
      else if (edge(event) >= 0 && this.sent.edge) this.choose(this.model.edges[edge(event)]);
    });
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
    this.inspector.point([...edgeFacts(this.model, edge), ...cards]);
  }

  /** Nothing pointed at: the chosen edge or the pinned node's path stands out, or nothing. */
  private rest(): void {
    this.inspector.rest();
    if (this.chosen) {
      return this.scene.mark(new Set([this.chosen.source, this.chosen.target]), new Set([this.chosen]), new Set(), new Set());
    }
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
    const { layer, channel, members } = this.model.data.nodes[n];
    if (members) return this.openFolds([n], true);
    if (!this.model.data.pins) return this.send("open", { layer, channel });
    const next = n === this.pinned ? null : { layer, channel };
    this.scene.rove(n);
    this.keep({ pinned: next, edge: this.sent.edge && [] });
    this.send("pin", next);
  }

  /** Choose an edge, or none. */
  private choose(edge: Edge | null): void {
    const ends = (edge?.ends ?? []).map((n) => ({ layer: this.model.data.nodes[n].layer, channel: this.model.data.nodes[n].channel }));
    this.keep({ pinned: null, edge: ends });
    this.send("edge", ends);
  }

  /** What the visitor did, before Python sends it back. */
  private keep(change: Partial<GraphData>): void {
    this.sent = { ...this.sent, ...change };
    this.reshape();
    this.settle();
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
    this.inspector.pin(this.pinned >= 0 ? this.panel() : this.chosen ? this.edgePanel() : null);
  }

  private readonly ofClass = {
    showClass: (folder: string) => this.send("class", folder),
    compare: (folder: string) => this.send("versus", folder),
  };

  private panel(): HTMLElement {
    return pinnedPanel(this.model, this.pinned, this.details(this.pinned), this.extras, {
      ...this.ofClass,
      close: () => this.pin(this.pinned),
      open: (channel) => this.send("open", { layer: channel.layer, channel: channel.channel }),
      pin: (channel) => this.pinChannel(channel),
      choose: (edge) => this.sent.edge && this.choose(edge),
      leave: (channel) => this.send("leave", { layer: channel.layer, channel: channel.channel }),
      showAnyway: () => this.showAnyway(),
    });
  }

  private edgePanel(): HTMLElement {
    return edgePanel(this.model, this.chosen!, this.extras?.holders, {
      ...this.ofClass,
      close: () => this.choose(null),
      pin: (channel) => this.pinChannel(channel),
    });
  }

  // Keyboard

  private key(event: KeyboardEvent, n: number): void {
    if (n < 0) return;
    const next = this.scene.beyond(n, event.key);
    if (event.key === "Enter" || event.key === " ") this.pin(n);
    else if (event.key === "Escape") this.leave();
    else if (next !== undefined) this.walk(next);
    else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    event.stopPropagation();
  }

  private walk(n: number): void {
    this.scene.rove(n);
    this.scene.nodes[n].focus();
    this.pointNode(n);
  }

  private leave(): void {
    if (this.chosen) return this.choose(null);
    if (this.pinned >= 0) return this.pin(this.pinned);
    (this.scene.nodes.find((element) => element.matches(":focus")) as SVGElement | undefined)?.blur();
    this.rest();
  }

  // Files

  private files(): { name: string; save(): void }[] {
    return filesOf(this.scene, this.extras?.files ?? [], (why) => this.say(why));
  }
}

export default component<GraphData, GraphView>((root) => new GraphView(root));
