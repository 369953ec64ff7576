"""The dashboard in a real browser: what is drawn, and what pointing, clicking, typing and going back do."""

import math
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from dashboard.data import StoreData
from summit_dask import classes_with, open_store
from tests.chromium import QUIET, expect, launched, sync_api
from tests.pairs import add_pair
from tests.readable import BEYOND, FAINT, NAMELESS
from tests.stores import AWKWARD_NAMES, add_evidence, make_store, plant_communities, skip_layer_graph

T = TypeVar("T")

pytestmark = pytest.mark.browser
LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")
GRAPH = ".stage[data-drawn]"

#: Whether the page of evidence is whole.
ALL_CHARTS = "document.querySelectorAll('[data-testid=stVegaLiteChart] svg').length == 6"

#: Of each edge, whether it runs through a node.
COVERED = """edges => edges.map(edge => {
    const frames = [...edge.closest(".scene").querySelectorAll(".frame")].map(frame => frame.getBoundingClientRect());
    const at = share => edge.getPointAtLength(edge.getTotalLength() * share).matrixTransform(edge.getScreenCTM());
    const within = (p, f) => p.x > f.left + 1 && p.x < f.right - 1 && p.y > f.top + 1 && p.y < f.bottom - 1;
    return [...Array(99).keys()].some(k => frames.some(frame => within(at((k + 1) / 100), frame)));
})"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete store."""
    path = tmp_path_factory.mktemp("stores") / "complete"
    make_store(path, n_classes=30)
    plant_communities(path)
    return path


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    """A server on the store."""
    yield from _serve(store)


