"""Pages of the dashboard in Streamlit's own test runner, and what they show."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.selection import Selection
from summit_dask.serve import dashboard_folder

START = Selection()
FOLDER = dashboard_folder()


def open_page(store: Path, page: str, monkeypatch: pytest.MonkeyPatch, selection: Selection = START) -> AppTest:
    """A page of a store, as it is first shown."""
    monkeypatch.setenv("SUMMIT_DASK_STORE", str(store))
    monkeypatch.setattr("sys.argv", ["script.py"])
    app = AppTest.from_file(str(FOLDER / "script.py"), default_timeout=60)
    if page != "explore":
        app.session_state["go"] = (page, selection)
    for name, values in selection.to_query().items():
        app.query_params[name] = values
    return app.run()


def components_of(app: AppTest) -> dict[str, dict[str, object]]:
    """What each component of the page was given, by its key."""
    protos = [getattr(element, "proto", None) for element in app.main]
    ours = [proto for proto in protos if type(proto).__name__ == "BidiComponent"]
    return {proto.id.rpartition("-")[2]: json.loads(proto.json or proto.mixed.json) for proto in ours}


def component_of(app: AppTest, key: str) -> dict[str, object]:
    """What one component was given."""
    return components_of(app)[key]


def facts_of(app: AppTest, key: str) -> dict[str, str]:
    """The facts beside a title."""
    pairs: list[tuple[str, str]] = component_of(app, key)["facts"]  # type: ignore[assignment]
    return dict(pairs)


def items_of(app: AppTest, key: str) -> list[dict[str, str]]:
    """The pictures of a gallery."""
    items: list[dict[str, str]] = component_of(app, key)["items"]  # type: ignore[assignment]
    return items


def headings_of(app: AppTest) -> list[str]:
    """All headings that are not a component's, those with names in them as HTML."""
    names = [element.proto.body for element in app.get("html") if "<h3>" in element.proto.body]
    return [heading.value for heading in [*app.header, *app.subheader]] + names
