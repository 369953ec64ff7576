"""The address alone brings a view of the dashboard back, and never fails."""

from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

from dashboard import session
from dashboard.data import StoreData
from dashboard.selection import STRETCH, VIEW, Reselection, Selection
from dashboard.versus import Versus
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import PAIRS, Pair
from tests.stores import AWKWARD_NAMES


@pytest.fixture(scope="module")
def data(complete: Path) -> StoreData:
    return StoreData(complete)


_texts = hst.text(max_size=12)
_names = hst.none() | hst.text(min_size=1, max_size=12)
_channels = hst.builds(Channel, _texts, hst.integers(0, 10**6))
_shares = hst.none() | hst.integers(5, 500).map(lambda n: n / 1000)
_stretches = hst.integers(50, 300).map(lambda n: n / 100)
_FIELDS: dict[str, hst.SearchStrategy[Any]] = {
    "store": _names,
    "class_": _names,
    "layer": _names,
    "channel": hst.none() | hst.integers(0, 10**6),
    "pinned": hst.none() | _channels,
    "edge": hst.just(()) | hst.tuples(_channels, _channels),
    "sort": hst.sampled_from(["similarity", "best", "worst", "name", "images"]),
    "search": _texts,
    "least_count": hst.integers(0, 10**6),
    "width": _stretches,
    "height": _stretches,
    "scale": hst.sampled_from(["class", "all"]),
    "only_effective": hst.booleans(),
    "communities": hst.sampled_from(["off", "colour", "fold"]),
    "how": hst.builds(
        Reselection,
        p=_shares,
        mass=_shares,
        left_out=hst.lists(_channels, max_size=3).map(tuple),
        keep_excluded=hst.booleans(),
    ),
    "alone": hst.booleans(),
    "misclassified": hst.booleans(),
    "pair": hst.none() | hst.sampled_from(PAIRS),
    "vs": hst.none()
    | hst.builds(Versus, hst.sampled_from(["class", "store"]), hst.text(min_size=1, max_size=12))
    | hst.builds(Versus, hst.sampled_from(["right", "wrong", "stored"]))
    | hst.builds(
        Versus,
        hst.just("images"),
        images=hst.sets(hst.integers(0, 10**6), min_size=1, max_size=9).map(lambda found: tuple(sorted(found))),
    )
    | hst.builds(Versus, hst.just("image"), images=hst.tuples(hst.integers(0, 10**6)))
    | hst.builds(Versus, hst.just("strategy"), hst.integers(0, 99).map(str)),
    "other": _names,
    "across": hst.lists(_texts.filter(bool), max_size=3, unique=True).map(tuple),
}

#: A selection none of whose fields has its default, and the address that says it.
_OTHER = Selection(
    "digits.zarr",
    "n01440764",
    "stem",
    3,
    Channel("mixed2", 8),
    (Channel("mixed1", 2), Channel("mixed2", 8)),
    "worst",
    "crane & co",
    2,
    0.5,
    3.0,
    "all",
    True,
    "fold",
    Reselection(0.1, 0.25, (Channel("stem", 1), Channel("mixed1", 0)), True),
    True,
    True,
    Pair("relevance", "contribution"),
    Versus("images", images=(3, 8, 12)),
    "b&w.zarr",
    ("c.zarr", "a.zarr"),
)
_ITS_ADDRESS = (
    "store=digits.zarr&class=n01440764&layer=stem&channel=3&pin_layer=mixed2&pin_channel=8&edge_layer=mixed1&edge_layer=mixed2"
    "&edge_channel=2&edge_channel=8&sort=worst"
    "&search=crane+%26+co&least_count=2&width=0.5&height=3&scale=all&only_effective=1"
    "&communities=fold&p=0.1&mass=0.25"
    "&out_layer=stem&out_layer=mixed1&out_channel=1&out_channel=0&keep_excluded=1&alone=1&misclassified=1"
    "&graphs=relevance-contribution&vs=images%3A3.8.12&other=b%26w.zarr&across=c.zarr&across=a.zarr"
)


