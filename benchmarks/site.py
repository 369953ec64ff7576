"""How large a site is, how long it takes to write, and how fast its pages are (headless Chromium, its own frames).

    python benchmarks/site.py IMPORTED [--out FOLDER] [--rounds N]

IMPORTED is a store imported from the original's data ('summit-dask import-summit'): 1000 classes of InceptionV1. From
its graphs and pictures a complete store is made (see `imagenet`), in which each channel of any graph has a picture and
ten examples; its site is what is written, and looked at behind a server of this machine.

size              bytes of all files, and their number
write             seconds of the whole command; its CPU time
first view        from the address to the drawn graph, in a browser that has no file of the page yet (median, largest);
                  work: of that, seconds in which the page's own thread worked
class             from the click in the list to the new graph drawn with its pictures (median, largest)
versus            the same from the click on "vs"

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
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.imagenet import make_store

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
DRAWN = ".stage[data-drawn] .node"

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
    views = [first_view(browser, address) for _ in range(rounds)]
    page = views[-1][0]
    page.wait_for_selector(".space .row")
    clicks = {
        "class": [_click(page, ".space .row", 2 + k % 5, ".stage", "data-drawn") for k in range(3 * rounds)],
        "versus": [_click(page, ".space .vs", 2 + k % 5, ".stage", "data-drawn") for k in range(rounds)],
    }
    times = {"first_view": [took for _, took, _ in views], "first_view_work": [work for *_, work in views], **clicks}
    found = {name: median(values) for name, values in times.items()}
    return {**found, **{f"{name}_largest": max(values) for name, values in times.items()}, "load": os.getloadavg()[0]}


def first_view(browser: Browser, address: str) -> tuple[Page, float, float]:
    """A page of a browser that knows nothing yet, and milliseconds: until its graph was drawn, and of its own work."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(DRAWN)
    took = 1000 * (time.perf_counter() - start)
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    return page, took, 1000 * metrics["TaskDuration"]


def _click(page: Page, what: str, n: int, changed: str, attribute: str) -> float:
    page.wait_for_timeout(500)  # the list follows the graph
    took: float = page.evaluate(CLICK, [what, n, changed, attribute])
    return took


def main() -> None:
    """Make the store, write its site, and look at that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("imported", type=Path)
    parser.add_argument("--out", type=Path, default=Path("site-benchmark"))
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    chromium = os.environ.get("SUMMIT_CHROMIUM") or shutil.which("chromium")
    if not chromium:
        sys.exit("No Chromium found; install it or set SUMMIT_CHROMIUM to its path.")
    store, folder = given.out / "store", given.out / "site"
    given.out.mkdir(exist_ok=True)
    if not store.exists():
        make_store(given.imported, store)
    figures: dict[str, Any] = write(store, folder)
    with sync_playwright() as playwright, served(folder) as address:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        figures |= look(browser, address, given.rounds)
        browser.close()
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
