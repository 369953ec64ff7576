"""Options: their limits, their stages, and fingerprints that are the same on every machine."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from summit_dask.facts.config import ClusterOptions, GraphOptions, ResultOptions, RunConfig, fingerprint, read_yaml
from summit_dask.facts.errors import ConfigError, suggestion
from summit_dask.facts.stages import STAGES

ROOT = Path(__file__).parents[1]
NEEDED = {"model": "m:f", "images": "images", "out": "out.zarr"}


def config(**options: Any) -> RunConfig:
    return RunConfig.of({**NEEDED, **options})


def test_what_is_written_is_read_again() -> None:
    made = config(
        crop=(10, 20),
        resize="none",
        mean=0.5,
        std=[0.5],
        excluded=[
            {"layer": "a", "channels": [3, 1], "reason": "odd"},
            {"layer": "a", "channels": [2], "reason": "odd"},
        ],
        layers=["a", "b"],
    )
    assert RunConfig.of(made.model_dump(mode="json")) == made
    assert made.excluded_channels("a") == (1, 2, 3) and made.excluded_channels("b") == ()
    assert made.mean == (0.5,)


def test_a_copy_with_changes_is_checked_like_new() -> None:
    assert config().replaced(k=7).k == 7
    with pytest.raises(ConfigError, match="'k' in the options given is 0"):
        config().replaced(k=0)
    with pytest.raises(ConfigError, match=r"Unknown option 'mas' .*Did you mean 'mass'"):
        config().replaced(mas=0.1)


def test_every_wrong_option_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.of({"k": "x", "masss": 1, "crop": [1, 0], "std": [1, 0]}, "here")
    lines = str(caught.value).splitlines()
    assert [line.split("'")[1] for line in lines] == ["model", "crop", "std", "k", "images", "out", "masss"]
    assert all("here" in line for line in lines)


@pytest.mark.parametrize(
    ("options", "divided"),
    [
        ({"mean": [123.675, 116.28, 103.53], "std": [0.2] * 3}, "0.485, 0.456, 0.406"),
        ({"mean": 0, "std": 255}, "gives 1 here"),
    ],
)
def test_figures_for_pixels_of_0_to_255_are_refused_with_those_for_0_to_1(
    options: dict[str, Any], divided: str
) -> None:
    with pytest.raises(ConfigError, match=f"must be at most 1, .* divided by 255, those of mean and std.*{divided}"):
        config(**options)


def test_the_ends_of_the_range_of_pixels_are_means_and_stds() -> None:
    assert config(mean=[0, 0.5, 1], std=1).mean == (0, 0.5, 1)
    with pytest.raises(ConfigError, match=r"'mean' .* must not be below 0"):
        config(mean=[0.5, -0.1, 0.5])


def test_each_option_has_one_stage_and_a_description() -> None:
    by_stage = {stage.name: list(stage.options.model_fields) for stage in STAGES}
    names = [name for own in by_stage.values() for name in own]
    assert len(set(names)) == len(names)
    assert sorted([*names, *ClusterOptions.model_fields, "out", "storage_options"]) == sorted(RunConfig.model_fields)
    assert list(RunConfig.model_fields)[: len(names)] == names == list(ResultOptions.model_fields)
    assert by_stage["reduce"] == ["mass", "excluded"]
    assert by_stage["graphs"] == ["nodes", "edges", "p", "unified", "directed"]
    assert all(field.description for field in RunConfig.model_fields.values())


def test_what_is_not_given_is_as_the_readme_says() -> None:
    made = {name: value for name, value in config().model_dump().items() if name not in NEEDED}
    assert {name: value for name, value in made.items() if value is not None} == {
        "layers": (),
        "orientation": "ignore",
        "k": 5,
        "identity": True,
        "influences": True,
        "contributions": True,
        "relevance": False,
        "influence_values": True,
        "batch_size": 8,
        "mass": 0.03,
        "excluded": (),
        "examples": 10,
        "thumbnail": 96,
        "nodes": "activation",
        "edges": "influence",
        "p": 0.075,
        "unified": False,
        "directed": False,
        "seed": 0,
        "worker_timeout": 300.0,
    }


@pytest.mark.parametrize("given", [{"key": "hush"}, '{"key": "hush"}'])
def test_storage_options_are_no_part_of_what_is_kept_or_shown(given: object) -> None:
    made = config(storage_options=given)
    assert made.storage_options == {"key": "hush"}
    assert "hush" not in f"{made!r} {ResultOptions.part_of(made).plain()} {GraphOptions.part_of(made)}"


@pytest.mark.parametrize(("given", "match"), [("hush", "is no JSON"), ('["hush"]', "of a list"), ({7: "hush"}, "dict")])
def test_wrong_storage_options_are_refused_without_repeating_them(given: object, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        config(storage_options=given)
    assert "hush" not in str(caught.value)


def test_a_part_of_the_options_is_their_own() -> None:
    part = GraphOptions.part_of(config(p=0.3, directed=True))
    assert part == GraphOptions(p=0.3, directed=True)
    assert part.plain() == {"nodes": "activation", "edges": "influence", "p": 0.3, "unified": False, "directed": True}


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.name)
def test_the_ready_configurations_are_sound(file: Path) -> None:
    RunConfig.of({**NEEDED, **read_yaml(file)}, str(file))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a/b", "a/b"),
        ("file:///data/a%20b", "/data/a b"),
        ("FILE:/data", "/data"),
        ("C:/data", "C:/data"),
        ("~/a:/b", "~/a:/b"),
    ],
)
def test_folders_are_paths_or_addresses_of_this_machine(text: str, path: str) -> None:
    made = config(images=text, scheduler_file=text, out=text)
    assert {made.images, made.scheduler_file, made.out} == {Path(path)}


@pytest.mark.parametrize("option", ["weights", "classes"])
def test_a_text_may_name_a_file_by_its_address(option: str) -> None:
    given = {text: getattr(config(**{option: text}), option) for text in ("file:///data/a%20b.json", "DEFAULT")}
    assert list(given.values()) == ["/data/a b.json", "DEFAULT"]


@pytest.mark.parametrize("option", ["scheduler_file", "weights", "classes"])
def test_an_address_is_not_taken_for_a_folder(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{option}' .* s3://bucket/x is an address; only folders"):
        config(**{option: "s3://bucket/x"})


@pytest.mark.parametrize("text", ["s3://bucket/{00..12}.tar", "https://host/list.csv"])
def test_images_may_be_at_an_address(text: str) -> None:
    made = config(images=text)
    assert made.images == text
    assert RunConfig.of(made.model_dump(mode="json")) == made
    assert config(images="file:///data/a%20b").images == Path("/data/a b")


def test_an_empty_file_holds_no_options(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("# nothing yet\n")
    assert read_yaml(tmp_path / "run.yaml") == {}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("mass: 0.1\nk: 3\nmass: 0.2\n", "'mass' stands twice, in lines 1 and 3; keep one"),
        ("excluded:\n- layer: a\n  channels: [1]\n  layer: b\n", "'layer' stands twice, in lines 2 and 4"),
        ("{mass: 0.1, 'mass': 0.2}", "'mass' stands twice, in lines 1 and 1"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"run\.yaml is not YAML: {match}"):
        read_yaml(path)


def test_a_key_that_a_merged_table_has_too_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("mean: &grey {a: 1}\nstd: {<<: *grey, a: 2}\n")
    assert read_yaml(path)["std"] == {"a": 2}


def test_fingerprints_depend_on_the_facts_alone() -> None:
    facts = {"b": [1, 2.5, None], "a": {"x": "ü", "path": Path("a/b")}}
    code = (
        "from pathlib import Path; from summit_dask.facts.config import fingerprint\n"
        "print(fingerprint({'a': {'path': Path('a/b'), 'x': 'ü'}, 'b': [1, 2.5, None]}))"
    )
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(other.stdout) == fingerprint(facts)
    assert 0 < fingerprint(facts) < 2**63
    assert len({fingerprint({"k": k}) for k in range(100)}) == 100


def test_suggestions() -> None:
    assert suggestion("uper", ["upper", "lower"]) == "Did you mean 'upper'?"
    assert suggestion("x", ["b", "a"]) == "There are: a, b."
    assert suggestion("x", []) == "There are: none."
    assert suggestion("x", [f"layer{i:02}" for i in range(14)]).endswith("layer11 and 2 more.")
