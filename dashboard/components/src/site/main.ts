// The site: the dashboard's components, fed from files instead of Streamlit.
//
//   address ── read ── within ── page.show ── chunks ── components
//      └────────────── go ◄──────────────────────────────┘
import { el } from "../dom";
import { PAGES, read, write, type PageName, type Selection } from "./address";
import { channelPage } from "./channel";
import { chunk, isSingle, loadFirst } from "./chunks";
import { classPage } from "./classes";
import { Data, type SiteData } from "./data";
import { evidencePage } from "./evidence";
import { explore } from "./explore";
import { layersPage } from "./layers";
import { factsSlot } from "./parts";
import { search } from "./search";
import type { Context, Page, Wanted } from "./view";

const MAKERS: Record<PageName, (context: Context) => Page> = {
  explore,
  channel: channelPage,
  layers: layersPage,
  classes: classPage,
  evidence: evidencePage,
};

const ABSENT =
  "The address asks for what has to be worked out, as another share or mass or a graph of some images: the dashboard does that, a site holds the graphs as they were stored.";

/** A selection as far as it exists, the first class and top layer where none is said; and what it names in vain. */
function within(given: Selection, { site, layers }: Data): [Wanted, string[]] {
  const missing: string[] = [];
  let cls = given.class === null ? 0 : site.folders.indexOf(given.class);
  if (cls < 0) {
    cls = 0;
    missing.push(`There is no class '${given.class}' in this site; this is ${site.names[0]}.`);
  }
  let layer = layers.find((known) => known.name === given.layer);
  if (!layer) {
    layer = layers[layers.length - 1];
    if (given.layer !== null) missing.push(`There is no layer '${given.layer}' in this site; this is ${layer.name}.`);
  }
  const pair = site.pairs.find((known) => known.name === given.pair) ?? site.pairs[0];
  if (given.pair !== null && pair?.name !== given.pair) missing.push(`This site has no graphs called '${given.pair}'.`);
  if (given.page === "channel" && given.channel !== null && given.channel >= layer.channels)
    missing.push(`${layer.name} has the channels 0 to ${layer.channels - 1}; channel ${given.channel} does not exist.`);
  const other = given.vs === null ? -1 : site.folders.indexOf(given.vs);
  if (given.vs !== null && other < 0) missing.push(`There is no class '${given.vs}' in this site to compare with; the class is shown alone.`);
  const size = site.layers.find((known) => known.name === given.pinned?.layer)?.channels ?? 0;
  const pinned = given.pinned && given.pinned.channel < size ? given.pinned : null;
  if (given.computed) missing.push(ABSENT);
  return [{ ...given, cls, layer: layer.name, pair: pair?.name ?? "", against: other < 0 ? null : other, pinned }, missing];
}

class Site {
  private readonly notices = el("div", { attributes: { role: "status" } });
  private readonly main = el("main");
  private readonly nav = el("nav", { attributes: { "aria-label": "Pages" } });
  private given: Selection = read(isSingle() ? "" : location.hash);
  private page: Page | null = null;
  private name: PageName | null = null;
  private turn = 0;

  constructor(
    private readonly data: Data,
    root: HTMLElement,
  ) {
    const { site } = data;
    const head = factsSlot();
    head.show({ title: site.title, level: 1, note: "", facts: site.facts, histogram: null });
    const find = isSingle() ? null : search(data, (changes) => this.go(changes));
    const foot = el("footer", {}, site.credit && el("p", {}, site.credit), el("p", {}, "Made with summit-dask."));
    root.append(el("header", {}, head.element, isSingle() ? null : this.nav, find), this.notices, this.main, foot);
    if (!isSingle()) addEventListener("hashchange", () => this.follow(read(location.hash)));
    void this.follow(this.given);
  }

  private go(changes: Partial<Selection>): void {
    // What can't be worked out here is said once, and then forgotten.
    const wanted = { ...this.given, ...changes, computed: false };
    const hash = write(wanted);
    if (isSingle()) void this.follow(wanted);
    else if (hash !== location.hash) location.hash = hash;
  }

  private async follow(given: Selection): Promise<void> {
    this.given = given;
    const turn = ++this.turn;
    const isStale = () => turn !== this.turn;
    const [wanted, missing] = within(given, this.data);
    this.say(missing);
    this.showLinks(given);
    try {
      await this.opened(wanted).show(wanted, isStale);
      if (!isStale()) this.main.dataset.shown = write(given);
    } catch (error) {
      if (!isStale()) this.say([error instanceof Error ? error.message : String(error)]);
    }
  }

  private opened(wanted: Wanted): Page {
    if (this.page && this.name === wanted.page) return this.page;
    this.page?.remove();
    this.name = wanted.page;
    this.page = MAKERS[wanted.page]({ data: this.data, wanted: () => within(this.given, this.data)[0], go: (changes) => this.go(changes) });
    this.main.replaceChildren(this.page.element);
    scrollTo(0, 0);
    return this.page;
  }

  private say(sentences: string[]): void {
    this.notices.replaceChildren(...sentences.map((sentence) => el("p", { className: "notice" }, sentence)));
  }

  private showLinks(given: Selection): void {
    const compares = given.page === "explore" && given.vs !== null;
    const { site } = this.data;
    const tested = site.pairs.some((pair) => !(pair.name in site.untested));
    const pages = PAGES.filter(([page]) => page !== "evidence" || tested);
    const links = pages.map(([page, title]) => link(title, { ...given, page, vs: null }, page === given.page && !compares));
    const [wanted] = within(given, this.data);
    const other = wanted.against ?? site.nearest[wanted.cls];
    if (other >= 0) links.push(link("Compare", { ...given, page: "explore", vs: site.folders[other] }, compares));
    this.nav.replaceChildren(...links);
  }
}

function link(title: string, to: Selection, here: boolean): HTMLElement {
  const element = el("a", { href: write({ ...to, computed: false }) }, title);
  if (here) element.setAttribute("aria-current", "page");
  return element;
}

async function start(): Promise<void> {
  const root = document.getElementById("site")!;
  try {
    const { page, class: cls } = read(location.hash);
    if (page === "explore" && cls === null) await loadFirst();
    const data = new Data(await chunk<SiteData>("site"));
    root.replaceChildren();
    new Site(data, root);
  } catch (error) {
    root.replaceChildren(el("p", { className: "notice" }, error instanceof Error ? error.message : String(error)));
  }
}

void start();
