// Embedding and list of the classes, which show the same classes in two ways.
import "./classes.css";
import { ClassTable, type ClassesData } from "./classtable";
import { component, type Component } from "./component";
import { el } from "./dom";
import { Embedding } from "./embedding";
import { ClassList } from "./list";

class ClassesView {
  private readonly strip = el("div", { className: "strip", attributes: { role: "radiogroup", "aria-label": "Layer" } });
  private readonly embedding: Embedding;
  private readonly list: ClassList;
  private send: Component<ClassesData>["setTriggerValue"] = () => {};

  constructor(root: HTMLElement) {
    this.embedding = new Embedding(
      (c) => this.send("select", c),
      (c) => this.send("versus", c),
    );
    this.list = new ClassList({
      choose: (c) => this.send("select", c),
      versus: (c) => this.send("versus", c),
      seen: (classes) => this.embedding.mark(classes),
      changed: (sort, search) => this.send("list", { sort, search }),
    });
    this.strip.onkeydown = (event) => this.key(event);
    root.append(this.strip, this.embedding.element, this.list.element);
  }

  remove(): void {
    this.embedding.remove();
  }

  update({ data, setTriggerValue }: Component<ClassesData>): void {
    this.send = setTriggerValue;
    const table = new ClassTable(data);
    this.showLayers(data);
    this.embedding.show(table);
    this.list.show(table);
  }

  private showLayers(data: ClassesData): void {
    const short = shortNames(data.layers);
    const focused = this.strip.matches(":focus-within");
    this.strip.replaceChildren(
      ...data.layers.map((layer, k) =>
        el(
          "button",
          {
            type: "button",
            title: layer,
            tabIndex: layer === data.layer ? 0 : -1,
            onclick: () => this.send("layer", layer),
            attributes: { role: "radio", "aria-checked": String(layer === data.layer), "aria-label": layer },
          },
          short[k],
        ),
      ),
    );
    if (focused) this.strip.querySelector<HTMLElement>("[aria-checked=true]")?.focus();
  }

  private key(event: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const buttons = [...this.strip.children] as HTMLElement[];
    const at = buttons.findIndex((button) => button.getAttribute("aria-checked") === "true");
    if (!step || !buttons[at + step]) return;
    event.preventDefault();
    buttons[at + step].click();
  }
}

/** What all names begin with is left away: mixed3a, mixed3b become 3a, 3b. */
function shortNames(names: string[]): string[] {
  if (names.length < 2) return names;
  let common = 0;
  while (names.every((name) => name.length > common + 1 && name[common] === names[0][common])) common++;
  while (common > 0 && /\d/.test(names[0][common - 1])) common--;
  return names.map((name) => name.slice(common));
}

export default component<ClassesData, ClassesView>((root) => new ClassesView(root));
