// The attribution graph: hover, click, keyboard, zoom.
import { select } from "d3-selection";
import { zoom, zoomIdentity, zoomTransform, type ZoomTransform } from "d3-zoom";
import "./graph.css";
import { card, type Details } from "./card";
import { component, type Component } from "./component";
import { el, svg } from "./dom";
import { asPng, asSvg, download, svgText } from "./export";
import { isIdle, Model, STABLE, UNSTABLE, type Channel, type Edge, type GraphData, type View } from "./model";
import { pinnedPanel } from "./panel";
import { Scene } from "./scene";
import { extrasOf, onExtras, type Extras } from "./shelf";
import { Toolbar } from "./toolbar";
import { edgeInWords } from "./words";

const MARGIN = 16;
const WIDE = 540; // two cards side by side
const BELOW_LEGEND = 8;
const GAP = 14; // between a node and its card

class GraphView {
  private readonly stage = el("div", { className: "stage" });
  private readonly picture = svg("svg", { role: "group" });
  private readonly world = svg("g");
  private readonly names = svg("g", { class: "names", "aria-hidden": "true" });
  private readonly float = el("div", { className: "float", hidden: true, attributes: { role: "status" } });
  private readonly side = el("aside", { className: "side", hidden: true });
  private readonly legend = el("div", { className: "legend" });
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
    this.picture.append(this.world, this.names);
    this.legend.append(
      el("span", { className: "in" }, "from its sources below"),
      el("span", { className: "out" }, "to what it feeds above"),
      this.unchanged,
      this.evidence,
    );
    this.stage.append(this.picture, this.legend, this.note, this.float, this.side);
    root.append(this.toolbar.element, this.stage);
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
    this.world.replaceChildren(this.scene.group);
    this.names.replaceChildren(
      ...data.rows.map((row) => svg("text", { x: MARGIN }, row.layer)),
    );
    this.picture.setAttribute("aria-label", data.title);
    this.say(data.note);
    this.unchanged.hidden = !this.model.edges.some((edge) => edge.identity);
    this.evidence.hidden = !data.marks;
    this.stage.classList.toggle("tested", !!data.marks);
    this.float.hidden = true;
    this.stage.dataset.drawn = data.id;
  }

  private say(note: string): void {
    this.note.textContent = note;
    this.note.hidden = !note;
  }

  // Moving about

  private nameWidth(): number {
    return Math.max(...this.model.data.rows.map((row) => row.layer.length), 4) * 7.5 + 2 * MARGIN;
  }

  /** Between the names of the layers and the panel. */
  private freeWidth(): number {
    return this.stage.clientWidth - this.nameWidth() - MARGIN - (this.side.hidden ? 0 : this.side.offsetWidth);
  }

  /** Above the legend. */
  private freeHeight(): number {
    return Math.max(1, this.stage.clientHeight - this.legend.offsetHeight - BELOW_LEGEND);
  }

  /** Put nodes, edges and names in their places for the view and the frame that the graph was fitted to. */
  private arrange(): void {
    this.scene.arrange(this.view, this.aspect);
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
    const x = this.nameWidth() + Math.max(0, free - this.scene.width * scale) / 2;
    const y = Math.max(0, height - this.scene.height * scale) / 2;
    this.zoom.transform(select(this.picture), zoomIdentity.translate(x, y).scale(scale));
    this.untouched = true;
  }

  private moved(transform: ZoomTransform): void {
    this.world.setAttribute("transform", transform.toString());
    this.scene.keepNumbers(transform.k);
    [...this.names.children].forEach((text, r) =>
      text.setAttribute("y", String(transform.applyY(this.scene.rowY[r]) + 4)),
    );
    this.float.hidden = true;
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
    return card(this.model.data.nodes[n], this.model.data.images, this.model.stability(n), this.details(n));
  }

  private pointNode(n: number): void {
    const [below, above] = [this.model.below[n], this.model.above[n]];
    const near = new Set([n, ...below.map((e) => e.source), ...above.map((e) => e.target)]);
    this.scene.mark(near, new Set(below), new Set(above), new Set());
    if (n !== this.pinned) this.floatBeside([this.cardOf(n)], [n]);
  }

  private pointEdge(edge: Edge): void {
    this.scene.mark(new Set([edge.source, edge.target]), new Set([edge]), new Set(), new Set());
    const images = this.model.data.images;
    const head = `${edge.influence}${images ? ` of ${images}` : ""} images carry this ${this.model.data.measure}${edge.identity ? ": the channel itself, by a skip connection" : ""}`;
    const cards = [edge.target, edge.source].map((n) => this.cardOf(n));
    const { nodes } = this.model.data;
    const found = edgeInWords(edge, nodes[edge.source], nodes[edge.target]);
    const said = found.map((text) => el("div", { className: "facts wide" }, text));
    this.floatBeside([el("div", { className: "head" }, head), ...said, ...cards], [edge.source, edge.target]);
  }

  /** Beside the nodes, on the side with more room, inside the stage. */
  private floatBeside(content: HTMLElement[], nodes: number[]): void {
    this.float.replaceChildren(...content);
    const stage = this.stage.getBoundingClientRect();
    const boxes = nodes.map((n) => this.scene.nodes[n].getBoundingClientRect());
    const [left, right] = [Math.min(...boxes.map((b) => b.left)), Math.max(...boxes.map((b) => b.right))];
    const middle = (Math.min(...boxes.map((b) => b.top)) + Math.max(...boxes.map((b) => b.bottom))) / 2;
    const before = left - stage.left;
    const after = stage.right - (this.side.hidden ? 0 : this.side.offsetWidth) - right;
    this.float.classList.toggle("two", nodes.length > 1 && Math.max(before, after) > WIDE + GAP);
    this.float.hidden = false;
    const { offsetWidth, offsetHeight } = this.float;
    const x = after > offsetWidth + GAP ? right - stage.left + 10 : Math.max(4, before - offsetWidth - 10);
    const y = Math.min(Math.max(4, middle - stage.top - offsetHeight / 2), stage.height - offsetHeight - 4);
    this.float.style.transform = `translate(${x}px,${Math.max(4, y)}px)`;
  }

  /** Nothing pointed at: the pinned node's path stands out, or nothing. */
  private rest(): void {
    this.float.hidden = true;
    if (this.pinned < 0) return this.scene.mark(new Set(), new Set(), new Set(), new Set());
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
    if (this.untouched) this.fit();
    else this.uncover();
    this.rest();
    const node = next < 0 ? null : this.model.data.nodes[next];
    this.send("pin", node && { layer: node.layer, channel: node.channel });
  }

  /** Move the graph aside where the panel would cover the node that was pinned. */
  private uncover(): void {
    if (this.pinned < 0) return;
    const over = this.scene.nodes[this.pinned].getBoundingClientRect().right + MARGIN - this.side.getBoundingClientRect().left;
    if (over > 0) this.zoom.translateBy(select(this.picture), -over / zoomTransform(this.picture).k, 0);
  }

  private drawPinned(): void {
    this.scene.nodes.forEach((element, n) => element.classList.toggle("pinned", n === this.pinned));
    this.side.hidden = this.pinned < 0;
    if (this.pinned < 0) return;
    const found = this.extras?.pinned;
    const node = this.model.data.nodes[this.pinned];
    const same = found && found.layer === node.layer && found.channel === node.channel ? found : undefined;
    this.side.replaceChildren(
      pinnedPanel(this.cardOf(this.pinned), same, this.model.strongestPath(this.pinned), this.model, {
        close: () => this.pin(this.pinned),
        open: (channel: Channel) => this.send("open", { layer: channel.layer, channel: channel.channel }),
      }),
    );
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
    const drawn = () => asSvg(this.scene, this.stage);
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
