"""How fast the dashboard is, measured in a real browser (headless Chromium, its own frames).

    python benchmarks/dashboard.py [STORE ...] [--synthetic PATH] [--rounds N]

Without a STORE, the one at --synthetic is measured, and made first if it is absent: 1000 classes of 20 images each,
InceptionV1's layers and hops, with counts, graphs, embedding and predictions (a minute, 1 GB). A store imported from
the original's data ('summit-dask import-summit') is the other one worth measuring. In place of a store, a folder of
stores: the first is measured.

first view        from the address to the drawn graph, the server just started
warm view         the same in a new session of a browser that has no file of the page yet (median, largest)
class             from the click in the list to the new graph drawn (median, largest)
layer             from the click to the points' first step towards the new layer
pair              from another class chosen as B in the list to both graphs drawn as one (median, largest)
elsewhere         the same with the class in another store, where a folder has one of the same layers
hover             from the pointer's event to the frame in which the neighbours stand out
memory            of the server with five open sessions
outside           requests that left the machine

`--picture FILE` takes a picture of the first store's Explore instead, with a pinned channel, as README shows it.

Prints JSON lines, then a table. The browser is SUMMIT_CHROMIUM or the chromium on PATH.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from scipy import sparse

from summit_dask.arrays.graph.attribution import ClassGraph, class_graph
from summit_dask.arrays.graph.edges import ClassCounts
from summit_dask.facts.pairs import PAPERS
from summit_dask.formats.original_network import layer_graph
from summit_dask.store.graphs import write_graphs
from summit_dask.store.header import Header
from summit_dask.store.layout import partition_size
from summit_dask.store.places import stores_in
from summit_dask.store.store import Store
from tests.stores import Made, finish, options, run_of_images, tables, write_part

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")
N_CLASSES, PER_CLASS, PATTERNS, POPULAR, SESSIONS = 1000, 20, 25, 16, 5

#: The component's shadow root that holds what a selector finds.
FIND = """
(selector) => { for (const e of document.querySelectorAll('*')) {
  const found = e.shadowRoot?.querySelector(selector); if (found) return found; } }