@pytest.fixture(scope="module")
def with_skips(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a store whose edges lead past layers, some of them identities."""
    path = tmp_path_factory.mktemp("stores") / "skips"
    make_store(path, n_classes=4, graph=skip_layer_graph())
    yield from _serve(path)


@pytest.fixture(scope="module")
def with_pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a store with the graphs of two pairs of measures."""
    path = tmp_path_factory.mktemp("stores") / "pairs"
    make_store(path)
    add_pair(path)
    yield from _serve(path)


@pytest.fixture(scope="module")
def with_evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a store with evidence for its graphs."""
    path = tmp_path_factory.mktemp("stores") / "evidence"
    make_store(path, graph=skip_layer_graph())
    add_evidence(path)
    yield from _serve(path)


def _serve(store: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dashboard", str(store), "127.0.0.1", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _wait(address: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(address)


@pytest.fixture(scope="module")
def browser() -> "Iterator[sync_api.Browser]":
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: "sync_api.Browser") -> "Iterator[sync_api.Page]":
    """A page that fails the test if it asks for anything outside, or reports an error."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30_000)
    wrong: list[str] = []
    page.on("request", lambda r: None if r.url.startswith(LOCAL) else wrong.append(f"asked for {r.url}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    # On a deep link Streamlit looks for its server beside the page first, and Chromium reports that as an error.
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and "404" not in m.text else None)
    yield page
    page.close()
    assert not wrong, wrong


def test_explore_draws_all_three_views(address: str, page: "sync_api.Page") -> None:
    page.goto(address)
    page.wait_for_selector(GRAPH)
    assert page.locator(".node").count() > 5 and page.locator("path.edge").count() > 1
    page.wait_for_selector(".embedding circle")
    assert page.locator(".embedding circle").count() == 30
    assert page.locator(".pinned-row .name").inner_text() == AWKWARD_NAMES[0]
    assert page.locator(".names text").all_text_contents() == ["mixed3", "mixed2", "mixed1", "stem"]


def test_pointing_at_a_node_shows_its_card_and_its_neighbours(address: str, page: "sync_api.Page") -> None:
    page.goto(address)
    page.wait_for_selector(GRAPH)
    page.wait_for_function("globalThis.summitDaskExtras?.size")
    page.locator(".node:not([hidden])").nth(1).hover()
    page.wait_for_selector(".float .card")
    assert "images" in page.locator(".float .facts").inner_text()
    page.wait_for_selector(".float .examples img")
    assert page.locator(".float .examples .outlined img").count() == 10
    assert page.locator("g.scene.marked").count() == 1
    page.mouse.move(5, 5)
    expect(page.locator("g.scene.marked")).to_have_count(0)


@pytest.mark.long
def test_edges_past_rows_lead_between_their_nodes_and_identities_are_straight(
    with_skips: str, page: "sync_api.Page"
) -> None:
    page.goto(f"{with_skips}/?class=n00000003")
    page.wait_for_selector(GRAPH)
    ways = page.locator("path.edge").evaluate_all(
        "all => all.map(edge => [edge.classList.length, edge.getAttribute('d')])"
    )
    assert {len(d.split("C")) - 1 for kinds, d in ways if kinds == 1} >= {1, 3}  # one curve, and one past a row
    assert {d.count("C") for kinds, d in ways if kinds == 2} == {0}
    covered = page.locator("path.edge").evaluate_all(COVERED)
    assert not any(covered)
    page.locator("path.hit").nth([kinds for kinds, _ in ways].index(2)).dispatch_event("pointerover", {"bubbles": True})
    assert "skip connection" in page.locator(".float .head").inner_text()


def test_clicking_pins_a_node_and_the_address_brings_it_back(address: str, page: "sync_api.Page") -> None:
    page.goto(address)
    page.wait_for_selector(GRAPH)
    page.locator(".node:not([hidden])").nth(1).click()
    page.wait_for_url("**pin_layer=**")
    page.wait_for_selector(".side h4")
    name = page.locator(".side .card .name").inner_text()
    page.goto(page.url)
    page.wait_for_selector(".side .card .name")
    assert page.locator(".side .card .name").inner_text() == name
    page.locator(".node.pinned").focus()
    page.keyboard.press("Escape")
    page.wait_for_function("!location.search.includes('pin_layer')")


def test_what_comes_under_a_pointer_that_rests_is_not_pointed_at(address: str, page: "sync_api.Page") -> None:
    """After a click the drawing may still be fitted to its frame; what was pinned is what one wants to see."""
    page.goto(address)
    page.wait_for_selector(GRAPH)
    _settled_places(page)
    x, y = _middle(page.locator(".node:not([hidden]) .frame").nth(1))
    page.mouse.click(x, y)
    page.get_by_role("button", name="Channel page").wait_for()
    other = page.locator(".node:not([hidden])").nth(2)
    other.dispatch_event("pointerover", {"bubbles": True, "clientX": x, "clientY": y})
    assert page.locator(".float").is_hidden()
    other.dispatch_event("pointerover", {"bubbles": True, "clientX": x + 2, "clientY": y})
    assert page.locator(".float .card").is_visible()


def test_the_measures_are_chosen_beside_the_graph_and_go_along_to_other_pages(
    with_pairs: str, page: "sync_api.Page"
) -> None:
    page.goto(with_pairs)
    page.wait_for_selector(GRAPH)
    page.locator("path.hit").first.dispatch_event("pointerover", {"bubbles": True})
    assert "carry this influence" in page.locator(".float .head").inner_text()
    page.get_by_role("button", name="Activation, influence").click()
    page.get_by_text("Nodes by relevance, edges by contribution").click()
    page.wait_for_url("**graphs=relevance-contribution**")
    page.get_by_role("button", name="Relevance, contribution").wait_for()
    page.keyboard.press("Escape")
    page.locator(f"{GRAPH}[data-drawn*='relevance-contribution']").wait_for()
    page.locator("path.hit").first.dispatch_event("pointerover", {"bubbles": True})
    assert "carry this contribution" in page.locator(".float .head").inner_text()
    page.get_by_role("link", name="Class").click()
    page.wait_for_url("**graphs=relevance-contribution**")
    page.wait_for_selector(GRAPH)


def test_a_pinned_channel_says_what_lowers_it(with_pairs: str, page: "sync_api.Page") -> None:
    page.goto(with_pairs)
    page.wait_for_selector(GRAPH)
    page.locator(".node:not([hidden])").nth(1).click()
    page.get_by_role("heading", name="Lowered most by").wait_for()
    assert "images" in page.get_by_role("heading", name="Lowered most by").locator("+ div li").first.inner_text()


def test_evidence_is_drawn_and_edges_without_effect_can_be_hidden(with_evidence: str, page: "sync_api.Page") -> None:
    page.goto(f"{with_evidence}/?class=n00000002")
    page.wait_for_selector(GRAPH)
    page.get_by_text(re.compile("Without these .* random ones")).wait_for()
    borders = {kind: page.locator(f".node{kind} .frame").first for kind in (".stable", ".unstable")}
    assert [_dashes(border) != "none" for border in borders.values()] == [False, True]
    idle = page.locator("path.edge.idle")
    n_edges, n_idle = page.locator("path.edge").count(), idle.count()
    assert 0 < n_idle < n_edges and idle.first.is_visible()
    assert _dashes(idle.first) != "none" and _dashes(page.locator("path.edge:not(.idle)").first) == "none"
    assert "stable" in _downloaded_svg(page) and _downloaded_svg(page).count("stroke-dasharray=") == n_idle
    page.get_by_label("Hide dotted").check()
    page.wait_for_url("**only_effective=1**")
    for _ in range(2):  # the address brings it back
        expect(page.locator("path.edge:not([hidden])")).to_have_count(n_edges - n_idle)
        expect(page.locator("path.edge.idle:not([hidden])")).to_have_count(0)
        page.goto(page.url)
        page.wait_for_selector(GRAPH)
    page.get_by_label("Hide dotted").uncheck()
    page.wait_for_function("!location.search.includes('only_effective')")
    page.wait_for_selector(QUIET)
    page.locator("path.hit").first.dispatch_event("pointerover", {"bubbles": True})
    assert re.search("in [0-9.]+ % of resampled image sets", page.locator(".float").inner_text())
    told = page.locator(".float .wide").all_inner_texts()
    assert len(told) == 1 or re.fullmatch(r"without \w+ \d+, the maximum of \w+ \d+ (falls|grows) by .*%", told[1])


def test_how_the_graphs_of_a_class_s_page_are_drawn_stays(with_evidence: str, page: "sync_api.Page") -> None:
    page.goto(f"{with_evidence}/classes?class=n00000002")
    page.wait_for_selector(GRAPH)
    page.get_by_label("Hide dotted").first.check()
    page.wait_for_url("**only_effective=1**")
    page.wait_for_selector(QUIET)
    expect(page.locator("path.edge.idle:not([hidden])")).to_have_count(0)
    assert page.locator("path.edge:not([hidden])").count() > 0 and "least_count" not in page.url


def _dashes(element: "sync_api.Locator") -> str:
    return str(element.evaluate("element => getComputedStyle(element).strokeDasharray"))


def _downloaded_svg(page: "sync_api.Page") -> str:
    page.locator(".bar summary").click()
    with page.expect_download() as download:
        page.locator(".bar .menu button", has_text="SVG").click()
    return Path(download.value.path()).read_text()


def test_without_evidence_nothing_is_marked(address: str, page: "sync_api.Page") -> None:
    page.goto(address)
    page.wait_for_selector(GRAPH)
    assert page.locator(".node.stable, .node.unstable, .edge.idle").count() == 0
    assert page.get_by_label("Hide dotted").is_hidden() and page.get_by_text("resampled image sets").is_hidden()
    assert page.get_by_text("Without these").count() == 0


def test_the_evidence_of_all_classes_is_a_point_each_which_chooses_it(
    with_evidence: str, page: "sync_api.Page"
) -> None:
    page.goto(f"{with_evidence}/evidence?class=n00000000")
    heading = page.locator("h3", has_text="Without the channels of")
    heading.wait_for()
    assert heading.text_content() == f"Without the channels of {AWKWARD_NAMES[0]}"
    page.wait_for_function(ALL_CHARTS)
    points = page.locator("[data-testid=stVegaLiteChart]").last.locator("g.mark-symbol path")
    assert points.count() == 4  # the last class was not tested
    points.first.click()
    page.wait_for_url("**class=n00000001**")
    page.locator("h3", has_text="Without the channels of crane").wait_for()
    page.goto(page.url)
    page.wait_for_function(ALL_CHARTS)
    points.first.hover()
    page.locator("#vg-tooltip-element", has_text=AWKWARD_NAMES[0]).wait_for()
    assert page.locator("img[src=x]").count() == 0


def test_one_pair_alone_leaves_no_choice(address: str, page: "sync_api.Page") -> None:
    page.goto(address)
    page.wait_for_selector(GRAPH)
    assert page.get_by_role("button", name="Selection").count() == 1
    assert page.get_by_role("button", name="Activation, influence").count() == 0


def test_choosing_a_class_and_going_back(address: str, page: "sync_api.Page") -> None:
    page.goto(f"{address}/?class=n00000003")
    page.wait_for_selector(GRAPH)
    before = page.locator(GRAPH).get_attribute("data-drawn")
    page.locator(".space .row").first.click()
    page.wait_for_function("!location.search.includes('class=n00000003')")
    page.wait_for_function(f"document.querySelector('.x') === null && {_drawn_is_not(before)}")
    page.go_back()
    page.wait_for_url("**class=n00000003**")
    page.locator(".pinned-row .name", has_text=AWKWARD_NAMES[3]).wait_for()


def _drawn_is_not(value: str | None) -> str:
    """JavaScript that looks through the components' shadow roots for another graph than the one named."""
    return (
        "[...document.querySelectorAll('*')].some(e => e.shadowRoot?.querySelector('.stage')?.dataset.drawn"
        f" && e.shadowRoot.querySelector('.stage').dataset.drawn !== {value!r})"
    )


def test_another_layer_glides_and_sorts(address: str, page: "sync_api.Page") -> None:
    page.goto(address)
    page.wait_for_selector(GRAPH)
    page.locator(".strip button", has_text="stem").click()
    page.wait_for_url("**layer=stem**")
    page.locator(".strip [aria-checked=true]", has_text="stem").wait_for()
    page.locator(".find select").select_option("worst")
    page.wait_for_url("**sort=worst**")
    page.locator(".find input").fill("crane")
    expect(page.locator(".found")).to_have_text("2 of 30 classes")


def test_the_keyboard_walks_along_edges(address: str, page: "sync_api.Page") -> None:
    page.goto(address)
    page.wait_for_selector(GRAPH)
    page.locator(".node[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    row = page.evaluate(
        "() => { let e = document.activeElement; while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;"
        " return e.getAttribute('aria-label') }"
    )
    assert "of mixed2" in row
    page.keyboard.press("Enter")
    page.wait_for_url("**pin_layer=mixed2**")


def test_graph_can_be_downloaded(address: str, page: "sync_api.Page") -> None:
    page.goto(address)
    page.wait_for_selector(GRAPH)
    page.wait_for_function("globalThis.summitDaskExtras?.size")
    for name, beginning in (
        ("SVG", b"<svg"),
        ("PNG", b"\x89PNG"),
        ("graph.graphml", b"<?xml"),
        ("edges.csv", b"source_"),
    ):
        page.locator(".bar summary").click()
        with page.expect_download() as download:
            page.locator(".bar .menu button", has_text=name).click()
        assert Path(download.value.path()).read_bytes().startswith(beginning)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", ".pinned-row .name"),
        ("channel", ".charts.wide .name"),
        ("layers", ".heatmap .rows span"),
        ("classes", ".facts h2"),
        ("run", ".facts h2"),
    ],
)
def test_every_page_shows_names_as_text(address: str, page: "sync_api.Page", name: str, shown: str) -> None:
    page.goto(f"{address}/{name}?class=n00000000")
    page.locator(shown).first.wait_for()
    page.wait_for_selector(QUIET)
    if name != "run":
        assert AWKWARD_NAMES[0] in page.locator(shown).all_text_contents()
    assert page.locator("img[src=x]").count() == 0


