"""The dashboard as files in a real browser, served and opened from a folder: what is drawn, and what one can do."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from dashboard.data import StoreData
from dashboard.selection import Selection
from dashboard.shown import pairs
from dashboard.shown.sides import sides
from dashboard.site.write import open_source, write_class_page, write_site
from dashboard.versus import Versus
from summit_dask import open_store
from summit_dask.facts.layergraph import Channel
from summit_dask.notebook import show
from summit_dask.store.channelnames import Called, write_name
from tests.chromium import expect, launched, sync_api
from tests.pairs import add_pair
from tests.stores import AWKWARD_NAMES, add_evidence, make_store, skip_layer_graph

pytestmark = pytest.mark.browser

GRAPH = ".stage[data-drawn]"
GIVEN_UP = "net::ERR_ABORTED"
HTML_NAME = AWKWARD_NAMES[0]
ADDRESSES = ("", "channel?layer=mixed2&channel=3&alone=1", "layers?layer=stem", "classes?class=n00000002")


class Silent(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:
        """See `SimpleHTTPRequestHandler`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a complete store, in a folder whose name needs quoting."""
    place = tmp_path_factory.mktemp("sites")
    make_store(place / "store", n_classes=20)
    write_site(open_source(place / "store", (), True), place / "a site #1", "Summit", "by <b>us</b>")
    return place / "a site #1"


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[str]:
    """Its address behind a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> "Iterator[sync_api.Browser]":
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: "sync_api.Browser") -> "Iterator[sync_api.Page]":
    """A page that fails the test if it asks for anything outside, lacks a file, or reports an error."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(20_000)
    wrong: list[str] = []
    own = ("http://127.0.0.1:", "file://", "data:", "blob:", "about:")
    page.on("request", lambda r: None if r.url.startswith(own) else wrong.append(f"asked for {r.url}"))
    # Pictures that are on their way when the page turns to something else are given up, which tells of no lack.
    page.on("requestfailed", lambda r: None if r.failure == GIVEN_UP else wrong.append(f"lacks {r.url}: {r.failure}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    yield page
    page.close()
    assert not wrong, wrong


def opened(page: "sync_api.Page", address: str) -> None:
    """Go there, and wait for all of it."""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("main[data-shown]")


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_every_page_is_drawn_from_a_server_and_from_a_folder(
    theme: str, folder: Path, served: str, page: "sync_api.Page"
) -> None:
    page.emulate_media(color_scheme=theme)
    seen = []
    for start in (served, (folder / "index.html").as_uri()):
        for address in ADDRESSES:
            opened(page, f"{start}#/{address}")
            seen.append(page.locator("main").inner_text())
            assert page.get_by_text("can't be loaded").count() == 0
    assert seen[: len(ADDRESSES)] == seen[len(ADDRESSES) :]
    assert (
        page.evaluate("getComputedStyle(document.body).backgroundColor")
        == {
            "light": "rgb(255, 255, 255)",
            "dark": "rgb(18, 22, 29)",
        }[theme]
    )
    assert page.get_by_text("by <b>us</b>").count() >= 1 and page.locator("img[src=x]").count() == 0


def test_a_class_is_chosen_pinned_and_found_again(served: str, page: "sync_api.Page") -> None:
    opened(page, served)
    assert page.locator(".pinned-row .name").inner_text() == HTML_NAME
    assert page.locator(".embedding circle").count() == 20 and page.locator(".node image").count() > 3
    page.locator(".space .row").first.click()
    page.wait_for_selector("main[data-shown*='class=']")
    page.locator(".node:not([hidden])").nth(1).hover()
    page.wait_for_selector(".float .card .examples .tile")
    assert page.locator(".float .examples .outlined .tile").count() == 10
    page.locator(".node:not([hidden])").nth(1).click()
    page.wait_for_selector(".side ol li")
    name = page.locator(".side .card .name").inner_text()
    page.reload()
    page.wait_for_selector(".side ol li")
    assert page.locator(".side .card .name").inner_text() == name
    page.go_back()
    page.wait_for_url(lambda url: "pin_layer" not in url)
    page.go_back()
    page.locator(".pinned-row .name", has_text=HTML_NAME).wait_for()


def test_the_keyboard_finds_classes_and_channels(served: str, page: "sync_api.Page") -> None:
    opened(page, served)
    page.keyboard.press("/")
    page.keyboard.type("img src")
    expect(page.locator("#hits .hit > span")).to_have_text([HTML_NAME])
    page.keyboard.press("Shift+Enter")
    page.wait_for_url("**vs=class%3An00000000")
    page.keyboard.type("mixed2 4")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="mixed2 · channel 4").wait_for()
    page.get_by_role("link", name="Layers").click()
    page.get_by_role("heading", name="Layers: how classes share channels").wait_for()
    assert "layer=mixed2" in page.url


def test_what_people_call_a_channel_finds_it(tmp_path: Path, page: "sync_api.Page") -> None:
    make_store(tmp_path / "store", parts={"graphs"})
    write_name(tmp_path / "store", Channel("mixed1", 2), Called("snake <scales>", "also fish"))
    write_site(open_source(tmp_path / "store"), tmp_path / "site", "Summit")
    opened(page, (tmp_path / "site/index.html").as_uri())
    page.keyboard.press("/")
    page.keyboard.type("SCALES")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="mixed1 · channel 2 · snake <scales>").wait_for()
    page.get_by_text("also fish").wait_for()


def test_what_the_address_names_in_vain_is_told(served: str, page: "sync_api.Page") -> None:
    opened(page, f"{served}#/channel?class=nobody&layer=none&channel=99&p=0.2&vs=class:nobody")
    told = page.locator(".notice").all_text_contents()
    assert told[0] == f"There is no class 'nobody' in this site; this is {HTML_NAME}."
    assert told[1] == "There is no layer 'none' in this site; this is mixed3."
    assert told[2] == "mixed3 has the channels 0 to 9; channel 99 does not exist."
    assert told[3].startswith("There is no class 'nobody' in this site to compare with")
    assert "the dashboard does that" in told[4]


def test_the_graph_and_its_tables_are_saved(folder: Path, page: "sync_api.Page") -> None:
    opened(page, (folder / "index.html").as_uri())
    texts = {}
    for name in ("SVG", "nodes.csv", "edges.csv"):
        page.locator(".bar summary").click()
        with page.expect_download() as download:
            page.locator(".bar .menu button", has_text=name).click()
        texts[name] = Path(download.value.path()).read_text()
    assert "&lt;img src=x" in texts["SVG"] and "data:image/webp;base64," in texts["SVG"]
    assert len(texts["nodes.csv"].splitlines()) == 1 + page.locator(".node").count()
    assert texts["edges.csv"].startswith("source_layer,source_channel,target_layer,target_channel,influence,identity\n")


def test_two_classes_are_drawn_as_the_dashboard_draws_them(folder: Path, served: str, page: "sync_api.Page") -> None:
    data = StoreData(folder.parent / "store")
    a, b, pinned = "n00000001", "n00000002", _unheld(data, 1, 2)
    wanted = Selection(class_=a, vs=Versus("class", b), pinned=pinned)
    assert wanted.vs
    drawn = pairs.drawing(data, *sides(data, wanted, wanted.vs, 1), data.usual_pair, pinned)
    opened(page, f"{served}#/?{urlencode(wanted.to_query(), doseq=True)}")
    page.locator(".unheld").wait_for()
    files = page.evaluate("[...summitDaskExtras.values()].pop().files.map((file) => file.text)")
    assert files == [file["text"] for file in pairs.files(drawn)]  # nodes, edges, who holds them, counts
    assert _in_rows(page) == _zoned(drawn)
    told = page.locator(".differs tbody td").all_text_contents()
    known = [
        (f"{row['layer']} · {row['channel']}", *(f"{100 * n / 5:.0f} %" for n in row["counts"]))
        for row in drawn["pair"]["differs"]
    ]
    assert list(zip(*(told[k::3] for k in range(3)), strict=True)) == known
    unclear = [row["clear"] for row in drawn["pair"]["differs"]].count(False)
    assert 0 < page.locator(".differs .unclear").count() == unclear
    similarity = [f"{value:.2f}" for value in drawn["pair"]["similarity"]]
    assert page.locator(".likeness text").all_text_contents() == similarity


def _unheld(data: StoreData, *classes: int) -> Channel:
    """A channel that none of some classes' graphs hold."""
    held = {channel for c in classes for channel in data.graph(c).nodes(data.layer_graph)}  # type: ignore[union-attr]
    return next(channel for k in range(16) if (channel := Channel("mixed2", k)) not in held)


