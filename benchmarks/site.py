"""How large a site is, how long it takes to write, and how fast its pages are (headless Chromium, its own frames).

    python benchmarks/site.py IMPORTED [--out FOLDER] [--rounds N]

IMPORTED is a store imported from the original's data ('summit-dask import-summit'): 1000 classes of InceptionV1. Few of
its channels have pictures, so a copy is made in which each channel of any graph has those of one that has some, a
picture and ten examples; the copy is what is written, and looked at behind a server of this machine.

size              bytes of all files, and their number
write             seconds of the whole command; its CPU time
first view        from the address to the drawn graph, in a browser that has no file of the page yet (median, largest)
class             from the click in the list to the new graph drawn (median, largest)

The browser is SUMMIT_CHROMIUM or the chromium on PATH. Prints JSON.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from summit_dask.facts.pairs import PAPERS
from summit_dask.store.pictures import add_pictures, read_pictures
from summit_dask.store.store import Store

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
DRAWN = ".stage[data-drawn] .node"
SHOWN_KINDS = ("channel", *(f"dataset-p-{k}" for k in range(10)))

#: Click, then look at every frame until something has changed; milliseconds.
CLICK = """
async ([what, n, changed, attribute]) => {
  const find = (selector) => {
    for (const e of document.querySelectorAll('*')) {
      const found = e.shadowRoot?.querySelector(selector);
      if (found) return found;
    }
  };
  const now = () => find(changed)?.getAttribute(attribute);
  const before = now();
  const button = find(what).getRootNode().querySelectorAll(what)[n];
  const start = performance.now();
  button.click();
  while (now() === before) {
    await new Promise(requestAnimationFrame);
    if (performance.now() - start > 20000) throw new Error(`${what} ${n}: nothing happened`);
  }
  return performance.now() - start;
}
"""


def with_pictures(imported: Path, copy: Path) -> None:
    """A copy in which every channel of a graph has a picture and ten examples."""
    shutil.copytree(imported, copy)
    store = Store.open(copy, writable=True)
    layers = store.read(f"{PAPERS.group}/node_layer"), store.read(f"{PAPERS.group}/node_channel")
    with store.changing():
        for place, layer in enumerate(store.layer_graph.layers):
            if not layer.visible:
                continue
            known = read_pictures(store, layer.name)
            givers = cycle(sorted({channel for channel, kind in known if kind == "channel"}))
            own = np.unique(layers[1][layers[0] == place]).tolist()
            add_pictures(store, layer.name, dict(_given(known, own, givers)))


def _given(
    known: dict[tuple[int, str], bytes], channels: list[int], givers: Iterator[int]
) -> Iterator[tuple[tuple[int, str], bytes]]:
    for channel, giver in zip(channels, givers, strict=False):
        for kind in SHOWN_KINDS:
            if (giver, kind) in known:
                yield (channel, kind), known[giver, kind]


def write(store: Path, folder: Path) -> dict[str, float]:
    """Write the site; seconds, CPU seconds, size."""
    command = [sys.executable, "-m", "summit_dask", "site", str(store), str(folder), "--examples"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"megabytes": sum(sizes) / 1e6, "files": len(sizes), "write_s": seconds, "write_cpu_s": cpu}


@contextmanager
def served(folder: Path, port: int = 8761) -> Iterator[str]:
    """The folder behind Python's own server."""
    where = ["--bind", "127.0.0.1", "--directory", str(folder)]
    command = [sys.executable, "-m", "http.server", str(port), "--protocol", "HTTP/1.1", *where]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(20)


def look(browser: Browser, address: str, rounds: int) -> dict[str, Any]:
    """All times of the pages, in milliseconds."""
    views = [first_view(browser, address)[1] for _ in range(rounds)]
    page, _ = first_view(browser, address)
    page.wait_for_selector(".space .row")
    classes = [_click(page, ".space .row", 2 + k % 5, ".stage", "data-drawn") for k in range(3 * rounds)]
    return {
        "first_view": median(views),
        "first_view_largest": max(views),
        "class": median(classes),
        "class_largest": max(classes),
        "load": os.getloadavg()[0],
    }


def first_view(browser: Browser, address: str) -> tuple[Page, float]:
    """A page of a browser that knows nothing yet, and the milliseconds until its graph was drawn."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(DRAWN)
    return page, 1000 * (time.perf_counter() - start)


def _click(page: Page, what: str, n: int, changed: str, attribute: str) -> float:
    page.wait_for_timeout(500)  # the list follows the graph
    took: float = page.evaluate(CLICK, [what, n, changed, attribute])
    return took


def main() -> None:
    """Write the site of a copy with pictures, and look at it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("imported", type=Path)
    parser.add_argument("--out", type=Path, default=Path("site-benchmark"))
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    chromium = os.environ.get("SUMMIT_CHROMIUM") or shutil.which("chromium")
    if not chromium:
        sys.exit("No Chromium found; install it or set SUMMIT_CHROMIUM to its path.")
    store, folder = given.out / "store", given.out / "site"
    if not store.exists():
        with_pictures(given.imported, store)
    figures: dict[str, Any] = write(store, folder)
    with sync_playwright() as playwright, served(folder) as address:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        figures |= look(browser, address, given.rounds)
        browser.close()
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