def test_headings_show_names_letter_by_letter(address: str, page: "sync_api.Page") -> None:
    page.goto(f"{address}/layers?class=n00000004")
    page.locator("h3", has_text="Most used for").first.wait_for()
    assert page.locator("h3", has_text="Most used for").first.text_content() == f"Most used for {AWKWARD_NAMES[4]}"
    sizes = page.locator("h3").evaluate_all("all => all.map(heading => getComputedStyle(heading).fontSize)")
    assert len(sizes) > 6 and set(sizes) == {"19px"}


def test_a_bar_opens_the_graph_of_its_class_with_the_channel_pinned(address: str, page: "sync_api.Page") -> None:
    page.goto(f"{address}/channel?layer=mixed2&channel=3")
    bar = page.locator(".charts.wide button").nth(1)
    label = bar.locator(".name").inner_text()
    bar.click()
    page.wait_for_url("**pin_channel=3**")
    page.locator(".pinned-row .name", has_text=label).wait_for()


def test_an_outline_runs_where_the_map_is_half_of_its_maximum(address: str, page: "sync_api.Page") -> None:
    """The stored map is a hill around row 6 and column 9 of 16, which is half as high at sqrt(20 ln 2) from there."""
    page.goto(f"{address}/channel?layer=mixed2&channel=3")
    line = page.locator(".outlined path.line").first
    line.wait_for()
    found = line.evaluate("path => { const b = path.getBBox(); return [b.x, b.y, b.x + b.width, b.y + b.height] }")
    radius = (20 * math.log(2)) ** 0.5
    expected = [100 * (middle + 0.5 + side) / 16 for side in (-radius, radius) for middle in (9, 6)]
    assert found == pytest.approx(expected, abs=1)
    assert page.locator(".outlined").count() == 10 and line.is_visible()
    page.locator(".item", has=page.locator(".outlined")).first.hover()
    assert not line.is_visible()


