"""What is done and what is still to do, on small stores that lack something or were made with other options."""

from pathlib import Path

import pytest

from summit_dask.facts.errors import StoreIncompleteError
from summit_dask.facts.pairs import PAPERS
from summit_dask.facts.stages import stage_named
from summit_dask.store.status import check_ready, outdated, pending, pending_commands, unfinished
from summit_dask.store.store import Store
from tests.stores import PARTS, make_store


@pytest.mark.parametrize(
    ("lacking", "absent", "commands"),
    [
        ((), [], []),
        (("graphs",), [PAPERS.group], ["graphs"]),
        (("examples", "embedding"), ["examples", "embedding"], ["reduce", "embed"]),
        (("values", "matrices"), ["matrices"], ["extract", "reduce"]),
    ],
)
def test_what_is_not_there_has_to_be_made(
    tmp_path: Path, lacking: tuple[str, ...], absent: list[str], commands: list[str]
) -> None:
    make_store(tmp_path / "store", parts=[part for part in PARTS if part not in lacking])
    store = Store.open(tmp_path / "store")
    assert (list(unfinished(store)), outdated(store)) == (absent, ())
    assert pending_commands(store) == commands


def test_what_other_options_made_is_outdated_and_has_to_be_made_again(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    store = Store.open(tmp_path / "store", writable=True)
    asked = store.header.run.config.replaced(p=0.5)
    assert [stage.name for stage in pending(store, asked)] == ["graphs"]
    with store.changing():
        store.update_run(store.header.run.with_options_of(stage_named("reduce"), asked.replaced(mass=0.4)))
    assert outdated(store) == ("matrices", PAPERS.group, "embedding") and unfinished(store) == ()
    with pytest.raises(StoreIncompleteError, match=r"made with other options; run 'summit-dask reduce .*store' first"):
        check_ready(store, stage_named("embed"), store.header.run.config)


def test_an_imported_store_waits_for_nothing(tmp_path: Path) -> None:
    make_store(tmp_path / "store", images_per_class=0, parts=("matrices", "graphs"))
    store = Store.open(tmp_path / "store")
    assert (pending_commands(store), outdated(store)) == ([], ())
    assert unfinished(store) == ("examples", "embedding")
    with pytest.raises(StoreIncompleteError, match="was imported; it has neither images nor a network"):
        pending(store)
