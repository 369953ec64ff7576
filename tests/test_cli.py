"""The command line: bad input ends in one clear message and exit code 2; options and where they come from."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import zarr
from distributed import Client
from safetensors.torch import load_file, save_file

from summit_dask import cli
from summit_dask.facts import location
from summit_dask.facts.config import ClusterOptions, Exclusion, RunConfig
from summit_dask.stages import pipeline
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests.networks import CLASSES, tiny_config, write_images
from tests.pairs import add_counts
from tests.runs import cluster_of, copied

ROOT = Path(__file__).parents[1]
GIVEN = ("model", "weights", "images", "classes", "resize", "crop", "batch_size", "workers", "out")

OWN = """
import torch

class Undecided(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return (self.conv(x) if x.sum() > 0 else x).mean((2, 3))

class Several(Undecided):
    def forward(self, x):
        classes = self.conv(x).relu().mean((2, 3))
        return {"coarse": classes[:, :3], "fine": classes}
"""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Call = Callable[..., Outcome]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line with some arguments, in this process."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["summit-dask", *map(str, arguments)])
        code = 0
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A sound configuration; nothing was run."""
    return tiny_config(tmp_path_factory.mktemp("cli"))


def flags(config: RunConfig, **changes: object) -> list[str]:
    """A configuration as arguments; None leaves an option out."""
    values = {**{name: getattr(config, name) for name in GIVEN}, **changes}
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]


def check_refusal(outcome: Outcome, *texts: str) -> None:
    """Exit code 2 and one message on standard error that holds the texts."""
    assert outcome.code == 2, outcome
    assert [line.startswith("Error: ") for line in outcome.err.splitlines()].count(True) == 1, outcome.err
    assert "Traceback" not in outcome.err
    for text in texts:
        assert text in outcome.err


REFUSED: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "no images there": ({"images": "{tmp}/nowhere"}, ("no image folder or manifest at {tmp}/nowhere", "--images")),
    "empty folder": ({"images": "{tmp}/empty"}, ("{tmp}/empty holds no images", "folder for each class")),
    "no classes said": ({"classes": None}, ("Nothing says", "3 outputs the 3 classes", "--classes folder-order")),
    "no such table": ({"classes": "{tmp}/none.json"}, ("Can't read the table of classes {tmp}/none.json",)),
    "lost class": ({"classes": "{tmp}/two.json"}, ("1 of 3 classes match no output", "'cat'")),
    "no such weights": ({"weights": "{tmp}/none.safetensors"}, ("{tmp}/none.safetensors",)),
    "other weights": ({"weights": "{tmp}/other.safetensors"}, ("stem.weight", "odd.weight")),
    "no such model": ({"model": "tests.networks:TinyIncepton"}, ("TinyIncepton",)),
    "no such file": ({"model": "{tmp}/none.py:Net"}, ("{tmp}/none.py",)),
    "no model at all": ({"model": "googlenet"}, ("torchvision:NAME",)),
    "no such torchvision": ({"model": "torchvision:googlenot"}, ("googlenot", "Did you mean 'googlenet'")),
    "does not trace": (
        {"model": "{tmp}/own.py:Undecided", "weights": None},
        ("torch.export can't follow", "Control flow"),
    ),
    "several outputs": (
        {"model": "{tmp}/own.py:Several", "weights": None},
        ("coarse (2, 3), fine (2, 4)", "--output coarse"),
    ),
    "no such output": ({"output": "fine"}, ("'output' is 'fine'", "leave it out")),
    "no such interpolation": (
        {"interpolation": "cubic"},
        ("'interpolation' in the command line is 'cubic'", "bicubic"),
    ),
    "no such crop mode": ({"crop_mode": "center"}, ("'crop_mode' in the command line is 'center'", "'centre'")),
    "no such timm": ({"model": "timm:resnet81"}, ("'resnet81'", "Did you mean 'resnet18'")),
    "no such folder": ({"model": "transformers:{tmp}/none", "weights": None}, ("config.json in {tmp}/none",)),
    "no such layer": ({"layers": "lower,uper"}, ("'uper'", "Did you mean 'upper'")),
    "layer out of range": ({"excluded": "upper:15=odd"}, ("channel 15 of upper", "0 to 14")),
    "layer to exclude": ({"excluded": "uper:1=odd"}, ("'uper'", "Did you mean 'upper'")),
    "no reason": ({"excluded": "upper:1"}, ("--excluded 'upper:1'", "LAYER:1,2=reason")),
    "one of several": ({"excluded": "upper:1,15=odd"}, ("channel 15 of upper", "0 to 14")),
    "empty reason": ({"excluded": "upper:1= "}, ("--excluded 'upper:1= '", "LAYER:1,2=reason")),
    "no colon": ({"excluded": "upper=odd"}, ("--excluded 'upper=odd'", "LAYER:1,2=reason")),
    "no channel": ({"excluded": "upper:one=odd"}, ("--excluded 'upper:one=odd'", "numbers from 0")),
    "negative channel": ({"excluded": "upper:-1=odd"}, ("--excluded", "numbers from 0")),
    "k no number": ({"k": "five"}, ("'k' in the command line is 'five'", "integer")),
    "k too small": ({"k": 0}, ("'k' in the command line is '0'", "greater than or equal to 1")),
    "mass too large": ({"mass": 1.5}, ("'mass'", "less than or equal to 1")),
    "no p": ({"p": 0}, ("'p'", "greater than 0")),
    "p not a number": ({"p": "nan"}, ("'p'",)),
    "empty crop": ({"crop": 0}, ("'crop' in the command line is '0'", "greater than or equal to 1")),
    "crop in words": ({"crop": "small"}, ("'crop' in the command line is 'small'", "integer")),
    "crop too small": ({"crop": 1}, ("doesn't run on an image of 3 x 1 x 1",)),
    "no crop": ({"crop": "none"}, ("'crop' in the command line is 'none'",)),
    "crop of one": ({"crop": "10x"}, ("'crop'",)),
    "negative resize": ({"resize": -3}, ("'resize' in the command line is '-3'", "greater than or equal to 1")),
    "mean in words": ({"mean": "0.5,x,1"}, ("'mean.1' in the command line is 'x'", "number")),
    "flat std": ({"std": "1,0,1"}, ("'std'", "above 0")),
    "mean without std": ({"mean": "0.5"}, ("mean has 1 values and std 3",)),
    "no image a class": ({"images_per_class": 0}, ("'images_per_class'", "greater than or equal to 1")),
    "out is a file": ({"out": "{tmp}/own.py"}, ("{tmp}/own.py is a file, no store",)),
    "out is another folder": ({"out": "{tmp}"}, ("{tmp} is no Zarr group",)),
    "out can't be made": (
        {"out": "{tmp}/own.py/store.zarr"},
        ("Writing {tmp}/own.py/store.zarr failed", "what is finished is kept"),
    ),
}


