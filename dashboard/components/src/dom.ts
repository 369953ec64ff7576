// Elements are made with properties and text nodes; markup is never made of strings.
type Child = Node | string | null | undefined | false;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<Omit<HTMLElementTagNameMap[K], "style" | "attributes">> & { attributes?: Record<string, string> } = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const { attributes = {}, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child): child is Node | string => child != null && child !== false));
  return element as HTMLElementTagNameMap[K];
}

export const SVG = "http://www.w3.org/2000/svg";

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | number> = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children.filter((child): child is Node | string => child != null && child !== false));
  return element as SVGElementTagNameMap[K];
}

/** One of the page's colours (red, green, blue); drawings and other programs know no variables and no mixed colours. */
export function colour(styled: Element, name: string): [number, number, number] {
  const context = el("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true })!;
  const probe = el("span");
  probe.style.color = `var(${name})`;
  styled.append(probe);
  context.fillStyle = getComputedStyle(probe).color;
  probe.remove();
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return [red, green, blue];
}

/** "39 %", "0.4 %", "100 %"; "–" where it isn't known. */
export function percent(share: number | null): string {
  if (share == null || Number.isNaN(share)) return "–";
  const value = 100 * share;
  return `${value.toFixed(value < 1 && value > 0 ? 1 : 0)} %`;
}

/** A picture, or one of those that stand side by side in a file: "3.webp#4/14" is the fifth of fourteen. */
export function picture(src: string, alt: string): HTMLElement {
  const [file, k, n] = src.match(/^(.*)#(\d+)\/(\d+)$/s)?.slice(1) ?? [];
  if (!file) return el("img", { src, alt });
  const tile = el("span", { className: "tile", attributes: { role: "img", "aria-label": alt } });
  tile.style.backgroundImage = `url("${file}")`;
  tile.style.backgroundSize = `${100 * Number(n)}% 100%`;
  tile.style.backgroundPosition = `${Number(n) > 1 ? (100 * Number(k)) / (Number(n) - 1) : 0}% 0`;
  return tile;
}