"""
#: Click, then look at every frame until a condition holds; milliseconds.
CLICK = """
async ([what, n, until]) => {
  const find = FIND;
  const root = find(what).getRootNode();
  const before = find('.stage')?.dataset.drawn;
  const points = () => find('.embedding')?.querySelector('circle')?.getAttribute('cx');
  const place = points();
  const done = {
    drawn: () => find('.stage')?.dataset.drawn !== before && find('.node'),
    moved: () => points() !== place,
    checked: () => root.querySelectorAll(what)[n].getAttribute('aria-checked') === 'true',
  }[until];
  const start = performance.now();
  root.querySelectorAll(what)[n].click();
  while (!done()) {
    await new Promise(requestAnimationFrame);
    if (performance.now() - start > 20000) throw new Error(`${what} ${n}: nothing happened`);
  }
  return performance.now() - start;
}
""".replace("FIND", FIND)
#: The same of a button in a list of choices, which is there already.
CHOOSE = """
async (button) => {
  const find = FIND;
  const before = find('.stage').dataset.drawn;
  const start = performance.now();
  button.click();
  while (find('.stage')?.dataset.drawn === before || !find('.node')) {
    await new Promise(requestAnimationFrame);
    if (performance.now() - start > 20000) throw new Error(`${button.innerText}: nothing happened`);
  }
  return performance.now() - start;
}
""".replace("FIND", FIND)
HOVER = """
async (n) => {
  const find = FIND;
  const node = find('.node').getRootNode().querySelectorAll('.node')[n];
  const start = performance.now();
  node.dispatchEvent(new PointerEvent('pointerover', { bubbles: true }));
  await new Promise(requestAnimationFrame);
  await new Promise((done) => setTimeout(done));
  const took = performance.now() - start;
  node.dispatchEvent(new PointerEvent('pointerout', { bubbles: true }));
  return took;
}
""".replace("FIND", FIND)


def make_synthetic(path: Path) -> None:
    """A complete store of InceptionV1's size; the counts of classes repeat after `PATTERNS` of them."""
    rng, graph = np.random.default_rng(0), layer_graph()
    n = N_CLASSES * PER_CLASS
    run = run_of_images()
    run = run.model_copy(update={"config": run.config.replaced(excluded=())})  # the tests' network has other layers
    header = Header(graph, run, n, N_CLASSES, N_CLASSES, partition_size(n))
    draft = path.with_name(path.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    store = Store.create(draft, header, tables(rng, N_CLASSES, PER_CLASS, ("<img src=x onerror=alert(1)>",)))
    made = Made(graph, *patterns(rng, PER_CLASS))
    _write_counts(store, made, rng)
    graphs = [_graph(made, place) for place in range(PATTERNS)]
    write_graphs(store, [graphs[place % PATTERNS] for place in range(N_CLASSES)])
    finish(store, PAPERS.group)
    write_part("embedding", store, made, rng)
    store.consolidate()
    draft.rename(path)


def patterns(rng: np.random.Generator, n_images: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Counts as a network's: few channels much used, and most influence comes from these."""
    graph = layer_graph()
    popular = {x.name: rng.integers(0, x.channels, (PATTERNS, POPULAR)) for x in graph.layers}
    activation = {}
    for layer in graph.visible:
        share = rng.beta(0.05, 4, (PATTERNS, layer.channels))
        np.put_along_axis(share, popular[layer.name], rng.beta(0.6, 1.2, (PATTERNS, POPULAR)), axis=1)
        activation[layer.name] = rng.binomial(n_images, share).astype(np.int32)
    influence = {}
    for hop in graph.hops:
        counts = np.zeros((PATTERNS, hop.channels, graph.layer(hop.source).channels), np.int32)
        which = rng.integers(0, POPULAR, (PATTERNS, hop.channels * 14))
        favourite = np.take_along_axis(popular[hop.source], which, axis=1).reshape(PATTERNS, hop.channels, 14)
        share = rng.beta(0.5, 1.5, favourite.shape)
        np.put_along_axis(counts, favourite, rng.binomial(n_images, share).astype(np.int32), axis=2)
        influence[hop.name] = counts
    return activation, influence


def _write_counts(store: Store, made: Made, rng: np.random.Generator) -> None:
    for layer in made.layer_graph.visible:
        pattern = made.activation[layer.name][np.arange(N_CLASSES) % PATTERNS]
        counts = np.clip(pattern + rng.integers(-1, 2, pattern.shape, np.int32) * (pattern > 0), 0, PER_CLASS)
        store.add(f"matrices/{layer.name}/activation_count", counts.astype(np.int32))
    write_sources(store, made)


def write_sources(store: Store, made: Made) -> None:
    """Counts of sources of all classes, which repeat; then the counts are whole."""
    for hop in made.layer_graph.hops:
        counts = made.influence[hop.name]
        address = f"matrices/{hop.name}/influence_count"
        store.lay_out(address)
        step = store.rows_per_shard(address)
        for start in range(0, N_CLASSES, step):
            rows = np.arange(start, min(start + step, N_CLASSES)) % PATTERNS
            store.write(address, counts[rows], start)
    finish(store, "matrices")


def _graph(made: Made, place: int) -> ClassGraph:
    counts = ClassCounts(
        {name: a[place] for name, a in made.activation.items()},
        {name: sparse.csr_array(i[place]) for name, i in made.influence.items()},
    )
    return class_graph(made.layer_graph, counts, {}, options())


class Server:
    """A dashboard on a port of its own."""

    def __init__(self, store: Path, port: int) -> None:
        command = [sys.executable, "-m", "dashboard", str(store), "127.0.0.1", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.address = f"http://127.0.0.1:{port}"
        first = stores_in(store)[0].name
        self.page = f"{self.address}/?store={first}"

    def __enter__(self) -> "Server":
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=1).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise TimeoutError(self.address)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)

    def megabytes(self) -> float:
        """Memory of the server and its children."""
        own = psutil.Process(self.process.pid)
        return sum(p.memory_info().rss for p in (own, *own.children(recursive=True))) / 1e6


def first_view(browser: Browser, address: str, outside: list[str]) -> tuple[Page, float]:
    """A new session and the seconds until its graph is drawn."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.on("request", lambda r: None if r.url.startswith(LOCAL) else outside.append(r.url))
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(".stage[data-drawn] .node", timeout=120_000)
    return page, time.perf_counter() - start


def measure(browser: Browser, store: Path, port: int, rounds: int) -> dict[str, Any]:
    """All figures of one store; times in milliseconds."""
    outside: list[str] = []
    with Server(store, port) as server:
        page, first = first_view(browser, server.page, outside)
        page.wait_for_timeout(2000)
        views = [_view_and_leave(browser, server.page, outside) for _ in range(rounds)]
        for _ in range(SESSIONS - 1):
            first_view(browser, server.page, outside)
        classes = [_class(page, k) for k in range(rounds)]
        page.wait_for_timeout(1500)
        has_places = page.locator(".embedding circle").count() > 0 and not page.locator(".embedding.absent").count()
        until = "moved" if has_places else "checked"
        layers = [_layer(page, k, until) for k in range(min(rounds, page.locator(".strip button").count() - 1))]
        nodes = page.locator(".node").count()
        hovers = [page.evaluate(HOVER, k % nodes) for k in range(3 * rounds)]
        pairs = [_pair(page, server.page, k) for k in range(rounds)]
        elsewhere = list(filter(None, (_elsewhere(page, server.page, k) for k in range(rounds))))
        load = os.getloadavg()[0]
        return {
            "store": store.name,
            "first_view": 1000 * first,
            "warm_view": 1000 * median(views),
            "warm_largest": 1000 * max(views),
            "class": median(classes),
            "class_largest": max(classes),
            "layer": median(layers),
            "pair": median(pairs),
            "pair_largest": max(pairs),
            "elsewhere": median(elsewhere) if elsewhere else None,
            "elsewhere_largest": max(elsewhere, default=None),
            "hover": median(hovers),
            "hover_largest": max(hovers),
            "memory_mb": server.megabytes(),
            "outside": len(outside),
            "nodes": nodes,
            "load": load,
        }


def _view_and_leave(browser: Browser, address: str, outside: list[str]) -> float:
    page, seconds = first_view(browser, address, outside)
    page.context.close()
    return seconds


def take_picture(browser: Browser, store: Path, file: Path) -> None:
    """Explore with a node of the graph's second row pinned, twice as fine as a screen."""
    with Server(store, 8750) as server:
        page = browser.new_context(viewport={"width": 1440, "height": 900}, device_scale_factor=2).new_page()
        page.goto(server.page)
        page.wait_for_selector(".stage[data-drawn] .node", timeout=120_000)
        page.wait_for_function("globalThis.summitDaskExtras?.size")
        page.locator(".node").nth(3).click()
        page.wait_for_selector(".side ol")
        page.mouse.move(5, 5)
        page.wait_for_timeout(1000)
        file.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=file)


