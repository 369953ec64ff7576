// Pictures with a line of text each; a click says which.
import "./gallery.css";
import { component, type Component } from "./component";
import { el, picture } from "./dom";
import { outlined, type Fires } from "./outline";

interface GalleryData {
  label: string;
  size: number; // pixels
  items: { picture: string | null; title: string; text: string; alt: string; open: boolean; fires?: Fires | null }[];
}

export default component<GalleryData, { update(component: Component<GalleryData>): void; remove(): void }>((root) => ({
  update: ({ data, setTriggerValue }) => {
    const items = data.items.map((item, k) => {
      const seen = item.picture
        ? outlined(picture(item.picture, item.alt), item.fires)
        : el("div", { className: "none", title: "no picture", attributes: { "aria-label": item.alt } }, item.title);
      const content = [seen, el("span", { className: "title" }, item.title), el("span", { className: "text" }, item.text)];
      const properties = { title: [item.title, ...item.text.split("\n")].filter(Boolean).join(" · ") };
      return item.open
        ? el("button", { type: "button", className: "item", onclick: () => setTriggerValue("open", k), ...properties }, ...content)
        : el("figure", { className: "item", ...properties }, ...content);
    });
    const grid = el("div", { className: "gallery", attributes: { role: "group", "aria-label": data.label } }, ...items);
    grid.style.setProperty("--size", `${data.size}px`);
    root.replaceChildren(grid);
  },
  remove: () => {},
}));
