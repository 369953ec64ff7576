"""Commands that read and write files of other programs."""

from pathlib import Path

import click

from summit_dask.progress import say

_EXISTING = click.Path(exists=True, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("import-summit")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The store that is made.")
@click.option("--classes", type=_EXISTING, help="JSON or CSV table (index, synset, name) of the outputs.")
@click.option("--keep-going", is_flag=True, help="Leave out what is wrong and import the rest.")
def import_summit(folder: Path, out: Path, classes: Path | None, keep_going: bool) -> None:
    """Make a store of the original's published data, a folder like fredhohman/summit-data."""
    from summit_dask.imports import import_summit

    report = import_summit(folder, out, classes, keep_going)
    for problem in report.problems:
        say(f"left out: {problem}")
    click.echo(
        f"{out}: {report.n_classes} classes, {report.n_images} images, {report.n_nodes} nodes and "
        f"{report.n_edges} edges of graphs; {len(report.problems)} problems."
    )


COMMANDS: list[click.Command] = [import_summit]
