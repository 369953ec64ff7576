"""The demo from beginning to end, and README's words against what runs."""

import os
import re
import shlex
from pathlib import Path

import pytest
import xarray as xr
import yaml
from click.testing import CliRunner

from summit_dask import open_store
from summit_dask.cli import commands
from summit_dask.demo import GOAL, NAMES, demo_config, make_demo
from summit_dask.facts.config import RunConfig
from summit_dask.questions.verify import verify_store

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished demo: the one that SUMMIT_TEST_DEMO names, as `.ci/run` has made one, or a new one."""
    if ready := os.environ.get("SUMMIT_TEST_DEMO"):
        return Path(ready)
    folder = tmp_path_factory.mktemp("demo")
    make_demo(folder)
    return folder


@pytest.fixture
def tree(demo: Path) -> xr.DataTree:
    return open_store(demo / "digits.zarr")


@pytest.mark.long
def test_the_demo_learns_digits_it_never_saw(tree: xr.DataTree) -> None:
    unseen = (tree["images/split"] == "held-out").values
    right = (tree["images/predicted"][:, 0] == tree["images/class_index"]).values
    assert unseen.sum() == 360
    assert right[unseen].mean() >= GOAL


@pytest.mark.long
def test_the_demo_s_store_is_right(demo: Path, tree: xr.DataTree) -> None:
    report = verify_store(demo / "digits.zarr", 8)
    assert report.right, "\n".join(report.lines())
    assert tuple(tree["classes/name"].values) == NAMES
    assert set(tree["graphs/activation-influence/node_class"].values) == set(range(10))
    assert set(tree["graphs/activation-influence/edge_class"].values) == set(range(10))


@pytest.mark.long
def test_a_second_demo_trains_and_runs_nothing_again(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_demo(demo)
    assert "extract" not in capsys.readouterr().err


@pytest.mark.long
def test_readme_s_python_runs_on_the_demo(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo.parent)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(block.replace("demo/digits.zarr", str(demo / "digits.zarr")), names)


def commands_of(text: str) -> list[list[str]]:
    """Every summit-dask command in the shell blocks and in backticks."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ").splitlines()
    inline = re.findall(r"`(summit-dask [^`|]*)`", text.replace("\n", " "))
    lines = [line[line.index("summit-dask ") :] for line in (*blocks, *inline) if "summit-dask " in line]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("words", commands_of(README), ids=" ".join)
def test_readme_s_commands_and_options_exist(words: list[str]) -> None:
    if not words[0].startswith("-"):
        command = commands.commands[words[0]]
        known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--") and word != "--help"} <= known
    assert CliRunner().invoke(commands, [words[0], "--help"]).exit_code == 0


def test_readme_s_options_exist() -> None:
    plain = {name.replace("_", "-") for name in RunConfig.model_fields}
    known = {f"--{switch}{name}" for name in plain for switch in ("", "no-")}
    assert set(re.findall(r"\*\*`(--[a-z-]+)", README)) <= known


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_readme_s_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_ready_configurations_are_valid(path: Path) -> None:
    RunConfig.of(yaml.safe_load(path.read_text()), str(path))


def test_the_demo_s_configuration_is_the_one_in_config() -> None:
    written = RunConfig.of(yaml.safe_load((ROOT / "config" / "demo.yaml").read_text()))
    assert written == demo_config(Path("demo"))
