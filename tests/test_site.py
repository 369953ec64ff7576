"""The dashboard as files: what is written, and what is refused. How it looks: test_site_browser."""

import base64
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dashboard.data import StoreData
from dashboard.evidence import evidence_of
from dashboard.shown import proof
from dashboard.shown.channels import classes_using, neighbours
from dashboard.shown.classtable import narrow
from dashboard.site.files import MARK, as_json, deflated
from dashboard.site.page import index_page
from dashboard.site.pictures import TILE
from dashboard.site.write import open_source, write_site
from summit_dask import open_store
from summit_dask.cli_site import site_command
from summit_dask.facts.errors import ClassNotFoundError, ConfigError, StoreError, StoreIncompleteError, SummitError
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import PAPERS
from summit_dask.notebook import show
from tests.pairs import add_pair
from tests.stores import AWKWARD_NAMES, add_evidence, make_store

HTML_NAME = AWKWARD_NAMES[0]


def written(*arguments: Any) -> str:
    """What the command says."""
    result = CliRunner().invoke(site_command, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def part(folder: Path, key: str) -> Any:
    """What a file of a site hands over."""
    text = (folder / "data" / f"{key}.js").read_text()
    found = re.fullmatch(r"summit\((\".*?\"),(.*)\)\n", text, re.DOTALL)
    assert found and json.loads(found[1]) == key
    value = json.loads(found[2])
    return json.loads(zlib.decompress(base64.b64decode(value))) if isinstance(value, str) else value


def all_files(folder: Path) -> dict[str, bytes]:
    """All that a folder holds."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def site(complete: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the complete store, with examples."""
    folder = tmp_path_factory.mktemp("site") / "site"
    written(complete, folder, "--examples", "--credit", "photographs: <b>many</b>", "--title", "A & B")
    return folder


def test_written_twice_it_is_the_same_and_nothing_is_left_beside_it(complete: Path, site: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / MARK).write_text("an older site")
    written(complete, tmp_path / "again", "--examples", "--credit", "photographs: <b>many</b>", "--title", "A & B")
    assert all_files(tmp_path / "again") == all_files(site)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_the_page_loads_its_own_program_alone(site: Path) -> None:
    page = (site / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)
    assert policy and policy[1].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:"
    )
    assert "<title>A &amp; B</title>" in page
    assert re.findall(r'(?:src|href)="(.*?)"', page) == ["data:,", "site.css", "site.js"]
    assert 'src="https://x.org/a/site.js"' in index_page("t", "https://x.org/a") and "https://x.org;" in index_page(
        "t", "https://x.org/a"
    )


@pytest.mark.parametrize(
    "base", ["x.org", "ftp://x.org", "https://x.org/'; script-src *", "https://x.org/a b", "https://"]
)
def test_a_base_that_is_no_address_is_refused(base: str) -> None:
    with pytest.raises(ConfigError, match="expected a whole address"):
        index_page("t", base)


def test_what_is_seen_first_is_one_file_more(site: Path) -> None:
    keys = re.findall(r'^summit\("(.*?)",', (site / "data/first.js").read_text(), re.MULTILINE)
    layers = part(site, "site")["layers"]
    nodes = part(site, "class/0")["graphs"]["activation-influence"]["nodes"]
    pictured = {f"picture/{layer}/{k}" for layer, k, *_ in nodes if k in layers[layer]["pictures"]}
    assert len(pictured) > 5 and set(keys) == {"site", "class/0", *pictured}


def test_names_are_text_that_ends_no_script(site: Path) -> None:
    assert part(site, "site")["names"][0] == HTML_NAME
    assert not [name for name, content in all_files(site / "data").items() if b"<" in content]
    assert as_json("</script>\u2028&") == '"\\u003c/script\\u003e\\u2028\\u0026"'


def test_channels_say_what_the_dashboard_says(complete: Path, site: Path) -> None:
    data = StoreData(complete)
    layers = [layer.name for layer in data.layer_graph.layers]
    place = layers.index("mixed2")
    facts = part(site, f"channel/{place}/0")
    assert len(facts) == 16
    for index, found in enumerate(facts):
        channel = Channel("mixed2", index)
        users = classes_using(data, channel)
        assert found["top"] == users[["class_index", "count"]].to_numpy().tolist()
        assert (found["n_classes"], found["n_images"]) == (len(users), users["count"].sum())
        for name, is_source in (("sources", True), ("targets", False)):
            rows = neighbours(data, channel, is_source, None)
            rows["layer"] = [layers.index(layer) for layer in rows["layer"]]
            assert found["neighbours"]["activation-influence"][name] == rows.to_numpy().tolist()
        assert sum(found["values"]["shares"]) == pytest.approx(1, abs=1e-3)
    assert part(site, f"channel/{layers.index('stem')}/0")[7]["note"].endswith("fires for every image")


