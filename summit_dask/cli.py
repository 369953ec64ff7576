"""The command line: options made from `RunConfig`, commands that parse, call and show.

Every option is also a key of the YAML file given by --config and an environment variable
(SUMMIT_DASK_MODEL for --model). The command line comes before the environment, that before the file.
"""

import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from summit_dask.cli_formats import COMMANDS, COMPARISONS, comparison_as
from summit_dask.cli_site import site_command
from summit_dask.cli_storage import STORE, storage_options
from summit_dask.facts.config import (
    ClusterOptions,
    Exclusion,
    MeasureOptions,
    Options,
    RunConfig,
    read_yaml,
)
from summit_dask.facts.errors import ConfigError, SummitError
from summit_dask.facts.location import Location
from summit_dask.facts.stages import Stage
from summit_dask.facts.stages import commands as stage_commands

if TYPE_CHECKING:
    from summit_dask.store.evidence import Ablation

PREFIX = "SUMMIT_DASK"
COMMAND_LINE = "the command line"
INTERRUPTED, TERMINATED = 130, 143
DASHBOARD_PORT = 8501
AT_LEAST_ONE = click.IntRange(min=1)
PORT = click.IntRange(1, 65535)

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(context_settings={"auto_envvar_prefix": PREFIX, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="summit-dask")
def commands() -> None:
    """See what an image classifier has learned, class by class.

    Start with `summit-dask demo`, then `summit-dask run` on your own images and network.
    """


def options(*kinds: type[Options]) -> Callable[[Command], Command]:
    """The options of some kinds as decorators, in the order of their definition."""
    names = [name for kind in kinds for name in kind.model_fields]

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            command = _option(name)(command)
        return command

    return decorate


def _option(name: str) -> Callable[[Command], Command]:
    field = RunConfig.model_fields[name]
    flag, help_text = f"--{name.replace('_', '-')}", str(field.description)
    variable = f"{PREFIX}_{name.upper()}"
    if field.annotation in (bool, bool | None):
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=help_text, envvar=variable)
    return click.option(flag, name, default=None, help=help_text, envvar=variable)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options that were given, parsed where text stands for more than one value."""
    return {name: _parsed(name, value) for name, value in values.items() if value is not None}


def _parsed(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name == "layers":
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if name in ("mean", "std"):
        return tuple(part.strip() for part in value.replace(",", " ").split())
    if name in ("resize", "crop") and "x" in value:
        return tuple(value.split("x"))
    if name == "excluded":
        return tuple(_exclusion(part) for part in value.split(";") if part.strip())
    return value


def _exclusion(text: str) -> Exclusion:
    """``inception4a:67,190=fires for every image``."""
    place, equals, reason = text.partition("=")
    layer, colon, channels = place.rpartition(":")
    if not (equals and colon and reason.strip()):
        raise ConfigError(f"--excluded {text!r}: expected LAYER:1,2=reason; several are parted by semicolons.")
    try:
        return Exclusion(layer=layer.strip(), channels=tuple(map(int, channels.split(","))), reason=reason.strip())
    except ValueError as error:
        raise ConfigError(f"--excluded {text!r}: channels must be numbers from 0 on, as in 67,190.") from error


def configured(config: Path | None, values: Mapping[str, Any]) -> RunConfig:
    """Options of the command line and the environment over those of the file."""
    base = read_yaml(config) if config else {}
    named = any(name.startswith(f"{PREFIX}_") for name in os.environ)
    where = f"the configuration {config}" if config else COMMAND_LINE + " or the environment" * named
    return RunConfig.of({**base, **_given(values)}, where)


def _of_network(config: Path | None, values: Mapping[str, Any]) -> MeasureOptions:
    """Options of the network alone; a run's configuration file may hold more."""
    base = read_yaml(config) if config else {}
    spare = set(RunConfig.model_fields) - set(MeasureOptions.model_fields)
    known = {name: value for name, value in base.items() if name not in spare}
    return MeasureOptions.of({**known, **_given(values)}, f"the configuration {config}" if config else COMMAND_LINE)


def _store(command: Command) -> Command:
    """A store to open, and what it takes to get there."""
    return click.argument("store", type=STORE)(storage_options(command))


