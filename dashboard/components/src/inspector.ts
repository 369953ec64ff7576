// Beside the drawing: what is pointed at, else what is pinned, else how to read it, and what differs in a pair.
import { differs } from "./differs";
import { el } from "./dom";
import type { Channel, Model } from "./model";
import { reading } from "./reading";

export class Inspector {
  readonly element = el("aside", { className: "side", attributes: { "aria-label": "Inspector" } });
  private readonly pointed = el("div", { className: "float", hidden: true, attributes: { role: "status" } });
  private readonly pinned = el("div", { className: "fixed" });
  private readonly communities = el("div", {});
  private readonly general = el("div", { className: "general" });

  constructor() {
    this.element.append(this.pointed, this.pinned, this.communities, this.general);
  }

  /** For another drawing. */
  draw(model: Model, pin: (channel: Channel) => void): void {
    const table = model.data.pair ? [differs(model, pin)] : [];
    const hint = el("p", { className: "facts" }, "Point at a channel or an edge to see what it is.");
    this.general.replaceChildren(...(model.data.pins ? [...table, reading(model)] : [hint]));
    this.rest();
  }

  group(list: HTMLElement | null): void {
    this.communities.replaceChildren(...(list ? [list] : []));
  }

  point(content: HTMLElement[]): void {
    this.pointed.replaceChildren(...content);
    this.element.classList.add("pointing");
    this.pointed.hidden = false;
  }

  get isPointing(): boolean {
    return !this.pointed.hidden;
  }

  rest(): void {
    this.pointed.hidden = true;
    this.pointed.replaceChildren();
    this.element.classList.remove("pointing");
  }

  /** What is pinned: a channel or an edge. */
  pin(panel: HTMLElement | null): void {
    const fresh = panel !== null && !this.pinned.hasChildNodes();
    this.pinned.replaceChildren(...(panel ? [panel] : []));
    if (fresh) this.element.scrollTop = 0;
  }
}