def test_the_heat_map_tells_the_counts(address: str, store: Path, page: "sync_api.Page") -> None:
    page.goto(f"{address}/layers?layer=mixed2")
    data = StoreData(store)
    counts = data.counts("mixed2")
    assert counts is not None
    stage = page.locator(".heatmap .stage")
    stage.scroll_into_view_if_needed()
    page.wait_for_selector(QUIET)
    width = int(counts.any(axis=0).sum())

    def told(x: float, y: float) -> tuple[str, int]:
        """The class and channel that are told at a place of the picture; what is told of them is right."""
        box = stage.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        found = re.fullmatch(r"(.*) · channel (\d+) · (\d+) images?", page.locator(".tip").inner_text())
        assert found is not None
        index = data.classes["label"].tolist().index(found[1])
        assert int(found[3]) == counts[index, int(found[2])]
        return found[1], int(found[2])

    cells = [told((column + 0.5) / width, 0.5) for column in range(0, width, 3)]
    assert len({channel for _, channel in cells}) == len(cells)
    scroller = page.locator("[data-testid=stMain]")
    before = scroller.evaluate("element => element.scrollTop")
    page.mouse.wheel(0, -200)  # scrolls the page, and zooms nothing
    page.wait_for_function(f"document.querySelector('[data-testid=stMain]').scrollTop < {before}")
    assert "zoomed" not in (stage.get_attribute("class") or "")
    page.wait_for_timeout(500)  # until it has scrolled
    stage.scroll_into_view_if_needed()
    n_names = page.locator(".columns span").count()
    there = told(0.41, 0.62)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    zoomed = re.compile("zoomed")
    expect(stage).to_have_class(zoomed)
    assert told(0.41, 0.62) == there and page.locator(".columns span").count() < n_names
    page.get_by_role("button", name="Show all cells").click()
    expect(stage).not_to_have_class(zoomed)
    assert told(0.41, 0.62) == there
    stage.focus()
    page.keyboard.press("ArrowRight")  # from the cell that is pointed at
    expect(page.locator(".tip")).to_have_text(re.compile(f"^{re.escape(there[0])} · channel "))
    page.keyboard.press("Enter")
    page.wait_for_url("**/channel?**layer=mixed2**")


