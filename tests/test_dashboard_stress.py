"""Pages while their store is replaced, deleted or changed, and for addresses of any content."""

import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from dashboard import session
from dashboard.app import PAGES
from dashboard.selection import Selection
from summit_dask.facts.pairs import PAPERS
from summit_dask.store.store import Store
from tests.pages import component_of, components_of, open_page
from tests.stores import make_store


def texts_of(app: AppTest) -> str:
    """What notices say."""
    return " ".join(element.value for element in app.text)


@pytest.fixture
def store(complete: Path, tmp_path: Path) -> Path:
    """A store that may be changed."""
    shutil.copytree(complete, tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize("page", ["explore", "run"])
def test_a_store_that_is_deleted_while_it_is_open(store: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(store, page, monkeypatch)
    assert "error" not in components_of(app)
    shutil.rmtree(store)
    app.run()
    assert not app.exception
    error = component_of(app, "error")
    assert error["title"] == "This store can't be read" and f"There is no store at {store}." in str(error["note"])


def test_a_store_that_is_replaced_while_it_is_open(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(store, "explore", monkeypatch, Selection(class_="n00000004"))
    assert "Another store" not in texts_of(app)
    shutil.rmtree(store)
    make_store(store, n_classes=2)
    app.run()
    assert not app.exception and "error" not in components_of(app)
    assert "Another store was put in the place of the one that was shown here" in texts_of(app)
    assert "There is no class 'n00000004' in this store" in texts_of(app)
    app.run()
    assert "Another store" not in texts_of(app)


def test_a_store_that_a_run_changes_while_it_is_open(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(store, "explore", monkeypatch)
    changed = Store.open(store, writable=True)
    with changed.changing():
        shutil.rmtree(store / PAPERS.group)
        app.run()
        assert not app.exception
        assert "This store is being changed, or what changed it was stopped" in texts_of(app)
        assert "This store has changed since it was last shown here" in texts_of(app)
    app.run()
    assert not app.exception and "being changed" not in texts_of(app)


def test_the_part_of_the_run_page_that_looks_again_by_itself_tells_that_the_store_is_gone(tmp_path: Path) -> None:
    def look(path: str) -> None:
        from pathlib import Path

        from dashboard.views import run

        run._progress(Path(path))

    app = AppTest.from_function(look, args=(str(tmp_path / "gone"),), default_timeout=60).run()
    assert not app.exception and "There is no store at" in str(component_of(app, "error")["note"])


# Addresses

_NASTY = ("", "../../etc/passwd", "/etc/passwd", "..", "complete/../complete", "%2e%2e%2f", "a\0b", "x" * 5000, "nan")
_NASTY += ("<script>alert(1)</script>", "-1", "9" * 400, "1e400", "²", "\n", "~root", "file:///etc/passwd", "s3://x/y")
_KNOWN = ("n00000001", "stem", "mixed3", "mixed1.reduce", "0", "1", "0.1", "worst", PAPERS.name)
_PARAMETERS = (*Selection().but().__dataclass_fields__, "class", "pin_layer", "pin_channel", "p", "mass", "out_layer")
_PARAMETERS += ("out_channel", "keep_excluded", "graphs", "embed", "page")
_ADDRESSES = st.dictionaries(
    st.sampled_from(_PARAMETERS), st.lists(st.sampled_from(_NASTY + _KNOWN), min_size=1, max_size=2), max_size=8
)


@settings(deadline=None, derandomize=True, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=_ADDRESSES, page=st.sampled_from(list(PAGES)))
def test_no_address_ends_in_a_traceback(
    complete: Path, monkeypatch: pytest.MonkeyPatch, query: dict[str, list[str]], page: str
) -> None:
    app = open_page(complete, page, monkeypatch, Selection.from_query(query))
    app.query_params.update(query)
    app.run()
    assert not app.exception and "error" not in components_of(app)


@settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text() | st.sampled_from(_NASTY) | st.sampled_from(["a", "b"]).map(lambda name: f"../{name}"))
def test_an_address_opens_no_other_folder_than_the_stores_that_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for place in ("served/a", "served/b", "secret", "a"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "zarr.json").touch()
    monkeypatch.setattr(session, "selection", lambda: Selection(store=name))
    monkeypatch.setattr(sys, "argv", ["script.py", str(tmp_path / "served")])
    assert session.chosen_store() in ({tmp_path / "served" / name} if name in ("a", "b") else {None})
