// A place on the page where one of the dashboard's components is drawn, in a shadow root as Streamlit gives it.
import type { Component } from "../component";
import { el } from "../dom";

type Render<Data> = (component: Component<Data>) => () => void;
type Events = Record<string, (value: never) => void>;

export class Slot<Data> {
  readonly element = el("div", { className: "slot" });
  private readonly root = this.element.attachShadow({ mode: "open" });
  private remover = () => {};

  constructor(
    private readonly render: Render<Data>,
    css: string,
    private readonly events: Events = {},
  ) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    this.root.adoptedStyleSheets = [sheet];
  }

  show(data: Data): void {
    const setTriggerValue = (name: string, value: unknown) => this.events[name]?.(value as never);
    this.remover = this.render({ data, parentElement: this.root, setTriggerValue });
  }

  remove(): void {
    this.remover();
  }
}