def test_a_click_on_an_image_holds_it_against_its_class(address: str, page: "sync_api.Page") -> None:
    page.goto(f"{address}/classes?class=n00000003")
    first = page.locator("button.item").first  # the one that is wrong
    first.wait_for()
    file = first.locator(".text").inner_text()
    first.click()
    page.wait_for_url("**/?**vs=image%3A18**")
    page.wait_for_selector(GRAPH)
    assert file.endswith("0018.jpg")
    expect(page.locator(".zones")).to_contain_text("0018.jpg")


def test_the_graph_fits_its_frame_again_when_that_grows(address: str, page: "sync_api.Page") -> None:
    page.goto(address)
    page.wait_for_selector(GRAPH)
    scene = page.locator("g.scene")
    before = _settled(page, lambda: _height(scene))
    page.set_viewport_size({"width": 1280, "height": 1300})
    assert _settled(page, lambda: _height(scene)) > 1.05 * before
    page.locator(".bar button", has_text="+").click()
    zoomed = _settled(page, lambda: _height(scene))
    page.set_viewport_size({"width": 1280, "height": 900})
    assert _settled(page, lambda: _height(scene)) == pytest.approx(zoomed, rel=0.01)


def _height(element: "sync_api.Locator") -> float:
    """On the screen."""
    box = element.bounding_box()
    assert box is not None
    return box["height"]


def test_a_count_that_no_channel_reaches_hides_not_everything(address: str, page: "sync_api.Page") -> None:
    page.goto(f"{address}/?least_count=100000")
    page.wait_for_selector(GRAPH)
    assert page.locator(".node:not([hidden])").count() >= 1
    assert page.locator(".node:not([hidden])[tabindex='0']").count() == 1


def test_names_of_layers_stay_beside_their_rows(address: str, page: "sync_api.Page") -> None:
    page.goto(address)
    page.wait_for_selector(GRAPH)
    page.wait_for_function("globalThis.summitDaskExtras?.size")
    _settled_places(page)
    page.locator(".bar button", has_text="−").click()
    page.locator(".node:not([hidden])").first.click()
    page.wait_for_selector(".side h4")
    page.locator(".bar input[type=range]").nth(2).fill("1.4")
    page.wait_for_url("**height=1.4**")
    _settled_places(page)
    for row in page.locator(".names text").all():
        name = row.text_content()
        boxes = [row.bounding_box(), page.locator(f".node[aria-label*='of {name},'] .frame").first.bounding_box()]
        middle = [box["y"] + box["height"] / 2 for box in boxes if box]
        assert len(middle) == 2 and abs(middle[0] - middle[1]) < 4


