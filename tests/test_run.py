"""The header's run: it comes back from JSON as it was, and what doesn't belong together is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from summit_dask.facts.run import Run
from summit_dask.facts.stages import STAGES, commands, stage_fingerprints, stage_named, stage_of
from tests.stores import options, run_of_images, run_of_import


@pytest.mark.parametrize("run", [run_of_images(), run_of_import()], ids=["own", "imported"])
def test_a_run_comes_back_from_json(run: Run) -> None:
    assert Run(**json.loads(json.dumps(run.plain()))) == run


@pytest.mark.parametrize(
    "change", [{"fingerprint": None}, {"network": None}, {"images_root": None}, {"config": {"k": 0}}, {"odd": 1}]
)
def test_what_makes_no_run_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Run(**{**run_of_images().plain(), **change})


def test_only_the_options_of_a_stage_change_with_it() -> None:
    asked = options().replaced(p=0.4, mass=0.2, seed=9)
    changed = run_of_images().with_options_of(stage_named("graphs"), asked)
    assert changed.config == options().replaced(p=0.4)


def test_a_fingerprint_follows_the_stage_s_options_and_those_before_it() -> None:
    before = stage_fingerprints(1, options())
    changes = {"mass": 0.2, "examples": 3, "p": 0.4, "seed": 9}
    changed = {}
    for name, value in changes.items():
        after = stage_fingerprints(1, options().replaced(**{name: value}))
        changed[name] = [stage for stage in before if before[stage] != after[stage]]
    assert changed == {
        "mass": ["reduce", "graphs", "embed"],
        "examples": ["examples"],
        "p": ["graphs"],
        "seed": ["embed"],
    }
    assert set(stage_fingerprints(2, options()).values()).isdisjoint(before.values())
    assert run_of_import().stage_fingerprints() is None


def test_the_table_of_stages_is_sound() -> None:
    names = [stage.name for stage in STAGES]
    for index, stage in enumerate(STAGES):
        assert stage.after is None or stage.after in names[:index]
        assert callable(stage.load())
        assert stage.by_partition or len(stage.groups) == 1  # one group is renewed at a time
        assert all(stage_of(group) is stage for group in stage.groups)
    assert [stage.name for stage in commands()["reduce"]] == ["reduce", "examples"]
    assert stage_of("pictures") is None


def test_moved_folders_are_paths_again() -> None:
    assert Run(**run_of_images().plain()).images_root == Path("images")