def test_examples_are_side_by_side_with_the_further_pictures(site: Path) -> None:
    found = part(site, "picture/0/1")
    assert found["kinds"][:2] == ["its centre neuron", "against the channel"] and found["examples"]
    assert found["channel"].startswith("data:image/webp;base64,")
    assert all(example["title"] and example["fires"]["map"] for example in found["examples"])
    with Image.open(site / found["tiles"]) as tiles:
        assert tiles.size == (TILE * len(found["kinds"] + found["examples"]), TILE)


def test_examples_are_left_out_unless_they_are_asked_for(complete: Path, imported: Path, tmp_path: Path) -> None:
    for name, store in {"own": complete, "imported": imported}.items():
        written(store, tmp_path / name)
        assert not part(tmp_path / name, "site")["has"]["examples"]
        texts = [
            part(tmp_path / name, f"picture/0/{k}") for k in part(tmp_path / name, "site")["layers"][0]["pictures"]
        ]
        assert texts and not any(found["examples"] or found["is_example"] for found in texts)
    written(imported, tmp_path / "shown", "--examples")
    seen = [
        part(tmp_path / "shown", f"picture/0/{k}")["examples"] for k in range(256) if _is_seen(tmp_path / "shown", k)
    ]
    assert [{"title": "example 1", "text": "", "fires": None}] in seen


def _is_seen(folder: Path, channel: int) -> bool:
    return channel in part(folder, "site")["layers"][0]["pictures"]


def test_some_classes_are_numbered_anew(complete: Path, site: Path, tmp_path: Path) -> None:
    written(complete, tmp_path / "some", "--classes", "n00000003", "--classes", "n00000001")
    facts = part(tmp_path / "some", "site")
    assert facts["folders"] == ["n00000001", "n00000003"] and ["Classes", "2 of 5"] in facts["facts"]
    graphs = [part(folder, f"class/{k}")["graphs"] for folder, k in ((tmp_path / "some", 1), (site, 3))]
    assert graphs[0] == graphs[1]
    assert not (tmp_path / "some/data/class/2.js").exists()
    own = part(tmp_path / "some", "class/0")["predictions"]
    assert {number for _, number, _, _ in own["taken_for"]} == {-1}  # of classes that the site lacks


@pytest.mark.parametrize("parts", [("graphs",), ("values", "graphs"), ("matrices", "graphs", "embedding")])
def test_what_a_store_lacks_is_left_out(parts: tuple[str, ...], tmp_path: Path) -> None:
    make_store(tmp_path / "store", parts=parts)
    written(tmp_path / "store", tmp_path / "site", "--examples")
    facts = part(tmp_path / "site", "site")
    assert not facts["has"]["examples"] and not facts["has"]["pictures"]
    assert part(tmp_path / "site", "layer/0")["counts"] is not None  # of the graphs' nodes, if of no others
    assert (part(tmp_path / "site", "layer/0")["places"] is None) == ("embedding" not in parts)


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with graphs of two pairs of measures, and evidence for those of the paper's."""
    path = tmp_path_factory.mktemp("tested") / "store"
    make_store(path)
    add_pair(path)
    add_evidence(path)
    return path


def test_each_pair_and_its_evidence_are_there(tested: Path, tmp_path: Path) -> None:
    written(tested, tmp_path / "site")
    found = part(tmp_path / "site", "class/1")["graphs"]
    assert list(found) == [pair["name"] for pair in part(tmp_path / "site", "site")["pairs"]] and len(found) == 2
    assert found["activation-influence"]["badge"]["sentence"].startswith("Without these")
    assert len(found["activation-influence"]["marks"]["edge_effect"]) == len(found["activation-influence"]["edges"])
    assert found["relevance-contribution"]["lowering"]


