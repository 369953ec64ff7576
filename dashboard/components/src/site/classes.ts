// One class: how well it is recognised, what it is taken for, its least probable images, and its graph.
import { el } from "../dom";
import { counted } from "../words";
import type { Predictions } from "./data";
import { drawn, showDrawn } from "./drawing";
import { choosePair, sentence } from "./explore";
import { factsSlot, graphSlot } from "./parts";
import { table } from "./table";
import { choice, classFacts, heading, remark, type Context, type Page, type Wanted } from "./view";

export function classPage({ data, go, wanted: now }: Context): Page {
  const { site } = data;
  const facts = factsSlot();
  const graph = graphSlot({
    pin: () => {},
    view: (view) => go({ view: { ...view, least_count: now().view.least_count } }), // that is Explore's alone
    open: ({ layer, channel }) => {
      if (!site.layers[data.indexOf(layer)].of_class) go({ page: "channel", layer, channel });
    },
  });
  const choices = el("div", { className: "choices" });
  const seen = el("div");
  const above = el("div");
  const absent = el("p", { className: "notice", hidden: true }, site.why.graphs);
  const element = el("div", { className: "page" }, choices, facts.element, seen, above, absent, graph.element);

  async function show(wanted: Wanted, isStale: () => boolean): Promise<void> {
    const own = await data.cls(wanted.cls);
    const part = own.graphs[wanted.pair];
    const found = part && (await drawn(data, wanted, part, false));
    if (isStale()) return;
    const synset: [string, string][] = site.synsets[wanted.cls] ? [["Synset", site.synsets[wanted.cls]]] : [];
    facts.show(classFacts(data, wanted.cls, [["Folder", site.folders[wanted.cls]], ...synset]));
    choices.replaceChildren(
      choice("Class", site.names, wanted.cls, (c) => go({ class: site.folders[c] })),
      ...choosePair(site.pairs, wanted, go),
    );
    seen.replaceChildren(own.predictions ? predictions(own.predictions, wanted) : remark("There are no predictions of single images of this class."));
    above.replaceChildren(heading("All images of the class"), part?.badge ? sentence(part.badge) : "");
    absent.hidden = !!found;
    graph.element.hidden = !found;
    if (!found) return;
    showDrawn({ ...found, data: { ...found.data, view: { ...wanted.view, least_count: 0 }, pinned: null } }, graph);
  }

  function predictions(own: Predictions, wanted: Wanted): HTMLElement {
    return el(
      "div",
      { className: "two narrow" },
      el("div", {}, heading("What its images are taken for"), ...takenFor(own)),
      el("div", {}, heading("Its images, least probable first"), ...images(own, site.names[wanted.cls])),
    );
  }

  function takenFor({ taken_for: rows }: Predictions): HTMLElement[] {
    if (!rows.length) return [remark("Every image of this class was recognised.")];
    const links = rows.filter(([, c]) => c >= 0).map(([name, c]) => el("button", { type: "button", className: "plain", onclick: () => go({ class: site.folders[c] }) }, name));
    const cells = rows.map(([name, , images, probability]) => [name, images, probability]);
    return [
      table(["taken for", "images", "mean probability"], cells, "taken-for.csv"),
      ...(links.length ? [el("div", { className: "links" }, "Go to", ...links)] : []),
    ];
  }

  function images({ images: rows, names, total }: Predictions, name: string): HTMLElement[] {
    const ranks = Math.max(0, ...rows.map(([, , , predicted]) => predicted.length));
    const numbers = [...Array(ranks).keys()];
    const columns = ["file", `probability of ${name}`, "correct", ...numbers.flatMap((k) => [`prediction ${k + 1}`, `probability ${k + 1}`])];
    const cells = rows.map(([file, probability, correct, predicted]) => [
      file,
      probability,
      correct > 0,
      ...predicted.flatMap(([answer, p]) => [names[answer], p]),
    ]);
    const some = rows.length < total ? `The first ${rows.length} of ${counted(total, "image")}. ` : "";
    return [table(columns, cells, "images.csv"), remark(`${some}The graph of some of them is what the dashboard works out; a site holds the graphs of classes.`)];
  }

  return { element, show, remove: () => [facts, graph].forEach((slot) => slot.remove()) };
}