@pytest.fixture
def around(tmp_path: Path) -> Path:
    """Things that are not what they should be."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "own.py").write_text(OWN)
    rows = [{"index": i, "name": name} for i, name in enumerate(CLASSES[:2])]
    (tmp_path / "two.json").write_text(json.dumps(rows))
    save_file({"odd.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    return tmp_path


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_message(case: str, call: Call, base: RunConfig, around: Path) -> None:
    changes, texts = REFUSED[case]
    filled = {name: value.format(tmp=around) if isinstance(value, str) else value for name, value in changes.items()}
    before = made_in(around)
    check_refusal(
        call("init", *flags(base, **{"out": around / "new.zarr", **filled})), *(t.format(tmp=around) for t in texts)
    )
    assert made_in(around) == before


def made_in(folder: Path) -> list[Path]:
    """Everything but what Python itself keeps of modules that it loaded."""
    return sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("modle: x", "Unknown option 'modle' in the configuration {file}. Did you mean 'model'"),
        ("- model", "holds a list, not a table"),
        ("model: [", "is not YAML"),
        ("model: \xff", "is not YAML"),
        ("1: 2", "Unknown option '1'"),
        ("layers: lower", "'layers'"),
        ("crop: [1, 2, 3]", "'crop'"),
        (
            "excluded: [{layer: upper, channels: [1]}]",
            "'excluded.0.reason' in the configuration {file} is {{",
        ),
        ("excluded: [{layer: upper, channels: [1], reson: odd}]", "'excluded.0.reson'"),
    ],
)
def test_a_bad_configuration_is_refused(text: str, match: str, call: Call, base: RunConfig, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="latin-1")
    given = flags(base, **dict.fromkeys(("crop",)), out=tmp_path / "new.zarr")
    check_refusal(call("init", "--config", file, *given), match.format(file=file))


def test_what_is_missing_is_named_with_its_option(call: Call, tmp_path: Path) -> None:
    check_refusal(call("run", "--config", tmp_path / "none.yaml"), "none.yaml: No such file")
    outcome = call("run", f"--images={tmp_path}")
    check_refusal(outcome, "--model", "--out")
    assert "--images" not in outcome.err


def test_the_command_line_comes_before_the_environment_before_the_file(
    call: Call, base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("k: 2\nmass: 0.2\np: 0.2\nexcluded: [{layer: upper, channels: [1, 3], reason: odd}]\nmean: 0.5\n")
    monkeypatch.setenv("SUMMIT_DASK_MASS", "0.3")
    monkeypatch.setenv("SUMMIT_DASK_P", "0.3")
    monkeypatch.setenv("SUMMIT_DASK_INFLUENCE_VALUES", "no")
    monkeypatch.setenv("SUMMIT_DASK_CROP", "24x26")
    given = flags(base, crop=None, out=tmp_path / "new.zarr", p=0.4, layers="lower, upper", mean="0.1 0.2,0.3")
    assert call("init", "--config", file, *given).code == 0
    made = Store.open(tmp_path / "new.zarr").header.run.config
    assert (made.k, made.mass, made.p) == (2, 0.3, 0.4)
    assert (made.influence_values, made.layers, made.crop) == (False, ("lower", "upper"), (24, 26))
    assert made.mean == (0.1, 0.2, 0.3)
    assert made.excluded == (Exclusion(layer="upper", channels=(1, 3), reason="odd"),)


@pytest.mark.parametrize("command", ["info", "init"])
def test_storage_options_are_those_of_the_process_and_not_kept(
    command: str, call: Call, base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "_options", {})
    monkeypatch.setenv("SUMMIT_DASK_STORAGE_OPTIONS", '{"key": "hush"}')
    call(command, *(flags(base, out=tmp_path / "new") if command == "init" else [tmp_path]))
    assert location.storage_options() == {"key": "hush"}
    assert all(b"hush" not in file.read_bytes() for file in tmp_path.rglob("*.json"))


def test_excluded_channels_of_several_layers() -> None:
    made = cli._parsed("excluded", "a.b:1, 2=always on; c:3=dead = gone")
    assert [(e.layer, e.channels, e.reason) for e in made] == [
        ("a.b", (1, 2), "always on"),
        ("c", (3,), "dead = gone"),
    ]


@pytest.mark.parametrize("name", sorted(cli.commands.commands))
def test_every_command_has_help(name: str, call: Call) -> None:
    outcome = call(name, "--help")
    assert outcome.code == 0 and outcome.out.startswith(f"Usage: summit-dask {name}")


def test_run_s_help_lists_every_option(call: Call) -> None:
    shown = call("run", "-h").out
    assert [
        name for name in RunConfig.model_fields if f"--{name.replace('_', '-')} " not in shown.replace("/--", " ")
    ] == []


def test_commands_have_the_options_of_their_stages_and_of_the_cluster_where_they_use_one() -> None:
    given = {name: {option.name for option in command.params} for name, command in cli.commands.commands.items()}
    cluster = set(ClusterOptions.model_fields)
    store = {"store", "storage_options"}
    assert given["extract"] == {"retry_unreadable", *store, *cluster}
    assert given["reduce"] == {"by", "mass", "excluded", "examples", "thumbnail", *store, *cluster}
    assert given["graphs"] == {"nodes", "edges", "p", "unified", "directed", *store, *cluster}
    assert given["embed"] == {"seed", *store}


def test_unknown_commands_and_options_end_with_2(call: Call) -> None:
    for arguments in (["rnu"], ["run", "--modle=x"], ["pictures"], ["init", "--config"]):
        check_refusal(call(*arguments))


def test_another_configuration_is_refused_by_name_and_nothing_is_lost(call: Call, finished: RunConfig) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in finished.out.rglob("*"))
    outcome = call("run", *flags(finished, k=3, batch_size=4))
    check_refusal(outcome, "k: the store has 5, this run asks for 3", "batch_size: the store has 8", "another --out")
    assert sorted((path, path.stat().st_mtime_ns) for path in finished.out.rglob("*")) == before


def nothing(path: Path) -> None:
    pass


def a_file(path: Path) -> None:
    path.write_text("no store")


def another_version(path: Path) -> None:
    zarr.open_group(path, mode="w", zarr_format=3, attributes={"summit_format": 99})


def another_kind(path: Path) -> None:
    zarr.open_group(path, mode="w", zarr_format=3)


def another_zarr(path: Path) -> None:
    zarr.open_group(path, mode="w", zarr_format=2)


def damaged(path: Path) -> None:
    another_kind(path)
    (path / "zarr.json").write_text('{"zarr_format": 3,')


def half_made(path: Path) -> None:
    path.with_name(path.name + ".init").mkdir()


@pytest.mark.parametrize(
    "command", ["info", "verify", "extract", "reduce", "graphs", "embed", "evidence", "pictures", "usage"]
)
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (nothing, "store.zarr"),
        (a_file, "is a file, no store"),
        (Path.mkdir, "no Zarr group"),
        (another_version, "format 99; this version reads format 4"),
        (another_kind, "no summit-dask store"),
        (another_zarr, "no Zarr group"),
        (damaged, "zarr.json is damaged"),
    ],
)
def test_what_is_no_store_is_refused(
    command: str, make: Callable[[Path], Any], text: str, call: Call, tmp_path: Path
) -> None:
    make(tmp_path / "store.zarr")
    outcome = call(command, tmp_path / "store.zarr")
    if command == "usage" and make in (nothing, a_file):  # click's own message
        text = "store.zarr"
    check_refusal(outcome, text)


def test_a_half_made_store_says_how_to_go_on(call: Call, tmp_path: Path) -> None:
    half_made(tmp_path / "store.zarr")
    check_refusal(call("info", tmp_path / "store.zarr"), "laid out when it stopped; run the same command again")


def test_the_dashboard_of_nothing_is_refused(call: Call, tmp_path: Path) -> None:
    check_refusal(call("dashboard", tmp_path / "none"), "none")
    check_refusal(call("dashboard", tmp_path), "is no store and holds none")


def test_the_dashboard_says_no_address_that_it_can_t_have(call: Call, finished: RunConfig) -> None:
    check_refusal(call("dashboard", finished.out, "--port", 99999), "99999")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = call("dashboard", finished.out, "--port", port)
    check_refusal(outcome, f"port {port}", "Choose another --port")
    assert outcome.out == ""


def test_a_demo_that_can_t_be_written_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_refusal(call("demo", "--no-dashboard", "--out", tmp_path / "file"), "Can't make the folder", "--out")


def test_an_empty_folder_becomes_the_store(call: Call, base: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert call("init", *flags(base, out=tmp_path / "empty")).code == 0
    assert open_store(tmp_path / "empty").sizes["class"] == 3


# Clusters


def test_a_scheduler_that_does_not_answer(
    call: Call, base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("summit_dask.stages.cluster.CONNECT_SECONDS", 0.5)
    given = flags(base, workers=None, out=tmp_path / "new.zarr")
    outcome = call("run", *given, "--scheduler=tcp://127.0.0.1:9")
    check_refusal(outcome, "tcp://127.0.0.1:9 doesn't answer within 0.5 s", "'dask scheduler'")
    check_refusal(call("extract", tmp_path / "new.zarr", "--scheduler=nonsense"), "nonsense")


@pytest.mark.parametrize("text", [None, "", "{}", "no json"])
def test_a_scheduler_file_of_no_use(
    text: str | None, call: Call, base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("summit_dask.stages.cluster.CONNECT_SECONDS", 0.5)
    file = tmp_path / "scheduler.json"
    if text is not None:
        file.write_text(text)
    given = flags(base, out=tmp_path / "new.zarr", scheduler_file=file)
    check_refusal(call("run", *given), "scheduler.json")


def test_a_scheduler_without_workers(call: Call, base: RunConfig, tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as empty:
        given = flags(base, out=tmp_path / "new.zarr", scheduler=empty.scheduler_address)
        check_refusal(call("run", *given), "has no workers", "dask worker")


def test_ctrl_c_ends_with_130_and_says_that_nothing_is_lost(
    call: Call, base: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run", stopped)
    outcome = call("run", *flags(base))
    assert outcome.code == 130
    assert "the same command goes on from there" in outcome.err


def test_sigterm_is_answered_like_ctrl_c_with_143(call: Call, base: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a batch system sends it when the job's time is up."""
    monkeypatch.setattr(pipeline, "run", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    outcome = call("run", *flags(base))
    assert outcome.code == 143
    assert "the same command goes on from there" in outcome.err


def test_a_full_disk_behind_the_output_is_told(finished: RunConfig) -> None:
    for entry in (["-m", "summit_dask"], ["-m", "summit_dask.cli"]):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, *entry, "info", str(finished.out)]
            done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr == "Error: Can't write the output: No space left on device. Make room where it goes to.\n"