def test_evidence_is_what_the_dashboard_shows_of_it(tested: Path, tmp_path: Path) -> None:
    written(tested, tmp_path / "site", "--classes", "n00000001", "--classes", "n00000003", "--classes", "n00000004")
    data = StoreData(tested)
    evidence = evidence_of(data, PAPERS)
    assert evidence is not None
    own = part(tmp_path / "site", "class/1")  # the store's class 3
    found = own["evidence"]["activation-influence"]
    choices = proof.choices(evidence, 3)
    assert [row[0] for row in found["choices"]] == choices["kind"].tolist()
    numbers = np.array([row[1:] for row in found["choices"]])
    np.testing.assert_allclose(numbers, choices[["value", "low", "high"]], rtol=1e-3)
    assert len(found["enough"]) == len(proof.sufficiency(evidence, 3))
    assert own["evidence"]["relevance-contribution"] is None
    assert own["by_measures"]["columns"] == list(proof.side_by_side(data, 3).columns)
    everyone = part(tmp_path / "site", "evidence/activation-influence")["rows"]
    assert [row[0] for row in everyone] == [0, 1]  # the last class wasn't tested
    facts = part(tmp_path / "site", "site")
    assert (
        list(facts["untested"]) == ["relevance-contribution"]
        and not (tmp_path / "site/data/evidence/relevance-contribution.js").exists()
    )
    assert part(tmp_path / "site", "class/2")["evidence"]["activation-influence"] is None


def test_what_lies_there_already_is_kept(complete: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=f"isn't a site that this command wrote: it has no {MARK}"):
        written(complete, tmp_path / "mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


def test_a_site_that_fails_leaves_the_old_one(complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(complete)
    write_site(source, tmp_path / "site", "first")
    before = all_files(tmp_path)
    monkeypatch.setattr(
        "dashboard.site.write.layer_facts", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(StoreError, match="No space left"):
        write_site(source, tmp_path / "site", "second")
    assert all_files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (["--classes", "n0000000"], ClassNotFoundError, "There is no class 'n0000000'. Did you mean"),
        (["--single", "crane"], ClassNotFoundError, "is the name of several classes"),
        (["--single", "n00000001", "--base", "https://x.org"], ConfigError, "leave out --classes and --base"),
    ],
)
def test_wrong_options_are_told(
    arguments: list[str], error: type[SummitError], told: str, complete: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=told):
        written(complete, tmp_path / "site", *arguments)


def test_a_store_without_graphs_is_told(half_finished: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreIncompleteError, match=r"can't be shown\. This store holds no attribution graphs"):
        written(half_finished, tmp_path / "site")
    assert not list(tmp_path.iterdir())


def test_one_class_is_one_page_that_needs_no_other_file(complete: Path, tmp_path: Path) -> None:
    written(complete, tmp_path / "deep/crane.html", "--single", "n00000001", "--examples")
    page = (tmp_path / "deep/crane.html").read_text()
    assert re.findall(r'<(?:script|link)[^>]* (?:src|href)="(.*?)"', page) == ["data:,"]
    program = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert program and f"script-src 'sha256-{_digest(program[1])}'" in page
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert data
    parts = json.loads(data[1])
    assert parts["site"]["folders"] == ["n00000001"] and parts["class/0"]["graphs"]
    tiles = [found["tiles"] for key, found in parts.items() if key.startswith("picture/")]
    assert tiles and all(address.startswith("data:image/webp;base64,") for address in tiles)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_a_notebook_shows_it_in_a_frame_without_rights(complete: Path) -> None:
    tree = open_store(complete)
    shown = show(tree, "n00000000")._repr_html_()
    assert shown.startswith('<iframe sandbox="allow-scripts allow-downloads"') and shown.endswith("</iframe>")
    assert shown.count("<") == 2  # all else is text of the attribute
    with pytest.raises(StoreError, match="This tree was made in memory"):
        tree.encoding = {}  # as of one made in memory
        show(tree, "n00000000")


@pytest.mark.parametrize(("largest", "dtype"), [(255, "uint8"), (256, "uint16"), (70_000, "int32")])
def test_counts_of_any_size_come_whole(largest: int, dtype: str) -> None:
    counts = np.array([[0, largest], [1, 2]], np.int32)
    found = deflated(narrow(counts))
    assert found["dtype"] == dtype
    raw = zlib.decompress(base64.b64decode(found["deflate"]))
    np.testing.assert_array_equal(np.frombuffer(raw, dtype).reshape(2, 2), counts)
