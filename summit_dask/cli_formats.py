"""Commands that read and write files of other programs."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from summit_dask.cli_storage import STORE, storage_options
from summit_dask.facts.errors import FormatError
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import Edges, Nodes
from summit_dask.store.progress import say

if TYPE_CHECKING:
    from summit_dask.formats.exports import Format
    from summit_dask.questions.compare import Comparison

_EXISTING = click.Path(exists=True, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_NEW_FOLDER = click.Path(file_okay=False, path_type=Path)
_LAYERS = click.option(
    "--layers", type=_EXISTING, help="JSON object: the original's name of each of the store's layers."
)


#: Forms of a comparison beside the table that people read.
COMPARISONS = ("csv", "json", "graphml", "svg")


def comparison_as(kind: str, found: "Comparison", a: str, b: str) -> str:
    """A comparison of what is called `a` and `b` in one of these forms."""
    from summit_dask.formats.comparison_drawing import drawing
    from summit_dask.questions.compare import plain
    from summit_dask.questions.graphml import graphml

    if kind == "csv":
        return found.channels.to_csv(index=False)
    if kind == "json":
        return json.dumps(plain(found), indent=2) + "\n"
    return drawing(found, a, b) if kind == "svg" else graphml(found.to_networkx(), f"{a} and {b}")


def layer_table(path: Path | None) -> dict[str, str] | None:
    """A table of layer names from a JSON file.

    Raises
    ------
    FormatError
        If it isn't an object of texts.
    """
    if path is None:
        return None
    from summit_dask.formats.checks import read_json

    table = read_json(path)
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise FormatError(
            f"{path}: expected an object that gives layers the original's names, as in "
            f'{{"inception_a": "mixed3a"}}, found {table!r}. Mend the file.'
        )
    return table


def _say_left_out(parts: Iterable[str]) -> None:
    for part in parts:
        say(f"left out: {part}")


@click.command("import-summit")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The store that is made.")
@click.option("--classes", type=_EXISTING, help="JSON or CSV table (index, synset, name) of the outputs.")
@click.option("--keep-going", is_flag=True, help="Leave out what is wrong and import the rest.")
def import_command(folder: Path, out: Path, classes: Path | None, keep_going: bool) -> None:
    """Make a store of the original's published data, a folder like fredhohman/summit-data."""
    from summit_dask.formats.original_import import import_summit

    report = import_summit(folder, out, classes, keep_going)
    _say_left_out(report.problems)
    click.echo(
        f"{out}: {report.n_classes} classes, {report.n_images} images, {report.n_nodes} nodes and "
        f"{report.n_edges} edges of graphs; {len(report.problems)} problems."
    )


@click.command("export")
@click.argument("store", type=STORE)
@storage_options
@click.argument("folder", metavar="DIR", type=_NEW_FOLDER)
@click.option("--format", "kind", required=True, type=click.Choice(["summit", "csv", "parquet", "graphml", "json"]))
@click.option("--class", "classes", multiple=True, help="A class to export, instead of all; may be repeated.")
@_LAYERS
@click.option("--nodes", type=click.Choice(get_args(Nodes)), help="What ranks the graphs' channels.")
@click.option("--edges", type=click.Choice(get_args(Edges)), help="What joins them; default: the first pair there is.")
@click.option(
    "--front-end",
    is_flag=True,
    help="With summit: change what the original's front end can't show otherwise. Counts become those of 1300 images a "
    "class, layers get the channels that it knows, and pictures that it asks for are copied.",
)
def export_command(
    store: Location,
    folder: Path,
    kind: "Format",
    classes: tuple[str, ...],
    layers: Path | None,
    front_end: bool,
    nodes: Nodes | None,
    edges: Edges | None,
) -> None:
    """Write a store's results for other programs; summit: as the original's front end reads them."""
    from summit_dask.formats.exports import export

    report = export(store, folder, kind, classes or None, layer_table(layers), front_end, nodes, edges)
    _say_left_out(report.left_out)
    for note in report.notes:
        say(f"note: {note}")
    click.echo(f"{folder}: {report.n_files} files.")


@click.command("usage")
@click.argument("store", type=STORE)
@storage_options
@click.option("--csv", type=click.Path(path_type=Path), help="Write a row a channel to this file.")
def usage_command(store: Location, csv: Path | None) -> None:
    """Say which channels the classes use, and keep it in the store if that can be written."""
    from summit_dask.questions.usage import channel_usage, usage_summary, write_usage
    from summit_dask.store.store import Store

    channels = channel_usage(Store.open(store))
    if not isinstance(store, Path) or (store.is_dir() and os.access(store, os.W_OK)):
        write_usage(Store.open(store, writable=True), channels)
    else:
        say(f"{store} can't be written, so the usage is not kept there.")
    if csv:
        from summit_dask.formats.job import new_file

        with new_file(csv) as draft:
            channels.to_csv(draft, index=False)
    click.echo(usage_summary(channels).to_string(index=False))


@click.command("import-pictures")
@click.argument("store", type=STORE)
@storage_options
@click.argument("folder", metavar="DIR", type=_FOLDER)
@_LAYERS
def import_pictures_command(store: Location, folder: Path, layers: Path | None) -> None:
    """Take pictures of channels into a store: single files, or the original's sprites."""
    from summit_dask.formats.picture_files import import_pictures
    from summit_dask.store.store import Store

    report = import_pictures(Store.open(store, writable=True), folder, layer_table(layers))
    _say_left_out(report.problems)
    click.echo(f"{store}: {report.n_pictures} pictures; {len(report.problems)} problems.")


@click.command("export-pictures")
@click.argument("store", type=STORE)
@storage_options
@click.argument("folder", metavar="DIR", type=_NEW_FOLDER)
@click.option("--sprites", is_flag=True, help="Sprites of ten channels instead of single files.")
@_LAYERS
def export_pictures_command(store: Location, folder: Path, sprites: bool, layers: Path | None) -> None:
    """Write a store's pictures of channels as files in the original's layout."""
    from summit_dask.formats.picture_files import export_pictures
    from summit_dask.store.store import Store

    n_files = export_pictures(Store.open(store), folder, sprites, layer_table(layers))
    click.echo(f"{folder}: {n_files} files.")


COMMANDS: list[click.Command] = [
    import_command,
    export_command,
    usage_command,
    import_pictures_command,
    export_pictures_command,
]