# A store that is right


LIGHT = """
import contextlib, io, sys
from summit_dask.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print(*sorted({"torch", "torchvision", "distributed", "umap", "streamlit"} & set(sys.modules)))
"""


@pytest.mark.parametrize("command", ["info {store}", "usage {store}", "export {store} {to} --format=csv"])
def test_light_commands_load_nothing_slow(command: str, finished: RunConfig, tmp_path: Path) -> None:
    arguments = command.format(store=copied(finished, tmp_path).out, to=tmp_path / "to").split()
    script = [sys.executable, "-c", LIGHT, *arguments]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n", done.stdout


def test_usage_of_a_store_that_can_t_be_written(
    call: Call, finished: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The superuser may write anything, so the answer to that question is made up."""
    out = copied(finished, tmp_path).out
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    outcome = call("usage", out, "--csv", tmp_path / "usage.csv")
    assert outcome.code == 0 and f"{out} can't be written, so the usage is not kept there." in outcome.err
    assert "lower" in outcome.out and (tmp_path / "usage.csv").exists() and not (out / "usage").exists()


def test_info_of_a_finished_store(call: Call, finished: RunConfig) -> None:
    facts = json.loads(call("info", finished.out, "--json").out)
    assert (facts["images"], facts["classes"], facts["outputs"], facts["pending"]) == (90, 3, 3, [])
    assert (facts["partitions"], facts["partitions_done"], facts["unreadable"]) == (3, 3, [])
    assert 0 <= facts["top1"] <= facts["top5"] == 1
    text = call("info", finished.out).out
    assert "Still to run: nothing" in text and "lower (12), upper (15)" in text


def test_a_store_may_lie_at_an_address(call: Call, finished: RunConfig) -> None:
    assert call("info", f"file://{finished.out}").out == call("info", finished.out).out
    check_refusal(call("info", "nowhere://x/store.zarr"), "nowhere://x/store.zarr can't be reached")


def test_stages_one_by_one_with_other_options(
    call: Call, finished: RunConfig, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "cluster", cluster_of(client))
    config = copied(finished, tmp_path)

    def pending() -> Any:
        return json.loads(call("info", config.out, "--json").out)["pending"]

    assert call("reduce", config.out, "--mass=0.9").code == 0
    assert pending() == ["graphs", "embed"]
    assert call("graphs", config.out, "--p=0.5").code == 0
    assert pending() == ["embed"]
    assert call("embed", config.out).code == 0
    assert pending() == []
    outcome = call("verify", config.out, "--images=2")
    assert (outcome.code, "WRONG" in outcome.out) == (0, False), outcome.out
    outcome = call("run", *flags(config, mass=0.9, p=0.5))
    assert outcome.code == 0 and "is complete" in outcome.out
    check_refusal(call("graphs", config.out, "--p=7"), "'p'", "less than or equal to 1")
    assert pending() == []


def test_graphs_of_another_pair_stand_beside_the_first(
    call: Call, finished: RunConfig, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "cluster", cluster_of(client))
    config = copied(finished, tmp_path)
    check_refusal(call("graphs", config.out, "--nodes=relevance"), "nodes by relevance", "summit-dask run --relevance")
    check_refusal(call("graphs", config.out, "--nodes=gradient"), "'nodes'", "'activation' or 'relevance'")
    store = Store.open(config.out, writable=True)
    with store.changing():
        add_counts(store)
    assert call("graphs", config.out, "--nodes=relevance", "--edges=contribution").code == 0
    listed = "nodes by activation, edges by influence; nodes by relevance, edges by contribution"
    assert f"Graphs: {listed}" in call("info", config.out).out.splitlines()
    asked = ("export", config.out, tmp_path / "files", "--format=graphml")
    check_refusal(call(*asked, "--nodes=activation", "--edges=contribution"), "no graphs", "--edges contribution'")
    assert call(*asked, "--edges=contribution").code == 0
    assert len(list((tmp_path / "files").iterdir())) == 3


def test_a_run_names_the_option_that_keeps_what_its_graphs_are_made_of(
    call: Call, finished: RunConfig, tmp_path: Path
) -> None:
    outcome = call("run", *flags(finished, out=tmp_path / "new.zarr", nodes="relevance"))
    check_refusal(outcome, "need counts of relevance", "--relevance")
    outcome = call("run", *flags(finished, out=tmp_path / "new.zarr"), "--no-influences")
    check_refusal(outcome, "need counts of influence", "another --edges")
    assert not list(tmp_path.iterdir())


def test_info_says_which_files_were_lost(call: Call, finished: RunConfig, tmp_path: Path) -> None:
    config = copied(finished, tmp_path)
    (config.out / "matrices" / "upper" / "activation_count" / "c" / "0" / "0").unlink()
    outcome = call("info", config.out)
    assert outcome.code == 2
    assert "matrices/upper/activation_count can't be read" in outcome.out.splitlines()[-1]
    assert "images of 3 classes" in outcome.out


@pytest.mark.long
def test_unreadable_images_are_tried_again_when_asked_and_only_then(
    call: Call, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "cluster", cluster_of(client))
    config = tiny_config(tmp_path)
    image = config.images / "bee" / "003.png"
    whole = image.read_bytes()
    image.write_text("no picture at all")
    call("run", *flags(config))
    image.write_bytes(whole)
    again = call("run", *flags(config))
    assert (again.code, "tried again" in again.err) == (0, False)
    assert "bee/003.png: " in call("info", config.out).out
    tried = call("extract", config.out, "--retry-unreadable")
    assert "1 images could not be read before; they are tried again" in tried.err
    assert "Still to run: reduce, graphs, embed" in tried.out
    last = call("run", *flags(config), "--retry-unreadable")
    assert "0 images could not be read before" in last.err
    assert json.loads(call("info", config.out, "--json").out)["pending"] == []
    assert "unreadable images" not in call("info", config.out).out


def test_verify_ends_with_1_where_something_is_wrong(call: Call, finished: RunConfig, tmp_path: Path) -> None:
    config = copied(finished, tmp_path)
    shutil.rmtree(config.out / "activations" / "upper" / "value" / "c")
    outcome = call("verify", config.out, "--images=1")
    assert outcome.code == 1
    assert "activations/upper/value can't be read" in outcome.out and "value/c/0/0 is missing" in outcome.out


# With processes of its own


def start(config: RunConfig, **changes: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "summit_dask.cli", "run", *flags(config, **changes)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in a shell's background inherit deafness to it
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.long
def test_an_error_on_a_worker_is_one_message(base: RunConfig, tmp_path: Path) -> None:
    state = load_file(str(base.weights))
    state["upper.one.0.weight"][0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    process = start(base, weights=tmp_path / "nan.safetensors", out=tmp_path / "store.zarr")
    said = process.communicate()[1].splitlines()
    assert process.returncode == 2
    assert said[-1].startswith("Error: ") and "upper" in said[-1] and "nan" in said[-1].lower()
    assert {line.partition(" ")[0] for line in said[:-1]} <= {"90", "Class", "The", "extract:", "Compiled"}


def test_an_interruption_inside_an_executed_text_is_an_exit_code(tmp_path: Path) -> None:
    """Python would end itself by the signal, though the interruption was caught: in a module that is run with -m."""
    (tmp_path / "interrupted.py").write_text(
        "from summit_dask import cli\ncli.commands = lambda **_: exec('raise KeyboardInterrupt')\ncli.main()\n"
    )
    command = [sys.executable, "-m", "interrupted"]
    paths = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    assert subprocess.run(command, env={**os.environ, **paths}, stderr=subprocess.DEVNULL).returncode == 130


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGTERM, cli._Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_an_interruption_that_python_drops_is_sent_again(
    number: signal.Signals, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Destroyed:
        def __del__(self) -> None:
            signal.raise_signal(number)

    monkeypatch.setattr(sys, "unraisablehook", cli._sent_again)
    # What a shell runs in the background is deaf to Ctrl-C, tests too.
    handler = cli._terminated if number == signal.SIGTERM else signal.default_int_handler
    before = signal.signal(number, handler)
    try:
        start = time.monotonic()
        with pytest.raises(kind):
            Destroyed()
            time.sleep(30)
        assert time.monotonic() - start < 15
    finally:
        signal.signal(number, before)


def test_a_system_that_can_not_choose_the_thread_has_the_signal_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "pthread_kill")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            cli._send(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("moment", ["", pytest.param("partitions/fingerprint/c/0", marks=pytest.mark.long)])
def test_ctrl_c_is_answered_once(moment: str, base: RunConfig, tmp_path: Path) -> None:
    """While the cluster starts, and while it works."""
    out = tmp_path / "store.zarr"
    process = start(base, images=write_images(tmp_path / "images", 300), out=out)
    while process.poll() is None and not (out / moment).exists():
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130, said
    assert said.rstrip().endswith("the same command goes on from there.") and "Traceback" not in said
    assert open_store(out).sizes["image"] == 900
    assert sum(1 for _ in out.glob("partitions/fingerprint/c/*")) < (29 if moment else 1)