def _in_rows(page: "sync_api.Page") -> list[list[int]]:
    """The numbers of a drawing's nodes as they stand, from the top row down and from left to right."""
    places = page.locator(".node").evaluate_all(
        "nodes => nodes.map((g) => [g.dataset.node, ...g.getAttribute('transform').match(/[-\\d.]+/g)].map(Number))"
    )
    heights = sorted({y for _, _, y in places})
    return [[n for _, n in sorted((x, n) for n, x, y in places if y == height)] for height in heights]


def _zoned(drawn: dict[str, Any]) -> list[list[int]]:
    """The same as they should stand: what A alone holds, what both or neither hold, what B alone holds."""
    zones = ("a",), ("both", "neither"), ("b",)
    held = drawn["pair"]["held"]
    return [[n for zone in zones for n in row["nodes"] if held[n] in zone] for row in drawn["rows"]]


def test_a_class_is_compared_from_the_list_and_from_the_pages_links(served: str, page: "sync_api.Page") -> None:
    opened(page, served)
    page.locator(".space .row .vs").first.click()
    page.wait_for_url("**vs=class**")
    page.locator(".zone.both").wait_for()
    own, other = (page.locator(".facts .value").nth(k).inner_text() for k in (-2, -1))
    page.locator(".versus summary").click()
    page.get_by_role("button", name="Swap A and B").click()
    for place, expected in ((-2, other), (-1, own)):
        expect(page.locator(".facts .value").nth(place)).to_have_text(expected)
    page.get_by_role("link", name="Explore").click()
    page.wait_for_url(lambda url: "vs=" not in url)
    page.get_by_role("link", name="Compare").click()
    page.locator("a[aria-current]", has_text="Compare").wait_for()
    page.locator(".versus summary").click()
    page.get_by_role("button", name="End the comparison").click()
    page.locator("a[aria-current]", has_text="Explore").wait_for()
    expect(page.locator(".zone")).to_have_count(0)