def test_a_click_in_the_graph_of_a_class_s_page_opens_the_channel(address: str, page: "sync_api.Page") -> None:
    page.goto(f"{address}/classes?class=n00000003")
    page.wait_for_selector(GRAPH)
    page.locator(".node:not([hidden])").first.click()
    page.wait_for_url("**/channel?**")


def test_two_classes_stand_side_by_side_until_one_goes_back(address: str, browser: "sync_api.Browser") -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    page.goto(f"{address}/?class=n00000003")
    page.wait_for_selector(GRAPH)
    page.locator(".space .row").first.hover()
    page.locator(".space .row .vs").first.click()
    page.wait_for_url("**vs=class**")
    page.wait_for_selector(".scene.pair")
    zones = page.locator(".zones .zone").all_text_contents()
    assert len(zones) == 3 and zones[1].startswith("both")
    page.wait_for_selector(".row.against")
    assert page.locator(".embedding circle.against").count() == 1
    lines = [_dashes(page.locator(f".node.{held} .frame").first) != "none" for held in ("a", "b", "both")]
    assert lines == [False, True, False] and page.locator(".node.both .second").count() > 0
    at = [_middle(page.locator(f".node.{held} .frame").first)[0] for held in ("a", "both", "b")]
    assert at == sorted(at)
    drawn = _downloaded_svg(page)
    assert "What" not in drawn and 'fill="#fff"' in drawn and "Attribution graphs of" in drawn and "only" in drawn
    page.locator(".likeness circle").first.click()  # a layer alone
    rows = {node.get_attribute("aria-label") for node in page.locator(".node:not([hidden])").all()}
    assert rows and all("of mixed3," in str(label) for label in rows)
    page.locator(".whole").click()
    page.locator(".differs .link").first.click()
    page.wait_for_url("**pin_layer**")
    page.locator(".side .side-of .said").first.wait_for()
    page.go_back()
    page.wait_for_function("!location.search.includes('pin_layer')")
    page.go_back()
    page.wait_for_function("!location.search.includes('vs=')")
    page.locator(".scene:not(.pair)").wait_for()
    page.close()


def _middle(element: "sync_api.Locator") -> tuple[float, float]:
    box = element.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_leaving_a_channel_out_moves_no_other(address: str, page: "sync_api.Page") -> None:
    page.goto(f"{address}/?class=n00000003")
    page.wait_for_selector(GRAPH)
    page.wait_for_function("globalThis.summitDaskExtras?.size")
    before = _settled_places(page)
    out = page.locator(".node[aria-label*='of mixed2']").first
    label = str(out.get_attribute("aria-label"))
    _click(page, [out, page.get_by_role("button", name="Leave out")])
    page.wait_for_url("**out_channel=**")
    page.locator(f".node.unselected[aria-label={label!r}]").wait_for(state="attached")
    after = _settled_places(page)
    kept = before.keys() & after.keys()
    assert label.split(",")[0] not in after and len(kept) > 3 and all(before[name] == after[name] for name in kept)


def _settled_places(page: "sync_api.Page") -> dict[str, str]:
    """Where channels stand once the frame has its size, to which the drawing is fitted."""
    return _settled(page, lambda: _places(page))


def _settled(page: "sync_api.Page", look: Callable[[], T]) -> T:
    """What is seen once the server has answered and it stays the same for a while."""
    page.wait_for_selector(QUIET)
    seen = [look()]
    while len(seen) < 4 or any(one != seen[-1] for one in seen[-4:]):
        page.wait_for_timeout(250)
        seen.append(look())
    return seen[-1]


def _places(page: "sync_api.Page") -> dict[str, str]:
    """Where each channel that is drawn stands, by its name."""
    script = (
        "all => Object.fromEntries(all.map(node => [node.ariaLabel.split(',')[0], node.getAttribute('transform')]))"
    )
    return dict(page.locator(".node:not([hidden])").evaluate_all(script))


def _click(page: "sync_api.Page", targets: "list[sync_api.Locator]") -> None:
    """Do a task, in no more clicks than it may take."""
    assert len(targets) <= 4
    for target in targets:
        target.click()


