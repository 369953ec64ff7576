// Tables, to be read here and to be kept as a file.
import { el } from "../dom";
import { download } from "../export";

type Cell = string | number | boolean | null;

/** A table under a heading of its columns, with a button that saves all of it. */
export function table(columns: string[], rows: Cell[][], file: string): HTMLElement {
  const save = el("button", { type: "button", className: "plain", onclick: () => download(file, "text/csv", csv(columns, rows)) }, "CSV");
  return el(
    "div",
    { className: "table" },
    el(
      "div",
      { className: "scroller", tabIndex: 0, attributes: { role: "region", "aria-label": "Table" } },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, ...columns.map((column) => el("th", { scope: "col" }, column)))),
        el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell)))),
      ),
    ),
    save,
  );
}

function cell(value: Cell): HTMLElement {
  const number = typeof value === "number";
  const text = value === null ? "–" : value === true ? "yes" : value === false ? "no" : String(value);
  return el("td", { className: number ? "number" : "" }, text);
}

/** As pandas writes it. */
export function csv(columns: string[], rows: Cell[][]): string {
  const quoted = (text: string) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const said = (value: Cell) => (value === null ? "" : value === true ? "True" : value === false ? "False" : quoted(String(value)));
  return [columns.map(quoted), ...rows.map((row) => row.map(said))].map((row) => `${row.join(",")}\n`).join("");
}