def _through_an_address(selection: Selection) -> Selection:
    query = urlencode(selection.to_query(), doseq=True)
    return Selection.from_query(parse_qs(query, keep_blank_values=True))


@given(hst.builds(Selection, **_FIELDS))
@settings(deadline=None, max_examples=60)
def test_selection_comes_back_from_its_address(selection: Selection) -> None:
    assert _through_an_address(selection) == selection


@pytest.mark.parametrize("field", [field.name for field in fields(Selection)])
def test_each_field_alone_comes_back_from_its_address(field: str) -> None:
    changed = Selection().but(**{field: getattr(_OTHER, field)})
    assert changed != Selection() and field in _FIELDS
    assert _through_an_address(changed) == changed


def test_addresses_that_were_passed_on_still_hold() -> None:
    assert urlencode(_OTHER.to_query(), doseq=True) == _ITS_ADDRESS
    assert Selection.from_query(parse_qs(_ITS_ADDRESS)) == _OTHER
    assert Selection().to_query() == {}


@pytest.mark.parametrize(
    "query",
    [
        {"channel": ["-1"], "least_count": ["²"], "width": ["nan"], "height": ["9"], "p": ["0.6"], "mass": ["0"]},
        {"store": [""], "class": [""], "layer": [""], "other": [""], "across": ["", ""]},
        {"vs": ["class"]},
        {"vs": ["images:"]},
        {"vs": ["images:1.x"]},
        {"vs": ["wrong:1"]},
        {"sort": ["upside down"], "scale": [""], "alone": ["yes"], "pin_layer": ["stem"], "out_channel": ["x"]},
    ],
)
def test_what_an_address_can_t_say_counts_as_not_said(query: dict[str, list[str]]) -> None:
    assert Selection.from_query(query) == Selection()


@given(hst.dictionaries(hst.sampled_from(sorted(_OTHER.to_query())), hst.lists(_texts, max_size=2)))
@settings(deadline=None, max_examples=60)
def test_an_address_of_any_content_is_read(query: dict[str, list[str]]) -> None:
    selection = Selection.from_query(query)
    assert all(STRETCH[0] <= stretch <= STRETCH[1] for stretch in (selection.width, selection.height))
    assert any(text for texts in query.values() for text in texts) or selection == Selection()


def test_the_controls_of_the_drawing_are_fields() -> None:
    assert tuple(_OTHER.view.items()) == tuple(zip(VIEW, (2, 0.5, 3.0, "all", True, "fold"), strict=True))


def test_what_the_address_names_in_vain_is_said(data: StoreData) -> None:
    wanted = Selection(class_="zebra", layer="nowhere", pinned=Channel("stem", 8))
    selection, missing = session.within(wanted, data)
    assert (selection.class_, selection.layer, selection.pinned) == ("n00000000", "mixed3", None)
    assert "'zebra'" in missing[0] and AWKWARD_NAMES[0] in missing[0] and "'nowhere'" in missing[1]
    left_out = (Channel("stem", 8), Channel("stem", 7), Channel("nowhere", 0))
    selection, missing = session.within(Selection(how=Reselection(left_out=left_out)), data)
    assert selection.how.left_out == (Channel("stem", 7),) and missing == []
    selection, missing = session.within(Selection(pair=Pair("relevance", "influence")), data)
    assert selection.pair is None and "no graphs with nodes by relevance, edges by influence" in missing[0]
    selection, missing = session.within(Selection(vs=Versus("class", "zebra")), data)
    assert selection.vs is None and "no class 'zebra' in this store to compare with" in missing[0]
    selection, missing = session.within(Selection(vs=Versus("images", images=(0, 30))), data)
    assert selection.vs is None and "image 30; this store has the images 0 to 29" in missing[0]
    known = Selection(class_="n00000002", layer="stem", pinned=Channel("stem", 7))
    assert session.within(known, data) == (known, [])


@pytest.mark.parametrize("given", ["~/stores", "{home}/stores/../stores"])
def test_the_server_s_folder(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["script.py"])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SUMMIT_DASK_STORE", given.format(home=tmp_path))
    session._resolved.cache_clear()
    assert session.folder() == tmp_path / "stores"
