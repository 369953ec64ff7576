// The whole graph as a file of its own, whatever part of it is on the screen, with title, caption and legend.
import { zoomIdentity } from "d3-zoom";
import { svg, SVG } from "./dom";
import { Margins } from "./margins";
import type { Model } from "./model";
import type { Scene } from "./scene";
import type { Extras } from "./shelf";
import { counted } from "./words";

const MARGIN = 24;
const TITLE = 64; // title and caption
const LINE = 20; // of the legend

/** Files are light whatever the page is: they are printed, and pasted into pages of others. */
const TEXT = "#1b1f27";
const MUTED = "#5a6170";
const GREY = "#b3b8c2";
const [A, B] = ["#0072b2", "#b84a00"];

/** A free-standing SVG with pictures, layer names and colours inside. */
export function asSvg(scene: Scene): SVGSVGElement {
  const { model } = scene;
  const margins = new Margins(model, () => {});
  const signs = legend(model);
  const top = TITLE + margins.height;
  const width = Math.max(scene.width + margins.width + 2 * MARGIN, 520);
  const height = scene.height + top + MARGIN + LINE * (signs.length + 1);
  const root = svg("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}` });
  margins.moved(zoomIdentity.translate(margins.width, 0), scene, scene.alone, scene.height);
  margins.group.setAttribute("transform", `translate(0,${top})`);
  margins.group.querySelectorAll(".zones text").forEach((text) => text.setAttribute("y", "-8"));
  root.append(
    svg("title", {}, model.data.title),
    svg("style", {}, RULES),
    svg("rect", { width, height, fill: "#fff" }),
    svg("text", { class: "title", x: MARGIN, y: 28 }, model.data.title),
    svg("text", { class: "caption", x: MARGIN, y: 48 }, caption(model)),
    margins.group,
  );
  const copy = scene.group.cloneNode(true) as SVGGElement;
  copy.setAttribute("transform", `translate(${margins.width},${top})`);
  copy.setAttribute("class", model.data.pair ? "scene pair" : "scene");
  copy.removeAttribute("style");
  root.append(copy, ...signs.map((sign, k) => placed(sign, height - LINE * (signs.length - k))));
  root.querySelectorAll("[hidden], .hits").forEach((element) => element.remove());
  return root;
}

function caption(model: Model): string {
  const { pair, images, measure } = model.data;
  const there = model.data.nodes.filter((node, n) => model.isThere(n) && !node.members).length;
  const edges = model.edges.reduce((total, edge) => total + edge.stands.length, 0);
  const of = pair ? pair.labels.map((label, k) => (pair.images[k] ? `${label}: ${counted(pair.images[k], "image")}` : label)) : [images ? counted(images, "image") : ""];
  const parts = [counted(there, "channel"), `${counted(edges, "edge")} by ${measure}`, ...of];
  return parts.filter(Boolean).join(" · ");
}

/** Lines of a kind, and what they stand for. */
function legend(model: Model): [kind: string, text: string][] {
  const { pair, marks } = model.data;
  const sizes = pair ? "Size of a picture: share of the images that use the channel." : "Size of a picture: images that use the channel.";
  const widths = "Width of a line: images in which the lower channel is among the strongest sources. Numbers name channels.";
  const common: [string, string][] = [["", `${sizes} ${widths}`]];
  for (const { number, name, colour } of model.communities) common.push([`chip ${colour}`, `community ${number}: channels that fire together${name && `, used most by ${name}`}`]);
  if (marks) common.push(["dotted", "without effect when the lower channel is taken away"]);
  if (!pair) return common;
  return [
    ["edge a", `only ${pair.labels[0]} (bars to the left)`],
    ["edge both", "both"],
    ["edge b", `only ${pair.labels[1]} (bars to the right)`],
    ...common,
  ];
}

function placed([kind, text]: [string, string], y: number): SVGGElement {
  const group = svg("g", { class: "legend", transform: `translate(${MARGIN},${y})` });
  if (kind.startsWith("edge")) {
    const both = kind.endsWith("both");
    const line = (name: string, width: number) => svg("path", { class: name, d: "M0,-4H30", "stroke-width": width });
    group.append(svg("g", { class: "pair" }, line(kind, both ? 6 : 4), both && line("core", 2)));
  } else if (kind.startsWith("chip")) group.append(svg("rect", { x: 24, y: -11, width: 6, height: 14, fill: kind.slice(5) }));
  else if (kind) group.append(svg("path", { class: kind, d: "M0,-4H30" }));
  group.append(svg("text", { class: "caption", x: kind ? 40 : 0 }, text));
  return group;
}

const RULES = `text{font:11px sans-serif;fill:${TEXT}}.title{font-size:18px;font-weight:600}.caption{fill:${MUTED};font-size:12px}
.names text{font-weight:600;font-size:13px}.zone{font-weight:600;font-size:13px}.a.zone{fill:${A}}.b.zone{fill:${B}}
.edge{fill:none;stroke:${GREY};stroke-opacity:.7}.edge.identity{stroke:${TEXT}}.frame{fill:${GREY};fill-opacity:.35}
.community{fill:${MUTED}}.behind{stroke:#fff}.core{fill:none;stroke:#fff}.border,.axis{fill:none;stroke:${GREY}}.way{fill:none;stroke:${MUTED};stroke-width:2}
.dotted{stroke:${MUTED};stroke-width:3;stroke-linecap:round;stroke-dasharray:0 7}
.stable .frame{stroke:${TEXT};stroke-width:5}.unstable .frame{stroke:${GREY};stroke-width:3;stroke-dasharray:3 4}
.unselected .frame{stroke:${MUTED};stroke-width:2;stroke-dasharray:2 3}
.pair .edge.a{stroke:${A}}.pair .edge.b{stroke:${B};stroke-dasharray:9 5}.pair .edge.both{stroke:${MUTED}}
.pair .a .frame{stroke:${A};stroke-width:4}.pair .b .frame{stroke:${B};stroke-width:4;stroke-dasharray:9 5}
.pair .both .frame{stroke:${MUTED};stroke-width:2}.pair .both .second{stroke:${MUTED};stroke-width:2}.second{fill:none}
.of-a{fill:${A}}.of-b{fill:${B}}.track{fill:#e3e5ea}.unknown{fill:none;stroke:${MUTED};stroke-width:.7;stroke-dasharray:2 2}
.middle{stroke:${TEXT}}`;

/** What can be saved of a drawing, and the files that belong to its graph. */
export function filesOf(scene: Scene, others: NonNullable<Extras["files"]>, say: (why: string) => void): { name: string; save(): void }[] {
  const stem = scene.model.data.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "graph";
  const png = () =>
    asPng(asSvg(scene))
      .then((blob) => download(`${stem}.png`, "image/png", blob))
      .catch((error) => say(`No PNG could be made: ${error instanceof Error ? error.message : error} Take the SVG.`));
  return [
    { name: "SVG", save: () => download(`${stem}.svg`, "image/svg+xml", svgText(asSvg(scene))) },
    { name: "PNG", save: () => void png() },
    ...others.map(({ name, type, text }) => ({ name, save: () => download(`${stem}-${name}`, type, text) })),
  ];
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