_config = click.option("--config", type=click.Path(path_type=Path), help="YAML file of options")
_append = click.option("--append", is_flag=True, help="add images that the store lacks, and measure those alone")
_remeasure = click.option(
    "--remeasure", is_flag=True, help="measure images again whose files have changed, instead of refusing them"
)
_by = click.option(
    "--by",
    multiple=True,
    help="count by a column of the images too: predicted, correct, or one of the manifest; several together make a "
    "group of each combination",
)
_retry = click.option("--retry-unreadable", is_flag=True, help="try the images again that could not be read before")


@commands.command()
@_config
@options(RunConfig)
@_append
@_remeasure
@_retry
def run(config: Path | None, retry_unreadable: bool, append: bool, remeasure: bool, **values: Any) -> None:
    """All stages, from images to attribution graphs; goes on where it stopped."""
    from summit_dask.stages.forkserver import prepare_workers

    asked = configured(config, values)
    prepare_workers(asked)  # they import while this process does
    from summit_dask.stages import pipeline

    made = pipeline.run(asked, retry_unreadable, append, remeasure)
    click.echo(f"{made} is complete. Look at it with: summit-dask dashboard {made}")


@commands.command()
@_config
@options(RunConfig)
@_append
def init(config: Path | None, append: bool, **values: Any) -> None:
    """Lay out a store: check network, images and classes, print what it will cost."""
    from summit_dask.stages.init import init

    made = init(configured(config, values), append)
    click.echo(f"{made.path} is laid out. Go on with: summit-dask extract {made.path}")


@commands.command()
@_config
@options(MeasureOptions)
@click.option(
    "--check", is_flag=True, help="see that contributions add up to what the network computes, in every layer"
)
@click.option("--json", "as_json", is_flag=True, help="for programs")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="draw the layer graph into a file")
def layers(config: Path | None, check: bool, as_json: bool, svg: Path | None, **values: Any) -> None:
    """Print a network's layers and hops, and what a run will cost; needs no images, nor a zoo's weights.

    Exit code 2 where --check finds something missing.
    """
    from summit_dask.questions.layers import look_at_network, plain, printed

    report = look_at_network(_of_network(config, values), check)
    if svg is not None:
        from summit_dask.formats.layer_drawing import draw

        draw(report.layer_graph, report.model, svg)
    click.echo(json.dumps(plain(report), indent=2) if as_json else printed(report))
    sys.exit(0 if report.complete else 2)


@commands.command()
@_store
@click.option("--channels", default="graphs", show_default=True, help="graphs, all, or LAYER:1,2;LAYER:3")
@click.option("--kinds", default="channel", show_default=True, help="of channel, neuron, negative, diversity")
@click.option("--size", type=AT_LEAST_ONE, default=128, show_default=True, help="longer side in pixels")
@click.option("--steps", type=AT_LEAST_ONE, default=256, show_default=True, help="steps of optimisation")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="seed of the optimisation")
@options(ClusterOptions)
def pictures(store: Location, channels: str, kinds: str, size: int, steps: int, seed: int, **values: Any) -> None:
    """Optimise pictures that show what channels look for."""
    from summit_dask.arrays.pictures import Settings
    from summit_dask.stages.pictures import known_kinds, make_pictures

    settings = Settings(size=size, steps=steps, seed=seed)
    where = ClusterOptions.of(_given(values), COMMAND_LINE)
    count = make_pictures(store, channels, known_kinds(kinds.split(",")), settings, where)
    click.echo(f"{count} channels have their pictures.")


@commands.command()
@_store
@click.option("--images", type=AT_LEAST_ONE, default=50, show_default=True, help="images of each half that test")
@click.option("--samples", type=AT_LEAST_ONE, default=100, show_default=True, help="bootstrap samples for stability")
@click.option(
    "--ablation",
    type=click.Choice(["mean", "zero"]),
    default="mean",
    show_default=True,
    help="what the map of a channel that is taken away becomes",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="of all that is random")
@options(ClusterOptions)
def evidence(store: Location, images: int, samples: int, ablation: "Ablation", seed: int, **values: Any) -> None:
    """Test each class's graph: what the network loses without its channels, and how stable it is.

    Half of a class's images make the graph that the other half tests, then the halves change places.
    """
    from summit_dask.stages.evidence import make_evidence
    from summit_dask.store.evidence import Settings

    settings = Settings(images, samples, seed, ablation)
    count = make_evidence(store, settings, ClusterOptions.of(_given(values), COMMAND_LINE))
    click.echo(f"{count} classes have the evidence for their graphs.")