def _class(page: Page, k: int) -> float:
    page.wait_for_timeout(800)  # the list follows the graph; a row clicked before may be the class that is shown
    took: float = page.evaluate(CLICK, [".space .row", 2 + k % 5, "drawn"])
    return took


def _pair(page: Page, address: str, k: int) -> float:
    _alone(page, address)
    took: float = page.evaluate(CLICK, [".space .row .vs", k, "drawn"])
    return took


def _elsewhere(page: Page, address: str, k: int) -> float | None:
    _alone(page, address)
    page.evaluate(CLICK, [".space .row", 2 + k, "drawn"])
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="vs +").click()
    page.get_by_label("Another class").wait_for()
    choice = page.get_by_role("button", name="This class in")
    took: float | None = choice.first.evaluate(CHOOSE) if choice.count() else None
    return took


def _alone(page: Page, address: str) -> None:
    """A class held against none, as its visitor has come to see it."""
    page.goto(address)
    page.wait_for_selector(".stage[data-drawn] .node", timeout=120_000)
    page.wait_for_timeout(2000)


def _layer(page: Page, k: int, until: str) -> float:
    took: float = page.evaluate(CLICK, [".strip button", k, until])
    page.wait_for_timeout(1300)  # the points are still gliding
    return took


def main() -> None:
    """Measure every store given, or the synthetic one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="*", type=Path)
    parser.add_argument("--synthetic", type=Path, default=Path("synthetic.zarr"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    stores = given.stores or [given.synthetic]
    if given.synthetic in stores and not given.synthetic.exists():
        make_synthetic(given.synthetic)
    chromium = os.environ.get("SUMMIT_CHROMIUM") or shutil.which("chromium")
    if not chromium:
        sys.exit("No Chromium found; install it or set SUMMIT_CHROMIUM to its path.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        if given.picture:
            take_picture(browser, stores[0].resolve(), given.picture)
            return
        rows = [measure(browser, store.resolve(), 8751 + k, given.rounds) for k, store in enumerate(stores)]
        browser.close()
    for row in rows:
        print(json.dumps(row))
    names = list(rows[0])
    print("".join(f"{name:>15}" for name in names))
    for row in rows:
        print("".join(f"{row[n]:>15.0f}" if isinstance(row[n], float) else f"{row[n]!s:>15}" for n in names))


if __name__ == "__main__":
    main()
