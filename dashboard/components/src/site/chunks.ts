// Data come as scripts: a page that was opened from a folder may load these, and may fetch nothing.
//
//   data/picture/0/7.js    summit("picture/0/7", {…})
//   data/class/12.js       summit("class/12", "eJy…")     JSON, compressed
//
// A page in one file has them all inside, as JSON.

import { el } from "../dom";

type Taker = (value: unknown) => void;

const script = document.currentScript as HTMLScriptElement | null;
const folder = script?.src ? new URL(".", script.src) : null;
const waiting = new Map<string, Taker>();
const kept = new Map<string, Promise<unknown>>();
let inside: Record<string, unknown> | null | undefined;

(globalThis as { summit?: (key: string, value: unknown) => void }).summit = (key, value) => {
  const part = typeof value === "string" ? parsed(value) : Promise.resolve(value);
  const wanted = waiting.get(key);
  if (wanted) wanted(part);
  else if (!kept.has(key)) kept.set(key, part);
};

/** One part of the data; loaded once. */
export function chunk<Value>(key: string): Promise<Value> {
  const found = kept.get(key) ?? loaded(key);
  kept.set(key, found);
  return found as Promise<Value>;
}

/** Whether all data are inside the page, which then shows one class alone. */
export function isSingle(): boolean {
  inside ??= readInside();
  return inside !== null;
}

/** The address of a file of the site. */
export function fileOf(path: string): string {
  return folder ? new URL(path, folder).href : path;
}

/** What was compressed, from its base64. */
export async function inflated(base64: string): Promise<ArrayBuffer> {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new DecompressionStream("deflate");
  const writer = stream.writable.getWriter();
  const written = writer.write(bytes).then(() => writer.close());
  const [buffer] = await Promise.all([new Response(stream.readable).arrayBuffer(), written]);
  return buffer;
}

async function parsed(base64: string): Promise<unknown> {
  return JSON.parse(new TextDecoder().decode(await inflated(base64)));
}

function readInside(): Record<string, unknown> | null {
  const element = document.getElementById("data");
  return element && JSON.parse(element.textContent!);
}

function loaded(key: string): Promise<unknown> {
  if (isSingle()) return key in inside! ? Promise.resolve(inside![key]) : Promise.reject(new Error(`This page lacks ${key}.`));
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    const done = () => (waiting.delete(key), element.remove());
    waiting.set(key, (value) => (done(), resolve(value)));
    element.onerror = () => {
      done();
      kept.delete(key); // so that it is tried again
      reject(new Error(`The file data/${key}.js of this site can't be loaded.`));
    };
    element.src = fileOf(`data/${key}.js`);
    document.head.append(element);
  });
}

/** All that the first graph shows, in one file instead of many; what is missing in it comes by itself later. */
export function loadFirst(): Promise<void> {
  if (isSingle()) return Promise.resolve();
  return new Promise((resolve) => {
    const element = el("script", { src: fileOf("data/first.js"), onload: () => resolve(), onerror: () => resolve() });
    document.head.append(element);
  });
}