def _add_stage_command(name: str, stages: Sequence[Stage]) -> None:
    """The command of some stages, with their options; what was extracted is kept, so its options can't change."""
    kinds = [stage.options for stage in stages if not stage.by_partition]
    kinds += [ClusterOptions] if any(stage.on_cluster for stage in stages) else []

    def run_stages(store: Location, retry_unreadable: bool = False, by: tuple[str, ...] = (), **values: Any) -> None:
        from summit_dask.stages.pipeline import run_command
        from summit_dask.store.status import pending_commands

        given = _given(values)
        where = {option: given.pop(option) for option in ClusterOptions.model_fields if option in given}
        made = run_command(name, store, given, ClusterOptions.of(where, COMMAND_LINE), retry_unreadable, by)
        waiting = pending_commands(made)
        click.echo(f"{name} is done." + (f" Still to run: {', '.join(waiting)}." if waiting else ""))

    summary = "; ".join(stage.summary for stage in stages)
    command = options(*kinds)(run_stages)
    command = _retry(command) if any(stage.by_partition for stage in stages) else command
    command = _by(command) if any(stage.name == "reduce" for stage in stages) else command
    commands.command(name, help=f"{summary}.")(_store(command))


for _name, _stages in stage_commands().items():
    _add_stage_command(_name, _stages)


@commands.command()
@_store
@click.option("--json", "as_json", is_flag=True, help="for programs")
def info(store: Location, as_json: bool) -> None:
    """What a store holds and what is still to do; exit code 2 where files were lost."""
    from summit_dask.questions.info import describe, printed

    facts = describe(store)
    click.echo(json.dumps(facts, indent=2) if as_json else printed(facts))
    sys.exit(2 if facts["damaged"] else 0)


@commands.command()
@_store
@click.option("--images", "n_images", default=16, show_default=True, help="images to measure again")
def verify(store: Location, n_images: int) -> None:
    """Measure a sample of images again and check every stored number and invariant."""
    from summit_dask.questions.verify import verify_store

    report = verify_store(store, n_images)
    click.echo("\n".join(report.lines()))
    sys.exit(0 if report.right else 1)


@commands.command()
@click.argument("places", metavar="STORE [STORE2] A B", nargs=-1, required=True)
@click.option("--by", multiple=True, help="A and B are groups of images by a column, instead of classes; as in reduce")
@click.option("--format", "kind", type=click.Choice(["table", *COMPARISONS]), default="table", show_default=True)
@storage_options
def compare(places: tuple[str, ...], by: tuple[str, ...], kind: str) -> None:
    """Hold the graphs of two classes against each other: A of STORE, B of it or of STORE2.

    csv lists the channels; json, graphml and svg hold both graphs.
    """
    from summit_dask.questions.compare import compare_classes, compare_groups, printed

    if len(places) not in (3, 4):
        raise click.UsageError(f"expected STORE [STORE2] A B, found {len(places)} words; quote names with blanks.")
    *stores, a, b = places
    found, remarks = compare_groups(stores, a, b, by) if by else (compare_classes(stores, a, b), ())
    click.echo(printed(found, a, b) if kind == "table" else comparison_as(kind, found, a, b), nl=kind == "table")
    for remark in remarks:
        click.echo(remark, err=True)