def test_a_pinned_channel_stays_pinned_in_a_graph_that_lacks_it(
    address: str, store: Path, page: "sync_api.Page"
) -> None:
    data = StoreData(store)
    graph = data.graph(3)
    assert graph is not None
    held = {channel.index for channel in graph.nodes(data.layer_graph) if channel.layer == "mixed2"}
    other = min(set(range(data.layer_graph.layer("mixed2").channels)) - held)
    page.goto(f"{address}/?class=n00000003&pin_layer=mixed2&pin_channel={other}")
    page.locator(".unheld", has_text="not selected").wait_for()
    page.get_by_role("button", name="Show anyway").click()
    page.locator(f".node.unselected.pinned[aria-label^='channel {other} of mixed2']").wait_for()
    page.locator(".space .row").first.click()
    page.wait_for_function("!location.search.includes('class=n00000003')")
    assert f"pin_channel={other}" in page.url


def test_back_takes_one_press_from_another_page(address: str, page: "sync_api.Page") -> None:
    page.goto(f"{address}/?class=n00000003&sort=worst")
    page.wait_for_selector(GRAPH)
    page.locator(".node[aria-label*='of mixed2']").first.click()
    page.wait_for_url("**pin_layer=mixed2**")
    page.get_by_role("button", name="Channel page").click()
    page.wait_for_url("**/channel?**")
    expect(page).to_have_title(re.compile(r"mixed2.*Channel|Channel.*mixed2"))
    page.go_back()
    page.locator(".side .card .name").wait_for()
    assert "/channel" not in page.url and "sort=worst" in page.url and "&layer=" not in page.url


@pytest.mark.long
def test_groups_and_classes_are_compared_in_few_clicks(address: str, page: "sync_api.Page") -> None:
    page.goto(f"{address}/?class=n00000003")
    page.wait_for_selector(GRAPH)
    choose = page.get_by_role("button", name="vs +")
    _click(page, [choose, page.get_by_role("button", name="Its wrong images")])
    page.wait_for_url("**vs=wrong**")
    page.locator(".zones .zone", has_text="wrong images").wait_for()
    page.go_back()
    page.locator(".scene:not(.pair)").wait_for()
    _click(page, [choose, page.get_by_role("button", name="similarity").first])
    page.wait_for_url("**vs=class**")
    page.wait_for_selector(".scene.pair")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_deep_links_and_both_themes(address: str, browser: "sync_api.Browser", scheme: str) -> None:
    page = browser.new_page(viewport={"width": 1720, "height": 900}, color_scheme=scheme)
    page.goto(f"{address}/channel?layer=mixed2&channel=3")
    page.locator("h2", has_text="mixed2 · channel 3").wait_for(timeout=30_000)
    background = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    assert (sum(map(int, background[4:-1].split(",")[:3])) < 300) == (scheme == "dark")
    page.close()


def test_channels_that_fire_together_are_folded_into_one_node(address: str, store: Path, page: "sync_api.Page") -> None:
    page.goto(f"{address}/?class=n00000016")
    page.wait_for_selector(GRAPH)
    n_nodes, n_edges = page.locator(".node").count(), page.locator("path.edge").count()
    page.get_by_label("Firing together").select_option("as one node")
    page.wait_for_url("**communities=fold**")
    fold = page.locator(".node.fold").first
    fold.wait_for()
    members = int(str(fold.locator(".number").text_content())[1:])
    assert members >= 2 and page.locator(".node").count() < n_nodes and page.locator("path.edge").count() < n_edges
    fold.hover()
    assert page.locator(".float .members figure").count() == members
    number = fold.locator(".community").text_content()
    assert f"community {number}" in str(fold.get_attribute("aria-label"))
    drawn = _downloaded_svg(page)
    assert (
        f"×{members}" in drawn and f">community {number}: channels that fire" in drawn and f"{n_edges} edges" in drawn
    )
    page.goto(page.url)  # the address brings it back
    fold.wait_for()
    n_folded = page.locator(".node").count()
    fold.click()
    assert page.locator(".node").count() >= n_folded + members - 1
    page.get_by_role("button", name="Fold community").first.click()
    assert page.locator(".node").count() == n_folded
    page.get_by_label("Firing together").select_option("by colour")
    page.wait_for_url("**communities=colour**")
    expect(page.locator(".node")).to_have_count(n_nodes)
    page.locator(".stripe").nth(members).wait_for()


