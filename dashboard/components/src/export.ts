// The whole graph as a file of its own, whatever part of it is on the screen.
import { colour, svg, SVG } from "./dom";
import type { Scene } from "./scene";

const MARGIN = 24;

/** A free-standing SVG with pictures, layer names and the page's colours inside. */
export function asSvg(scene: Scene, styled: Element): SVGSVGElement {
  const [text, back, line] = ["--text", "--back", "--line"].map((name) => `rgb(${colour(styled, name)})`);
  const names = Math.max(...scene.model.data.rows.map((row) => row.layer.length)) * 7 + MARGIN;
  const [width, height] = [scene.width + names + 2 * MARGIN, scene.height + 2 * MARGIN];
  const root = svg("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}` });
  root.append(
    svg("title", {}, scene.model.data.title),
    svg("style", {}, rules(text, line)),
    svg("rect", { width, height, fill: back }),
  );
  scene.model.data.rows.forEach((row, r) =>
    root.append(svg("text", { class: "layer", x: MARGIN, y: scene.rowY[r] + MARGIN + 4 }, row.layer)),
  );
  const copy = scene.group.cloneNode(true) as SVGGElement;
  copy.setAttribute("transform", `translate(${names + MARGIN},${MARGIN})`);
  copy.setAttribute("class", "scene");
  copy.removeAttribute("style");
  copy.querySelectorAll("[hidden], .hits").forEach((element) => element.remove());
  root.append(copy);
  return root;
}

function rules(text: string, line: string): string {
  return `text{font:11px sans-serif;fill:${text}}.layer{font-weight:600;font-size:13px}
.edge{fill:none;stroke:${line};stroke-opacity:.7}.edge.identity{stroke:${text}}.frame{fill:${line};fill-opacity:.35}
.stable .frame{stroke:${text};stroke-width:5}.unstable .frame{stroke:${line};stroke-width:3;stroke-dasharray:3 4}`;
}

export function download(name: string, type: string, content: string | Blob): void {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function svgText(root: SVGSVGElement): string {
  return new XMLSerializer().serializeToString(root);
}

export async function asPng(root: SVGSVGElement, scale = 2): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText(root))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width * scale;
  canvas.height = image.height * scale;
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large."))), "image/png"),
  );
}