@commands.command()
@click.argument("a", metavar="STORE", type=STORE)
@click.argument("b", metavar="STORE2", type=STORE)
@click.option("--format", "kind", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@storage_options
def match(a: Location, b: Location, kind: str) -> None:
    """Hold two networks against each other that ran over the same images: layers by CKA, channels by correlation."""
    from summit_dask.questions.match import match_stores, plain, printed

    found = match_stores(a, b)
    if kind == "csv":
        click.echo(found.channels.to_csv(index=False), nl=False)
    else:
        click.echo(json.dumps(plain(found), indent=2) if kind == "json" else printed(found))


@commands.command()
@click.argument("stores", metavar="STORE STORE2 ...", type=STORE, nargs=-1, required=True)
@click.option("--format", "kind", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@storage_options
def across(stores: tuple[Location, ...], kind: str) -> None:
    """Hold stores of one layer graph against the first: checkpoints, or clean and shifted images, class by class.

    Similarity to the first, accuracy, and necessity of the graph where a store has evidence.
    """
    from summit_dask.questions.across import across_stores, printed

    if len(stores) < 2:
        raise click.UsageError("expected two stores or more, found 1.")
    found = across_stores(stores)
    if kind == "csv":
        click.echo(found.to_csv(index=False), nl=False)
    else:
        click.echo(found.to_json(orient="records", indent=2) if kind == "json" else printed(found))


@commands.command()
@_store
@options(ClusterOptions)
def repair(store: Location, **values: Any) -> None:
    """Find damaged files and make again what they held, and nothing else."""
    from summit_dask.stages.repair import repair

    done = repair(store, ClusterOptions.of(_given(values), COMMAND_LINE))
    click.echo("\n".join(done) or f"Nothing is damaged in {store}.")


@commands.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="folder to make")
@click.option("--workers", type=int, default=None, help="processes; default: one a core")
@click.option("--dashboard/--no-dashboard", default=True, help="open the dashboard at the end")
@click.option("--host", default="127.0.0.1", show_default=True, help="address the dashboard listens on")
@click.option("--port", type=PORT, default=DASHBOARD_PORT, show_default=True, help="port of the dashboard")
def demo(out: Path, workers: int | None, dashboard: bool, host: str, port: int) -> None:
    """Train a small network on handwritten digits, run everything on it, and look at it."""
    from summit_dask.demo import make_demo
    from summit_dask.serve import serve

    store = make_demo(out, workers)
    click.echo(f"The demo's store is {store}.")
    if dashboard:
        serve(store, host, port)


@commands.command()
@_store
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--port", type=PORT, default=DASHBOARD_PORT, show_default=True, help="port to listen on")
def dashboard(store: Location, host: str, port: int) -> None:
    """Explore a store, or a folder of stores, in the browser."""
    from summit_dask.serve import serve

    serve(store, host, port)


for command in (*COMMANDS, site_command):
    commands.add_command(command)


def main() -> None:
    """Run a command: a user's error is one message and exit code 2, an interruption 130, SIGTERM 143."""
    signal.signal(signal.SIGTERM, _terminated)
    sys.unraisablehook = _sent_again
    try:
        commands(prog_name="summit-dask", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SummitError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as stopped:
        cause = stopped.__cause__ or stopped  # click makes an Abort of every interruption
        _end(TERMINATED if isinstance(cause, _Terminated) else INTERRUPTED)
    except OSError as error:
        _end_without_output(error)


def program() -> NoReturn:
    """Entry point of the process, which ends at once when it was interrupted: Python winds up for seconds."""
    try:
        main()
    except SystemExit as end:
        if end.code in (INTERRUPTED, TERMINATED):
            os._exit(end.code)
        raise
    finally:
        _deafen()  # all is done and said: the exit code must not change any more
    sys.exit()


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it when a job's time is up; handled as Ctrl-C is."""


def _terminated(number: int, frame: FrameType | None) -> None:
    raise _Terminated


#: Until an interruption that was dropped is sent again: by then Python has left the callback.
_AGAIN_SECONDS = 0.05


def _sent_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Send an interruption again that fell into a destructor or a weak reference's callback: Python drops it there."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    number = signal.SIGTERM if issubclass(dropped.exc_type, _Terminated) else signal.SIGINT
    threading.Timer(_AGAIN_SECONDS, _send, [number]).start()


def _send(number: signal.Signals) -> None:
    """Send this process a signal; to its main thread where that can be said, which wakes it where it waits."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, number)
    else:  # Windows
        signal.raise_signal(number)


def _deafen() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _end(code: int) -> NoReturn:
    """Say what an interruption means; a second one, while Python winds up, must not turn this into a crash."""
    _deafen()
    # Python remembers an interruption inside a text that was executed (as dataclasses are made), even one that was
    # caught, and would end itself by the signal; executing another text makes it forget.
    exec("")
    click.echo("\nStopped. What is finished is kept; the same command goes on from there.", err=True)
    sys.exit(code)


def _end_without_output(error: OSError) -> NoReturn:
    """What is written can't be taken any more: a full disk behind standard output, or a closed pipe."""
    if error.errno not in (errno.ENOSPC, errno.EPIPE, errno.EDQUOT, errno.EIO):
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try again on its way out
    if error.errno != errno.EPIPE:
        click.echo(f"Error: Can't write the output: {error.strerror}. Make room where it goes to.", err=True)
    sys.exit(2)


if __name__ == "__main__":
    program()