def test_a_pinned_channel_stays_pinned_in_another_class(folder: Path, served: str, page: "sync_api.Page") -> None:
    data = StoreData(folder.parent / "store")
    pinned = _unheld(data, 2)
    counts = data.counts(pinned.layer)
    assert counts is not None
    opened(page, f"{served}#/?class=n00000001&pin_layer={pinned.layer}&pin_channel={pinned.index}")
    page.locator(".row[data-class='2'] .name").click()
    page.wait_for_url("**class=n00000002**")
    count = counts[2, pinned.index]
    page.locator(
        ".unheld", has_text=f"{pinned.index}: used by {count} of 5 images ({20 * count} %), not selected"
    ).wait_for()
    assert page.locator(".node:visible[aria-pressed=true]").count() == 0
    page.get_by_role("button", name="Show anyway").click()
    page.locator(".node:visible[aria-pressed=true]").wait_for()


def test_evidence_has_a_page_where_the_store_has_any(tmp_path: Path, page: "sync_api.Page") -> None:
    make_store(tmp_path / "store")
    add_pair(tmp_path / "store")
    add_evidence(tmp_path / "store")
    write_site(open_source(tmp_path / "store"), tmp_path / "site", "Summit")
    start = (tmp_path / "site/index.html").as_uri()
    opened(page, f"{start}#/evidence?class=n00000001")
    assert page.locator(".badge summary").inner_text().startswith("Without these")
    assert page.locator("svg[aria-label='Necessity of the graph and of others'] circle").count() >= 5
    points = page.locator(".class")
    assert points.count() == 4  # the last class wasn't tested
    points.first.click()
    page.wait_for_url(lambda url: not url.endswith("n00000001"))
    page.get_by_text("channels are in both graphs").or_(page.get_by_text("1 channel is in both")).wait_for()
    page.get_by_label("Measured by").select_option("1")
    page.locator(".notice", has_text="This store holds no evidence for graphs with nodes by relevance").wait_for()


def test_links_lead_to_pages_that_are_there(served: str, page: "sync_api.Page") -> None:
    opened(page, f"{served}#/channel?layer=mixed2&channel=3")
    page.get_by_role("group", name="alike").get_by_role("button").first.click()
    page.wait_for_url(lambda url: not url.endswith("channel=3"))
    page.locator(".wide button").first.click()
    page.wait_for_selector(f"{GRAPH}")
    assert "pin_layer=mixed2" in page.url
    for title, name in {"Channel": "channel", "Layers": "layers", "Class": "classes", "Explore": ""}.items():
        page.get_by_role("link", name=title, exact=True).click()
        page.wait_for_selector(f"main[data-shown^='#/{name}?']")


def test_one_class_in_one_file_and_in_a_notebook(folder: Path, tmp_path: Path, page: "sync_api.Page") -> None:
    store = folder.parent / "store"
    write_class_page(open_source(store, [0], True), tmp_path / "one.html", "One")
    frame = show(open_store(store), "n00000000")._repr_html_()
    (tmp_path / "notebook.html").write_text(f"<!doctype html><meta charset='utf-8'><title>Notebook</title>{frame}")
    page.goto((tmp_path / "notebook.html").as_uri())
    inside = page.frame_locator("iframe")
    inside.locator(f"{GRAPH} .node image").first.wait_for()
    inside.locator(".node:not([hidden])").nth(1).click()
    inside.locator(".side .path .link").last.click()  # there is no other page to go to: it is pinned
    inside.locator(".side .card .name", has_text="stem").wait_for()
    opened(page, (tmp_path / "one.html").as_uri())
    page.locator(f"{GRAPH} .node image").first.wait_for()
    assert page.locator(".embedding, nav").count() == 0


def test_a_store_of_graphs_alone_is_shown_without_the_rest(tmp_path: Path, page: "sync_api.Page") -> None:
    make_store(tmp_path / "store", parts={"graphs"}, graph=skip_layer_graph())
    write_site(open_source(tmp_path / "store"), tmp_path / "site", "Summit")
    for address in ("", "channel?channel=3", "layers", "classes"):
        opened(page, f"{(tmp_path / 'site/index.html').as_uri()}#/{address}")
        assert page.locator(".notice:visible").count() == 0
    opened(page, (tmp_path / "site/index.html").as_uri())
    assert re.match("This store holds no class embedding", page.locator(".why").inner_text())