def test_an_edge_leads_to_the_other_classes_that_hold_it(address: str, store: Path, page: "sync_api.Page") -> None:
    data = StoreData(store)
    tree = open_store(store)
    graph = data.graph(3)
    assert graph is not None
    edges = graph.edges(data.layer_graph)
    k, found = next((k, own) for k, own in enumerate(classes_with(tree, edge) for edge in edges) if len(own) > 2)
    labels = [data.classes["label"].iloc[data.index_of[name]] for name in found["class"] if name != "n00000003"]
    page.goto(f"{address}/?class=n00000003")
    page.wait_for_selector(GRAPH)
    page.locator(f".hit[data-edge='{k}']").dispatch_event("click", {"bubbles": True})
    page.locator(".holders .link").first.wait_for()
    assert page.locator(".holders .link").all_inner_texts()[: len(labels)] == labels[:12]
    page.wait_for_url("**edge_layer=**")
    page.locator(".holders .vs").first.click()
    page.wait_for_url("**vs=class**")
    page.wait_for_selector(".scene.pair")
    page.locator(".side .panel-head", has_text="Chosen edge").wait_for()
    page.locator(".holders .link").first.click()
    page.wait_for_function("!location.search.includes('class=n00000003')")
    page.keyboard.press("Escape")


def test_the_strongest_path_leads_to_the_bottom_and_back(address: str, page: "sync_api.Page") -> None:
    page.goto(f"{address}/?class=n00000003")
    page.wait_for_selector(GRAPH)
    page.wait_for_function("globalThis.summitDaskExtras?.size")
    path = page.locator(".side .path .link")
    top = page.locator(".node[aria-label*='of mixed3,']").first
    _click(page, [top, path.last])
    page.wait_for_url("**pin_layer=stem**")
    page.locator(".node.pinned[aria-label*='of stem,']").wait_for()
    assert path.all_inner_texts()[-1].startswith("stem")
    assert page.locator("path.edge.path").count() == path.count() - 1 == 3
    _click(page, [path.first])
    page.wait_for_url("**pin_layer=mixed3**")


def _left(page: "sync_api.Page", script: str) -> list[object]:
    """What a script finds fault with, once a page that is still being drawn has had its time."""
    end = time.monotonic() + 20
    while (found := page.evaluate(script)) and time.monotonic() < end:
        page.wait_for_timeout(250)
    return list(found)


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_and_all_that_takes_the_keyboard_has_a_name(
    with_evidence: str, browser: "sync_api.Browser", scheme: str
) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, color_scheme=scheme)
    for path in (
        "?class=n00000002&vs=class:n00000001&communities=fold",
        "?class=n00000002&pin_layer=mixed2&pin_channel=3&communities=colour",
        "evidence",
    ):
        page.goto(f"{with_evidence}/{path}")
        if path == "evidence":
            page.wait_for_function(ALL_CHARTS)
        else:
            page.locator(".communities li").first.wait_for()
        assert _left(page, FAINT) == [] and _left(page, NAMELESS) == []
    page.goto(f"{with_evidence}/?class=n00000002")
    node = page.locator(".node").nth(1)
    for pressed in ("false", "true"):
        node.and_(page.locator(f"[aria-pressed={pressed}]")).wait_for()
        node.click()
    page.close()


@pytest.mark.long
@pytest.mark.parametrize("width", [1440, 1024, 420])
def test_every_page_fits_into_its_window(with_evidence: str, browser: "sync_api.Browser", width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    class_, channel = "class=n00000002", "layer=mixed2&channel=3"
    for path, shown in {
        f"?{class_}": GRAPH,
        f"?{class_}&vs=class:n00000001&pin_layer=mixed2&pin_channel=3": ".scene.pair",
        f"channel?{channel}": ".charts.wide .name",
        "layers": ".heatmap .rows span",
        f"classes?{class_}": GRAPH,
        f"evidence?{class_}": "h3",
        "run": ".facts h2",
    }.items():
        page.goto(f"{with_evidence}/{path}")
        page.locator(shown).first.wait_for()
        if path.startswith("evidence"):
            page.wait_for_function(ALL_CHARTS)
        _settled(page, lambda: page.evaluate(BEYOND))
        assert _left(page, BEYOND) == [], path
        links = {_middle(link)[1] for link in page.locator("[data-testid=stPageLink]").all()}
        assert len(links) == 1 or width < 1024, path
        if shown == ".scene.pair":
            stage, side = (page.locator(part).bounding_box() for part in (".stage", ".side"))
            assert stage and side
            assert stage["x"] + stage["width"] <= side["x"] or stage["y"] + stage["height"] <= side["y"]
    page.close()
